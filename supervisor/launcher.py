"""The daemon's own helpers: the commands of exec probes, its log sink, its holder.

They are children like services are, so the daemon's one reaper sees their ends too; this module
hands each end to the one who waits for it.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass

from supervisor.core.events import Exit
from supervisor.posix.spawn import Command, SpawnError, spawn
from supervisor.probes.exec import LaunchError


class Launcher:
    """Implements `supervisor.probes.exec.Launcher` on the daemon's reaper."""

    def __init__(self) -> None:
        self._ends: dict[int, asyncio.Future[Exit]] = {}

    @property
    def pids(self) -> frozenset[int]:
        """The helpers that live now: no service may be taken to own them."""
        return frozenset(pid for pid, end in self._ends.items() if not end.done())

    def start(
        self, command: tuple[str, ...], cwd: str, env: Mapping[str, str], output_fd: int
    ) -> int:
        """Start a command in a session of its own; raises `LaunchError`."""
        return self.start_as(Command(command, env, cwd, output_fd, umask=None))

    def start_as(self, command: Command) -> int:
        """Start a command under a user or limits as well; raises `LaunchError`."""
        try:
            pid = spawn(command)
        except SpawnError as error:
            raise LaunchError(error.why, ours=error.retry) from None
        # Nothing is awaited between spawn and here, so the reaper cannot have been first.
        self._ends[pid] = asyncio.get_running_loop().create_future()
        return pid

    def exited(self, pid: int) -> asyncio.Future[Exit]:
        """Return the future of its end."""
        return self._ends[pid]

    def kill_group(self, pid: int) -> None:
        """SIGKILL the command and its group, unless it has been reaped and its number is free."""
        end = self._ends.get(pid)
        if end is not None and not end.done():
            os.killpg(pid, signal.SIGKILL)

    def child_ended(self, pid: int, ending: Exit) -> None:
        """Hand over an end that the reaper saw; unknown pids are nobody's business here."""
        end = self._ends.pop(pid, None)
        if end is None:
            return
        # What it has left in its group: a probe that leaves a child each time would fill the
        # machine. While it is unreaped its number is nobody else's.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        if not end.cancelled():
            end.set_result(ending)


@dataclass(frozen=True, slots=True)
class ServiceLauncher:
    """A launcher whose commands run as a service's own do: its user, its umask."""

    launcher: Launcher
    user: str | None
    umask: int

    def start(
        self, command: tuple[str, ...], cwd: str, env: Mapping[str, str], output_fd: int
    ) -> int:
        """See `Launcher.start`."""
        return self.launcher.start_as(
            Command(command, env, cwd, output_fd, umask=self.umask, user=self.user)
        )

    def exited(self, pid: int) -> asyncio.Future[Exit]:
        """See `Launcher.exited`."""
        return self.launcher.exited(pid)

    def kill_group(self, pid: int) -> None:
        """See `Launcher.kill_group`."""
        self.launcher.kill_group(pid)
