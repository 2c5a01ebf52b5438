"""Running a command to hear what it says: bounded in time and in what it may print.

It gets no terminal and no input, and nothing of its process group outlives it, whatever happens
here meanwhile: Ctrl-C included.
"""

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from supervisor.core.events import Exit
from supervisor.posix.reaper import exit_of_status
from supervisor.posix.spawn import Command, SpawnError, spawn
from supervisor.probes.expectations import line_of

MAX_OUTPUT: Final = 1024 * 1024
"""Bytes of its standard output; details of every operator of a model are some 20 kB."""
_CHUNK: Final = 64 * 1024
_LOOK_EVERY: Final = 0.05
"""Seconds between two looks whether it has ended, where what it has started keeps its pipes."""
_PAUSE: Final = 0.002
_INTERRUPTING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_REAPED_WITHIN: Final = 5.0
"""Seconds that a killed command may take to be gone; longer, and the kernel holds it."""
_SHOWN: Final = 200
"""Characters of its last complaint."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command has printed, and how it ended; None: it was ended by us."""

    printed: bytes
    complaints: bytes
    """The last of its standard error."""
    ending: Exit | None

    @property
    def is_too_much(self) -> bool:
        """Whether it was ended for what it had printed."""
        return len(self.printed) > MAX_OUTPUT

    def complaint(self) -> str:
        """Return the last line of its standard error, or nothing."""
        lines = self.complaints.decode("utf-8", "replace").strip().splitlines()
        return line_of(lines[-1])[-_SHOWN:] if lines else ""


@dataclass(slots=True)
class _Child:
    """The command's first process, which leads a session of its own."""

    pid: int
    ending: Exit | None = None

    def has_ended(self) -> bool:
        if self.ending is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.ending = exit_of_status(status)
        return self.ending is not None

    def end(self) -> None:
        """Kill all that is left of its group. It is not said of it then how it ended."""
        # Where it has been reaped: no process gets its number while one of its group lives.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        deadline = time.monotonic() + _REAPED_WITHIN
        while self.ending is None and time.monotonic() < deadline:
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                return
            time.sleep(_PAUSE)


def run_bounded(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: str,
    within: float,
    *,
    umask: int | None = None,
    user: str | None = None,
) -> Ran:
    """Run a command to its end, the end of its time (seconds), or of what it may print.

    Raises SpawnError.
    """
    deadline = time.monotonic() + within
    with _pipe() as (output, output_end), _pipe() as (errors, errors_end):
        command = Command(
            tuple(argv), env, cwd, output_end, umask=umask, user=user, error_fd=errors_end
        )
        child = None
        try:
            with interrupted_later():
                try:
                    child = _Child(spawn(command))
                finally:
                    os.close(output_end)
                    os.close(errors_end)
            return _read(child, output, errors, deadline)
        finally:
            if child is not None:
                child.end()


@contextlib.contextmanager
def interrupted_later() -> Iterator[None]:
    """Hold back a Ctrl-C that comes in the block until its end, and what else ends us by a handler.

    What has been started and is not written down yet would be left behind. A blocked signal would
    not do: another thread might take it.
    """
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in _INTERRUPTING}
    handled = {number: handler for number, handler in before.items() if callable(handler)}
    for number in handled:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for held, handler in handled.items():
            signal.signal(held, handler)
        if came:
            signal.raise_signal(came[0])


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """Give a pipe. Its writing end is for the caller to close."""
    try:
        reading, writing = os.pipe()
    except OSError as error:
        raise SpawnError(f"there is no pipe for it: {error.strerror}", retry=True) from None
    try:
        yield reading, writing
    finally:
        os.close(reading)


def _read(child: _Child, output: int, errors: int, deadline: float) -> Ran:
    printed, complaints = bytearray(), b""
    with selectors.DefaultSelector() as selector:
        for each in (output, errors):
            selector.register(each, selectors.EVENT_READ)
        while selector.get_map() and len(printed) <= MAX_OUTPUT:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            # Asked before the look: what it says between the two would be lost.
            had_ended = child.has_ended()
            ready = selector.select(min(left, _LOOK_EVERY))
            for key, _ in ready:
                data = os.read(key.fd, _CHUNK)
                if not data:
                    selector.unregister(key.fd)
                elif key.fd == output:
                    printed += data
                else:
                    complaints = (complaints + data)[-4 * _SHOWN :]
            if not ready and had_ended:
                break  # what it has started keeps its pipes, and prints nothing
    while len(printed) <= MAX_OUTPUT and not child.has_ended() and time.monotonic() < deadline:
        time.sleep(_PAUSE)
    return Ran(bytes(printed), complaints, child.ending)
