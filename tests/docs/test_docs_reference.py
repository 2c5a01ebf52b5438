"""docs/configuration.md shows what the loader takes, and the defaults that it has."""

import re
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from scripts import reference
from scripts.reference_notes import REFUSED
from supervisor.config import ConfigError, schema
from supervisor.config.compile import compile_bytes
from supervisor.config.document import Mark, Scalar, kind_of
from supervisor.config.fields import ScalarType
from supervisor.config.shapes import Keys

OBJECT = {"type": "object", "description": "What it is.", "additionalProperties": False}


def described(**properties: Any) -> dict[str, Any]:
    return {**OBJECT, "properties": properties, "$defs": {}}


def row(page: str, key: str) -> list[str]:
    line = next(line for line in page.splitlines() if line.startswith(f"| `{key}` |"))
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[2:-1]]


def test_the_committed_page_is_in_step() -> None:
    committed = reference.PAGE.read_text(encoding="utf-8")
    assert committed == reference.page(schema()), f"run: {reference.COMMAND}"


def test_every_key_has_a_row() -> None:
    page = reference.page(schema())
    for section in reference.sections(schema()).values():
        shown = page.partition(f"\n## {section.title}\n")[2].partition("\n## ")[0]
        for key, value in section.keys:
            _, default, meaning = row(shown, key)
            assert default or meaning, key
            assert (default == "**required**") == (key in section.node.get("required", []))
            assert value["description"]


# What a row says ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "cells"),
    [
        ({"type": "boolean", "description": "Yes? Default true."}, ["`true` or `false`", "`true`"]),
        ({"type": "string", "description": "Place. Default: here."}, ["text", "here"]),
        (
            {"enum": ["a", "b"], "description": "b (default) or a."},
            ["`a` or `b`", "`b`", "b (default) or a."],
        ),
        (
            {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 2**30}},
            ["list of: whole number 1 to 2^30", ""],
        ),
        (
            {
                "anyOf": [
                    {"type": "string"},
                    {"type": "array", "items": {"type": "string"}},
                    {"type": "string", "pattern": r"^[\s\S]*\$\{[\s\S]*$"},
                ]
            },
            ["one or a list of: text", ""],
        ),
        ({"anyOf": [{"const": 0}, {"type": "number"}]}, ["number or `0`", ""]),
        (
            {"type": "string", "examples": ["x|y"], "description": "A*B."},
            ["text", "", r"A\*B. Like `x\|y`."],
        ),
    ],
    ids=range(7),
)
def test_rows(value: dict[str, Any], cells: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "NOTES", {})
    shown = row(reference.page(described(key=value)), "key")
    assert shown[: len(cells)] == cells


def test_an_object_that_stands_in_two_places_has_one_section(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reference, "NOTES", {})
    rest = {"type": "array", "items": {"$ref": "#/$defs/Pause"}}
    fleet = described(services={"type": "object", "additionalProperties": {"$ref": "#/$defs/One"}})
    fleet["$defs"]["Pause"] = {**OBJECT, "properties": {"wait": {"type": "string"}}}
    fleet["$defs"]["One"] = {**OBJECT, "properties": {"rest": rest}}
    fleet["properties"]["defaults"] = {"$ref": "#/$defs/One"}
    with pytest.raises(reference.ShapeError, match="no key in common"):
        reference.page(fleet)
    fleet["$defs"]["Other"] = {**OBJECT, "properties": {"rest": rest}}
    fleet["properties"]["defaults"] = {"$ref": "#/$defs/Other"}
    page = reference.page(fleet)
    assert page.count("\n## rest[]\n") == 1
    assert "At `services.NAME.rest[]` and `defaults.rest[]`." in page
    assert row(page, "rest")[0] == "list of: [rest[]](#rest)"


# What must not pass silently ------------------------------------------------------------------


def test_a_note_about_what_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "NOTES", {"services.NAME.gone": "Words."})
    with pytest.raises(reference.ShapeError, match=r"services\.NAME\.gone"):
        reference.page(described(key={"type": "string"}))


@pytest.mark.parametrize(
    "value",
    [
        {"type": "object", "properties": {}},
        {"allOf": [{"type": "string"}]},
        {"type": "null"},
    ],
    ids=["a mapping without a name", "another way to combine", "another type"],
)
def test_a_shape_that_cannot_be_shown(
    value: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "NOTES", {})
    with pytest.raises(reference.ShapeError):
        reference.page(described(key=value))


def test_an_object_that_holds_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "NOTES", {})
    fleet = described(key={"$ref": "#/$defs/Again"})
    fleet["$defs"]["Again"] = {**OBJECT, "properties": {"key": {"$ref": "#/$defs/Again"}}}
    with pytest.raises(reference.ShapeError, match="holds itself"):
        reference.page(fleet)


# The defaults and the spellings are true -------------------------------------------------------


def models(kind: type[BaseModel] = Keys) -> list[type[BaseModel]]:
    """Return every mapping of the YAML."""
    return [kind, *(each for below in kind.__subclasses__() for each in models(below))]


def told_default(field: FieldInfo) -> str | None:
    """Return the value that the description gives as the default, if it gives one as a value."""
    description = field.description or ""
    if told := re.search(r"(?:^|\s)Default ([^\s]+)\.(?=\s|$)", description):
        return told[1]
    word = re.search(r"(\S+) \(default\)", description)
    return word[1] if word else None


FIELDS = [
    pytest.param(field, id=f"{model.__name__}.{name}")
    for model in models()
    for name, field in model.model_fields.items()
    if isinstance(field.default, str | int | float) and field.default
]


@pytest.mark.parametrize("field", FIELDS)
def test_the_default_that_is_told_is_the_default(field: FieldInfo) -> None:
    told = told_default(field)
    if told is None:
        assert "Default: " in (field.description or ""), "say the default"
        return
    text = told.strip('"')
    kind = kind_of("x" if told != text else text)
    readers = [each for each in field.metadata if isinstance(each, ScalarType)]
    for reader in readers:
        assert reader.read(Scalar(text, kind, Mark(1, 1))) == field.default  # type: ignore[attr-defined]


@pytest.mark.parametrize(("wrong", "right", "_why"), REFUSED)
def test_what_is_said_to_be_refused_is(wrong: str, right: str, _why: str) -> None:
    for text, taken in ((wrong, False), (right, True)):
        command = "" if text.startswith("command") else "    command: [x]\n"
        document = f"version: 1\nservices:\n  a:\n{command}    {text}\n"
        try:
            compile_bytes(document.encode(), "/nonexistent/services.yaml", {})
        except ConfigError:
            assert not taken, text
        else:
            assert taken, text
