"""The files that hold one log, raw and gzipped, as a reader finds them.

Kept true: a file is known by its inode and, once gzipped, by its time of change, never by its name,
which rotation changes; and an `Entry` that was opened is the file that was listed.
"""

from __future__ import annotations

import os
import zlib
from collections import deque
from dataclasses import dataclass

from supervisor.logs.rotation import PACKED, reading_order

BLOCK = 64 * 1024
TRIES = 10


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a log as it was found. Its gzip has another inode but the same time of change."""

    path: str
    inode: int
    changed_ns: int

    @property
    def packed(self) -> bool:
        """True for a gzipped log."""
        return self.path.endswith(PACKED)


class LogSource:
    """One open file of a log, read forward from an offset into what it holds unpacked."""

    def __init__(self, entry: Entry, descriptor: int) -> None:
        self.entry = entry
        self.offset = 0
        self._fd = descriptor
        self._at = 0
        self._unpacker = zlib.decompressobj(31) if entry.packed else None

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def status(self) -> os.stat_result:
        """Return what the system says of the open file, whatever its name is by now."""
        return os.fstat(self._fd)

    def read(self) -> bytes:
        """Return the next block, empty at the (present) end."""
        if self._unpacker is None:
            block = os.pread(self._fd, BLOCK, self.offset)
            self.offset += len(block)
            return block
        while not self._unpacker.eof:
            packed = self._unpacker.unconsumed_tail
            if not packed:
                packed = os.pread(self._fd, BLOCK, self._at)
                self._at += len(packed)
                if not packed:
                    break
            try:
                block = self._unpacker.decompress(packed, BLOCK)
            except zlib.error:
                break  # a damaged archive: what came before it was given
            if block:
                self.offset += len(block)
                return block
        return b""

    def last_newlines(self, most: int) -> tuple[list[int], int, bool]:
        """Return the offsets of the last `most` newlines, the size, and whether one is at its end.

        Moves the place of reading.
        """
        if self._unpacker is None:
            return self._last_newlines_raw(most)
        found: deque[int] = deque(maxlen=most)
        last = b""
        while block := self.read():
            start = self.offset - len(block)
            at = block.find(b"\n")
            while at >= 0:
                found.append(start + at)
                at = block.find(b"\n", at + 1)
            last = block[-1:]
        return list(found), self.offset, last == b"\n"

    def _last_newlines_raw(self, most: int) -> tuple[list[int], int, bool]:
        size = self.status().st_size
        ends_line = size > 0 and os.pread(self._fd, 1, size - 1) == b"\n"
        found: list[int] = []
        end = size
        while end > 0 and len(found) < most:
            start = max(0, end - BLOCK)
            block = os.pread(self._fd, end - start, start)
            at = block.rfind(b"\n")
            while at >= 0 and len(found) < most:
                found.append(start + at)
                at = block.rfind(b"\n", 0, at)
            end = start
        return found[::-1], size, ends_line

    def skip_to(self, offset: int) -> bytes:
        """Go to `offset`; return the bytes from there on that had to be read for that."""
        if self._unpacker is None:
            self.offset = offset
            return b""
        while block := self.read():
            if self.offset > offset:
                return block[len(block) - (self.offset - offset) :]
        return b""


def find_entries(log: str) -> list[Entry]:
    """Return the files of the log at path `log`, oldest first, as they were at one moment."""
    folder, base = os.path.split(log)
    before: list[Entry] | None = None
    for _ in range(TRIES):
        try:
            names = reading_order(os.listdir(folder), base)
        except OSError:
            return []
        found: list[Entry] = []
        for name in names:
            path = os.path.join(folder, name)
            try:
                status = os.stat(path)
            except FileNotFoundError:
                continue  # renamed meanwhile: the next pass tells
            found.append(Entry(path, status.st_ino, status.st_mtime_ns))
        # A rotation renames several files; two equal passes saw none of it.
        if before is not None and [entry.inode for entry in found] == [
            entry.inode for entry in before
        ]:
            return found
        before = found
    return before or []


def open_entry(entry: Entry) -> LogSource | None:
    """Return the file, or None when its name has come to mean another."""
    try:
        descriptor = os.open(entry.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if os.fstat(descriptor).st_ino != entry.inode:
        os.close(descriptor)
        return None
    return LogSource(entry, descriptor)
