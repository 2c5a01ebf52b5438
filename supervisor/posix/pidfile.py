"""PID files: for people and scripts to read. The daemon itself trusts its ledger instead.

A file is there whole or not at all, is never written through a link, and is removed only by the
one that it names.
"""

import contextlib
import errno
import os

from supervisor.posix.state import UnsafePathError, check_own_file, write_whole

_LONGEST = 32
"""Bytes of a sane PID file: a pid has ten digits at most."""


class PidFile:
    """`<pid>\\n` at a path. Methods raise UnsafePathError if something else is in that place."""

    def __init__(self, path: str) -> None:
        self.path = path

    def write(self, pid: int) -> None:
        """Put `pid` there, in place of a stale one."""
        try:
            with contextlib.suppress(FileNotFoundError):
                check_own_file(os.lstat(self.path), self.path)
            write_whole(self.path, b"%d\n" % pid, mode=0o644)
        except OSError as error:
            raise UnsafePathError(
                f"cannot write the PID file {self.path}: {error.strerror}"
            ) from error

    def read(self) -> int | None:
        """Return the pid that the file names, or None if there is no file, or no pid in it."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise UnsafePathError(f"{self.path} is a symbolic link: remove it") from None
            raise UnsafePathError(f"cannot read {self.path}: {error.strerror}") from error
        try:
            check_own_file(os.fstat(fd), self.path)
            text = os.read(fd, _LONGEST)
        finally:
            os.close(fd)
        number = text.strip()
        return int(number) if number.isdigit() and int(number) > 0 else None

    def remove(self, *, only_if: int) -> bool:
        """Remove the file if it names `only_if`; tell whether it did."""
        if self.read() != only_if:
            return False
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        return True
