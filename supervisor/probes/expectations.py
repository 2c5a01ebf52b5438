"""Whether a reply is what the spec demands: pure, total, and in words that name the difference."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from math import isclose

from supervisor.core.events import ProbeResult
from supervisor.core.spec import Expectations, JsonScalar
from supervisor.probes.wav import WavError, seconds_of

MAX_BODY = 16 * 1024 * 1024
"""Bytes of a body that are read when an expectation needs it: three minutes of speech."""
_EXCERPT = 120


def wants_body(expect: Expectations) -> bool:
    """Tell whether any expectation is about the body."""
    return bool(
        expect.json
        or expect.body_prefix
        or expect.min_bytes
        or expect.max_bytes is not None
        or expect.wav
    )


def judge(
    expect: Expectations, status: int, headers: Mapping[str, str], body: bytes, latency: float
) -> ProbeResult:
    """Return the verdict on a whole reply. `headers` have lower-case names."""
    why = _difference(expect, status, headers, body, latency)
    if why is not None:
        return ProbeResult(ok=False, detail=why, latency=latency)
    return ProbeResult(
        ok=True, detail=f"{_status(status)} in {latency * 1000:.0f} ms", latency=latency
    )


def _difference(
    expect: Expectations, status: int, headers: Mapping[str, str], body: bytes, latency: float
) -> str | None:
    """Return the first expectation that does not hold, in words, or None."""
    if not any(low <= status <= high for low, high in expect.status):
        excerpt = said(body)
        return _status(status) + (f": {excerpt}" if excerpt else "")
    media_type = headers.get("content-type", "").split(";")[0].strip().lower()
    if expect.content_type is not None and media_type != expect.content_type:
        excerpt = said(body)
        return f"{media_type or 'no content type'} where {expect.content_type} was expected" + (
            f": {excerpt}" if excerpt else ""
        )
    if expect.min_bytes is not None and len(body) < expect.min_bytes:
        size = f"a body of {len(body)} bytes" if body else "an empty body"
        return f"{size}; at least {expect.min_bytes} were expected"
    if expect.max_bytes is not None and len(body) > expect.max_bytes:
        return f"a body of over {expect.max_bytes} bytes, the most that was expected"
    if expect.body_prefix is not None and not body.startswith(expect.body_prefix):
        return f"the body begins with {body[:20]!r}, not with {expect.body_prefix[:20]!r}"
    if expect.json:
        why = _json_difference(expect.json, body)
        if why is not None:
            return why
    if expect.wav is not None:
        try:
            seconds = seconds_of(body)
        except WavError as error:
            return f"no playable WAV: {error}"
        if seconds < expect.wav.min_seconds:
            return f"{seconds:.2f} s of audio; at least {expect.wav.min_seconds:g} s were expected"
    if expect.latency is not None and latency > expect.latency:
        return f"answered after {latency:.2f} s; {expect.latency:g} s were allowed"
    return None


def _json_difference(wanted: tuple[tuple[str, JsonScalar], ...], body: bytes) -> str | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return f"the body is not JSON: {said(body) or 'it is empty'}"
    for path, expected in wanted:
        found = _at(document, path)
        if found is _NOTHING:
            return f"JSON has no {path}; {json.dumps(expected, ensure_ascii=False)} was expected"
        if not _equal(found, expected):
            shown = json.dumps(found, ensure_ascii=False)[:_EXCERPT]
            return (
                f"JSON {path} is {shown}; {json.dumps(expected, ensure_ascii=False)} was expected"
            )
    return None


_NOTHING = object()


def _at(document: object, path: str) -> object:
    for part in path.split("."):
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list) and part.isdecimal() and int(part) < len(document):
            document = document[int(part)]
        else:
            return _NOTHING
    return document


def _equal(found: object, expected: JsonScalar) -> bool:
    # `1 == True` in Python, and not in JSON.
    if isinstance(found, bool) or isinstance(expected, bool):
        return found is expected
    if isinstance(found, int | float) and isinstance(expected, int | float):
        return isclose(found, expected, rel_tol=1e-9)
    return found == expected


def _status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def said(body: bytes) -> str:
    """Return what a body says to a person, in one short line: a JSON error, or how it begins."""
    text = body[:4096].decode("utf-8", "replace")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        pass
    else:
        if isinstance(document, dict) and isinstance(document.get("error"), str):
            text = document["error"]
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _EXCERPT else line[: _EXCERPT - 1] + "…"
