"""The end of a process that is not our child: an adopted service.

The process is pinned first and identified after, so the notice is about the one that was meant.
Linux tells the exit code of one that its parent has not reaped yet, and from 6.15 on of one that
it has; macOS tells only the end.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Final, Protocol

from supervisor.core.events import Exit, ExitCode, ExitUnknown
from supervisor.posix.identity import ProcessIdentity, is_alive

_REAPED_WITHIN: Final = 0.5
"""Seconds that its new parent may take to reap it, where a zombie's code may not be read. Init does
at once, but what is process 1 of a container may take its time."""
_FIRST_PAUSE: Final = 0.001


class _Descriptor(Protocol):
    """What becomes readable when the process ends."""

    def fileno(self) -> int: ...

    def close(self) -> None: ...


class ExitWatch:
    """Calls `callback(exit)` once when the process ends, from the loop, never from here."""

    def __init__(
        self,
        identity: ProcessIdentity,
        callback: Callable[[Exit], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._identity = identity
        self._callback = callback
        self._loop = loop
        self._descriptor: _Descriptor | None = None
        self._handle: asyncio.Handle | None = None
        try:
            self._descriptor = _exit_descriptor(identity.pid)
        except ProcessLookupError:
            self._handle = loop.call_soon(self._report, ExitUnknown())
            return
        if not is_alive(identity):
            # It ended before, and somebody else may have its pid already.
            self._close()
            self._handle = loop.call_soon(self._report, ExitUnknown())
            return
        loop.add_reader(self._descriptor.fileno(), self._ended)

    def cancel(self) -> None:
        """Stop watching; the callback will not be called."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._close()

    def _ended(self) -> None:
        if self._descriptor is None:
            return
        self._loop.remove_reader(self._descriptor.fileno())
        self._ask(self._loop.time() + _REAPED_WITHIN, _FIRST_PAUSE)

    def _ask(self, deadline: float, pause: float) -> None:
        if self._descriptor is None:
            return
        ending = _ending(self._descriptor.fileno(), self._identity)
        if ending is not None or self._loop.time() >= deadline:
            self._report(ending or ExitUnknown())
            return
        self._handle = self._loop.call_later(pause, self._ask, deadline, 2 * pause)

    def _report(self, ending: Exit) -> None:
        self._handle = None
        self._close()
        self._callback(ending)

    def _close(self) -> None:
        if self._descriptor is not None:
            self._loop.remove_reader(self._descriptor.fileno())
            self._descriptor.close()
            self._descriptor = None


def watch_exit(
    identity: ProcessIdentity,
    callback: Callable[[Exit], None],
    loop: asyncio.AbstractEventLoop,
) -> ExitWatch:
    """Watch a process that need not be our child; one that is gone already is reported as well.

    Raises OSError if no descriptor is left.
    """
    return ExitWatch(identity, callback, loop)


if sys.platform == "linux":
    from supervisor.posix import linux
    from supervisor.posix.reaper import exit_of_status

    class _PidFd:
        def __init__(self, pid: int) -> None:
            self._fd = os.pidfd_open(pid)

        def fileno(self) -> int:
            return self._fd

        def close(self) -> None:
            os.close(self._fd)

    def _exit_descriptor(pid: int) -> _Descriptor:
        return _PidFd(pid)

    def _ending(fd: int, identity: ProcessIdentity) -> Exit | None:
        """Return how it ended, or None while that may still become known."""
        status = linux.zombie_status(identity.pid, identity.started)
        if status:
            return exit_of_status(status)
        if not linux.can_tell_exit_status(fd):
            # Nor is 0 believed: before 5.17 it was the first thread's, which may have ended by
            # itself long before another one crashed.
            return ExitUnknown()
        if status == 0:
            return ExitCode(0)
        status = linux.exit_status(fd)
        return None if status is None else exit_of_status(status)

else:
    import select

    def _exit_descriptor(pid: int) -> _Descriptor:
        """Return a kqueue of its own for `pid`: asyncio's own tells of files only."""
        queue = select.kqueue()
        event = select.kevent(
            pid,
            filter=select.KQ_FILTER_PROC,
            flags=select.KQ_EV_ADD | select.KQ_EV_ONESHOT,
            fflags=select.KQ_NOTE_EXIT,
        )
        try:
            queue.control([event], 0)
        except OSError:
            queue.close()
            raise
        return queue

    def _ending(fd: int, identity: ProcessIdentity) -> Exit | None:  # noqa: ARG001 - as on Linux
        return ExitUnknown()
