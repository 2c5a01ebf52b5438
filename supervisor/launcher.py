"""The daemon's own helpers: commands that it runs to their end, its log sink, its holder.

They are children like services are, so the daemon's one reaper sees their ends too; this module
hands each end to the one who waits for it.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from typing import Final, Self

from supervisor.core.events import Exit
from supervisor.posix.spawn import Command, SpawnError, spawn
from supervisor.probes.exec import Ended, LaunchError

_CHUNK: Final = 64 * 1024
_LAST_READS: Final = 32
"""Reads after the end, at most: the command's children may go on writing for ever."""
_REAPED_WITHIN: Final = 5.0
"""Seconds that a killed command may take to be gone; longer, and the kernel holds it."""


class Launcher:
    """Starts commands and tells of their end; the daemon's one reaper is behind it."""

    def __init__(self) -> None:
        self._ends: dict[int, asyncio.Future[Exit]] = {}

    @property
    def pids(self) -> frozenset[int]:
        """The helpers that live now: no service may be taken to own them."""
        return frozenset(pid for pid, end in self._ends.items() if not end.done())

    def start(
        self,
        command: tuple[str, ...],
        cwd: str,
        env: Mapping[str, str],
        output_fd: int,
        *,
        umask: int | None = None,
        user: str | None = None,
    ) -> int:
        """Start a command in a session of its own and return the pid. Raises LaunchError.

        `umask` and `user` are as in `Command`.
        """
        try:
            pid = spawn(Command(command, env, cwd, output_fd, umask=umask, user=user))
        except SpawnError as error:
            raise LaunchError(error.why, ours=error.retry) from None
        # Nothing is awaited between spawn and here, so the reaper cannot have been first.
        self._ends[pid] = asyncio.get_running_loop().create_future()
        return pid

    async def run(
        self,
        command: tuple[str, ...],
        cwd: str,
        env: Mapping[str, str],
        within: float,
        kept: slice,
        *,
        umask: int | None = None,
        user: str | None = None,
    ) -> Ended:
        """Run a command to its end: a `supervisor.probes.exec.Runner`."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        with _Output(kept) as output:
            pid = self.start(command, cwd, env, output.write_end, umask=umask, user=user)
            end = self.exited(pid)
            try:
                in_time, _ = await asyncio.wait((end,), timeout=within)
                seconds = loop.time() - began
            finally:
                self.kill_group(pid)
            if not in_time:
                await asyncio.wait((end,), timeout=_REAPED_WITHIN)
            return Ended(end.result() if in_time else None, output.text(), seconds)

    def exited(self, pid: int) -> asyncio.Future[Exit]:
        """Return the future of its end."""
        return self._ends[pid]

    def kill_group(self, pid: int) -> None:
        """SIGKILL the command and its group, unless it has been reaped and its number is free."""
        end = self._ends.get(pid)
        if end is not None and not end.done():
            _kill_group(pid)

    def child_ended(self, pid: int, ending: Exit) -> None:
        """Hand over an end that the reaper saw; unknown pids are nobody's business here."""
        end = self._ends.pop(pid, None)
        if end is None:
            return
        # What it has left in its group: a probe that leaves a child each time would fill the
        # machine. While it is unreaped its number is nobody else's.
        _kill_group(pid)
        if not end.cancelled():
            end.set_result(ending)


def _kill_group(pid: int) -> None:
    # Not permitted: it has become another user by its set-user-ID bit; on macOS, all are dead.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


class _Output:
    """A pipe of which some is kept.

    It is read while the command runs, so that one which prints a lot is not held up, and closed
    when the command has ended, so that a grandchild which keeps it open holds up nobody.
    """

    def __init__(self, kept: slice) -> None:
        try:
            self._read_end, self.write_end = os.pipe()
        except OSError as error:
            why = f"there is no pipe for its output: {error.strerror}"
            raise LaunchError(why, ours=True) from None
        os.set_blocking(self._read_end, False)
        self._kept = kept
        self._printed = b""
        asyncio.get_running_loop().add_reader(self._read_end, self._read)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._read_end)
        os.close(self._read_end)
        os.close(self.write_end)

    def _read(self) -> bool:
        try:
            data = os.read(self._read_end, _CHUNK)
        except BlockingIOError:
            return False
        self._printed = (self._printed + data)[self._kept]
        return bool(data)

    def text(self) -> str:
        """Return what has been printed, as far as it is kept."""
        for _ in range(_LAST_READS):
            if not self._read():
                break
        return self._printed.decode("utf-8", "replace")
