"""Which lines matched and were not told yet, and the one connection that is told.

Kept true: for one service, pattern and run at most one report in `GAP` seconds, the first at once;
what is found meanwhile, or while nobody has subscribed, is counted and told later; what is kept is
bounded; a subscriber that does not read gets nothing more until it has.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, NamedTuple

from supervisor.logs.conversation import PeerError

if TYPE_CHECKING:
    from supervisor.core.pattern import Pattern
    from supervisor.logs.conversation import Conversation

GAP = 1.0
MOST_WAITING = 1000
LONGEST_SHOWN = 300
"""Characters of a line that are told."""

_Key = tuple[str, str]


class Report(NamedTuple):
    """A pattern was matched so many times since the last report; `line` is the first of them."""

    name: str
    pattern: str
    run: int | None
    line: str
    times: int


class Reports:
    """What waits to be told, by service and pattern; of several runs the latest."""

    def __init__(self) -> None:
        self._waiting: dict[_Key, Report] = {}
        self._told: dict[_Key, tuple[int | None, float]] = {}
        """In the last `GAP` seconds, the earliest first: of which run, and when (monotonic)."""
        self._subscriber: Conversation | None = None

    def note(self, name: str, pattern: Pattern, run: int | None, line: bytes, times: int) -> None:
        """Keep what was found until it can be told."""
        key = (name, pattern.text)
        old = self._waiting.get(key)
        if old is not None and old.run == run:
            self._waiting[key] = old._replace(times=old.times + times)
            return
        self._waiting.pop(key, None)
        self._waiting[key] = Report(name, pattern.text, run, _shown(line), times)
        if len(self._waiting) > MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]

    def subscribe(self, conversation: Conversation) -> None:
        """Tell this one from now on, in the place of who subscribed before."""
        self._subscriber = conversation

    def leave(self, conversation: Conversation) -> None:
        """Tell this one nothing more, if it is the one that is told."""
        if self._subscriber is conversation:
            self._subscriber = None

    def due(self) -> float | None:
        """Return when something is to be told next (monotonic seconds); None: nothing is."""
        if not self._waiting or self._subscriber is None or self._subscriber.has_output:
            return None
        return min(self._time_of(key, report) for key, report in self._waiting.items())

    def tell(self, *, all_of_them: bool = False) -> Conversation | None:
        """Send what is due, or all that waits, and return to whom, if anybody."""
        subscriber = self._subscriber
        if not self._waiting or subscriber is None:
            return None
        now = time.monotonic()
        for key, report in list(self._waiting.items()):
            if not all_of_them and self._time_of(key, report) > now:
                continue
            if subscriber.has_output:
                break
            try:
                subscriber.send(json.dumps({"match": report._asdict()}).encode())
            except PeerError:
                self._subscriber = None  # its end is found out, and dealt with, where it is read
                return None
            del self._waiting[key]
            self._told.pop(key, None)
            self._told[key] = (report.run, now)
        self._forget(now - GAP)
        return subscriber

    def _time_of(self, key: _Key, report: Report) -> float:
        run, at = self._told.get(key, (None, 0.0))
        return at + GAP if at and run == report.run else 0.0

    def _forget(self, before: float) -> None:
        while self._told:
            key = next(iter(self._told))
            if self._told[key][1] > before:
                break
            del self._told[key]


def _shown(line: bytes) -> str:
    text = line[: 4 * LONGEST_SHOWN].decode("utf-8", "replace")
    clean = "".join(character if character.isprintable() else " " for character in text)
    return clean[:LONGEST_SHOWN].strip()
