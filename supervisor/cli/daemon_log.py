"""What a daemon prints, which is next to nothing: a file in the state folder, bounded in size."""

import contextlib
import os
import stat
import sys
from typing import Final

from supervisor.cli.exits import CommandError, ExitStatus
from supervisor.posix.state import UnsafePathError, private_directory, write_whole

LOG_NAME: Final = "daemon.log"
LOG_MAX: Final = 1024 * 1024
"""Bytes that may be there before a start."""
_SHOWN_LINES: Final = 10
_SHOWN_BYTES: Final = 16 * 1024


def open_log(state_dir: str, log: str) -> int:
    """Return a descriptor of what a daemon prints into, bounded in size. Raises CommandError."""
    try:
        private_directory(state_dir)
        cut_to_half(log, LOG_MAX)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(log, flags, 0o600)
    except UnsafePathError as error:
        raise CommandError(ExitStatus.NOT_REACHED, str(error)) from None
    except OSError as error:
        raise CommandError(
            ExitStatus.NOT_REACHED,
            f"cannot write {log}: {error.strerror}",
            "free some space, or make the folder writable",
        ) from None


def take_log(state_dir: str) -> None:
    """Print into the log from here on; where that cannot be, whoever started us hears it.

    For a daemon that something else has started: launchd opens no log on another volume or in a
    folder that macOS guards, and makes no second try with none.
    """
    given = os.fstat(sys.stdout.fileno())
    if stat.S_ISREG(given.st_mode) and given.st_size > LOG_MAX:
        os.ftruncate(sys.stdout.fileno(), 0)
    with contextlib.suppress(CommandError):
        log = open_log(state_dir, os.path.join(state_dir, LOG_NAME))
        for output in (1, 2):
            os.dup2(log, output)
        os.close(log)


def cut_to_half(path: str, limit: int) -> None:
    """Keep only the last half of a file that has grown beyond `limit` bytes, from a line's start.

    For a file that nobody writes to now. Raises OSError.
    """
    if size_of(path) <= limit:
        return
    with open(path, "rb") as file:
        file.seek(-(limit // 2), os.SEEK_END)
        file.readline(limit)
        write_whole(path, file.read(limit))


def size_of(path: str) -> int:
    """Return how many bytes there are, 0 where nothing is."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def what_it_said(log: str, since: int = 0) -> str:
    """Return the last lines that were added to the log after byte `since`."""
    try:
        with open(log, "rb") as file:
            file.seek(max(since, size_of(log) - _SHOWN_BYTES))
            said = file.read(_SHOWN_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        said = []
    if not said:
        return f"it wrote nothing to {log}"
    return "\n".join(["it said:", *(f"  {line}" for line in said[-_SHOWN_LINES:]), f"({log})"])
