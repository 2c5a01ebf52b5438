"""Whether a reply is what the spec demands: pure, total, and in words that name the difference."""

import json
import re
from collections.abc import Mapping
from http import HTTPStatus

from supervisor.core.events import Fault, ProbeResult
from supervisor.core.spec import Expectations, JsonScalar
from supervisor.probes.wav import WavError, seconds_of

MAX_BODY = 16 * 1024 * 1024
"""Bytes of a body that are read when an expectation needs it: three minutes of speech."""
_EXCERPT = 120
_NOTICE = 500
"""Characters of a notice: room for what is wrong, the remedy, and who stands in."""
_REFUSALS = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
"""By which a service says that it takes no work now; RFC 6585 and 9110 have the same in mind."""


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
    expect: Expectations,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    latency: float,
    *,
    whole: bool = True,
) -> ProbeResult:
    """Return the verdict on a reply; latency in seconds. `headers` have lower-case names.

    Not `whole`: there was more of the body than a probe reads.
    """
    why = _difference(expect, status, headers, body, whole=whole)
    if why is not None:
        fault = Fault.REFUSED if status in _REFUSALS else Fault.WRONG
        return ProbeResult(False, why, latency, fault=fault)
    if expect.latency is not None and latency > expect.latency:
        # What was asked for came, and too late: as if it had not been waited for so long.
        text = f"answered after {latency:.2f} s; {expect.latency:g} s were allowed"
        return ProbeResult(False, text, latency, fault=Fault.SILENT)
    return ProbeResult(
        ok=True, detail=f"{_status(status)} in {latency * 1000:.0f} ms", latency=latency
    )


def _difference(
    expect: Expectations,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    whole: bool,
) -> str | None:
    """Return the first expectation of the reply itself that does not hold, in words, or None."""
    if not any(low <= status <= high for low, high in expect.status):
        excerpt = said(body)
        return _status(status) + (f": {excerpt}" if excerpt else "")
    media_type = headers.get("content-type", "").split(";")[0].strip().lower()
    if expect.content_type is not None and media_type != expect.content_type:
        excerpt = said(body)
        found = line_of(media_type)[:_EXCERPT]
        return f"{found or 'no content type'} where {expect.content_type} was expected" + (
            f": {excerpt}" if excerpt else ""
        )
    if expect.max_bytes is not None and len(body) > expect.max_bytes:
        return f"a body of over {expect.max_bytes} bytes, the most that was expected"
    if not whole and _needs_end(expect, body):
        return f"the body is over {MAX_BODY} bytes, the most that a probe reads"
    if expect.min_bytes is not None and len(body) < expect.min_bytes:
        size = f"a body of {len(body)} bytes" if body else "an empty body"
        return f"{size}; at least {expect.min_bytes} were expected"
    if expect.body_prefix is not None and not body.startswith(expect.body_prefix):
        return f"the body begins with {body[:20]!r}, not with {expect.body_prefix[:20]!r}"
    if expect.json:
        why = _json_difference(expect.json, body)
        if why is not None:
            return why
    if expect.wav is not None:
        try:
            seconds = seconds_of(body, whole=whole)
        except WavError as error:
            return f"no playable WAV: {error}"
        if seconds < expect.wav.min_seconds:
            return f"{seconds:.2f} s of audio; at least {expect.wav.min_seconds:g} s were expected"
    return None


def _needs_end(expect: Expectations, body: bytes) -> bool:
    """Tell whether the verdict on a longer body could be another than on its beginning."""
    short = expect.min_bytes is not None and len(body) < expect.min_bytes
    return bool(expect.json) or expect.max_bytes is not None or short


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
            wish = json.dumps(expected, ensure_ascii=False)
            return f"JSON {path} is {_shown(found)}; {wish} was expected"
    return None


_NOTHING = object()
_INDEX = re.compile("[0-9]{1,9}")


def _at(document: object, path: str) -> object:
    for part in path.split("."):
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list) and _INDEX.fullmatch(part) and int(part) < len(document):
            document = document[int(part)]
        else:
            return _NOTHING
    return document


def _shown(found: object) -> str:
    try:
        text = json.dumps(found, ensure_ascii=False)
    except (ValueError, RecursionError):  # a nesting, or a number, that can be read and not written
        text = f"a {type(found).__name__}"
    return _shortened(line_of(text))


def _equal(found: object, expected: JsonScalar) -> bool:
    # `1 == True` in Python, and not in JSON.
    if isinstance(found, bool) or isinstance(expected, bool):
        return found is expected
    return found == expected


def notice_in(body: bytes, path: str) -> str | None:
    """Return the text at a dotted path of a JSON body as one short line; None if there is none.

    What is there and no text (null, false) is no notice, and neither is a reply that is not JSON.
    """
    try:
        found = _at(json.loads(body), path)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, str):
        return None
    return _shortened(line_of(found[: 4 * _NOTICE]), _NOTICE) or None


def busy_in(body: bytes, path: str) -> bool | None:
    """Tell whether what is at a dotted path of a JSON body says that there is work.

    None: nothing is there, or it is no JSON. A number says so if it is not 0.
    """
    try:
        found = _at(json.loads(body), path)
    except (ValueError, RecursionError):
        return None
    return None if found is _NOTHING else bool(found)


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
    return _shortened(line_of(text))


def line_of(text: str) -> str:
    """Return foreign text as one line that is safe to print: no control characters, no escapes.

    Lone surrogates, which JSON can spell and UTF-8 cannot, go as well.
    """
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _shortened(line: str, most: int = _EXCERPT) -> str:
    return line if len(line) <= most else line[: most - 1] + "…"
