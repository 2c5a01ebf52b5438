"""A notification in words and as data, for whatever takes it: pure but for the local time zone."""

import json
import time
from collections.abc import Mapping
from typing import Final, assert_never
from urllib.parse import urlsplit

from supervisor.core.masking import split
from supervisor.core.notify import Transition, WebhookFormat
from supervisor.notify.mailbox import SUMMARY, Letter
from supervisor.probes.expectations import line_of

_LONGEST: Final = 500
"""Characters of a text."""
_SUMMARY_KINDS: Final = 8
"""What a summary names before it only counts."""

_IS: Final[Mapping[str, str]] = {
    Transition.FAILED: "failed",
    Transition.CRASHED: "crashed",
    Transition.UNREADY: "is not ready",
    Transition.HUNG: "hangs",
    Transition.RECOVERED: "works again",
    Transition.REMEDY: "met a remedy",
    Transition.NOTICE: "has to say",
    Transition.STARTED: "was started",
    Transition.STOPPED: "was stopped",
    Transition.COMPLETED: "has done its work",
    Transition.DAEMON: "changed",
}
STATES: Final[Mapping[str, str]] = {
    Transition.FAILED: "failed",
    Transition.CRASHED: "backoff",
    Transition.UNREADY: "unready",
    Transition.HUNG: "hung",
    Transition.RECOVERED: "healthy",
    Transition.STARTED: "starting",
    Transition.STOPPED: "stopped",
    Transition.COMPLETED: "completed",
}
"""The state that an event leads to; of others it says nothing."""


def title(letter: Letter) -> str:
    """Return who and what, in a few words: `tts failed`, `tts crashed 5 times`."""
    if letter.event == SUMMARY:
        return f"{letter.count} more events"
    return _told(letter.service, letter.event, letter.count)


def sentence(letter: Letter) -> str:
    """Return all of it on one line."""
    if letter.event == SUMMARY:
        return f"{letter.count} more {_span(letter)}: {_kinds(letter)}"
    text = safe(letter.text)
    if not letter.service:
        return f"atlasctl: {text}"
    latest = ", the last time" if letter.count > 1 else ""
    return f"{title(letter)}{latest}: {text}" if text else title(letter)


def safe(text: str) -> str:
    """Return a text fit to leave the machine: one line, not too long, secrets masked."""
    line = split(line_of(text)).masked()
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def host_of(url: str) -> str:
    """Return what may be shown of a URL, which may be a secret as a whole."""
    return urlsplit(url).hostname or ""


def data(letter: Letter, host: str) -> dict[str, object]:
    """Return what is known, as JSON data."""
    told: dict[str, object] = {
        "service": letter.service or None,
        "event": letter.event,
        "state": STATES.get(letter.event),
        "summary": sentence(letter),
        "text": safe(letter.text),
        "run": letter.run,
        "count": letter.count,
        "at": _iso(letter.at),
        "since": _iso(letter.since),
        "seq": letter.seq,
        "host": host,
    }
    if letter.kinds:
        told["events"] = [
            {"service": service or None, "event": event, "count": count}
            for service, event, count in letter.kinds
        ]
    return told


def body(letter: Letter, host: str, shape: WebhookFormat) -> tuple[str, bytes]:
    """Return content type and body of a POST."""
    line = f"{sentence(letter)} ({host})"
    match shape:
        case "json":
            return _json(data(letter, host))
        case "slack":
            # What Slack would take for a link or a mention.
            plain = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            return _json({"text": plain})
        case "discord":
            return _json({"content": line[:2000], "allowed_mentions": {"parse": []}})
        case "text":
            return "text/plain; charset=utf-8", line.encode("utf-8", "replace")
        case _:
            assert_never(shape)


def _json(value: object) -> tuple[str, bytes]:
    text = json.dumps(value, ensure_ascii=False)
    return "application/json", text.encode("utf-8", "backslashreplace")


def _told(service: str, event: str, count: int) -> str:
    who = service or "atlasctl"
    often = "" if count == 1 else " twice" if count == 2 else f" {count} times"
    return f"{who} {_IS.get(event, event)}{often}"


def _kinds(letter: Letter) -> str:
    named = letter.kinds[:_SUMMARY_KINDS]
    words = [_told(*kind) for kind in named]
    others = letter.count - sum(count for _, _, count in named)
    return ", ".join([*words, f"and {others} others"] if others else words)


def _span(letter: Letter) -> str:
    first, last = _clock(letter.since, letter.at), _clock(letter.at, letter.at)
    return f"at {last}" if first == last else f"from {first} to {last}"


def _clock(at: float, beside: float) -> str:
    then, other = time.localtime(at), time.localtime(beside)
    same = (then.tm_year, then.tm_yday) == (other.tm_year, other.tm_yday)
    return time.strftime("%H:%M" if same else "%Y-%m-%d %H:%M", then)


def _iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
