"""The shell around the core, on a real event loop with a host that only pretends."""

import asyncio
import itertools
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace

import pytest

from supervisor.core.effects import Note, Topic
from supervisor.core.events import (
    ExitCode,
    Exited,
    ExitSignal,
    Fault,
    Matched,
    Probed,
    ProbeResult,
    RunId,
)
from supervisor.core.remedy import amended
from supervisor.core.restart import Record
from supervisor.core.spec import (
    Backoff,
    Dependency,
    FleetSpec,
    GiveUp,
    OutputTrigger,
    ProbeKind,
    ProbeSpec,
    Remedy,
    RemedyCommand,
    RemedyStep,
    RestartSpec,
    ServiceSpec,
    TcpCheck,
)
from supervisor.core.unit import Past, Unit, Waiting
from supervisor.posix.spawn import SpawnError
from supervisor.runtime import LATE, Runtime
from tests.runtime.test_clocks import Hands

ROUND = "supervisor.runtime.ROUND"

AT_ONCE = RestartSpec(backoff=Backoff(first=0, jitter=0), give_up=None)
READINESS = ProbeSpec(TcpCheck("127.0.0.1", 1), every=0.001, timeout=1)
LIVENESS = ProbeSpec(TcpCheck("127.0.0.1", 1), every=0.001, timeout=1, failures=1)


@pytest.fixture(autouse=True)
def _a_round_has_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what a call sets going be over when it returns, however long the machine takes for it.

    A round that its 2 ms cut short leaves the rest to the next turn of the loop; a test here saw
    that once on a busy machine, which gave the processor to others in the middle of the call.
    """
    monkeypatch.setattr(ROUND, float("inf"))


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
    looked_into: asyncio.Event = field(default_factory=asyncio.Event)
    dump_ends: bool = False
    notes: list[tuple[str, Topic]] = field(default_factory=list)
    steps: list[RemedyStep] = field(default_factory=list)
    step_hangs: bool = False
    step_error: Exception | None = None
    environments: list[dict[str, str]] = field(default_factory=list)
    cancelled: list[RemedyStep] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    unanswered: list[asyncio.Future[ProbeResult]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    silent: bool = False
    """Probes stay unanswered until the test answers them."""
    probes: int = 0
    depth: int = 0

    def spawn(self, unit: Unit, run: RunId, *, beside: bool) -> int:
        if self.refuse:
            raise self.refuse.pop(0)
        name = unit.spec.name
        self.spawned.append((name, run))
        self.environments.append(dict(amended(unit.spec, unit.chart.in_force).env))
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

    async def dump(self, name: str, run: RunId) -> bool:
        self.looked_into.set()
        return self.dump_ends

    async def probe(
        self, spec: ServiceSpec, run: RunId, kind: ProbeKind, *, even_if_busy: bool
    ) -> ProbeResult:
        self.probes += 1
        if self.silent:
            self.unanswered.append(asyncio.get_running_loop().create_future())
            self.asked.set()
            return await self.unanswered[-1]
        return self.answers.get(spec.name, ProbeResult(True, "answered"))

    async def apply(self, spec: ServiceSpec, run: RunId, step: RemedyStep) -> tuple[bool, str]:
        self.steps.append(step)
        if self.step_error is not None:
            raise self.step_error
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
        if not name:
            self.words.append(note.text)


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


@pytest.mark.parametrize("dump_ends", [False, True])
async def test_what_hangs_is_looked_into_and_then_signalled(dump_ends: bool) -> None:
    host = PretendHost(dump_ends=dump_ends)
    host.answers["a"] = ProbeResult(False, "no reply", fault=Fault.SILENT)
    liveness = replace(READINESS, failures=1)
    runtime = runtime_of(host, service("a", liveness=liveness))
    runtime.start(["a"], "test")
    await asyncio.wait_for(host.looked_into.wait(), 10)
    assert runtime.fleet.units["a"].state() == "stopping"
    assert host.signals == ([] if dump_ends else [("a", 15)])
    runtime.close()


async def test_what_cannot_be_looked_into_is_ended_all_the_same() -> None:
    class Blind(PretendHost):
        async def dump(self, name: str, run: RunId) -> bool:
            self.looked_into.set()
            raise RuntimeError("nothing to see")

    host = Blind()
    host.answers["a"] = ProbeResult(False, "no reply", fault=Fault.SILENT)
    runtime = runtime_of(host, service("a", liveness=replace(READINESS, failures=1)))
    runtime.start(["a"], "test")
    await asyncio.wait_for(host.looked_into.wait(), 10)
    assert host.signals == [("a", 15)]
    assert ("a", Topic.DUMPED) in host.notes
    runtime.close()


async def test_a_storm_of_events_lets_the_loop_breathe(monkeypatch: pytest.MonkeyPatch) -> None:
    # No real clock: each look at it takes a millisecond, so that a round is a few events.
    monkeypatch.setattr(ROUND, 0.002)
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
    async with asyncio.timeout(10):
        while not runtime.steady():
            await runtime.changed()
    assert runtime.fleet.units["a"].state() == "healthy"
    runtime.close()


MENDING = Remedy(
    "mending",
    OutputTrigger("one"),
    set_env={"A": "1"},
    run=RemedyCommand(("rm",)),
    restart=True,
)


async def test_a_remedy_takes_its_steps_and_starts_what_it_has_mended() -> None:
    host = PretendHost()
    runtime = runtime_of(host, service("a", remedies=(MENDING,)))
    runtime.start(["a"], "test")
    runtime.post("a", Matched(RunId(1), "one", "one of many"))
    assert host.signals == [("a", 15)]
    runtime.post("a", Exited(RunId(1), ExitSignal(15)))
    assert runtime.fleet.units["a"].state() == "healing"
    await until(runtime, "a", "running")
    assert host.steps == [MENDING.run]
    assert host.spawned == [("a", 1), ("a", 2)]
    assert host.environments == [{}, {"A": "1"}]
    runtime.close()


async def test_a_stop_ends_what_a_remedy_has_begun() -> None:
    host = PretendHost(step_hangs=True)
    runtime = runtime_of(host, service("a", remedies=(MENDING,)))
    runtime.start(["a"], "test")
    runtime.post("a", Matched(RunId(1), "one", "one of many"))
    runtime.post("a", Exited(RunId(1), ExitSignal(15)))
    async with asyncio.timeout(10):
        while not host.steps:  # noqa: ASYNC110 - the next turn of the loop begins it
            await asyncio.sleep(0)
        runtime.stop(["a"], "test")
        assert runtime.quiet()
        while not host.cancelled:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
    runtime.close()


async def test_a_step_that_the_host_has_a_bug_in_is_one_that_failed() -> None:
    host = PretendHost(step_error=RuntimeError("a bug"))
    runtime = runtime_of(host, service("a", restart=AT_ONCE, remedies=(MENDING,)))
    runtime.start(["a"], "test")
    runtime.post("a", Matched(RunId(1), "one", "one of many"))
    runtime.post("a", Exited(RunId(1), ExitSignal(15)))
    await until(runtime, "a", "running")
    assert ("a", Topic.REMEDY_SKIPPED) in host.notes
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


async def until_asked(host: PretendHost, times: int) -> None:
    async with asyncio.timeout(10):
        while len(host.unanswered) < times:
            host.asked.clear()
            await host.asked.wait()


def sleeper(host: PretendHost, hands: Hands, *services: ServiceSpec) -> Runtime:
    """Return a runtime on a machine that can sleep; its deadlines are in real time."""
    spec = FleetSpec("/s.yaml", "/", "/state", "/logs", services)
    return Runtime(spec, host, asyncio.get_running_loop().time, clocks=hands.clocks())


async def test_probes_under_way_when_the_machine_slept_count_for_nothing() -> None:
    host, hands = PretendHost(silent=True), Hands()
    runtime = sleeper(host, hands, service("a", liveness=LIVENESS))
    runtime.start(["a"], "test")
    await until_asked(host, 1)
    hands.sleeps(3600.0)
    # The connection was cut while the machine slept; nobody has looked at the clocks yet.
    host.unanswered[0].set_result(ProbeResult(False, "connection reset"))
    await until_asked(host, 2)
    assert host.signals == []
    assert host.words == [
        "the machine slept for 60 min; probes begin anew, and failures meanwhile do not count"
    ]
    host.silent = False
    host.unanswered[1].set_result(ProbeResult(True, "answered"))
    await until(runtime, "a", "running")
    assert host.notes.count(("", Topic.RESUMED)) == 1
    runtime.close()


async def test_a_probe_that_ends_far_too_late_shows_that_we_stood_still() -> None:
    host = PretendHost(silent=True)
    runtime = runtime_of(host, service("a", liveness=LIVENESS))
    runtime.start(["a"], "test")
    await until_asked(host, 1)
    host.unanswered[0].set_result(ProbeResult(False, "no reply within 1 s", latency=61.0))
    await until_asked(host, 2)
    assert host.signals == []
    assert host.words[0].startswith("the supervisor stood still for about 60 s")
    runtime.close()


async def test_a_probe_that_ends_in_time_counts() -> None:
    host = PretendHost(silent=True)
    runtime = runtime_of(host, service("a", liveness=LIVENESS))
    runtime.start(["a"], "test")
    await until_asked(host, 1)
    late = LIVENESS.timeout + LATE
    host.unanswered[0].set_result(ProbeResult(False, "no reply within 1 s", latency=late))
    async with asyncio.timeout(10):
        while not host.signals:
            await runtime.changed()
    assert host.signals == [("a", 15)]
    runtime.close()


async def test_a_timer_that_comes_far_too_late_shows_that_we_stood_still() -> None:
    host = PretendHost()
    ahead = [0.0]
    loop = asyncio.get_running_loop()
    slow = ProbeSpec(TcpCheck("127.0.0.1", 1), every=0.05, timeout=1, failures=1, budget=0.01)
    spec = FleetSpec("/s.yaml", "/", "/state", "/logs", (service("a", startup=slow),))
    host.answers["a"] = ProbeResult(False, "loading")
    runtime = Runtime(spec, host, lambda: loop.time() + ahead[0])
    runtime.start(["a"], "test")
    # Between two turns of the loop a minute passes: the budget to start is over long ago.
    ahead[0] = 60.0
    async with asyncio.timeout(10):
        while not host.words:
            await runtime.changed()
    assert host.words[0].startswith("the supervisor stood still for about 60 s")
    assert host.words[1:] == [], "one stand-still is told once"
    # It is counted from then on, not forgiven for ever.
    await asyncio.wait_for(host.looked_into.wait(), 10)
    assert host.signals == [("a", 15)]
    runtime.close()


async def test_a_time_that_was_set_is_told_and_changes_nothing() -> None:
    host, hands = PretendHost(), Hands()
    runtime = sleeper(host, hands, service("a", readiness=READINESS))
    runtime.start(["a"], "test")
    await until(runtime, "a", "healthy")
    hands.is_set(-86_400.0)
    async with asyncio.timeout(10):
        while not host.words:
            await runtime.changed()
    assert host.words == ["the wall clock was set back by 24.0 h"]
    assert runtime.fleet.units["a"].state() == "healthy"
    assert ("", Topic.RESUMED) not in host.notes
    runtime.close()


async def test_an_attempt_that_was_due_with_the_last_daemon_is_made() -> None:
    """Nothing else may happen to that service, nor to any other."""
    host = PretendHost()
    spec = FleetSpec("/s.yaml", "/", "/state", "/logs", (service("a"),))
    clock = asyncio.get_running_loop().time
    past = {"a": Past(RunId(2), 1, Record(), Waiting(clock() + 0.02), "crashed")}
    runtime = Runtime(spec, host, clock, past)
    runtime.start([], "the daemon starts")
    await until(runtime, "a", "running")
    assert host.spawned == [("a", 3)]
    runtime.close()
