"""Reading logs back from their files, over rotation and gzip, without daemon or sink.

Kept true: a `LogTail` gives each line once and in order although files are renamed, gzipped and
deleted under it; its memory is bounded by one block and one line, whatever the log holds. The files
of a log are read as one stream, so a line that was split over two of them comes back whole.

New lines are found by asking every `INTERVAL` seconds. The reader is a person's foreground command,
and one pread a log costs less than a second way of watching for each system would.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from supervisor.logs.archive import TRIES, Entry, LogSource, find_entries, open_entry
from supervisor.logs.times import Times, index_size, read_times

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

INTERVAL = 0.1
LONGEST_LINE = 64 * 1024
MOST_LINES = 100_000
"""Most lines that `seek_last` goes back."""
BUDGET = 256 * 1024


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line, without its newline, and when it was written (Unix seconds) if that is known."""

    text: str
    at: float | None


class LogTail:
    """A place in the log of one service, from which lines are read forward."""

    def __init__(self, log: str, *, times: bool = False) -> None:
        """Stand before the oldest line of the log at path `log`, which need not exist yet.

        `times` looks up when each line was written; without it `LogLine.at` is None.
        """
        self._log = log
        self._with_times = times
        self._times = Times([], [])
        self._source: LogSource | None = None
        self._line = bytearray()
        self._line_at: float | None = None
        self._cut = 0
        self._dropping = False  # up to the newline, what came before where we stand
        self._pushed_back = b""
        self._times_known: tuple[str, int] | None = None

    def close(self) -> None:
        """Close the open file."""
        if self._source is not None:
            self._source.close()
            self._source = None

    def seek_last(self, count: int) -> None:
        """Stand before the last `count` lines; more than `MOST_LINES` are not gone back."""
        count = min(max(count, 0), MOST_LINES)
        for _ in range(TRIES):
            if self._try_seek_last(count):
                return

    def seek_time(self, moment: float) -> None:
        """Stand before the first line written at `moment` (Unix seconds) or later.

        Exact to the gap between two records of the index, 0.1 s for most logs. Where the index is
        lost, a file last written after `moment` is given whole.
        """
        for _ in range(TRIES):
            if self._try_seek_time(moment):
                return

    def read(self, budget: int = BUDGET) -> list[LogLine]:
        """Return the next complete lines, about `budget` bytes of them; none if nothing is new.

        Lines longer than `LONGEST_LINE` bytes are cut and say so; what is no UTF-8 is replaced.
        """
        lines: list[LogLine] = []
        while budget > 0 or not lines:
            block, offset = self._next_block()
            if not block:
                break
            budget -= len(block)
            self._split(block, offset, lines)
        return lines

    def rest(self) -> list[LogLine]:
        """Return the line at the end that has no newline yet, if any. It is then taken as read."""
        if not self._line:
            return []
        return [self._finish_line()]

    def _split(self, block: bytes, offset: int, lines: list[LogLine]) -> None:
        start = 0
        while start < len(block):
            end = block.find(b"\n", start)
            stop = len(block) if end < 0 else end
            if not self._dropping:
                if not self._line:
                    self._line_at = self._times.at(offset + start)
                room = LONGEST_LINE - len(self._line)
                self._line += block[start : min(stop, start + room)]
                self._cut += max(0, stop - start - room)
            if end < 0:
                return
            if self._dropping:
                self._dropping = False
            else:
                lines.append(self._finish_line())
            start = end + 1

    def _finish_line(self) -> LogLine:
        text = self._line.decode("utf-8", "replace").removesuffix("\r")
        if self._cut:
            text += f" … [{self._cut} bytes cut]"
        at = self._line_at
        self._line.clear()
        self._line_at = None
        self._cut = 0
        return LogLine(text, at)

    # Files

    def _stand_at(self, entry: Entry, offset: int) -> bool:
        source = open_entry(entry)
        if source is None:
            return False
        self.close()
        self._source = source
        self._line.clear()
        self._cut = 0
        # One byte earlier and up to the newline: right whether or not `offset` begins a line.
        self._dropping = offset > 0
        self._load_times(source)
        self._pushed_back = source.skip_to(max(0, offset - 1))
        return True

    def _next_block(self) -> tuple[bytes, int]:
        """Return the next bytes and their offset in their file; empty when there are none now."""
        for _ in range(TRIES):
            source = self._source or self._begin()
            if source is None:
                break
            block, self._pushed_back = self._pushed_back, b""
            if block:
                return block, source.offset - len(block)
            # Asked before reading: nothing is written to a file once it is rotated away.
            moved_on = self._moved_on(source)
            if not moved_on:  # else the index at its old name is that of another file
                self._load_times(source)
            block = source.read()
            if block:
                return block, source.offset - len(block)
            if not moved_on:
                if source.status().st_size < source.offset:
                    source.skip_to(0)  # truncated by somebody
                    continue
                break
            if not self._next_file(source):
                break
        return b"", 0

    def _begin(self) -> LogSource | None:
        for entry in find_entries(self._log)[:1]:
            self._source = open_entry(entry)
        if self._source is not None:
            self._load_times(self._source)
        return self._source

    def _moved_on(self, source: LogSource) -> bool:
        """True when `source` is not the file that is being written."""
        try:
            return os.stat(self._log).st_ino != source.entry.inode
        except OSError:
            return True

    def _next_file(self, source: LogSource) -> bool:
        """Open the file that was written after `source`; False while there is none."""
        mine = source.status()
        entries = find_entries(self._log)
        places = [
            place
            for place, entry in enumerate(entries)
            if entry.inode == mine.st_ino or (entry.packed and entry.changed_ns == mine.st_mtime_ns)
        ]
        # Not there any more: deleted as too old, so all that is there is newer.
        following = entries[places[-1] + 1 :] if places else entries
        if not following:
            return False
        newer = open_entry(following[0])
        if newer is not None:  # else it was renamed just now: ask again
            source.close()
            self._source = newer
            self._load_times(newer)
        return True

    def _load_times(self, source: LogSource) -> None:
        if not self._with_times:
            return
        path = source.entry.path
        known = (path, index_size(path))
        if known != self._times_known:
            self._times_known = known
            self._times = read_times(path)

    # Seeking

    def _try_seek_last(self, count: int) -> bool:
        entries = find_entries(self._log)
        if not entries:
            return True
        wanted = count  # newlines still to go back over
        first = True
        for entry in reversed(entries):
            source = open_entry(entry)
            if source is None:
                return False
            try:
                newlines, size, ends_line = source.last_newlines(wanted + 1)
            finally:
                source.close()
            if first and size:
                # The newline at the very end closes the last line and opens none.
                wanted += 1 if ends_line else 0
                first = False
            if wanted == 0 and not first:
                return self._stand_at(entry, size)
            if len(newlines) >= wanted and not first:
                return self._stand_at(entry, newlines[-wanted] + 1)
            wanted -= len(newlines)
        return self._stand_at(entries[0], 0)

    def _try_seek_time(self, moment: float) -> bool:
        later: Entry | None = None
        for entry in reversed(find_entries(self._log)):
            times = read_times(entry.path)
            written_before = entry.changed_ns / 1e9 < moment
            if times.moments and times.moments[0] < moment:
                offset = times.first_at_or_after(moment)
                if offset is not None:
                    return self._stand_at(entry, offset)
                if not written_before:
                    # Newer than the last record, which comes from before: the index was full.
                    return self._stand_at(entry, times.offsets[-1])
            if written_before:
                if later is not None:
                    return self._stand_at(later, 0)
                source = open_entry(entry)
                if source is None:
                    return False
                try:
                    _, size, _ = source.last_newlines(0)
                finally:
                    source.close()
                return self._stand_at(entry, size)
            later = entry
        return later is None or self._stand_at(later, 0)


def last_lines(log: str, count: int, *, times: bool = False) -> list[LogLine]:
    """Return the last `count` lines of the log at path `log`, also an unfinished one at its end.

    Goes back over rotated and gzipped files; at most `MOST_LINES`.
    """
    tail = LogTail(log, times=times)
    try:
        tail.seek_last(count)
        return [*_present(tail)][-count:] if count > 0 else []
    finally:
        tail.close()


def since(log: str, moment: float) -> Iterator[LogLine]:
    """Yield the lines written at `moment` (Unix seconds) or later, with their times."""
    tail = LogTail(log, times=True)
    try:
        tail.seek_time(moment)
        yield from _present(tail)
    finally:
        tail.close()


def _present(tail: LogTail) -> Iterator[LogLine]:
    while lines := tail.read():
        yield from lines
    yield from tail.rest()


def follow(
    tails: Mapping[str, LogTail],
    wait: Callable[[float], object],
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[str, LogLine]]:
    """Yield (service, line) from where the tails stand and on, as the lines come.

    Services take turns of `BUDGET` bytes. When nothing is new `wait` is called with `INTERVAL`.
    Ends when `stop` says so and nothing is new; an unfinished last line comes then.
    """
    while True:
        # Asked first: what was printed before the stop is still read.
        ending = stop()
        quiet = True
        for name, tail in tails.items():
            for line in tail.read():
                quiet = False
                yield name, line
        if not quiet:
            continue
        if ending:
            break
        wait(INTERVAL)
    for name, tail in tails.items():
        for line in tail.rest():
            yield name, line
