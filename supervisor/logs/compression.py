"""Gzipping rotated logs in one background thread, so that the pump never waits for it.

Kept true: the thread only reads a raw log and writes a `.gz.tmp`; names are given and taken by the
sink's own loop, which also rotates. So a log that moved from 1 to 2 while it was compressed gets
the name of where it is now, and a crash leaves a raw log and a `.gz.tmp` that the next attach
removes. zlib lets go of the interpreter's lock while it works.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import sys
import zlib
from typing import TYPE_CHECKING, NamedTuple

from supervisor.logs.rotation import PACKED, UNFINISHED, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.logs.logfile import LogFile

PIECE = 128 * 1024
LEVEL = 3  # on log lines 3 times the speed of 6 for a tenth more size; services need the cores
GZIP_WINDOW = 31  # 16 + 15: zlib writes the gzip header and trailer itself


class _Outcome(NamedTuple):
    log: LogFile
    source: int  # open until the name is given: a new log could get a freed inode's number
    unfinished: str
    error: OSError | None


def pack(source: int, target_path: str) -> None:
    """Write what file descriptor `source` holds as gzip to `target_path`, with its times; fsynced.

    Raises OSError; then nothing stays at `target_path`.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    target = os.open(target_path, flags, 0o600)
    try:
        packer = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP_WINDOW)
        offset = 0
        while piece := os.pread(source, PIECE, offset):
            offset += len(piece)
            _write_whole(target, packer.compress(piece))
        _write_whole(target, packer.flush())
        original = os.fstat(source)
        # A reader that followed the raw log recognises it in the gzip by its time of change.
        os.utime(target, ns=(original.st_atime_ns, original.st_mtime_ns))
        os.fsync(target)  # the raw log is deleted next
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(target_path)
        raise
    finally:
        os.close(target)


def _write_whole(target: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(target, view) :]


class Compressor:
    """Compresses the rotated logs of the logs that were put forward, one file at a time."""

    def __init__(self, complain: Callable[[str], None]) -> None:
        """Say trouble through `complain`; nothing starts before `put_forward`."""
        self._complain = complain
        self._waiting: list[LogFile] = []
        self._outcome: _Outcome | None = None
        self._running = False
        self._wake_read, self._wake_write = os.pipe()

    @property
    def wake_fd(self) -> int:
        """Readable when a file is done: call `collect`."""
        return self._wake_read

    @property
    def idle(self) -> bool:
        """True when there is nothing left to compress."""
        return not self._running and not self._waiting

    def close(self) -> None:
        """Close the wake pipe; the thread must be idle."""
        os.close(self._wake_read)
        os.close(self._wake_write)

    def put_forward(self, log: LogFile) -> None:
        """Compress what is rotated of `log`, if its policy says so, when its turn comes."""
        if log.policy.compress and log not in self._waiting:
            self._waiting.append(log)
            self._start_next()

    def withdraw(self, log: LogFile) -> None:
        """Begin no further file of `log`; one in the making is finished."""
        if log in self._waiting:
            self._waiting.remove(log)

    def collect(self) -> None:
        """Give the finished file its name and begin the next one."""
        os.read(self._wake_read, 1)
        outcome, self._outcome = self._outcome, None
        self._running = False
        if outcome is not None:
            try:
                if outcome.error is not None:
                    raise outcome.error
                self._name(outcome)
            except OSError as error:
                # Tried again after the next rotation: a full disk would only fail again now.
                self.withdraw(outcome.log)
                self._complain(f"{outcome.log.path}: a rotated log could not be gzipped: {error}")
            finally:
                os.close(outcome.source)
        self._start_next()

    def _start_next(self) -> None:
        while self._waiting and not self._running:
            log = self._waiting[0]
            try:
                names = unpacked(os.listdir(log.folder), log.base)
                if not names:
                    del self._waiting[0]
                    continue
                path = os.path.join(log.folder, names[0])
                source = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError as error:
                del self._waiting[0]
                self._complain(f"{log.path}: rotated logs cannot be read: {error}")
                continue
            self._running = True
            _thread.start_new_thread(self._work, (log, source))

    def _work(self, log: LogFile, source: int) -> None:
        if sys.platform == "linux":
            # On Linux a thread has its own nice value; elsewhere this would slow the pump.
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, _thread.get_native_id(), 10)
        failure: OSError | None = None
        inode = os.fstat(source).st_ino
        unfinished = os.path.join(log.folder, f"{log.base}.{inode}{UNFINISHED}")
        try:
            pack(source, unfinished)
        except OSError as error:
            failure = error
        finally:
            self._outcome = _Outcome(log, source, unfinished, failure)
            os.write(self._wake_write, b"\0")

    def _name(self, outcome: _Outcome) -> None:
        log = outcome.log
        inode = os.fstat(outcome.source).st_ino
        for name in unpacked(os.listdir(log.folder), log.base):
            path = os.path.join(log.folder, name)
            if os.stat(path, follow_symlinks=False).st_ino == inode:
                os.rename(outcome.unfinished, path + PACKED)
                os.unlink(path)
                return
        os.unlink(outcome.unfinished)  # rotated out of what is kept meanwhile
