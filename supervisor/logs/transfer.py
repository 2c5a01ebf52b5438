"""Moving bytes from a FIFO to a log so that SIGKILL at any instant neither loses nor repeats one.

Two ways, chosen by what the system offers:

`Splice` (Linux). One splice(2) per move. The kernel writes the pipe's pages to the file and drops
them from the pipe under one pipe lock (iter_file_splice_write in fs/splice.c); a fatal signal is
looked at between pages, and then exactly the pages written are dropped. So a byte is either still
in the FIFO or in the log, and no user-space buffer exists that could die with us. The bytes never
come to user space: to read them back and count their lines took two thirds of the time. A splice
is as long as the caller lets it be, since each one wakes the writer, which costs more than to copy
64 KiB. splice refuses O_APPEND (EINVAL), so the log is written at an explicit offset, which a
single writer may do.

`Journal` (macOS, and file systems that refuse splice). read(2) puts the bytes into a shared
mapping of a file, which outlives the process, and write(2) takes them from there. A restart finds
out from the mapping how far the last move came. What remains is stated at `Journal`.

Both are exact for the death of the process; after a power failure the page cache is gone and with
it the last seconds of any log: logs are not fsynced.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
import struct
import sys
import termios
from typing import Protocol


_WORD = 0xFFFF_FFFF_FFFF_FFFF
"""macOS counts devices with a sign."""


class SpillError(Exception):
    """Bytes left the FIFO and could not be written: `lost` counts them, `cause` says why."""

    def __init__(self, written: int, lost: bytes, cause: OSError) -> None:
        super().__init__(written, cause)
        self.written = written
        self.lost = lost
        self.cause = cause


class Mover(Protocol):
    """Moves bytes from a FIFO to the end of a log."""

    def close(self) -> None:
        """Give back what the mover holds; none of it is data."""

    def move(self, source: int, target: int, path: str, offset: int, count: int) -> int:
        """Move at most `count` bytes from `source` to `target` at `offset`; return how many.

        `path` is where `target` can be opened again. 0 means that the FIFO is empty and no writer
        holds it. Raises BlockingIOError when it is only empty, OSError when `target` cannot be
        written and nothing was taken, SpillError when something was taken.
        """


def waiting_bytes(source: int) -> int:
    """Return how many bytes lie in a FIFO now."""
    answer = fcntl.ioctl(source, termios.FIONREAD, b"\0\0\0\0")
    return int(struct.unpack("i", answer)[0])


class Journal:
    """read, then write, through a shared mapping that a later process can read.

    At most 64 KiB a move, which is more than a FIFO of macOS holds.

    Layout: one flag byte, the header, a canary, then the bytes. The flag is set last and cleared
    first, and setting one byte cannot be torn. With the flag set, the canary still in place of the
    bytes says that the read had not happened; otherwise all `count` bytes are there, because
    `count` was in the FIFO before the read and nobody else reads it, or is 1. The log's size then
    says how many of them were written. What remains: 1 to 3 bytes of binary data equal to the canary (no
    UTF-8 text contains its bytes), read at the very instant of the kill, would be taken as unread.
    """

    _HEADER = struct.Struct("=QQQQH")
    _PATH_AT = 64
    _BYTES_AT = 8192  # a path is at most 4096 bytes long on Linux, 1024 on macOS
    _CHUNK = 64 * 1024
    _CANARY = bytes([0xFF, 0xFE, 0xC0, 0xF5] * 4)

    def __init__(self, path: str) -> None:
        """Open or create the journal at `path`, 72 KiB; OSError if that cannot be done."""
        size = self._BYTES_AT + self._CHUNK
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(fd).st_size != size:
                os.ftruncate(fd, 0)
                os.ftruncate(fd, size)
            self._map = mmap.mmap(fd, size)
        finally:
            os.close(fd)
        self._bytes = memoryview(self._map)[self._BYTES_AT :]

    def close(self) -> None:
        """Give the mapping back; the file stays."""
        self._bytes.release()
        self._map.close()

    def recover(self) -> int:
        """Finish the move that a killed process left; return how many bytes were written for it.

        Raises OSError when the log cannot be written; the journal then keeps them.
        """
        if self._map[0] != 1:
            return 0
        device, inode, offset, count, length = self._HEADER.unpack_from(self._map, 8)
        start = self._bytes[: min(count, len(self._CANARY))]
        written = 0
        if 0 < count <= self._CHUNK and start != self._CANARY[: len(start)]:
            path = bytes(self._map[self._PATH_AT : self._PATH_AT + length])
            try:
                target = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                self._map[0] = 0
                return 0
            try:
                found = os.fstat(target)
                done = found.st_size - offset
                same = (found.st_dev & _WORD, found.st_ino) == (device, inode)
                if same and 0 <= done < count:
                    while done < count:
                        step = os.pwrite(target, self._bytes[done:count], offset + done)
                        done += step
                        written += step
            finally:
                os.close(target)
        self._map[0] = 0
        return written

    def move(self, source: int, target: int, path: str, offset: int, count: int) -> int:
        """See `Mover.move`."""
        # Of an empty FIFO a byte is asked for: only read(2) tells its end everywhere, and what came
        # in just now is in the journal like all else.
        count = min(count, self._CHUNK, max(1, waiting_bytes(source)))
        self._map[0] = 0
        self._bytes[: len(self._CANARY)] = self._CANARY
        found = os.fstat(target)
        name = os.fsencode(path)
        self._HEADER.pack_into(
            self._map, 8, found.st_dev & _WORD, found.st_ino, offset, count, len(name)
        )
        self._map[self._PATH_AT : self._PATH_AT + len(name)] = name
        self._map[0] = 1
        try:
            taken = os.readv(source, [self._bytes[:count]])
        except OSError:
            self._map[0] = 0
            raise
        done = 0
        try:
            while done < taken:
                done += os.pwrite(target, self._bytes[done:taken], offset + done)
        except OSError as error:
            lost = bytes(self._bytes[done:taken])
            self._map[0] = 0
            raise SpillError(done, lost, error) from error
        self._map[0] = 0
        return taken


if sys.platform == "linux":

    class Splice:
        """One splice(2) per move."""

        def __init__(self, journal: str) -> None:
            """Fall back to a `Journal` at this path for a file system that refuses splice."""
            self._journal_path = journal
            self._journal: Journal | None = None

        def close(self) -> None:
            """Close the fallback, if it was needed."""
            if self._journal is not None:
                self._journal.close()

        def move(self, source: int, target: int, path: str, offset: int, count: int) -> int:
            """See `Mover.move`."""
            try:
                return os.splice(
                    source, target, count, offset_dst=offset, flags=os.SPLICE_F_NONBLOCK
                )
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
            if self._journal is None:
                self._journal = Journal(self._journal_path)
            return self._journal.move(source, target, path, offset, count)


def finish_interrupted(journal: str) -> int:
    """Write what a killed sink had read and not written; return how many bytes. OSError: could not.

    To be called before anything is moved.
    """
    if not os.path.exists(journal):
        return 0
    left = Journal(journal)
    try:
        return left.recover()
    finally:
        left.close()


def check_journal(journal: str) -> None:
    """Raise OSError unless the journal can be used; a sink that runs may be using it."""
    try:
        fd = os.open(journal, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", journal)
        os.pread(fd, 1, 0)
    finally:
        os.close(fd)


def open_mover(journal: str) -> Mover:
    """Return the best way of this system; `journal` is the path of the file it may need."""
    if sys.platform == "linux":
        return Splice(journal)
    return Journal(journal)
