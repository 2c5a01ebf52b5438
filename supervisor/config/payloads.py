"""What an HTTP probe sends and expects: bodies, headers, status ranges, JSON values."""

import ipaddress
import re
from dataclasses import dataclass

from supervisor.config.document import Kind, Scalar
from supervisor.config.fields import (
    EXPANDABLE,
    Key,
    ScalarType,
    Text,
    kind_words,
    read_text,
    rejection,
)
from supervisor.config.problems import clip
from supervisor.config.quantities import SpellingError, parse_host
from supervisor.core.spec import JsonScalar

Json = JsonScalar | list["Json"] | dict[str, "Json"]

# RFC 9110 section 5.6.2: what a header name and a media type are made of.
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - a token of the HTTP grammar
# The probe frames its own message and closes its own connection.
_OURS = r"(?![Cc]ontent-[Ll]ength$|[Tt]ransfer-[Ee]ncoding$|[Cc]onnection$)"
HEADER_NAME = Key(
    _OURS + _TOKEN,
    "cannot be set as a header",
    "use letters, digits and -; Content-Length, Transfer-Encoding and Connection are set for you",
)
HEADER_VALUE = Text(
    r"(?:[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)?",
    "is not a header value",
    "use ASCII without line breaks",
)
MEDIA_TYPE = Text(
    f"{_TOKEN}/{_TOKEN}", "is not a media type", "write it like audio/wav, without parameters"
)
JSON_PATH = Text(
    r"[^.]+(?:\.[^.]+)*", "is not a path", "write keys joined by dots, like a.b.0", most=1000
)


@dataclass(frozen=True, slots=True)
class Target(ScalarType):
    """Path and query of a request."""

    def read(self, value: object) -> str:
        """Return the target, which is ASCII and begins with a slash."""
        text = read_text(value)
        if not text.startswith("/"):
            raise rejection(f"{clip(text)!r} does not begin with /", f'write "/{clip(text)}"')
        if "#" in text or not re.fullmatch(r"[\x21-\x7e]+", text):
            raise rejection(
                f"{clip(text)!r} is not a path and query", "percent-encode what is not ASCII"
            )
        return text

    def schema(self) -> dict[str, object]:
        """Return the pattern of targets."""
        pattern = rf"^(?:/[\x21\x22\x24-\x7e]*|{EXPANDABLE})$"
        return {"type": "string", "pattern": pattern, "examples": ["/health"]}


@dataclass(frozen=True, slots=True)
class Host(ScalarType):
    """An address to connect to; `localhost` is 127.0.0.1."""

    def read(self, value: object) -> str:
        """Return the address."""
        text = read_text(value)
        if text == "localhost":
            return "127.0.0.1"
        try:
            return parse_host(text)
        except SpellingError as error:
            raise rejection(error.message, error.hint) from None

    def schema(self) -> dict[str, object]:
        """Return the pattern of addresses."""
        pattern = rf"^(?:localhost|[0-9.]+|\[?[0-9A-Fa-f:.]+\]?|{EXPANDABLE})$"
        return {"type": "string", "pattern": pattern}


@dataclass(frozen=True, slots=True)
class Status(ScalarType):
    """A status code, a class of them (`2xx`) or a range (`200-299`)."""

    def read(self, value: object) -> tuple[int, int]:
        """Return the inclusive range."""
        text = value.text if isinstance(value, Scalar) else read_text(value)
        if re.fullmatch(r"[1-5]xx", text, re.IGNORECASE):
            return int(text[0]) * 100, int(text[0]) * 100 + 99
        if not re.fullmatch(r"[1-5][0-9]{2}(?:-[1-5][0-9]{2})?", text):
            raise rejection(f"{clip(text)!r} is not a status code", "write 200, 2xx or 200-299")
        low, _, high = text.partition("-")
        if high and high < low:
            raise rejection(f"{text} runs backwards", f"write {high}-{low}")
        return int(low), int(high or low)

    def schema(self) -> dict[str, object]:
        """Return a number or a pattern."""
        pattern = rf"^(?:[1-5][xX][xX]|[1-5][0-9]{{2}}(?:-[1-5][0-9]{{2}})?|{EXPANDABLE})$"
        number = {"type": "integer", "minimum": 100, "maximum": 599}
        return {"anyOf": [number, {"type": "string", "pattern": pattern}]}


@dataclass(frozen=True, slots=True)
class Body(ScalarType):
    """What a request carries."""

    def read(self, value: object) -> Json:
        """Return the data; text stays text, and everything else will be JSON."""
        return read_json(value)

    def schema(self) -> dict[str, object]:
        """Return the schema of anything but nothing."""
        return {"type": ["string", "number", "boolean", "object", "array", "null"]}


@dataclass(frozen=True, slots=True)
class JsonEquals(ScalarType):
    """Values that must stand in the JSON reply, by dotted path or by nested mappings."""

    def read(self, value: object) -> tuple[tuple[str, JsonScalar], ...]:
        """Return paths and scalars; list indices are numbers in the path."""
        if not isinstance(value, dict):
            raise rejection(
                f"must be a mapping, not {kind_words(value)}", "write it like {tts_ready: true}"
            )
        found: dict[str, JsonScalar] = {}
        _flatten(value, "", found)
        if not found:
            raise rejection("expects nothing", "write it like {tts_ready: true}, or remove it")
        return tuple(found.items())

    def schema(self) -> dict[str, object]:
        """Return the schema of a mapping with something in it."""
        return {"type": "object", "minProperties": 1}


def read_json(value: object) -> Json:
    """Return JSON data of a node; what YAML 1.1 and 1.2 read differently is rejected."""
    match value:
        case dict():
            return {str(key): read_json(item) for key, item in value.items()}
        case list():
            return [read_json(item) for item in value]
        case Scalar():
            return _json_scalar(value)
        case _:
            raise AssertionError(f"no node of a tree: {value!r}")


def _json_scalar(scalar: Scalar) -> JsonScalar:
    text = scalar.text
    match scalar.kind:
        case Kind.TEXT:
            try:
                text.encode()
            except UnicodeEncodeError:
                raise rejection(
                    "holds half a character (a lone surrogate)", "mend the variable", at=scalar
                ) from None
            return text
        case Kind.NULL:
            return None
        case Kind.BOOLEAN:
            return text.lower() == "true"
        case Kind.INTEGER if len(text) <= 18:
            return int(text)
        case Kind.FLOAT if len(text) <= 40 and abs(float(text)) != float("inf"):
            return float(text)
        case Kind.INTEGER | Kind.FLOAT:
            raise rejection(f"{clip(text)} is too large a number", "write it in quotes", at=scalar)
        case Kind.WORD_BOOLEAN | Kind.ODD_NUMBER:
            hint = f'write "{text}" in quotes if it is text'
            raise rejection(f"{clip(text)} has more than one reading", hint, at=scalar)


def _flatten(value: object, path: str, found: dict[str, JsonScalar]) -> None:
    match value:
        case dict():
            items = [(str(key), item) for key, item in value.items()]
        case list():
            items = [(str(index), item) for index, item in enumerate(value)]
        case Scalar():
            if path in found:
                raise rejection(f"{path} is given twice", "remove one", at=value)
            found[path] = _json_scalar(value)
            return
        case _:
            raise AssertionError(f"no node of a tree: {value!r}")
    if not items and path:
        raise rejection(
            f"{path} is an empty {'list' if isinstance(value, list) else 'mapping'}",
            "compare a value in it",
        )
    for key, item in items:
        if not key or "" in key.split("."):
            raise rejection(f"{clip(key)!r} is not a path", "write keys joined by dots, like a.b.0")
        _flatten(item, f"{path}.{key}" if path else key, found)


def connectable(host: str) -> str:
    """Return the address to connect to for one that is listened on: 0.0.0.0 is 127.0.0.1."""
    address = ipaddress.ip_address(host)
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"
