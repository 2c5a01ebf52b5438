"""The daemon: everything put together, and the routes that clients speak to.

`run` is the whole life of one: lock, directories, sink, take-over of what an earlier daemon left,
services up, and at the end services down, sink out, lock released.
"""

import sys

# asyncio imports ssl if it can, which costs 5 MB and 15 ms; nothing here speaks TLS. Measured
# with Python 3.11 as the PSS of `import asyncio`: 18.4 MB with it, 14.0 MB without.
sys.modules.setdefault("ssl", None)  # type: ignore[arg-type]

import asyncio
import contextlib
import difflib
import os
import signal
import stat
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from pathlib import Path

from supervisor import __version__
from supervisor.config.loader import load
from supervisor.control.messages import Accepted, FleetStatus
from supervisor.control.server import (
    BindError,
    ControlServer,
    Reply,
    Request,
    Routes,
    Stream,
    problem,
)
from supervisor.core import graph
from supervisor.core.events import Event
from supervisor.core.spec import FleetSpec
from supervisor.journal import Entry, Journal
from supervisor.ledger import Ledger
from supervisor.machine import Machine
from supervisor.output import Output
from supervisor.posix.lock import DaemonLock, LockHeldError
from supervisor.posix.reaper import Reaper
from supervisor.posix.spawn import seal_descriptors
from supervisor.posix.state import UnsafePathError, private_directory
from supervisor.posix.tree import become_subreaper
from supervisor.runtime import Runtime
from supervisor.status import Measured, percent_of_core, service_status

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2

FOLLOW_BATCH = 100
"""Journal entries sent to a follower between two looks at the loop."""


def run(config: Path) -> int:
    """Supervise what `config` describes until told to stop; return the exit code.

    Raises `ConfigError` if the file is not valid.
    """
    spec = load(str(config))
    try:
        private_directory(spec.state_dir)
        private_directory(f"{spec.state_dir}/fifo")
        # Never released: the kernel does that when this process is gone, and those who wait for
        # its end (`atlasctl down`) look at the lock.
        DaemonLock.acquire(f"{spec.state_dir}/lock")
    except (LockHeldError, UnsafePathError) as error:
        print(f"atlasctl: {error}", file=sys.stderr)
        return EXIT_FAILED
    try:
        seal_descriptors()
        become_subreaper()
        os.chdir(spec.root)
        asyncio.run(Daemon(spec).serve())
    except (BindError, OSError) as error:
        print(f"atlasctl: {error}", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_OK


class Daemon:
    """One supervised system."""

    def __init__(self, spec: FleetSpec) -> None:
        self._spec = spec
        self._began = time.monotonic()
        # Wall clock for stamps that people read; everything decided is decided by monotonic time.
        self._journal = Journal(spec.state_dir, time.time)
        self._ledger = Ledger(spec.state_dir)
        self._output = Output(spec.state_dir, spec.logs_dir, self._complain, os.environ)
        self._machine = Machine(
            state_dir=spec.state_dir,
            logs_dir=spec.logs_dir,
            environ=dict(os.environ),
            output=self._output,
            journal=self._journal,
            ledger=self._ledger,
            post=self._post,
        )
        last_runs = self._machine.last_runs()
        self._runtime = Runtime(spec, self._machine, time.monotonic, last_runs)
        self._reaper = Reaper(self._machine.child_ended)
        self._stopping: asyncio.Event | None = None
        self._cpu_before: dict[str, tuple[float, float]] = {}

    def _post(self, name: str, event: Event) -> None:
        self._runtime.post(name, event)

    def _complain(self, text: str) -> None:
        """Write down a trouble of the daemon's own."""
        self._journal.append("", "trouble", text)

    # Life ------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Run until SIGTERM, SIGINT or a client's shutdown, and stop all services then."""
        loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        loop.add_signal_handler(signal.SIGHUP, lambda: None)
        echo = asyncio.create_task(self._echo()) if _is_watched(sys.stdout.fileno()) else None
        self._reaper.start()
        self._make_logs_dir()
        self._journal.append(
            "", "daemon", f"daemon {__version__} started, pid {os.getpid()}, {self._spec.source}"
        )
        server = ControlServer(self._spec.state_dir, self._routes(), on_error=self._complain)
        try:
            await self._output.start()
            await self._begin()
            await server.start()
            await self._stopping.wait()
            await self._end()
        finally:
            await server.close()
            self._runtime.close()
            await self._output.close(quit_sink=self._runtime.quiet())
            self._machine.close()
            self._reaper.close()
            if echo is not None:
                await asyncio.sleep(0)  # the last lines
                echo.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await echo
            self._ledger.close()
            self._journal.close()

    async def _begin(self) -> None:
        """Take over what an earlier daemon left and start what is to run."""
        wanted, unwanted = [], []
        for service in self._spec.services:
            name = service.name
            adopted = await self._machine.take_over(service)
            if adopted is not None:
                self._post(name, adopted)
                if not self._machine.is_wanted(name):
                    unwanted.append(name)
            elif service.enabled and self._machine.is_wanted(name):
                wanted.append(name)
        self._runtime.stop(unwanted, "asked before the last daemon was killed")
        self._runtime.start(wanted, "the daemon starts")

    async def _end(self) -> None:
        self._runtime.stop([s.name for s in self._spec.services], "the daemon stops")
        while not self._runtime.quiet():
            await self._runtime.changed()
        self._journal.append("", "daemon", "daemon stopped; nothing of it is left running")
        self._ledger.retire()

    def _on_signal(self, number: int) -> None:
        assert self._stopping is not None, "signals are handled only while serving"  # noqa: S101
        if not self._stopping.is_set():
            name = signal.Signals(number).name
            self._journal.append("", "daemon", f"{name}: stopping all services, then the daemon")
            self._stopping.set()

    def _make_logs_dir(self) -> None:
        try:
            os.makedirs(self._spec.logs_dir, exist_ok=True)
        except OSError as error:
            self._complain(f"cannot make the log folder {self._spec.logs_dir}: {error.strerror}")

    async def _echo(self) -> None:
        """Print the journal for whoever watches `atlasctl run`."""
        seq = self._journal.seq
        while True:
            for entry in self._journal.since(seq):
                seq = entry.seq
                stamp = time.strftime("%H:%M:%S", time.localtime(entry.at))
                print(
                    f"{stamp} {entry.unit or 'atlasctl'}: {entry.topic}: {entry.text}", flush=True
                )
            await self._journal.news()

    # Routes ----------------------------------------------------------------------------------

    def _routes(self) -> Routes:
        return {
            ("GET", "/v1/status"): self._get_status,
            ("GET", "/v1/events"): self._get_events,
            ("POST", "/v1/start"): self._post_start,
            ("POST", "/v1/stop"): self._post_stop,
            ("POST", "/v1/restart"): self._post_restart,
            ("POST", "/v1/shutdown"): self._post_shutdown,
        }

    async def _get_status(self, _request: Request) -> Reply:
        now = time.monotonic()
        lost = await self._output.lost()
        usage = self._machine.usage()
        units = self._runtime.fleet.units
        cpu = {name: used.cpu_seconds for name, used in usage.items()}
        uptime = {name: now - (units[name].started_at() or now) for name in usage}
        percent = percent_of_core(now, self._cpu_before, cpu, uptime)
        self._cpu_before = {name: (now, seconds) for name, seconds in cpu.items()}
        measured = {
            name: Measured(percent[name], used.rss, used.processes) for name, used in usage.items()
        }
        status: FleetStatus = {
            "daemon": {
                "pid": os.getpid(),
                "version": __version__,
                "uptime": now - self._began,
                "config": self._spec.source,
                "root": self._spec.root,
                "sink_pid": self._output.sink_pid,
                "stopping": self._is_stopping(),
                "journal_seq": self._journal.seq,
            },
            "services": [
                service_status(
                    units[service.name],
                    f"{self._spec.logs_dir}/{service.name}.log",
                    measured.get(service.name),
                    lost.get(service.name, 0),
                    now,
                )
                for service in self._spec.services
            ],
        }
        return Reply(200, status)

    async def _get_events(self, request: Request) -> Reply | Stream:
        try:
            after = int(request.query.get("after", "0"))
        except ValueError:
            return problem(400, "after is not a number", "give the seq of an event")
        service = request.query.get("service")
        if service is not None and service not in self._runtime.fleet.units:
            return self._unknown([service])
        if request.query.get("follow") != "1":
            return Stream(_once(_of(service, self._journal.since(after))))
        return Stream(self._follow(after, service))

    async def _follow(self, seq: int, service: str | None) -> AsyncIterator[object]:
        while True:
            for entry in self._journal.since(seq):
                seq = entry.seq
                if service is None or entry.unit == service:
                    yield asdict(entry)
            await self._journal.news()

    async def _post_start(self, request: Request) -> Reply:
        return self._command(request, "start")

    async def _post_stop(self, request: Request) -> Reply:
        return self._command(request, "stop")

    async def _post_restart(self, request: Request) -> Reply:
        return self._command(request, "restart")

    async def _post_shutdown(self, _request: Request) -> Reply:
        seq = self._journal.seq
        names = [service.name for service in self._spec.services]
        if not self._is_stopping():
            self._journal.append("", "daemon", "a client asked the daemon to stop")
            assert self._stopping is not None, "requests come only while serving"  # noqa: S101
            self._stopping.set()
        return Reply(202, _accepted(names, [], seq))

    def _command(self, request: Request, verb: str) -> Reply:
        if self._is_stopping():
            return problem(409, "the daemon is stopping", "wait, then: atlasctl up")
        names = _names(request.json)
        if names is None:
            return problem(400, "services must be a list of names", 'send {"services": ["tts"]}')
        units = self._runtime.fleet.units
        unknown = [name for name in names if name not in units]
        if unknown:
            return self._unknown(unknown)
        asked = [name for name in units if name in names] if names else self._all(verb)
        seq = self._journal.seq
        also: list[str] = []
        match verb:
            case "start":
                needed = graph.closure(self._runtime.fleet.edges, asked)
                also = [name for name in needed if name not in asked]
                self._runtime.start(asked, "by a client")
            case "stop":
                self._runtime.stop(asked, "by a client")
            case _:
                self._runtime.restart(asked, "by a client")
        return Reply(202, _accepted(asked, also, seq))

    def _all(self, verb: str) -> list[str]:
        """Return what a command without names is about."""
        units = self._runtime.fleet.units.values()
        match verb:
            case "stop":
                return [unit.spec.name for unit in units]
            case "restart":
                return [unit.spec.name for unit in units if unit.spec.enabled]
            case _:
                # A job that is done is as it should be; `start NAME` runs it again.
                return [u.spec.name for u in units if u.spec.enabled and u.state() != "completed"]

    def _unknown(self, names: Sequence[str]) -> Reply:
        known = list(self._runtime.fleet.units)
        near = [n for name in names for n in difflib.get_close_matches(name, known, n=1)]
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known) or 'none'}"
        return problem(404, f"no service is called {', '.join(names)}", hint)

    def _is_stopping(self) -> bool:
        return self._stopping is not None and self._stopping.is_set()


def _accepted(services: list[str], also: list[str], seq: int) -> Accepted:
    return {"services": services, "also": also, "seq": seq}


def _names(body: object) -> list[str] | None:
    """Return the services that a command's body names; None if it is not of that form."""
    if body is None:
        return []
    names = body.get("services", []) if isinstance(body, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return names


def _of(service: str | None, entries: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in entries if service is None or entry.unit == service]


async def _once(entries: Sequence[Entry]) -> AsyncIterator[object]:
    for entry in entries:
        yield asdict(entry)


def _is_watched(fd: int) -> bool:
    """Tell whether somebody reads there: a terminal or a pipe, not a file that would only grow."""
    try:
        found = os.fstat(fd)
    except OSError:
        return False
    devnull = os.stat(os.devnull)
    return not stat.S_ISREG(found.st_mode) and found.st_rdev != devnull.st_rdev
