"""Frozen dataclasses to JSON and back, exactly: `decode(T, encode(x)) == x`.

The YAML is compiled in a child process, and this is how the result comes home without pydantic or
PyYAML in the daemon. A dataclass is an object that names its class under `$`, which also tells the
members of a union apart; bytes are base64. Floats must be finite, mappings have text keys.
"""

import base64
import binascii
import dataclasses
import math
import types
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
"""What the json module reads and writes."""

T = TypeVar("T")
TAG = "$"


class CodecError(ValueError):
    """The JSON is not of the type asked for, or the value is of a type that is not carried."""


def encode(value: object) -> Json:
    """Return JSON for a dataclass or a part of one. Raises CodecError for other types."""
    match value:
        case None | bool() | int():
            return value
        case StrEnum():
            return value.value
        case str():
            return value
        case float() if math.isfinite(value):
            return value
        case bytes():
            return {TAG: "bytes", "base64": base64.b64encode(value).decode("ascii")}
        case tuple():
            return [encode(item) for item in value]
        case Mapping():
            if not all(isinstance(key, str) for key in value):
                raise CodecError("a mapping has a key that is not text")
            return {"items": {key: encode(item) for key, item in value.items()}}
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
            return {TAG: type(value).__name__, **fields}
        case _:
            raise CodecError(f"cannot carry {value!r} ({type(value).__name__})")


def decode(kind: type[T], data: Json) -> T:
    """Return the value of this type that `encode` made this JSON from. Raises CodecError."""
    return cast("T", _decode(kind, data))


@cache
def _fields(kind: type) -> Mapping[str, object]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


# Type expressions (`tuple[int, ...]`, unions) are objects of many classes: hence `object`.
def _decode(kind: object, data: Json) -> object:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Union or origin is types.UnionType:
        return _decode_union(arguments, data)
    if origin is Literal:
        if data in arguments and isinstance(data, str):
            return data
    elif origin is tuple and isinstance(data, list):
        return _decode_tuple(arguments, data)
    elif (
        origin is Mapping
        and isinstance(data, dict)
        and isinstance(items := data.get("items"), dict)
    ):
        return {key: _decode(arguments[1], item) for key, item in items.items()}
    elif isinstance(kind, type):
        return _decode_plain(kind, data)
    raise CodecError(f"{str(data)[:60]!r} is not {kind}")


def _decode_plain(kind: type, data: Json) -> object:
    if dataclasses.is_dataclass(kind) and isinstance(data, dict) and data.get(TAG) == kind.__name__:
        fields = _fields(kind)
        if data.keys() != {TAG, *fields}:
            raise CodecError(
                f"{kind.__name__} has other fields: {sorted({TAG, *fields} ^ data.keys())}"
            )
        values: dict[str, Any] = {name: _decode(of, data[name]) for name, of in fields.items()}
        return kind(**values)
    if kind is bytes and isinstance(data, dict) and isinstance(text := data.get("base64"), str):
        try:
            return base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise CodecError(f"not base64: {error}") from None
    if issubclass(kind, StrEnum) and isinstance(data, str):
        try:
            return kind(data)
        except ValueError as error:
            raise CodecError(str(error)) from None
    if kind is float and type(data) in (int, float):
        return float(cast("float", data))
    # type(), not isinstance: True is an int to isinstance.
    if type(data) is kind:
        return data
    raise CodecError(f"{str(data)[:60]!r} is not {kind.__name__}")


def _decode_tuple(arguments: tuple[object, ...], data: list[Json]) -> object:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_decode(arguments[0], item) for item in data)
    if len(arguments) != len(data):
        raise CodecError(f"{len(data)} items where {len(arguments)} must be")
    return tuple(_decode(of, item) for of, item in zip(arguments, data, strict=True))


def _decode_union(arguments: tuple[object, ...], data: Json) -> object:
    # Exact types first, or 1 would come back as the 1.0 of an earlier `float` in the union.
    if type(data) in arguments or (data is None and type(None) in arguments):
        return data
    for argument in arguments:
        try:
            return _decode(argument, data)
        except CodecError:
            continue
    raise CodecError(f"{str(data)[:60]!r} is none of {arguments}")
