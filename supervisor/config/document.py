"""YAML text becomes a tree in which every value knows its line, its column and its spelling.

The tree is bounded (bytes, depth, values after aliases are followed) before anything walks it, so
an alias bomb costs no more than its own text. Scalars keep the text as written: `1.10` is never
turned into 1.1, nor `0755` into 493; what a scalar means is decided where it is used.
Refused here: tags, merge keys, keys that are not text, keys given twice, a second document.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from supervisor.config.problems import ConfigError, Problem, clip, format_path

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32
MAX_VALUES = 200_000
"""Values after aliases are followed: a thousand large services have about 100 000."""

Path = tuple[str | int, ...]


class Kind(StrEnum):
    """What an unquoted scalar is to a reader of YAML 1.2, and where 1.1 would differ."""

    TEXT = "text"
    INTEGER = "a whole number"
    FLOAT = "a number with a fraction"
    BOOLEAN = "true or false"
    NULL = "nothing"
    WORD_BOOLEAN = "a word that YAML 1.1 reads as true or false"
    ODD_NUMBER = "a number to YAML 1.1"


@dataclass(frozen=True, slots=True)
class Mark:
    """A position, both parts counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value, as written. `expanded` once `${…}` was replaced in it: then it is text."""

    text: str
    kind: Kind
    mark: Mark
    expanded: bool = False


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: "tuple[Node, ...]"
    mark: Mark


@dataclass(frozen=True, slots=True)
class Entry:
    """A value and where its key stands."""

    key_mark: Mark
    value: "Node"


@dataclass(frozen=True, slots=True)
class Table:
    """Keys, in the order of the file."""

    entries: Mapping[str, Entry]
    mark: Mark


Node = Scalar | Sequence | Table

# YAML 1.1's own patterns (yaml.org/type), without the ones that 1.2 reads the same way.
_WORD_BOOLEAN = re.compile(r"yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF")
_ODD_NUMBER = re.compile(
    r"""[-+]?0[0-9_]+ | [-+]?0o[0-7_]+ | [-+]?0b[01_]+ | [-+]?0x[0-9a-fA-F_]+
      | [-+]?[0-9][0-9_]*_[0-9_]*(?:\.[0-9_]*)? | [-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?
      | [-+]?\.(?:inf|Inf|INF) | \.(?:nan|NaN|NAN)""",
    re.VERBOSE,
)
_LONGEST_NUMBER = 64
_NUMBER_LIKE = re.compile(r"[-+0-9_.:eE]+")
_MISSING = re.compile(r"expected ('.') or ('.')")
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


def kind_of(text: str) -> Kind:
    """Return what an unquoted scalar of this text is."""
    if len(text) > _LONGEST_NUMBER:
        # The patterns below take quadratic time on a long `1_1_1…`.
        return Kind.ODD_NUMBER if _NUMBER_LIKE.fullmatch(text) else Kind.TEXT
    if text in ("", "~", "null", "Null", "NULL"):
        return Kind.NULL
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return Kind.BOOLEAN
    if _WORD_BOOLEAN.fullmatch(text):
        return Kind.WORD_BOOLEAN
    if _INTEGER.fullmatch(text):
        return Kind.INTEGER
    if _ODD_NUMBER.fullmatch(text):
        return Kind.ODD_NUMBER
    if _FLOAT.fullmatch(text):
        return Kind.FLOAT
    return Kind.TEXT


def parse(data: bytes, file: str) -> tuple[Table, list[Problem]]:
    """Return the tree and what is wrong with it so far.

    Raises ConfigError where there is no tree to go on with: not YAML, too large, not a mapping.
    """
    text = _decode(data, file)
    builder = _Builder(text, file)
    try:
        root = builder.document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if "end of stream" in (error.problem or ""):
            # Where the quote was opened says more than where the file ends.
            mark = error.context_mark or mark
        at = Mark(mark.line + 1, mark.column + 1) if mark else None
        _fail(file, at, *_syntax(error.problem or error.context or "", text, at))
    except yaml.YAMLError as error:
        _fail(file, None, f"not YAML: {clip(str(error).splitlines()[0])}", "")
    if not isinstance(root, Table):
        _fail(file, root.mark, "the file must be a mapping of keys", "begin it with version: 1")
    return root, builder.problems


def locate(root: Node, path: Path) -> Mark:
    """Return where the value at this path stands, or its nearest ancestor that is there."""
    node, mark = root, root.mark
    for part in path:
        match node:
            case Table(entries=entries) if isinstance(part, str) and part in entries:
                node = entries[part].value
                mark = node.mark
            case Sequence(items=items) if isinstance(part, int) and part < len(items):
                node = items[part]
                mark = node.mark
            case Sequence(items=items):
                named = (i for i in items if isinstance(i, Scalar) and i.text == part)
                return next((i.mark for i in named), mark)
            case _:
                return mark
    return mark


def locate_key(root: Node, path: Path) -> Mark:
    """Return where the last key of this path stands; for a list item, where the item does."""
    node: Node = root
    mark = root.mark
    for part in path:
        match node:
            case Table(entries=entries) if isinstance(part, str) and part in entries:
                node, mark = entries[part].value, entries[part].key_mark
            case Sequence(items=items) if isinstance(part, int) and part < len(items):
                node = items[part]
                mark = node.mark
            case _:
                return mark
    return mark


def _fail(file: str, mark: Mark | None, message: str, hint: str) -> NoReturn:
    line, column = (mark.line, mark.column) if mark else (None, None)
    raise ConfigError([Problem(file, line, column, "", message, hint)])


def _decode(data: bytes, file: str) -> str:
    if len(data) > MAX_BYTES:
        _fail(
            file, None, f"larger than {MAX_BYTES // 1024} KiB", "split it, or is it another file?"
        )
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        _fail(file, Mark(1, 1), "the file is UTF-16", "save it as UTF-8")
    try:
        # Windows editors put a BOM before UTF-8; YAML 1.2 section 5.2 allows it at the start.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        good = data[: error.start].decode("utf-8", "replace")
        message = f"byte 0x{data[error.start]:02x} is not UTF-8"
        _fail(file, _mark_at(good, len(good)), message, "save the file as UTF-8")
    if bad := _UNPRINTABLE.search(text):
        name = "a byte order mark" if bad[0] == "\ufeff" else f"the character U+{ord(bad[0]):04X}"
        hint = 'remove it, or write it as an escape such as "\\u0007" in double quotes'
        _fail(file, _mark_at(text, bad.start()), f"{name} may not stand here", hint)
    return text


def _mark_at(text: str, index: int) -> Mark:
    line_start = text.rfind("\n", 0, index) + 1
    return Mark(text.count("\n", 0, index) + 1, index - line_start + 1)


def _syntax(problem: str, text: str, at: Mark | None) -> tuple[str, str]:
    """Say a scanner's complaint in plain words; libyaml and PyYAML word theirs differently."""
    lines = text.splitlines()
    line = lines[at.line - 1] if at and at.line <= len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())] or "'\\t'" in problem:
        return "a tab where YAML wants spaces", "indent with spaces"
    if "mapping values are not allowed" in problem:
        return (
            "a second “: ” in one value, or a line that is indented too far",
            "put the value in quotes, or line it up with its neighbours",
        )
    if "nesting depth" in problem:
        return f"nested more than {MAX_DEPTH} deep", "close a bracket"
    if "end of stream" in problem:
        return "a quote is opened and never closed", "close it"
    if "expected" in problem:
        missing = _MISSING.search(problem)
        what = f"{missing[1]} or {missing[2]} is missing here" if missing else "not YAML from here"
        return what, "look for a bracket, a quote, a colon or an indentation, here or just above"
    if "cannot start any token" in problem:
        return "a value may not begin with this character", "put the value in quotes"
    return f"not YAML here: {clip(problem)}", "put the value in quotes if it is text"


class _Builder:
    """Builds the tree from parser events: PyYAML's own composer recurses without a bound."""

    def __init__(self, text: str, file: str) -> None:
        # libyaml reads a 1 MiB file in 0.2 s where the Python scanner takes over 10 s.
        loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
        self._events: Iterator[Event] = yaml.parse(text, Loader=loader)
        self._file = file
        self._anchors: dict[str, tuple[Node, int] | None] = {}
        self._values = 0
        self.problems: list[Problem] = []

    def document(self) -> Node:
        root: Node | None = None
        for event in self._events:
            if isinstance(event, StreamEndEvent):
                break
            if isinstance(event, DocumentStartEvent) and root is not None:
                _fail(
                    self._file,
                    _start(event),
                    "a second document begins here",
                    "keep one document in the file: remove the line ---",
                )
            if isinstance(event, NodeEvent):
                root, _ = self._node(event, ())
        if root is None:
            _fail(self._file, None, "the file is empty", "begin it with version: 1")
        if isinstance(root, Scalar) and root.kind is Kind.NULL:
            _fail(self._file, None, "the file is empty", "begin it with version: 1")
        return root

    def _node(self, event: NodeEvent, path: Path) -> tuple[Node, int]:
        mark = _start(event)
        if len(path) > MAX_DEPTH:
            _fail(self._file, mark, f"nested more than {MAX_DEPTH} deep", "close a bracket")
        if isinstance(event, AliasEvent):
            return self._alias(event, mark)
        tag = getattr(event, "tag", None)
        if tag is not None and tag != "!":
            self._report(mark, path, f"the tag {clip(tag)} is not allowed", "remove the tag")
        if event.anchor:
            self._anchors[event.anchor] = None
        self._count(1, mark)
        node: Node
        match event:
            case ScalarEvent():
                plain = not event.style
                kind = kind_of(event.value) if plain and tag is None else Kind.TEXT
                node, size = Scalar(event.value, kind, mark), 1
            case SequenceStartEvent():
                node, size = self._sequence(mark, path)
            case _:
                node, size = self._mapping(mark, path)
        if event.anchor:
            self._anchors[event.anchor] = (node, size)
        return node, size

    def _alias(self, event: AliasEvent, mark: Mark) -> tuple[Node, int]:
        name = event.anchor or ""
        if name not in self._anchors:
            _fail(
                self._file,
                mark,
                f"the alias *{clip(name)} has no anchor before it",
                f"write &{clip(name)} at the value that it stands for",
            )
        found = self._anchors[name]
        if found is None:
            _fail(
                self._file,
                mark,
                f"the alias *{clip(name)} stands inside its own anchor",
                "a value cannot contain itself",
            )
        self._count(found[1], mark)
        return found

    def _sequence(self, mark: Mark, path: Path) -> tuple[Node, int]:
        items: list[Node] = []
        size = 1
        while not isinstance(event := next(self._events), SequenceEndEvent):
            node, part = self._node(_as_node(event), (*path, len(items)))
            items.append(node)
            size += part
        return Sequence(tuple(items), mark), size

    def _mapping(self, mark: Mark, path: Path) -> tuple[Node, int]:
        entries: dict[str, Entry] = {}
        size = 1
        while not isinstance(event := next(self._events), MappingEndEvent):
            plain = isinstance(event, ScalarEvent) and not event.style
            key, key_size = self._node(_as_node(event), (*path, "?"))
            name = key.text if isinstance(key, Scalar) else "?"
            value, value_size = self._node(_as_node(next(self._events)), (*path, name))
            size += key_size + value_size
            where = (*path, name)
            if not isinstance(key, Scalar):
                self._report(
                    key.mark,
                    path,
                    "a key must be text, not a list or a mapping",
                    "for a variable write ${NAME}, not {{NAME}}",
                )
            elif plain and name == "<<":
                self._report(
                    key.mark,
                    path,
                    "merge keys (<<) are not supported",
                    "use the top-level defaults:, or repeat the keys",
                )
            elif name in entries:
                first = entries[name].key_mark
                self._report(
                    key.mark,
                    where,
                    f"given twice, first in line {first.line}, column {first.column}",
                    "remove one of them",
                )
            else:
                entries[name] = Entry(key.mark, value)
        return Table(entries, mark), size

    def _count(self, values: int, mark: Mark) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            _fail(
                self._file,
                mark,
                f"more than {MAX_VALUES} values once aliases are followed",
                "use fewer aliases (*name)",
            )

    def _report(self, mark: Mark, path: Path, message: str, hint: str) -> None:
        problem = Problem(self._file, mark.line, mark.column, format_path(path), message, hint)
        self.problems.append(problem)


def _start(event: Event) -> Mark:
    mark = event.start_mark
    if mark is None:
        raise AssertionError(f"the parser yielded {event!r} without a place")
    return Mark(mark.line + 1, mark.column + 1)


def _as_node(event: Event) -> NodeEvent:
    if not isinstance(event, NodeEvent):
        raise AssertionError(f"the parser yielded {event!r} where a value must be")
    return event
