"""Writes docs/configuration.md: every key of the YAML, from the schema that editors get.

    .venv/bin/python -m scripts.reference

Keys, types and descriptions are those of `atlasctl schema`; nothing about a key is written here.
What a person has written stands in scripts/reference_notes.py, by the name of a section.
A shape that is new to the schema is an error here, so that no key is shown half.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from scripts.reference_notes import INTRODUCTION, NOTES, SPELLING
from supervisor.config import schema
from supervisor.config.fields import EXPANDABLE
from supervisor.config.quantities import DURATION_PATTERN, SIZE_PATTERN, UMASK_PATTERN
from supervisor.config.shapes import SERVICE_NAME

CHECKOUT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = CHECKOUT / "docs" / "configuration.md"
COMMAND: Final = ".venv/bin/python -m scripts.reference"

ROOT: Final = "The file"
"""Title of the section of the topmost keys."""

_DEFAULT: Final = re.compile(r"(?:^|(?<=\s))Default(:?) (.+?)\.(?=\s|$)")
_DEFAULT_WORD: Final = re.compile(r"(\S+) \(default\)")
_VARIABLE: Final = f"^{EXPANDABLE}$"
_LIST: Final = "list of: "
_LARGE: Final = 2**20
_DEEPEST: Final = 20
"""Keys above one another; nothing that a person writes is as deep."""

Node = Mapping[str, Any]


class ShapeError(Exception):
    """The schema, or a note, has something that this page cannot show."""


@dataclass(slots=True)
class Section:
    """A mapping of the YAML: its keys, and every place where it may stand.

    A place is a path of keys; NAME in it is a name that the user chooses, [] an entry of a list.
    """

    node: Node
    places: list[tuple[str, ...]] = field(default_factory=list)
    title: str = ""

    @property
    def keys(self) -> list[tuple[str, Node]]:
        """The keys, those first that must be given."""
        required = self.node.get("required", [])
        return sorted(self.node["properties"].items(), key=lambda item: item[0] not in required)


def sections(described: Node) -> dict[str, Section]:
    """Return the sections by the `$ref` that means each; the file itself is first, as ""."""
    found: dict[str, Section] = {}

    def visit(reference: str, node: Node, place: tuple[str, ...]) -> None:
        section = found.setdefault(reference, Section(node))
        section.places.append(place)
        for key, value in section.keys:
            for target, below in _references(value, (*place, key)):
                target_node = _resolved(described, target)
                if "properties" in target_node:
                    if len(below) > _DEEPEST:
                        raise ShapeError(f"{'.'.join(below)} holds itself")
                    visit(target, target_node, below)

    visit("", described, ())
    titles: set[str] = set()
    for section in found.values():
        section.title = _title(section)
        if section.title in titles:
            raise ShapeError(f"two sections would be called {section.title!r}")
        titles.add(section.title)
    return found


def page(described: Node) -> str:
    """Return the page for a schema, as Markdown."""
    found = sections(described)
    titles = {section.title for section in found.values()}
    if unknown := sorted(NOTES.keys() - titles):
        raise ShapeError(f"NOTES speaks of {', '.join(unknown)}, which the schema has not")
    lines = [
        f"<!-- Generated: edit supervisor/config or scripts/reference_notes.py, then {COMMAND} -->",
        "# The configuration",
        "",
        INTRODUCTION.strip(),
        "",
        "## Contents",
        "",
        "- [How values are spelled](#how-values-are-spelled)",
    ]
    for section in found.values():
        depth = sum(part not in ("NAME", "[]") for part in section.places[0])
        lines.append(f"{'  ' * depth}- {_link(section)}: {_first_sentence(section.node)}")
    lines += ["", "## How values are spelled", "", SPELLING.strip()]
    for section in found.values():
        lines += ["", *_shown(section, described, found)]
    return "\n".join(lines) + "\n"


def _title(section: Section) -> str:
    """Return the end that all places have in common: `http.wav`, whichever probe it is of."""
    if section.places == [()]:
        return ROOT
    places = [_short(place) for place in section.places]
    common: list[str] = []
    for parts in zip(*(reversed(place) for place in places), strict=False):
        if len(set(parts)) > 1:
            break
        common.insert(0, parts[0])
    while common and common[0] in ("NAME", "[]"):
        common.pop(0)
    if not common:
        raise ShapeError(f"{section.places} have no key in common that could be a title")
    return ".".join(common).replace(".[]", "[]")


def _short(place: tuple[str, ...]) -> tuple[str, ...]:
    """Return a place as it is within a service, where it is within one."""
    match place:
        case ("services", "NAME", _, *_):
            return place[2:]
        case ("defaults", _, *_):
            return place[1:]
        case _:
            return place


def _shown(section: Section, described: Node, found: Mapping[str, Section]) -> Iterator[str]:
    yield f"## {section.title}"
    yield ""
    yield _paragraphs(section.node.get("description", ""))
    if section.title != ROOT:
        places = dict.fromkeys(".".join(place).replace(".[]", "[]") for place in section.places)
        yield ""
        yield f"At {_listed([f'`{place}`' for place in places], 'and')}."
    if note := NOTES.get(section.title):
        yield ""
        yield note.strip()
    ways = [one["required"] for one in section.node.get("oneOf", [])]
    if ways:
        if any(len(way) != 1 for way in ways):
            raise ShapeError(f"{section.title}: oneOf is more than a choice of keys")
        yield ""
        yield f"Exactly one of {_listed([f'`{way[0]}`' for way in ways], 'and')} is given."
    yield ""
    yield "| key | value | default | |"
    yield "|---|---|---|---|"
    required = section.node.get("required", [])
    for key, value in section.keys:
        meaning, default = _default(value.get("description", ""))
        if key in required:
            default = "**required**"
        spelled = _value(value, described, found)
        if examples := dict.fromkeys(_examples(value)):
            meaning += f" Like {', '.join(f'`{_cell(one)}`' for one in examples)}."
        yield f"| `{key}` | {spelled} | {default} | {meaning.strip()} |"


def _default(description: str) -> tuple[str, str]:
    """Return a description without its default, and that: both as Markdown for a cell."""
    if told := _DEFAULT.search(description):
        text = told[2] if told[1] else f"`{_cell(told[2])}`"
        rest = f"{description[: told.start()].rstrip()} {description[told.end() :].lstrip()}"
        return _prose(rest.strip()), text if not told[1] else _prose(text)
    if word := _DEFAULT_WORD.search(description):
        return _prose(description), f"`{_cell(word[1])}`"
    return _prose(description), ""


def _value(node: Node, described: Node, found: Mapping[str, Section]) -> str:
    """Return what may be written there, in words."""
    alternatives = dict.fromkeys(_alternatives(node, described, found))
    lists = [one for one in alternatives if one.startswith(_LIST)]
    words = [one for one in alternatives if one.startswith("`")]
    rest = [one for one in alternatives if one not in (*words, *lists)]
    single = _listed([*rest, *words], "or")
    if lists == [_LIST + single]:
        return f"one or a list of: {single}"
    return "; or ".join([*([single] if single else []), *lists])


def _alternatives(node: Node, described: Node, found: Mapping[str, Section]) -> Iterator[str]:
    if "$ref" in node:
        target = node["$ref"]
        if target in found:
            yield _link(found[target])
        else:
            yield from _alternatives(_resolved(described, target), described, found)
    elif "anyOf" in node:
        for one in node["anyOf"]:
            if one.get("pattern") != _VARIABLE:
                yield from _alternatives(one, described, found)
    elif "const" in node:
        yield f"`{json.dumps(node['const'])}`"
    elif "enum" in node:
        yield from (f"`{one}`" for one in node["enum"])
    else:
        yield from _plain(node, described, found)


def _plain(node: Node, described: Node, found: Mapping[str, Section]) -> Iterator[str]:
    match node.get("type"):
        case "array":
            yield f"{_LIST}{_value(node['items'], described, found)}"
        case "object" if "properties" in node:
            raise ShapeError(f"a mapping without a name in $defs: {sorted(node['properties'])}")
        case "object":
            yield from _mapping(node, described, found)
        case "boolean":
            yield "`true`"
            yield "`false`"
        case "integer" | "number" as kind:
            name = "whole number" if kind == "integer" else "number"
            bounds = [_number(node[end]) for end in ("minimum", "maximum") if end in node]
            yield f"{name} {' to '.join(bounds)}".strip()
        case "string":
            yield _text(node)
        case ["string", "integer"]:
            yield "text"
        case [*kinds] if set(kinds) >= {"string", "number", "object", "array"}:
            yield "anything"
        case [*kinds]:
            for kind in kinds:
                yield from _plain({"type": kind}, described, found)
        case kind:
            raise ShapeError(f"no words for a value of type {kind!r}: {dict(node)}")


def _mapping(node: Node, described: Node, found: Mapping[str, Section]) -> Iterator[str]:
    values = list(node.get("patternProperties", {}).values())
    if isinstance(node.get("additionalProperties"), Mapping):
        values.append(node["additionalProperties"])
    if not values:
        yield "mapping"
    for value in values:
        yield f"mapping of names to: {_value(value, described, found)}"


def _text(node: Node) -> str:
    pattern = node.get("pattern", "")
    for known, word in (
        (DURATION_PATTERN, "[duration](#durations-and-sizes)"),
        (SIZE_PATTERN, "[size](#durations-and-sizes)"),
        (UMASK_PATTERN, "octal digits in quotes"),
        (SERVICE_NAME.pattern, "name"),
    ):
        if f"(?:{known}|" in pattern or f"(?:{known})" in pattern:
            return word
    return "text"


def _examples(node: Node) -> list[str]:
    """Return spellings that the schema gives, but those of durations and sizes, told at the top."""
    if "anyOf" in node:
        return [example for one in node["anyOf"] for example in _examples(one)]
    if node.get("type") == "array":
        return _examples(node["items"])
    if isinstance(more := node.get("additionalProperties"), Mapping):
        return _examples(more)
    if _text(node).startswith("["):
        return []
    return [str(one) for one in node.get("examples", [])]


def _references(node: Node, place: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield every `$ref` of a value, and the place that it describes."""
    if "$ref" in node:
        yield node["$ref"], place
    for one in node.get("anyOf", []):
        yield from _references(one, place)
    if "items" in node:
        yield from _references(node["items"], (*place, "[]"))
    named = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
    for value in named:
        if isinstance(value, Mapping):
            yield from _references(value, (*place, "NAME"))


def _resolved(described: Node, reference: str) -> Node:
    node: Node = described["$defs"][reference.removeprefix("#/$defs/")]
    return node


def slug(title: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _link(section: Section) -> str:
    return f"[{section.title}](#{slug(section.title)})"


def _number(number: float) -> str:
    whole = int(number)
    if whole >= _LARGE and whole.bit_count() == 1:
        return f"2^{whole.bit_length() - 1}"
    return f"{number:g}" if number < _LARGE else str(whole)


def _listed(words: list[str], last: str) -> str:
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _first_sentence(node: Node) -> str:
    paragraph = str(node.get("description", "")).split("\n\n")[0]
    return _prose(re.split(r"(?<=[.:]) ", paragraph)[0].rstrip(":."), cell=False)


def _paragraphs(text: str) -> str:
    return "\n\n".join(_prose(" ".join(one.split()), cell=False) for one in text.split("\n\n"))


def _prose(text: str, *, cell: bool = True) -> str:
    """Return plain text as Markdown that shows it as it is; `code` in it stays code."""
    parts = text.split("`")
    for at in range(0, len(parts), 2):
        parts[at] = re.sub(r"([\\*<\[\]])", r"\\\1", parts[at])
    marked = "`".join(parts)
    return _cell(marked) if cell else marked


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(schema()), encoding="utf-8")
    print(f"{PAGE.relative_to(CHECKOUT)} is written")


if __name__ == "__main__":
    main()
