"""The scalar types of the YAML: how one value is read, what is refused, what an editor is told.

Each type is the annotation of a pydantic field. It reads a `Scalar` (spelling and kind) instead of
a Python value, because only the spelling tells `1.10` from `1.1` and `on` from `true`. Where a
variable was put in, the text is read as if it had been written there, except as a truth word.
"""

import math
import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeVar

from pydantic_core import PydanticCustomError, core_schema

from supervisor.config.document import Kind, Scalar, kind_of
from supervisor.config.problems import clip
from supervisor.config.quantities import (
    DURATION_PATTERN,
    SIZE_PATTERN,
    SpellingError,
    format_duration,
    parse_duration,
    parse_signal,
    parse_size,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

EXPANDABLE = r"[\s\S]*\$\{[\s\S]*"
"""Schema pattern of a text with a variable in it: what it will be cannot be known."""


def rejection(message: str, hint: str = "", *, at: Scalar | None = None) -> PydanticCustomError:
    """Return pydantic's error with our words in it; `at` where the place is not the field's own."""
    context: dict[str, object] = {"message": message, "hint": hint}
    if at is not None:
        context["mark"] = at.mark
    return PydanticCustomError("atlas", "{message}", context)


def kind_words(value: object) -> str:
    """Return what a node is, for an error: “a list”, “text”, …."""
    match value:
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case Scalar(kind=Kind.NULL):
            return "empty"
        case Scalar(kind=kind):
            return kind.value
        case _:
            return "something else"


def read_text(value: object) -> str:
    """Return the text of a scalar that every reader of YAML reads alike; else reject it."""
    if not isinstance(value, Scalar):
        raise rejection(f"must be text, not {kind_words(value)}", "write one value, in quotes")
    text = value.text
    quoted = f'write "{clip(text)}" in quotes'
    match value.kind:
        case Kind.TEXT | Kind.INTEGER:
            pass
        case Kind.WORD_BOOLEAN:
            word = "true" if text.lower() in ("yes", "on") else "false"
            raise rejection(
                f"{text} means {word} in YAML 1.1 and text in 1.2", f"{quoted} if it is text"
            )
        case Kind.BOOLEAN:
            raise rejection(f"{text} is a truth value where text must be", quoted)
        case Kind.NULL:
            raise rejection("is empty where text must be", 'write "" for an empty text')
        case Kind.FLOAT:
            raise rejection(f"{text} is a number that tools may write differently", quoted)
        case Kind.ODD_NUMBER:
            raise rejection(
                f"{text} is another number in YAML 1.1 (octal, hours:minutes, …)", quoted
            )
    if "\0" in text:
        raise rejection("holds a NUL character", "no argument, variable or path can hold one")
    return text


class Reader(Protocol[T_co]):
    """What reads one scalar, and the JSON Schema of its spellings."""

    def read(self, value: object) -> T_co:
        """Return what the scalar means, or raise a rejection."""
        ...

    def schema(self) -> dict[str, object]:
        """Return the JSON Schema of the spellings."""
        ...


class ScalarType:
    """Gives a `Reader` its place in pydantic: `Annotated[float, Duration(…)]`."""

    __slots__ = ()

    def __get_pydantic_core_schema__(
        self: Reader[object], source: object, handler: "GetCoreSchemaHandler"
    ) -> core_schema.CoreSchema:
        """Let `read` alone decide: pydantic would turn `true` into 1."""
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(
        self: Reader[object], schema: core_schema.CoreSchema, handler: "GetJsonSchemaHandler"
    ) -> "JsonSchemaValue":
        """Describe the spellings, not the type that is read from them."""
        return self.schema()


@dataclass(frozen=True, slots=True)
class Text(ScalarType):
    """Text, or a whole number taken as it is written. `pattern` must match all of it."""

    pattern: str = r"[\s\S]*"
    must: str = ""
    hint: str = ""
    most: int = 128 * 1024

    def read(self, value: object) -> str:
        """Return the text."""
        text = read_text(value)
        if len(text) > self.most:
            raise rejection(f"has {len(text)} characters", f"write {self.most} at most")
        if not re.fullmatch(self.pattern, text):
            raise rejection(f"{clip(text)!r} {self.must}", self.hint)
        return text

    def schema(self) -> dict[str, object]:
        """Whole numbers are admitted as an editor sees them before they are text."""
        if self.pattern == r"[\s\S]*":
            return {"type": ["string", "integer"]}
        return {"type": "string", "pattern": f"^(?:{self.pattern}|{EXPANDABLE})$"}


@dataclass(frozen=True, slots=True)
class Key(ScalarType):
    """A key of a mapping: a name of a service, of a variable."""

    pattern: str
    must: str
    hint: str

    def read(self, value: object) -> str:
        """Return the key; keys are text however they are spelled."""
        text = str(value)
        if not re.fullmatch(self.pattern, text):
            raise rejection(f"{clip(text)!r} {self.must}", self.hint)
        return text

    def schema(self) -> dict[str, object]:
        """Return the pattern of the names."""
        return {"type": "string", "pattern": f"^(?:{self.pattern})$"}


@dataclass(frozen=True, slots=True)
class Boolean(ScalarType):
    """`true` or `false`."""

    def read(self, value: object) -> bool:
        """Return the truth value; the words of YAML 1.1 are refused."""
        if isinstance(value, Scalar):
            kind = kind_of(value.text) if value.expanded else value.kind
            if kind is Kind.BOOLEAN:
                return value.text.lower() == "true"
            hint = "write true or false"
            if kind is Kind.WORD_BOOLEAN:
                hint = f"write {'true' if value.text.lower() in ('yes', 'on') else 'false'}"
            raise rejection(f"{clip(value.text)!r} is not true or false", hint)
        raise rejection(
            f"is {kind_words(value)} where a truth value must be", "write true or false"
        )

    def schema(self) -> dict[str, object]:
        """Return a boolean, or a text with a variable."""
        return {"anyOf": [{"type": "boolean"}, _expandable()]}


@dataclass(frozen=True, slots=True)
class Integer(ScalarType):
    """A whole number within bounds."""

    least: int
    most: int

    def read(self, value: object) -> int:
        """Return the number."""
        text = _number_text(value, "a whole number")
        kind = kind_of(text)
        if kind is Kind.ODD_NUMBER:
            raise rejection(
                f"{clip(text)} has more than one reading", "write it in plain decimal digits"
            )
        if kind is not Kind.INTEGER or len(text) > 18:
            raise rejection(
                f"{clip(text)!r} is not a whole number", f"write {self.least} to {self.most}"
            )
        if not self.least <= int(text) <= self.most:
            raise rejection(f"{text} is out of range", f"write {self.least} to {self.most}")
        return int(text)

    def schema(self) -> dict[str, object]:
        """Return an integer, or a text with a variable."""
        number = {"type": "integer", "minimum": self.least, "maximum": self.most}
        return {"anyOf": [number, _expandable()]}


@dataclass(frozen=True, slots=True)
class Number(ScalarType):
    """A number within bounds, whole or not."""

    least: float
    most: float

    def read(self, value: object) -> float:
        """Return the number, which is finite."""
        text = _number_text(value, "a number")
        if kind_of(text) not in (Kind.INTEGER, Kind.FLOAT):
            raise rejection(
                f"{clip(text)!r} is not a number", f"write {self.least:g} to {self.most:g}"
            )
        number = float(text)
        if not math.isfinite(number) or not self.least <= number <= self.most:
            raise rejection(
                f"{clip(text)} is out of range", f"write {self.least:g} to {self.most:g}"
            )
        return number

    def schema(self) -> dict[str, object]:
        """Return a number, or a text with a variable."""
        number = {"type": "number", "minimum": self.least, "maximum": self.most}
        return {"anyOf": [number, _expandable()]}


@dataclass(frozen=True, slots=True)
class Duration(ScalarType):
    """Seconds, spelled with a unit. Bounds in seconds."""

    least: float
    most: float

    def read(self, value: object) -> float:
        """Return seconds."""
        text = _quantity_text(value, "a duration such as 5s")
        seconds = _spelled(parse_duration, text)
        if not self.least <= seconds <= self.most:
            least, most = format_duration(self.least), format_duration(self.most)
            raise rejection(f"{text} is out of range", f"write {least} to {most}")
        return seconds

    def schema(self) -> dict[str, object]:
        """Return the pattern of durations."""
        spelled: dict[str, object] = {
            "type": "string",
            "pattern": f"^(?:{DURATION_PATTERN}|{EXPANDABLE})$",
            "examples": ["500ms", "2s", "5m", "1h30m"],
        }
        return spelled if self.least > 0 else {"anyOf": [{"const": 0}, spelled]}


@dataclass(frozen=True, slots=True)
class Size(ScalarType):
    """Bytes, spelled with a unit. Bounds in bytes."""

    least: int
    most: int

    def read(self, value: object) -> int:
        """Return bytes."""
        text = _quantity_text(value, "a size such as 10MiB")
        size = _spelled(parse_size, text)
        if not self.least <= size <= self.most:
            raise rejection(f"{text} is out of range", f"write {self.least}B to {self.most}B")
        return size

    def schema(self) -> dict[str, object]:
        """Return the pattern of sizes."""
        return {
            "type": "string",
            "pattern": f"^(?:{SIZE_PATTERN}|{EXPANDABLE})$",
            "examples": ["512KiB", "10MiB", "1GB"],
        }


@dataclass(frozen=True, slots=True)
class Signal(ScalarType):
    """A signal by name."""

    def read(self, value: object) -> int:
        """Return the number of the signal."""
        return _spelled(parse_signal, read_text(value))

    def schema(self) -> dict[str, object]:
        """Return the pattern of names; which exist depends on the system."""
        pattern = rf"^(?:(?:SIG)?[A-Za-z][A-Za-z0-9+-]*|{EXPANDABLE})$"
        return {"type": "string", "pattern": pattern, "examples": ["TERM", "INT", "QUIT"]}


@dataclass(frozen=True, slots=True)
class Choice(ScalarType, Generic[T]):
    """One of a few words. `foreign` maps what other supervisors call them to ours."""

    words: "Mapping[str, T]"
    foreign: "Mapping[str, str]" = field(default_factory=dict)

    def read(self, value: object) -> T:
        """Return what the word stands for."""
        text = value.text if isinstance(value, Scalar) else read_text(value)
        if text in self.words:
            return self.words[text]
        names = list(self.words)
        near = get_close_matches(text.lower().replace("_", "-"), names, n=1)
        hint = f"write {', '.join(names[:-1])} or {names[-1]}"
        if instead := self.foreign.get(text) or (near[0] if near else ""):
            hint = f"did you mean {instead}?"
        raise rejection(f"{clip(text)!r} is not one of {', '.join(names)}", hint)

    def schema(self) -> dict[str, object]:
        """Return the words."""
        return {"anyOf": [{"enum": list(self.words)}, _expandable()]}


@dataclass(frozen=True, slots=True)
class Never(ScalarType):
    """`false`, in the place of a mapping: the feature is off."""

    def read(self, value: object) -> Literal[False]:
        """Return False."""
        if Boolean().read(value):
            raise rejection("true says nothing here", "write false, or the mapping")
        return False

    def schema(self) -> dict[str, object]:
        """Return the one value."""
        return {"const": False}


def _expandable() -> dict[str, object]:
    return {"type": "string", "pattern": f"^{EXPANDABLE}$"}


def _number_text(value: object, what: str) -> str:
    if not isinstance(value, Scalar):
        raise rejection(f"is {kind_words(value)}", f"must be {what}")
    if value.kind is Kind.TEXT and not value.expanded and kind_of(value.text) is Kind.INTEGER:
        raise rejection(f'"{value.text}" is text in quotes', f"must be {what}: remove the quotes")
    if value.kind is Kind.NULL:
        raise rejection("is empty", f"must be {what}")
    return value.text


def _quantity_text(value: object, what: str) -> str:
    if not isinstance(value, Scalar) or value.kind in (Kind.NULL, Kind.BOOLEAN):
        raise rejection(f"is {kind_words(value)}", f"must be {what}")
    return value.text


def _spelled(parse: "Callable[[str], T]", text: str) -> T:
    try:
        return parse(text)
    except SpellingError as error:
        raise rejection(error.message, error.hint) from None
