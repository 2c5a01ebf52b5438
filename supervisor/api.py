"""What clients may ask of the daemon: the routes of its control socket, and their answers."""

import asyncio
import difflib
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from supervisor import __version__
from supervisor.config import codec
from supervisor.control.messages import (
    Accepted,
    ChangeMessage,
    FleetStatus,
    Metrics,
    Plan,
    Reloading,
    Treated,
)
from supervisor.control.server import Reply, Request, Routes, Stream, problem
from supervisor.core import graph
from supervisor.core.effects import Topic
from supervisor.core.overlap import can_overlap
from supervisor.core.plan import Change, ChangeKind, masked
from supervisor.core.spec import FleetSpec
from supervisor.journal import Entry, Journal
from supervisor.machine import Machine
from supervisor.output import Output
from supervisor.planner import Planner
from supervisor.probes.expectations import line_of
from supervisor.remedy_status import treated_service
from supervisor.runtime import Runtime
from supervisor.status import Measured, percent_of_core, service_status
from supervisor.tally import LATENCY_BOUNDS, service_metrics

COMPLAINTS, COMPLAINT_WINDOW = 10, 600.0
"""Lines that the courier may write into the journal within so many seconds."""
LONGEST_COMPLAINT = 500
"""Characters of one."""


class Busy(Exception):  # noqa: N818 - it is no error of ours
    """The daemon cannot do it now; the text says why, `hint` what to do."""

    def __init__(self, why: str, hint: str) -> None:
        super().__init__(why)
        self.hint = hint


@dataclass(slots=True)
class Life:
    """What the daemon itself is about to do, and has done."""

    began: float
    upgrades: int
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when this code of the daemon is to go."""
    stopping: bool = False
    """It goes for good, and the services with it."""


class Api:
    """Reads and commands what the daemon is made of; keeps nothing but the last CPU times."""

    def __init__(
        self,
        runtime: Runtime,
        machine: Machine,
        journal: Journal,
        output: Output,
        life: Life,
        *,
        prove: Callable[[], Awaitable[None]],
        adopt_spec: Callable[[FleetSpec], None],
    ) -> None:
        self._runtime = runtime
        self._machine = machine
        self._journal = journal
        self._output = output
        self._life = life
        self._prove = prove
        self._adopt_spec = adopt_spec
        self._planner = Planner(runtime, machine)
        self._upgrading = False
        self._cpu_before: dict[str, tuple[float, float]] = {}
        self._complained_at: deque[float] = deque()

    def routes(self) -> Routes:
        """Return the handler of every method and path."""
        return {
            ("GET", "/v1/status"): self._get_status,
            ("GET", "/v1/events"): self._get_events,
            ("GET", "/v1/metrics"): self._get_metrics,
            ("POST", "/v1/courier"): self._post_courier,
            ("GET", "/v1/remedies"): self._get_remedies,
            ("POST", "/v1/remedies/forget"): self._post_forget,
            ("POST", "/v1/start"): self._post_start,
            ("POST", "/v1/stop"): self._post_stop,
            ("POST", "/v1/restart"): self._post_restart,
            ("POST", "/v1/plan"): self._post_plan,
            ("POST", "/v1/reload"): self._post_reload,
            ("POST", "/v1/upgrade"): self._post_upgrade,
            ("POST", "/v1/shutdown"): self._post_shutdown,
        }

    # Looking ---------------------------------------------------------------------------------

    async def _get_status(self, _request: Request) -> Reply:
        now = time.monotonic()
        lost = await self._output.lost()
        usage = self._machine.usage()
        fleet, spec = self._runtime.fleet, self._runtime.spec
        cpu = {name: used.cpu_seconds for name, used in usage.items()}
        uptime = {n: now - (fleet.units[n].started_at() or now) for n in usage if n in fleet.units}
        percent = percent_of_core(now, self._cpu_before, cpu, uptime)
        self._cpu_before = {name: (now, seconds) for name, seconds in cpu.items()}
        measured = {
            name: Measured(percent[name], used.rss, used.processes) for name, used in usage.items()
        }
        status: FleetStatus = {
            "daemon": {
                "pid": os.getpid(),
                "version": __version__,
                "uptime": now - self._life.began,
                "config": spec.source,
                "root": spec.root,
                "sink_pid": self._output.sink_pid,
                "stopping": self._life.stopping,
                "journal_seq": self._journal.seq,
                "upgrades": self._life.upgrades,
            },
            "services": [
                service_status(
                    fleet,
                    name,
                    f"{spec.logs_dir}/{name}.log",
                    measured.get(name),
                    lost.get(name, 0),
                    now,
                )
                for name in fleet.units
            ],
        }
        return Reply(200, status)

    async def _get_metrics(self, _request: Request) -> Reply:
        lost = await self._output.lost()
        usage = self._machine.usage()
        fleet, tally = self._runtime.fleet, self._machine.tally
        began = time.time() - time.monotonic()
        metrics: Metrics = {
            "daemon": {
                "version": __version__,
                "started_at": round(began + self._life.began, 2),
                "upgrades": self._life.upgrades,
                "journal_seq": self._journal.seq,
                "journal_lost": self._journal.lost,
            },
            "latency_bounds": list(LATENCY_BOUNDS),
            "services": [
                service_metrics(
                    fleet, name, tally.of(name), usage.get(name), lost.get(name, 0), began
                )
                for name in fleet.units
            ],
        }
        return Reply(200, metrics)

    async def _get_events(self, request: Request) -> Reply | Stream:
        try:
            after = int(request.query.get("after", "0"))
        except ValueError:
            return problem(400, "after is not a number", "give the seq of an event")
        service = request.query.get("service")
        if service is not None and service not in self._runtime.fleet.units:
            return self._unknown([service])
        if after > self._journal.seq:
            return problem(
                409, f"there is no event {after} yet: the journal has begun anew", "read it again"
            )
        if request.query.get("follow") != "1":
            return Stream(_once(_of(service, self._journal.since(after))))
        return Stream(self._follow(after, service))

    async def _follow(self, after: int, service: str | None) -> AsyncIterator[object]:
        async for entry in self._journal.follow(after):
            if service is None or entry.unit == service:
                yield entry.message()

    async def _get_remedies(self, _request: Request) -> Reply:
        now = time.monotonic()
        units = self._runtime.fleet.units.values()
        treated: Treated = {"services": [treated_service(u.spec, u.chart, now) for u in units]}
        return Reply(200, treated)

    # Commanding ------------------------------------------------------------------------------

    async def _post_start(self, request: Request) -> Reply:
        return self._command(request, "start")

    async def _post_stop(self, request: Request) -> Reply:
        return self._command(request, "stop")

    async def _post_restart(self, request: Request) -> Reply:
        rolling = isinstance(request.json, dict) and request.json.get("rolling") is True
        return self._command(request, "roll" if rolling else "restart")

    async def _post_forget(self, request: Request) -> Reply:
        return self._command(request, "forget")

    async def _post_shutdown(self, _request: Request) -> Reply:
        seq = self._journal.seq
        names = list(self._runtime.fleet.units)
        if not self._life.stopping:
            self._journal.append("", Topic.DAEMON, "a client asked the daemon to stop")
            self._life.stopping = True
            self._life.ending.set()
        return Reply(202, _accepted(names, [], seq))

    async def _post_courier(self, request: Request) -> Reply:
        """Let the courier write into the journal whom it could not tell; so much, and no more."""
        text = request.json.get("text") if isinstance(request.json, dict) else None
        if not isinstance(text, str) or not text:
            return problem(400, "there is no text", 'send {"text": "phone: gave up: …"}')
        now = time.monotonic()
        while self._complained_at and now - self._complained_at[0] >= COMPLAINT_WINDOW:
            self._complained_at.popleft()
        if len(self._complained_at) >= COMPLAINTS:
            return problem(429, "too many complaints", "see: atlasctl notify")
        self._complained_at.append(now)
        self._journal.append("", Topic.TROUBLE, line_of(text)[:LONGEST_COMPLAINT])
        return Reply(200, {})

    def _command(self, request: Request, verb: str) -> Reply:
        if (refusal := self._leaving()) is not None:
            return refusal
        names = _names(request.json)
        if names is None:
            return problem(400, "services must be a list of names", 'send {"services": ["tts"]}')
        units = self._runtime.fleet.units
        leaving = self._runtime.fleet.leaving
        unknown = [name for name in names if name not in units or name in leaving]
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
            case "forget":
                self._runtime.forget(asked, "as a client asked")
            case "roll":
                alone = [name for name in asked if not can_overlap(units[name].spec)]
                if alone and names:
                    return problem(
                        409,
                        f"two runs of {', '.join(alone)} cannot both bind its ports",
                        "give the service `sockets:` instead of `ports:`, or restart it plainly",
                    )
                self._runtime.roll(asked, "by a client")
            case _:
                self._runtime.restart(asked, "by a client")
        return Reply(202, _accepted(asked, also, seq))

    def _all(self, verb: str) -> list[str]:
        """Return what a command without names is about."""
        units = self._runtime.fleet.units.values()
        match verb:
            case "stop" | "forget":
                return [unit.spec.name for unit in units]
            case "restart" | "roll":
                return [unit.spec.name for unit in units if unit.spec.enabled]
            case _:
                # A job that is done is as it should be; `start NAME` runs it again.
                return [u.spec.name for u in units if u.spec.enabled and u.state() != "completed"]

    # Another configuration, other code -------------------------------------------------------

    async def _post_plan(self, request: Request) -> Reply:
        spec = self._spec_of(request)
        if isinstance(spec, Reply):
            return spec
        answer: Plan = {"changes": _messages(self._planner.plan(spec))}
        return Reply(200, answer)

    async def _post_reload(self, request: Request) -> Reply:
        if (refusal := self._leaving()) is not None:
            return refusal
        spec = self._spec_of(request)
        if isinstance(spec, Reply):
            return spec
        body = request.json
        rolling = isinstance(body, dict) and body.get("rolling") is True
        changes = self._planner.plan(spec)
        moved = [change for change in changes if change.kind is not ChangeKind.NONE]
        restarting = {change.service for change in moved if change.kind is ChangeKind.RESTART}
        seq = self._journal.seq
        words = ", ".join(f"{c.service} ({c.kind})" for c in moved) or "nothing changes"
        self._journal.append("", Topic.RELOADED, f"configuration reloaded: {words}")
        self._adopt_spec(spec)
        self._runtime.reload(spec, restarting, "the configuration changed", rolling=rolling)
        accepted = _accepted([change.service for change in moved], [], seq)
        answer: Reloading = {**accepted, "changes": _messages(changes)}
        return Reply(202, answer)

    async def _post_upgrade(self, _request: Request) -> Reply:
        if (refusal := self._leaving()) is not None:
            return refusal
        if self._upgrading:
            return problem(409, "an upgrade is under way", "wait for it")
        seq = self._journal.seq
        self._upgrading = True
        try:
            await self._prove()
        except Busy as busy:
            self._journal.append("", Topic.UPGRADE_REFUSED, str(busy))
            return problem(409, str(busy), busy.hint)
        finally:
            self._upgrading = False
        if (refusal := self._leaving()) is not None:
            return refusal
        self._life.ending.set()
        return Reply(202, {"seq": seq, "pid": os.getpid()})

    def _spec_of(self, request: Request) -> FleetSpec | Reply:
        body = request.json
        try:
            spec = codec.decode(FleetSpec, body["spec"] if isinstance(body, dict) else None)
        except (codec.CodecError, KeyError) as error:
            return problem(
                400,
                f"this is no configuration that version {__version__} of the daemon knows: {error}",
                "if atlasctl is newer than the daemon: atlasctl upgrade",
            )
        mine = self._runtime.spec
        for what, old, new in (
            ("state folder", mine.state_dir, spec.state_dir),
            ("root", mine.root, spec.root),
            ("log folder", mine.logs_dir, spec.logs_dir),
        ):
            if old != new:
                return problem(
                    409,
                    f"the {what} would be {new}, and is {old}",
                    "that cannot be changed while it runs: atlasctl down, then atlasctl up",
                )
        return spec

    def _leaving(self) -> Reply | None:
        """Return the refusal of a command that would come too late."""
        if self._life.stopping:
            return problem(409, "the daemon is stopping", "wait, then: atlasctl up")
        if self._life.ending.is_set():
            return problem(409, "the daemon is being upgraded", "try again in a moment")
        return None

    def _unknown(self, names: Sequence[str]) -> Reply:
        known = list(self._runtime.fleet.units)
        near = [n for name in names for n in difflib.get_close_matches(name, known, n=1)]
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known) or 'none'}"
        return problem(404, f"no service is called {', '.join(names)}", hint)


def _messages(changes: Iterable[Change]) -> list[ChangeMessage]:
    return [
        {
            "service": change.service,
            "kind": change.kind.value,
            "why": list(change.why),
            "env": [{"name": c.name, "old": c.old, "new": c.new} for c in change.env],
        }
        for change in masked(tuple(changes))
    ]


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
        yield entry.message()
