"""A probe as a file: what `supervisor.export.check` asks where nobody else can ask it.

The JSON is that of `supervisor.config.codec` without what is a default, and with bytes as text
where they are text, so that a person can read and change it:
`[{"check": {"$": "HttpCheck", "host": "127.0.0.1", "port": 3001}, "timeout": 2}]`.
"""

import dataclasses
import json
from dataclasses import dataclass
from typing import Final

from supervisor.config.codec import TAG, CodecError, Json, decode, encode
from supervisor.core.spec import Check, ExecCheck, Expectations, HttpCheck, TcpCheck, Wav

MAX_BYTES: Final = 1024 * 1024
_WIDE: Final = 72
"""Characters of a line, which stands four further to the right in the YAML."""


@dataclass(frozen=True, slots=True)
class Idle:
    """How it is known that a service works on something, so that a costly question is put off."""

    check: HttpCheck
    """Its `busy` says where."""
    timeout: float
    deadline: float
    """Seconds for which a question that is due is put off at most."""


@dataclass(frozen=True, slots=True)
class Question:
    """One check, with the seconds that it may take."""

    check: Check
    timeout: float
    every: float | None = None
    """Asked only if its last success is so many seconds ago; None: whenever the file is."""
    idle: Idle | None = None
    again: float | None = None
    """A failure is followed by another try so many seconds later, while `timeout` is not over."""


_KNOWN: Final = {
    kind.__name__: kind
    for kind in (Question, Idle, HttpCheck, TcpCheck, ExecCheck, Expectations, Wav)
}


def written(questions: tuple[Question, ...]) -> str:
    """Return the text of a file with these questions."""
    return _laid_out(_trimmed(encode(questions)), "") + "\n"


def read(text: str) -> tuple[Question, ...]:
    """Return the questions of a file. Raises CodecError, and ValueError for what is no JSON."""
    return decode(tuple[Question, ...], _filled(json.loads(text)))


def _laid_out(data: Json, margin: str) -> str:
    """Return JSON in which what fits on a line is on one."""
    line = json.dumps(data, ensure_ascii=False)
    if not isinstance(data, dict | list) or not data or len(margin) + len(line) <= _WIDE:
        return line
    inner = margin + "  "
    if isinstance(data, list):
        parts = [_laid_out(item, inner) for item in data]
    else:
        parts = [
            f"{json.dumps(key, ensure_ascii=False)}: {_laid_out(item, inner)}"
            for key, item in data.items()
        ]
    first, last = "[]" if isinstance(data, list) else "{}"
    return f"{first}\n{inner}" + f",\n{inner}".join(parts) + f"\n{margin}{last}"


def _defaults(name: str) -> dict[str, Json]:
    kind = _KNOWN.get(name)
    if kind is None:
        raise CodecError(f"there is no {name!r}")
    defaults: dict[str, Json] = {}
    for entry in dataclasses.fields(kind):
        if entry.default is not dataclasses.MISSING:
            defaults[entry.name] = encode(entry.default)
        elif entry.default_factory is not dataclasses.MISSING:
            defaults[entry.name] = encode(entry.default_factory())
    return defaults


def _trimmed(data: Json) -> Json:
    if isinstance(data, list):
        return [_trimmed(item) for item in data]
    if not isinstance(data, dict):
        return data
    name = data.get(TAG)
    if name == "bytes":
        return _as_text(data)
    usual = _defaults(name) if isinstance(name, str) and name in _KNOWN else {}
    kept = {key: item for key, item in data.items() if key not in usual or item != usual[key]}
    if name == Question.__name__:
        del kept[TAG]
    return {key: _trimmed(item) for key, item in kept.items()}


def _as_text(data: dict[str, Json]) -> Json:
    try:
        return {TAG: "bytes", "text": decode(bytes, data).decode()}
    except UnicodeDecodeError:
        return {**data}


def _filled(data: Json, tag: str | None = Question.__name__) -> Json:
    """Return the JSON with every default in its place; `tag` is that of what bears none."""
    if isinstance(data, list):
        return [_filled(item, tag) for item in data]
    if not isinstance(data, dict):
        return data
    name = data.get(TAG, tag)
    if name == "bytes":
        text = data.get("text")
        return encode(text.encode()) if isinstance(text, str) else data
    if not isinstance(name, str):
        return data
    inner: dict[str, Json] = {key: _filled(item, None) for key, item in data.items()}
    return {TAG: name, **_defaults(name), **inner}
