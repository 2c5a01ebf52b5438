"""The last lines of logs, as they come, for any number of viewers.

Kept true: one reader a log, whoever looks; its lines are numbered, and a viewer asks for those
after the last number it has. So a reply that is lost costs nothing, and memory is bounded by
`KEPT` and `WATCHED`, whatever services print.
"""

import re
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypedDict

from supervisor.logs.follow import BUDGET, LogLine, LogTail

SHOWN: Final = 300
"""Lines that are there already when a log is opened."""
KEPT: Final = 1000
LONGEST: Final = 2000
"""Characters of one line."""
WATCHED: Final = 8
"""Logs at a time; another one takes the place of the one that was not looked at for longest."""
_ROUNDS: Final = 4
"""Budgets that are read at once; where a service prints more, the rest is passed over."""
MOST_FOUND: Final = 200
SEARCHED: Final = 100_000
"""Lines that a search goes back, at most."""
SEARCH_SECONDS: Final = 8.0
_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?)")
"""What the page leaves out of a line (static/js/words.js), so that it does not hide a match."""


class Line(TypedDict):
    """One line as the page gets it."""

    n: int
    at: float | None
    text: str


class Lines(TypedDict):
    """What is new in a log."""

    reader: int
    """Which reader the numbers are of."""
    lines: list[Line]
    missed: bool
    """Lines before these were left out: they came faster than can be shown."""


class Found(TypedDict):
    """What a search has found: the last matches, oldest first."""

    lines: list[Line]
    matches: int
    searched: int
    """Lines that were looked at."""
    whole: bool
    """False: time was up before the end of the log."""


@dataclass(slots=True)
class _Reader:
    number: int
    tail: LogTail
    lines: deque[Line] = field(default_factory=lambda: deque(maxlen=KEPT))
    count: int = 0
    gap_before: int = 0
    """The number of the first line after what was passed over last."""

    def take(self) -> None:
        if not self.catch_up() and self.tail.read(1):
            self.tail.seek_last(SHOWN)
            self.gap_before = self.count + 1
            self.catch_up()

    def catch_up(self) -> bool:
        """Read what is there; False: as much as may be read at once, which may not be all."""
        for _ in range(_ROUNDS):
            if not (read := self.tail.read(BUDGET)):
                return True
            self.add(read)
        return False

    def add(self, read: list[LogLine]) -> None:
        for line in read:
            self.count += 1
            self.lines.append({"n": self.count, "at": line.at, "text": _short(line.text)})


class LogWindow:
    """Readers of the logs that somebody looks at."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers: OrderedDict[str, _Reader] = OrderedDict()
        self._made = 0

    def lines(self, log: str, reader: int, after: int) -> Lines:
        """Return the lines after number `after` of that reader, or of another one from its start.

        Raises OSError.
        """
        with self._lock:
            found = self._reader(log)
            found.take()
            if reader != found.number:
                after = 0
            first = found.lines[0]["n"] if found.lines else 0
            missed = after < found.gap_before - 1 or (after > 0 and after < first - 1)
            new = [line for line in found.lines if line["n"] > after]
            if after < found.gap_before - 1:
                new = [line for line in new if line["n"] >= found.gap_before]
            return {"reader": found.number, "lines": new, "missed": missed}

    def close(self) -> None:
        """Close every file."""
        with self._lock:
            for reader in self._readers.values():
                reader.tail.close()
            self._readers.clear()

    def _reader(self, log: str) -> _Reader:
        found = self._readers.get(log)
        if found is None:
            if len(self._readers) >= WATCHED:
                _, oldest = self._readers.popitem(last=False)
                oldest.tail.close()
            self._made += 1
            tail = LogTail(log, times=True)
            tail.seek_last(SHOWN)
            found = self._readers[log] = _Reader(self._made, tail)
        self._readers.move_to_end(log)
        return found


def search(log: str, sought: str, now: Callable[[], float] = time.monotonic) -> Found:
    """Look for plain text, whatever its case, in the last `SEARCHED` lines of a log as it is shown.

    Rotated files are looked through as well. Raises OSError.
    """
    wanted = sought.casefold()
    deadline = now() + SEARCH_SECONDS
    found: deque[Line] = deque(maxlen=MOST_FOUND)
    searched = matches = 0
    whole = True
    tail = LogTail(log, times=True)
    try:
        tail.seek_last(SEARCHED)
        # A service that prints all the time must not make a search without end.
        while searched < SEARCHED and (read := tail.read()):
            for line in read:
                searched += 1
                text = _ESCAPES.sub("", line.text) if "\x1b" in line.text else line.text
                if (place := text.casefold().find(wanted)) >= 0:
                    matches += 1
                    found.append({"n": searched, "at": line.at, "text": _short(text, place)})
            if now() > deadline:
                whole = False
                break
    finally:
        tail.close()
    return {"lines": list(found), "matches": matches, "searched": searched, "whole": whole}


def _short(text: str, place: int = 0) -> str:
    """Return `LONGEST` characters of a text at most, with those at `place` among them."""
    start = max(0, place - LONGEST // 2) if len(text) > LONGEST else 0
    left_out = len(text) - start - LONGEST
    before = f"[{start} characters cut] … " if start else ""
    after = f" … [{left_out} characters cut]" if left_out > 0 else ""
    return f"{before}{text[start : start + LONGEST]}{after}"
