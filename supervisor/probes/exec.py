"""A command that exits 0, run as the service itself would run it."""

import asyncio
import contextlib
import os
from collections.abc import Mapping
from typing import Protocol, Self

from supervisor.core.events import Exit, ExitCode, Fault, ProbeResult
from supervisor.core.exits import describe_exit
from supervisor.core.spec import ExecCheck
from supervisor.probes.expectations import line_of

_SHOWN = 200
"""Characters of the command's last output that the verdict quotes."""
_CHUNK = 64 * 1024
_LAST_READS = 32
"""Reads after the end, at most: the command's children may go on writing for ever."""
_REAPED_WITHIN = 5.0
"""Seconds that a killed command may take to be gone; longer, and the kernel holds it."""


class LaunchError(Exception):
    """The command could not be started. `ours`: the machine lacked something, not the command."""

    def __init__(self, why: str, *, ours: bool) -> None:
        super().__init__(why)
        self.ours = ours


class Launcher(Protocol):
    """Starts commands and tells of their end; the daemon's one reaper is behind it."""

    def start(
        self, command: tuple[str, ...], cwd: str, env: Mapping[str, str], output_fd: int
    ) -> int:
        """Start in a session of its own and return the pid. Raises LaunchError."""

    def exited(self, pid: int) -> asyncio.Future[Exit]:
        """Return the future of its end."""

    def kill_group(self, pid: int) -> None:
        """SIGKILL the command's group, if it is still the command's."""


async def exec_probe(
    check: ExecCheck, within: float, cwd: str, env: Mapping[str, str], launcher: Launcher
) -> ProbeResult:
    """Run the command for at most `within` seconds, then kill its group. Raises nothing."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        tail = _Tail()
    except OSError as error:
        return ProbeResult(None, f"the prober has no pipe: {error.strerror}")
    with tail:
        try:
            pid = launcher.start(check.command, cwd, env, tail.write_end)
        except LaunchError as error:
            return ProbeResult(None if error.ours else False, str(error), loop.time() - began)
        end = launcher.exited(pid)
        try:
            async with asyncio.timeout(within):
                ending = await asyncio.shield(end)
        except TimeoutError:
            latency = loop.time() - began
            await _kill(launcher, pid, end)
            text = f"{check.command[0]} did not end within {within:g} s{tail.words()}"
            return ProbeResult(False, text, latency, fault=Fault.SILENT)
        except asyncio.CancelledError:
            launcher.kill_group(pid)
            raise
        latency = loop.time() - began
        ok = ending == ExitCode(0)
        text = f"{check.command[0]} {describe_exit(ending)}{'' if ok else tail.words()}"
        return ProbeResult(ok=ok, detail=text, latency=latency)


async def _kill(launcher: Launcher, pid: int, end: asyncio.Future[Exit]) -> None:
    launcher.kill_group(pid)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_REAPED_WITHIN):
            await asyncio.shield(end)


class _Tail:
    """A pipe of which only the end is kept.

    It is read while the command runs, so that one which prints a lot is not held up, and closed
    when the command has ended, so that a grandchild which keeps it open holds up nobody.
    """

    def __init__(self) -> None:
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self._kept = b""
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
        self._kept = (self._kept + data)[-4 * _SHOWN :]
        return bool(data)

    def words(self) -> str:
        """Return `: the last that was printed`, or nothing."""
        for _ in range(_LAST_READS):
            if not self._read():
                break
        text = line_of(self._kept.decode("utf-8", "replace"))[-_SHOWN:]
        return f": {text}" if text else ""
