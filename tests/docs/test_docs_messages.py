"""What the program tells people to type is a command that it has."""

import ast
import re
from collections.abc import Iterator

import pytest

from supervisor.cli.arguments import options_of
from supervisor.cli.commands import COMMANDS
from tests.docs.pages import CHECKOUT

BY_NAME = {command.name: command for command in COMMANDS}
SOURCES = sorted(
    file for name in ("supervisor", "services") for file in (CHECKOUT / name).rglob("*.py")
)
TOLD = re.compile(r"atlasctl (?:-c \S+ )?([a-z]+)((?: [\w./:-]+)*)")
"""A command, and the words that follow it up to a mark of punctuation."""
TO_TYPE = re.compile(r"(?:^|[:`]|, then|, or|see:) ?atlasctl (?:-c \S+ )?([a-z]+)")
"""Where a message turns from telling to what is to be typed."""
TITLE = "atlasctl services"
"""Of the schema."""


def strings(source: str) -> Iterator[str]:
    """Yield every string of a source that is no docstring; NAME stands for what is put in."""
    nodes = list(ast.walk(ast.parse(source)))
    parts = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    parts |= {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "NAME"
                for part in node.values
            )
        elif id(node) not in parts and isinstance(getattr(node, "value", None), str):
            yield node.value  # type: ignore[attr-defined]


def wrong(text: str) -> list[str]:
    """Return what a text tells to type and cannot be."""
    found = [name for name in TO_TYPE.findall(text) if name not in BY_NAME]
    for name, rest in TOLD.findall(text):
        if name in BY_NAME:
            options = re.findall(r"(?<= )--?[a-z][\w-]*", rest)
            found += [f"{name} {one}" for one in options if one not in options_of(BY_NAME[name])]
    return found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see: atlasctl status, atlasctl logs -f tts", []),
        ("if atlasctl is newer than the daemon: atlasctl upgrade", []),
        ("atlasctl claen --all", ["claen"]),
        ("to archive it: atlasctl clean --strangers", ["clean --strangers"]),
        ("stop it: atlasctl -c NAME dwon", ["dwon"]),
    ],
)
def test_what_cannot_be_typed_is_found(text: str, found: list[str]) -> None:
    assert wrong(text) == found


def test_every_message_names_commands_and_options_that_there_are() -> None:
    told = [(file, text) for file in SOURCES for text in strings(file.read_text(encoding="utf-8"))]
    assert sum("atlasctl " in text for _, text in told) > 100
    found = [
        (str(file.relative_to(CHECKOUT)), one)
        for file, text in told
        for one in wrong(text)
        if text != TITLE
    ]
    assert found == []


def test_docstrings_are_no_messages() -> None:
    source = '"""Not this."""\nx = "that"\ny = f"a {x} b"\n'
    assert list(strings(source)) == ["that", "a NAME b"]
