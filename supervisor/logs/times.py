"""When each part of a log was written: a small text file beside it, so that the log stays raw.

Kept true: losing or garbling an index costs times, never lines; and an index never grows beyond
`LARGEST`. A record is `offset unix_time`, one a line: what starts at `offset` came at that time or
later. Records are `FIRST_GAP` seconds apart, and twice as far after each further `STEP` bytes of
index, so that a log that fills up slowly is covered to its end, only more coarsely.
"""

from __future__ import annotations

import contextlib
import os
from bisect import bisect_left, bisect_right
from typing import NamedTuple

from supervisor.logs.rotation import TIMES_FOLDER, times_name

FIRST_GAP = 0.1
STEP = 128 * 1024
LARGEST = 1024 * 1024


class TimeIndex:
    """The index of the log being written. Never raises: without it the log is only less handy."""

    __slots__ = ("_fd", "_last", "_path", "_size")

    def __init__(self, log: str) -> None:
        """Continue the index of the log at path `log`."""
        folder, name = os.path.split(log)
        self._path = os.path.join(folder, times_name(name))
        self._fd = -1
        self._size = 0
        self._last = 0.0
        with contextlib.suppress(OSError):
            os.mkdir(os.path.join(folder, TIMES_FOLDER), 0o700)
        with contextlib.suppress(OSError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            self._fd = os.open(self._path, flags, 0o600)
            self._size = os.fstat(self._fd).st_size

    def note(self, offset: int, now: float) -> None:
        """Record that the byte at `offset` came at `now` (Unix seconds), if a record is due."""
        gap = FIRST_GAP * 2 ** (self._size // STEP)
        # A clock set back by hand must not silence the index until it has caught up.
        if self._fd < 0 or 0.0 <= now - self._last < gap:
            return
        record = b"%d %.3f\n" % (offset, now)
        if self._size + len(record) > LARGEST:
            return
        self._last = now
        with contextlib.suppress(OSError):
            self._size += os.write(self._fd, record)

    def close(self) -> None:
        """Close the file; nothing is pending."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Times(NamedTuple):
    """A read index: parallel, both ascending."""

    offsets: list[int]
    moments: list[float]

    def at(self, offset: int) -> float | None:
        """Return the Unix time at which the byte at `offset` came, None if it is not known."""
        found = bisect_right(self.offsets, offset) - 1
        return self.moments[found] if found >= 0 else None

    def first_at_or_after(self, moment: float) -> int | None:
        """Return the offset of the first part that came at `moment` or later; None if none did."""
        found = bisect_left(self.moments, moment)
        return self.offsets[found] if found < len(self.offsets) else None


def index_size(log: str) -> int:
    """Return the bytes of the index of the log at path `log`: it has new records when this grew."""
    folder, name = os.path.split(log)
    try:
        return os.stat(os.path.join(folder, times_name(name))).st_size
    except OSError:
        return 0


def read_times(log: str) -> Times:
    """Return the index of the log at path `log`, rotated or not; empty where there is none.

    A record that does not parse, or goes backwards in offset or time, is left out: a torn write, or
    a clock set back.
    """
    folder, name = os.path.split(log)
    times = Times([], [])
    try:
        with open(os.path.join(folder, times_name(name)), "rb") as file:
            content = file.read(LARGEST)
    except OSError:
        return times
    for record in content.split(b"\n"):
        offset, space, moment = record.partition(b" ")
        if not (space and offset.isdigit()):
            continue
        try:
            at, when = int(offset), float(moment)
        except ValueError:
            continue
        if times.offsets and (at < times.offsets[-1] or not when >= times.moments[-1]):
            continue
        times.offsets.append(at)
        times.moments.append(when)
    return times
