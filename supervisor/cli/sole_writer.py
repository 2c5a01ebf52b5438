"""How a log is moved while services run, or while nothing runs.

Kept true: only the sink moves what it may be writing. While there is none its lock is held here, so
that none can start in between. A daemon that wants to start one then tries again 0.2 s later.
"""

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator

from supervisor.cli.exits import CommandError, ExitStatus
from supervisor.logs.relocation import relocate
from supervisor.posix.state import UnsafePathError, private_directory

TIMEOUT = 10.0
"""Seconds that the sink may take for one log. It takes a millisecond, unless it is stopped."""
_APPEARS_WITHIN = 5.0
"""Seconds in which one that is just starting, or ending, must have got there."""
_RETRY = 0.02
_LONGEST_REPLY = 64 * 1024

Move = Callable[[str, str], None]
"""Moves the log at a path, with all that was rotated of it, into a folder. Raises MoveError."""


class MoveError(Exception):
    """A log, or a part of it, could not be moved; it is where it was."""


@contextlib.contextmanager
def sole_writer(state_dir: str) -> Iterator[Move]:
    """Yield what may move logs now. Raises CommandError where that cannot be found out."""
    try:
        private_directory(state_dir)
        held = _lock_or_sink(state_dir)
    except (UnsafePathError, OSError) as error:
        raise CommandError(ExitStatus.NOT_REACHED, str(error)) from None
    if isinstance(held, int):
        try:
            yield _move_ourselves
        finally:
            os.close(held)
    else:
        with held, held.makefile("rb") as replies:

            def ask(log: str, folder: str) -> None:
                request = {"op": "relocate", "log": log, "folder": folder}
                try:
                    held.sendall(json.dumps(request).encode() + b"\n")
                    reply = json.loads(replies.readline(_LONGEST_REPLY))
                except (OSError, ValueError) as error:
                    raise MoveError(f"{log}: no answer from the log sink: {error}") from None
                if not reply.get("ok"):
                    raise MoveError(_refusal(log, str(reply.get("error"))))

            yield ask


def _refusal(log: str, why: str) -> str:
    if why.startswith("op must be"):
        return f"{log}: the log sink that runs is older than this command: atlasctl upgrade"
    return f"{log}: {why}"


def _move_ourselves(log: str, folder: str) -> None:
    try:
        relocate(log, folder)
    except OSError as error:
        raise MoveError(str(error)) from None


def _lock_or_sink(state_dir: str) -> int | socket.socket:
    """Return a descriptor that holds the sink's lock, or a connection to the one that does."""
    deadline = time.monotonic() + _APPEARS_WITHIN
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        lock = os.open(os.path.join(state_dir, "sink.lock"), flags, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:
            return lock
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(TIMEOUT)
        try:
            connection.connect(os.path.join(state_dir, "sink.sock"))
        except OSError:
            connection.close()
            if time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY)
        else:
            return connection
