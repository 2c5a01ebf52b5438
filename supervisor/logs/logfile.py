"""One log being written: how big it may grow, when it is rotated, and what could not be written.

Kept true:
- The log holds exactly what came out of the FIFO, in order, once, but for our own marks, which
  are whole lines (see `logs.marks`), and for losses, which are counted and said in a mark.
- A file ends at a line's end and is never larger than `max_size` (twice that while it cannot be
  rotated). Only a line longer than the reserve (a quarter of `max_size`, at most 8 KiB) is split
  over two files.
- A log that cannot be written never stops the draining.

Where a line ends is found without taking its bytes first: the bulk is moved up to `max_size` less
the reserve, and the rest of the line byte by byte. So everything needed to go on after a crash is
in the file itself (its size and its last byte), and no byte needs to be moved a second time.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from typing import TYPE_CHECKING, assert_never

from supervisor.logs.marks import mark_line
from supervisor.logs.relocation import relocate
from supervisor.logs.rotation import (
    PACKED,
    UNFINISHED,
    Remove,
    Rename,
    Step,
    plan_repair,
    plan_rotation,
    times_name,
)
from supervisor.logs.scanner import Scanner
from supervisor.logs.times import TimeIndex
from supervisor.logs.transfer import SpillError

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.logs.policy import Policy
    from supervisor.logs.transfer import Mover

RETRY_SECONDS = 1.0
LINE_RESERVE = 8 * 1024
"""A line's rest is looked for so far. 3 µs a byte: 25 ms at worst, once for each rotation."""
SINGLE_STEPS = 4096
LARGEST_LOSS = 64 * 1024
"""Most bytes thrown away in one step."""
# 0640 would let a group read what a service prints, and services print secrets.
MODE = 0o600


class Totals:
    """What has been counted for one log since this sink attached it."""

    __slots__ = ("bytes", "lost_bytes", "lost_lines", "rotations")

    def __init__(self) -> None:
        self.bytes = 0
        self.lost_bytes = 0
        self.lost_lines = 0
        self.rotations = 0


class LogFile:
    """The writer of one log. Not thread-safe; made and used by the sink's one loop."""

    def __init__(
        self,
        path: str,
        policy: Policy,
        mover: Mover,
        rotated: Callable[[LogFile], None],
        scanner: Scanner | None = None,
    ) -> None:
        """Open or make the log at `path`; what fails is kept in `error` and tried again.

        `rotated` is called after each rotation. A `scanner` that has patterns is shown all that
        comes out of the FIFO, whether it can be written or not.
        """
        self.path = path
        self.folder, self.base = os.path.split(path)
        self.policy = policy
        self.totals = Totals()
        self.error: str | None = None  # why nothing can be written
        self.rotation_error: str | None = None  # why it cannot be rotated
        self.size = 0
        self.scanner = scanner or Scanner(lambda *_: None)
        self._mover = mover
        self._rotated = rotated
        self._fd = -1
        self._times: TimeIndex | None = None
        self._mid_line = False
        self._skipping = False  # the rest of a torn line is still to come
        self._unsaid_bytes = 0  # lost since the last mark that said so
        self._unsaid_lines = 0
        self._reason = ""  # of the latest failure, for the mark that says what was lost
        self._retry_at = 0.0
        self._rotate_again_at = 0.0
        self._open()

    @property
    def broken(self) -> bool:
        """True while output is thrown away because the log cannot be written."""
        return self._fd < 0 or self.error is not None

    @property
    def retry_at(self) -> float | None:
        """When to call `recover` next (monotonic seconds); None while all is well."""
        return self._retry_at if self.broken else None

    def close(self) -> None:
        """Close the files."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._times is not None:
            self._times.close()
            self._times = None

    def repair(self) -> None:
        """Clear away what a crash or a smaller `keep` left; OSError is kept as the error text."""
        try:
            self._carry_out(plan_repair(os.listdir(self.folder), self.base, self.policy.keep))
        except OSError as error:
            self._fail(error)

    def relocate(self, folder: str) -> None:
        """Move all files of this log into `folder` and begin it anew; OSError if one stays here.

        A line of which half has come has its other half in the new file.
        """
        self.close()
        try:
            relocate(self.path, folder)
        finally:
            self._open()

    def take(self, source: int, limit: int) -> int:
        """Move at most `limit` bytes out of the FIFO `source`; return how many left it.

        0 means its end (no writer). Raises BlockingIOError when it is empty. A log that cannot be
        written raises nothing: bytes are then counted as lost.
        """
        self._notice_changes_from_outside()
        if not self.broken and not self._skipping and self._full(self.policy.max_size):
            self._rotate()
        if self.broken or self._skipping:
            return self._discard(source, limit)
        if self._full(self._ceiling):
            self._fail(OSError(errno.EFBIG, f"too large, and {self.rotation_error}", self.path))
            return self._discard(source, limit)
        before, now = self.size, time.time()
        bulk = self._bulk_end(self._ceiling) - self.size
        taken = self._write(source, min(limit, bulk)) if bulk > 0 else self._end_line(source)
        if self._times is not None and self.size > before:
            self._times.note(before, now)
        return taken

    def mark(self, text: str) -> str | None:
        """Write a line of our own, ending a partial one first; return what went wrong, or None."""
        self.scanner.end_line()
        if self.broken:
            self.recover()
        now = time.time()
        line = mark_line(text, now)
        if not self.broken and self.size + len(line) + 1 > self.policy.max_size:
            self._rotate()
        if self.broken:
            return self.error
        if self._times is not None:
            self._times.note(self.size, now)
        try:
            self._append(line)
        except OSError as error:
            self._fail(error)
        return self.error

    def recover(self) -> None:
        """Try to write again after a failure, saying first what was lost."""
        self.error = None
        if self._fd < 0:
            self._open()
        # A torn line is first read to its end, so that no piece of it looks like a line.
        if not self.broken and not self._skipping:
            self._say_loss()

    def conclude(self) -> bool:
        """Say what was lost, at an end after which nobody knows; False if it cannot be written.

        What is in the FIFO then is better left there: the next sink may be able to write it.
        """
        if self.broken:
            self.recover()
        if not self.broken:
            # The rest of a torn line will look like a line. That is said here, and better than
            # to read on for its end.
            self._skipping = False
            self._say_loss()
        return not self.broken

    def _say_loss(self) -> None:
        if not self._unsaid_bytes:
            return
        text = f"lost {self._unsaid_bytes} bytes of {self._unsaid_lines} lines here: {self._reason}"
        try:
            self._append(mark_line(text, time.time()))
        except OSError as error:
            self._fail(error)
        else:
            self._unsaid_bytes = self._unsaid_lines = 0

    @property
    def _ceiling(self) -> int:
        """While the log cannot be rotated it may grow to twice its size before lines are lost."""
        return self.policy.max_size * (1 if self.rotation_error is None else 2)

    def _bulk_end(self, ceiling: int) -> int:
        return ceiling - min(LINE_RESERVE, self.policy.max_size // 4)

    def _full(self, ceiling: int) -> bool:
        if self.size < self._bulk_end(ceiling):
            return False
        return self.size >= ceiling or not self._mid_line

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            os.makedirs(self.folder, 0o700, exist_ok=True)
            fd = os.open(self.path, flags, MODE)
        except OSError as error:
            self._fail(error)
            return
        self._fd = fd
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            self.close()
            self._fail(OSError(errno.EINVAL, "not a regular file", self.path))
            return
        self._times = TimeIndex(self.path)
        self._learn_size(found.st_size)

    def _learn_size(self, size: int) -> None:
        self.size = size
        self._learn_end()

    def _learn_end(self) -> None:
        # What somebody truncated just now, or what cannot be read, passes for a line's end.
        try:
            end = os.pread(self._fd, 1, self.size - 1) if self.size else b""
        except OSError:
            end = b""
        self._mid_line = end not in (b"\n", b"")

    def _notice_changes_from_outside(self) -> None:
        """A log that somebody truncated or deleted is gone on with, not written into a hole."""
        if self._fd < 0:
            return
        found = os.fstat(self._fd)
        if found.st_nlink == 0:
            self.close()
            self._open()
        elif found.st_size != self.size:
            self._learn_size(found.st_size)

    def _write(self, source: int, count: int) -> int:
        mover = self._mover
        try:
            moved = mover.move(source, self._fd, self.path, self.size, count)
        except BlockingIOError:
            raise
        except SpillError as spill:
            self._count_written(spill.written)
            self._fail(spill.cause)
            self._count_lost(spill.lost)
            return spill.written + len(spill.lost)
        except OSError as error:
            self._fail(error)
            return self._discard(source, count)
        self._count_written(moved)
        return moved

    def _count_written(self, count: int) -> None:
        if count:
            if self.scanner.patterns:
                # At once: after a rotation they would have to be looked for.
                self.scanner.feed(self._read_back(self.size, count))
            self.size += count
            self.totals.bytes += count
            self._learn_end()

    def tail(self, count: int) -> bytes:
        """Return the last bytes of the log file, at most `count`; none where it is broken."""
        start = max(0, self.size - count)
        return b"" if self.broken else self._read_back(start, self.size - start)

    def _read_back(self, start: int, count: int) -> bytes:
        # One call gives all of it, but for what somebody else has truncated just now.
        try:
            return os.pread(self._fd, count, start)
        except OSError:
            return b""

    def _end_line(self, source: int) -> int:
        taken = 0
        while (
            self._mid_line
            and not self.broken
            and taken < SINGLE_STEPS
            and self.size < self._ceiling
        ):
            try:
                step = self._write(source, 1)
            except BlockingIOError:
                if taken == 0:
                    raise
                break
            if step == 0:
                break
            taken += step
        return taken

    def _discard(self, source: int, limit: int) -> int:
        """Take bytes that cannot be written; when writing works again, only to the line's end."""
        if self.broken:
            lost = os.read(source, min(limit, LARGEST_LOSS))
            self._count_lost(lost)
            return len(lost)
        taken = 0
        while self._skipping and taken < SINGLE_STEPS:
            try:
                lost = os.read(source, 1)
            except BlockingIOError:
                if taken == 0:
                    raise
                break
            if not lost:
                break
            self._count_lost(lost)
            taken += 1
        if not self._skipping:
            self.recover()
        return taken

    def _count_lost(self, lost: bytes) -> None:
        if lost:
            if self.scanner.patterns:
                self.scanner.feed(lost)
            lines = lost.count(b"\n")
            self.totals.lost_bytes += len(lost)
            self.totals.lost_lines += lines
            self._unsaid_bytes += len(lost)
            self._unsaid_lines += lines
            self._skipping = not lost.endswith(b"\n")

    def _append(self, line: bytes) -> None:
        """Write a whole line of our own at the end, or nothing; OSError when it does not fit."""
        whole = b"\n" + line if self._mid_line else line
        written = os.pwrite(self._fd, whole, self.size)
        if written != len(whole):
            os.ftruncate(self._fd, self.size)  # only our own unfinished line is taken back
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size += written
        self._mid_line = False

    def _fail(self, error: OSError) -> None:
        self.error = self._reason = self._describe(error)
        self._retry_at = time.monotonic() + RETRY_SECONDS

    def _describe(self, error: OSError) -> str:
        where = error.filename if isinstance(error.filename, str) else self.path
        return f"{where}: {error.strerror or error}"

    def _rotate(self) -> None:
        if time.monotonic() < self._rotate_again_at:
            return
        self.close()
        try:
            self._carry_out(plan_rotation(os.listdir(self.folder), self.base, self.policy.keep))
        except OSError as error:
            self.rotation_error = f"cannot be rotated: {self._describe(error)}"
            self._rotate_again_at = time.monotonic() + RETRY_SECONDS
        else:
            self.rotation_error = None
            self.totals.rotations += 1
            self._rotated(self)
        self._open()

    def _carry_out(self, steps: list[Step]) -> None:
        for step in steps:
            # A file that somebody else deleted meanwhile needs no step.
            with contextlib.suppress(FileNotFoundError):
                match step:
                    case Rename(old, new):
                        os.rename(self._at(old), self._at(new))
                        self._move_times(old, new)
                    case Remove(name):
                        os.unlink(self._at(name))
                        self._drop_times(name)
                    case _:
                        assert_never(step)

    def _at(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def _move_times(self, old: str, new: str) -> None:
        try:
            os.rename(self._at(times_name(old)), self._at(times_name(new)))
        except FileNotFoundError:
            # Better no times than those of another file.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._at(times_name(new)))

    def _drop_times(self, name: str) -> None:
        if not name.endswith(UNFINISHED) and not os.path.exists(self._at(name + PACKED)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._at(times_name(name)))
