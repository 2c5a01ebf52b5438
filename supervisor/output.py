"""Where services write: one FIFO each, and the sink that reads them all.

A FIFO is held open by three parties: the service, this daemon, and the sink. So the death of
either of the latter two breaks no pipe and loses no byte, and this module has only to see that
there is a sink: it joins one that is alive, starts one if there is none, and tells a new one of
every FIFO.
"""

import asyncio
import contextlib
import os
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from supervisor.core.spec import LogSpec
from supervisor.logs.channel import SinkChannel, SinkError, SinkGoneError
from supervisor.posix.spawn import Command, SpawnError, spawn

CONNECT_TIMEOUT = 5.0
"""Seconds that a new sink may take to listen; it takes about 0.05 on an idle machine."""
REQUEST_TIMEOUT = 5.0
STATS_TIMEOUT = 0.05
RESPAWN_DELAY = 0.2
"""Seconds before a sink that died is replaced, doubled while replacing fails."""
RESPAWN_DELAY_MAX = 10.0


TROUBLE = (OSError, SpawnError, SinkError, SinkGoneError, TimeoutError)
"""Why there may be no sink for a while."""


class OutputError(Exception):
    """The FIFO of a service can be neither made nor opened."""


@dataclass(frozen=True, slots=True)
class Outlet:
    """One service's way out."""

    fifo: str
    log: str
    policy: LogSpec
    fd: int


class Output:
    """All outlets of one daemon, and its sink."""

    def __init__(
        self,
        state_dir: str,
        logs_dir: str,
        complain: Callable[[str], None],
        environ: Mapping[str, str],
    ) -> None:
        self._state_dir = state_dir
        self._logs_dir = logs_dir
        self._complain = complain
        self._environ = environ
        self._outlets: dict[str, Outlet] = {}
        self._channel: SinkChannel | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._lost: dict[str, int] = {}
        self.sink_pid: int | None = None

    async def start(self) -> None:
        """Join or start the sink, and keep one from now on.

        Returns even if no sink could be had: services run, and fill their FIFOs (64 KiB each on
        Linux) before they have to wait.
        """
        with contextlib.suppress(*TROUBLE):
            await self._join_or_start()
        self._keeper = asyncio.create_task(self._keep())

    def open(self, name: str, policy: LogSpec) -> int:
        """Return the descriptor that becomes stdout and stderr of the service; it stays ours.

        Opened for reading as well as writing, so that a service never meets a pipe without a
        reader (no SIGPIPE) and opening never waits for one. Raises `OutputError`.
        """
        outlet = self._outlets.get(name)
        if outlet is None:
            fifo = f"{self._state_dir}/fifo/{name}"
            fd = _open_fifo(fifo)
            outlet = Outlet(fifo, f"{self._logs_dir}/{name}.log", policy, fd)
            self._outlets[name] = outlet
            self._send("attach", _attachment(name, outlet))
        return outlet.fd

    def mark(self, name: str, text: str) -> None:
        """Write a line of our own between the lines of the service."""
        self._send("mark", {"name": name, "text": text})

    async def flush(self, name: str) -> bool:
        """Return when all that the service has written so far is in its log file.

        False if that could not be had in `REQUEST_TIMEOUT` seconds.
        """
        return await self._request("flush", {"name": name}) is not None

    async def lost(self) -> dict[str, int]:
        """Return by service the bytes that could not be written, as last heard from the sink.

        Waits `STATS_TIMEOUT` seconds at most: a sink that is busy with a flood must not make
        `atlasctl status` wait.
        """
        stats = await self._request("stats", {}, within=STATS_TIMEOUT) or {}
        logs = stats.get("logs")
        if isinstance(logs, dict):
            self._lost = {name: int(counted["lost_bytes"]) for name, counted in logs.items()}
        return self._lost

    async def close(self, *, quit_sink: bool) -> None:
        """Let go of the sink; with `quit_sink` it writes what it has and ends."""
        if self._keeper is not None:
            self._keeper.cancel()
        if quit_sink:
            await self._request("quit", {})
        if self._channel is not None:
            self._channel.close()
        for outlet in self._outlets.values():
            os.close(outlet.fd)
        self._outlets.clear()

    # The sink --------------------------------------------------------------------------------

    async def _keep(self) -> None:
        """Replace the sink whenever it is gone."""
        delay = RESPAWN_DELAY
        while True:
            if self._channel is not None:
                # Not awaited itself: to cancel the keeper must not cancel the channel's future.
                await asyncio.wait((self._channel.closed,))
                self._channel = None
                self._complain("the log sink ended; starting another (no output is lost)")
            try:
                await self._join_or_start()
                delay = RESPAWN_DELAY
            except TROUBLE as error:
                self._complain(f"no log sink: {error}; trying again in {delay:g} s")
                await asyncio.sleep(delay)
                delay = min(2 * delay, RESPAWN_DELAY_MAX)

    async def _join_or_start(self) -> None:
        path = f"{self._state_dir}/sink.sock"
        try:
            self._channel = await SinkChannel.connect(path, 0.0)
        except SinkGoneError:
            self._start_sink()
            self._channel = await SinkChannel.connect(path, CONNECT_TIMEOUT)
        for name, outlet in self._outlets.items():
            self._send("attach", _attachment(name, outlet))
        stats = await self._request("stats", {}) or {}
        pid = stats.get("pid")
        if isinstance(pid, int):
            # One that was joined; of one that was started here the pid is known.
            self.sink_pid = pid

    def _start_sink(self) -> None:
        package = str(Path(__file__).parent.parent)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            self.sink_pid = spawn(
                Command(
                    argv=(sys.executable, "-m", "supervisor.logs.sink", self._state_dir),
                    env={**self._environ, "PYTHONPATH": package},
                    cwd=package,
                    output_fd=null,
                )
            )
        finally:
            os.close(null)

    def _send(self, op: str, fields: Mapping[str, object]) -> None:
        """Ask without waiting; the keeper tells a new sink all that it must know."""
        if self._channel is not None:
            task = asyncio.ensure_future(self._request(op, fields))
            _pending.add(task)
            task.add_done_callback(_pending.discard)

    async def _request(
        self, op: str, fields: Mapping[str, object], *, within: float = REQUEST_TIMEOUT
    ) -> Mapping[str, object] | None:
        if self._channel is None:
            return None
        try:
            reply = await self._channel.request(op, fields, within=within)
        except SinkGoneError:
            return None  # the keeper says so, once
        except (SinkError, TimeoutError, OSError) as error:
            self._complain(f"log sink, {op}: {str(error) or 'no answer'}")
            return None
        return reply.fields


_pending: set[asyncio.Future[Mapping[str, object] | None]] = set()
"""asyncio keeps only weak references to tasks."""


def _attachment(name: str, outlet: Outlet) -> dict[str, object]:
    return {
        "name": name,
        "fifo": outlet.fifo,
        "log": outlet.log,
        "max_size": outlet.policy.max_size,
        "keep": outlet.policy.keep,
        "compress": outlet.policy.compress,
    }


def _open_fifo(path: str) -> int:
    try:
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise OutputError(f"cannot make the output FIFO {path}: {error.strerror}") from None
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        os.close(fd)
        raise OutputError(f"{path} is not a FIFO; remove it")
    return fd
