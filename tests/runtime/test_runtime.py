"""The shell around the core, on a real event loop with a host that only pretends."""

import asyncio
import itertools
from collections.abc import Awaitable
from dataclasses import dataclass, field

from supervisor.core.effects import Note, Topic
from supervisor.core.events import ExitCode, Exited, ExitSignal, Probed, ProbeResult, RunId
from supervisor.core.spec import (
    Backoff,
    Dependency,
    FleetSpec,
    GiveUp,
    ProbeKind,
    ProbeSpec,
    RemedyStep,
    RestartSpec,
    ServiceSpec,
    TcpCheck,
)
from supervisor.core.unit import Unit
from supervisor.posix.spawn import SpawnError
from supervisor.runtime import Runtime

AT_ONCE = RestartSpec(backoff=Backoff(first=0, jitter=0), give_up=None)
READINESS = ProbeSpec(TcpCheck("127.0.0.1", 1), every=0.001, timeout=1)


@dataclass
class PretendHost:
    """Records what it is asked; processes are numbers."""

    refuse: list[SpawnError] = field(default_factory=list)
    answers: dict[str, ProbeResult] = field(default_factory=dict)
    left_over: dict[str, tuple[str, ...]] = field(default_factory=dict)
    spawned: list[tuple[str, RunId]] = field(default_factory=list)
    beside: list[tuple[str, RunId]] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    signals: list[tuple[str, int]] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    notes: list[tuple[str, Topic]] = field(default_factory=list)
    steps: list[RemedyStep] = field(default_factory=list)
    step_hangs: bool = False
    cancelled: list[RemedyStep] = field(default_factory=list)
    probes: int = 0
    depth: int = 0

    def spawn(self, unit: Unit, run: RunId, *, beside: bool) -> int:
        if self.refuse:
            raise self.refuse.pop(0)
        name = unit.spec.name
        self.spawned.append((name, run))
        if beside:
            self.beside.append((name, run))
        return 1000 + len(self.spawned)

    def signal(self, name: str, run: RunId, signal: int) -> None:
        self.signals.append((name, signal))

    def kill(self, name: str, run: RunId) -> None:
        self.killed.append(name)

    def clear(
        self, name: str, run: RunId, grace: float
    ) -> tuple[str, ...] | Awaitable[tuple[str, ...]]:
        left = self.left_over.get(name)
        return () if left is None else self._later(left)

    async def _later(self, left: tuple[str, ...]) -> tuple[str, ...]:
        return left

    async def probe(self, spec: ServiceSpec, run: RunId, kind: ProbeKind) -> ProbeResult:
        self.probes += 1
        return self.answers.get(spec.name, ProbeResult(True, "answered"))

    async def apply(self, spec: ServiceSpec, run: RunId, step: RemedyStep) -> tuple[bool, str]:
        self.steps.append(step)
        if self.step_hangs:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.append(step)
                raise
        return True, "done"

    def settled(self, unit: Unit, overlap: Unit | None) -> None:
        """Nothing to keep."""

    def removed(self, name: str) -> None:
        self.gone.append(name)

    def note(self, name: str, note: Note) -> None:
        self.notes.append((name, note.topic))


def runtime_of(host: PretendHost, *services: ServiceSpec) -> Runtime:
    spec = FleetSpec("/s.yaml", "/", "/state", "/logs", services)
    return Runtime(spec, host, asyncio.get_running_loop().time)


def service(name: str, **more: object) -> ServiceSpec:
    return ServiceSpec(name, ("sleep", "9"), "/", **more)  # type: ignore[arg-type]


async def until(runtime: Runtime, name: str, state: str) -> Unit:
    """Return the unit once it is in this state."""
    async with asyncio.timeout(10):
        while runtime.fleet.units[name].state() != state:
            await runtime.changed()
    return runtime.fleet.units[name]


async def test_a_crash_is_followed_by_another_run_without_a_turn_of_the_loop() -> None:
    host = PretendHost()
    runtime = runtime_of(host, service("a", restart=AT_ONCE))
    runtime.start(["a"], "test")
    runtime.post("a", Exited(RunId(1), ExitSignal(9)))
    assert host.spawned == [("a", 1), ("a", 2)]
    assert runtime.fleet.units["a"].restarts == 1
    runtime.close()


async def test_backoff_is_waited_for_on_the_one_timer() -> None:
    host = PretendHost()
    restart = RestartSpec(backoff=Backoff(first=0.01, factor=1, jitter=0), give_up=None)
    runtime = runtime_of(host, service("a", restart=restart), service("b", restart=restart))
    runtime.start(["a", "b"], "test")
    for name in ("a", "b"):
        runtime.post(name, Exited(RunId(1), ExitCode(1)))
        assert runtime.fleet.units[name].state() == "backoff"
    for name in ("a", "b"):
        await until(runtime, name, "running")
    assert sorted(host.spawned) == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    runtime.close()


async def test_probes_are_made_and_their_answers_counted() -> None:
    host = PretendHost()
    runtime = runtime_of(host, service("a", readiness=READINESS))
    runtime.start(["a"], "test")
    assert runtime.fleet.units["a"].state() == "unready"
    await until(runtime, "a", "healthy")
    host.answers["a"] = ProbeResult(False, "refused")
    unit = await until(runtime, "a", "unready")
    assert "refused" in unit.reason
    runtime.close()


async def test_a_dependent_starts_when_its_dependency_is_ready() -> None:
    host = PretendHost(answers={"db": ProbeResult(False, "loading")})
    runtime = runtime_of(
        host,
        service("web", depends_on=(Dependency("db"),)),
        service("db", readiness=READINESS),
    )
    runtime.start(["web"], "test")
    await until(runtime, "db", "unready")
    assert host.spawned == [("db", 1)]
    assert runtime.fleet.units["web"].reason == "waiting for db to be ready (it is unready)"
    host.answers.clear()
    await until(runtime, "web", "running")
    runtime.close()


async def test_a_refused_spawn_is_an_event_like_any_other() -> None:
    host = PretendHost(refuse=[SpawnError("no such command: slep", retry=False)])
    runtime = runtime_of(host, service("a"))
    runtime.start(["a"], "test")
    unit = runtime.fleet.units["a"]
    assert (unit.state(), unit.reason) == ("failed", "no such command: slep")
    runtime.start(["a"], "test")
    assert runtime.fleet.units["a"].state() == "running"
    runtime.close()


async def test_what_could_not_be_ended_is_reported() -> None:
    host = PretendHost(left_over={"a": ("pid 7 worker (state D)",)})
    runtime = runtime_of(host, service("a"))
    runtime.start(["a"], "test")
    runtime.stop(["a"], "test")
    assert host.signals == [("a", 15)]
    runtime.post("a", Exited(RunId(1), ExitSignal(15)))
    unit = await until(runtime, "a", "failed")
    assert "pid 7 worker" in unit.reason
    assert runtime.quiet()
    runtime.close()


async def test_a_storm_of_events_lets_the_loop_breathe() -> None:
    # No real clock: each look at it takes a millisecond, so that a round is four turns.
    ticks = itertools.count()
    host = PretendHost()
    names = [f"s{n}" for n in range(200)]
    services = tuple(service(name, restart=AT_ONCE) for name in names)
    spec = FleetSpec("/s.yaml", "/", "/state", "/logs", services)
    runtime = Runtime(spec, host, lambda: next(ticks) / 1000)
    breaths: list[int] = []
    asyncio.get_running_loop().call_soon(lambda: breaths.append(len(host.spawned)))
    runtime.start(names, "test")
    await until(runtime, names[-1], "running")
    assert len(host.spawned) == len(names)
    assert breaths
    assert breaths[0] < len(names)
    runtime.close()


async def test_an_unready_fleet_is_not_quiet() -> None:
    host = PretendHost()
    runtime = runtime_of(
        host, service("a", restart=RestartSpec(give_up=GiveUp(after=1, within=60)))
    )
    assert runtime.quiet()
    runtime.start(["a"], "test")
    assert not runtime.quiet()
    runtime.post("a", Exited(RunId(1), ExitCode(3)))
    assert runtime.fleet.units["a"].state() == "failed"
    runtime.stop(["a"], "test")
    assert runtime.quiet()
    runtime.close()


async def test_late_answers_of_an_older_run_change_nothing() -> None:
    host = PretendHost()
    runtime = runtime_of(host, service("a", restart=AT_ONCE))
    runtime.start(["a"], "test")
    runtime.post("a", Exited(RunId(1), ExitSignal(9)))
    before = runtime.fleet
    runtime.post("a", Exited(RunId(1), ExitSignal(9)))
    runtime.post("a", Probed(RunId(1), ProbeKind.LIVENESS, ProbeResult(False, "late")))
    assert runtime.fleet.units["a"] is before.units["a"]
    runtime.close()


async def test_a_rolling_restart_ends_the_old_run_when_the_new_one_is_ready() -> None:
    host = PretendHost(answers={"a": ProbeResult(True, "answered")})
    runtime = runtime_of(host, service("a", readiness=READINESS))
    runtime.start(["a"], "test")
    await until(runtime, "a", "healthy")
    host.answers["a"] = ProbeResult(False, "loading")
    runtime.roll(["a"], "test")
    assert host.beside == [("a", 2)]
    assert runtime.fleet.units["a"].run() == 1
    assert not runtime.steady()
    assert host.signals == []
    host.answers["a"] = ProbeResult(True, "answered")
    async with asyncio.timeout(10):
        while runtime.fleet.units["a"].run() != 2:
            await runtime.changed()
    assert host.signals == [("a", 15)]
    runtime.post("a", Exited(RunId(1), ExitSignal(15)))
    assert runtime.steady()
    assert runtime.fleet.units["a"].state() == "healthy"
    runtime.close()


async def test_a_service_that_left_the_configuration_is_forgotten_when_it_has_ended() -> None:
    host = PretendHost()
    runtime = runtime_of(host, service("a"), service("b"))
    runtime.start(["a", "b"], "test")
    spec = FleetSpec("/s.yaml", "/", "/state", "/logs", (service("b"),))
    runtime.reload(spec, frozenset(), "test", rolling=False)
    assert host.signals == [("a", 15)]
    assert host.gone == []
    runtime.post("a", Exited(RunId(1), ExitSignal(15)))
    assert host.gone == ["a"]
    assert list(runtime.fleet.units) == ["b"]
    runtime.post("a", Exited(RunId(1), ExitSignal(15)))
    runtime.close()
