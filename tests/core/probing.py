"""A unit that runs, is asked and answers: what tests of what it says begin from."""

from dataclasses import replace
from typing import Any

from supervisor.core import health as probes
from supervisor.core.events import (
    Admitted,
    Event,
    Fault,
    Probed,
    ProbeResult,
    RunId,
    Spawned,
    Start,
    TimePassed,
)
from supervisor.core.judgement import judge
from supervisor.core.spec import ProbeKind, ProbeSpec, ServiceSpec
from supervisor.core.unit import Running, Unit
from supervisor.core.verdicts import (
    Verdict,
)
from tests.core.specimens import (
    PID,
    SILENCE,
    probe,
    run_through,
    service,
)

STARTUP, READINESS, LIVENESS, TRANSACTION = ProbeKind
ONE = RunId(1)
BROKEN = ProbeResult(False, "500 Internal Server Error")
REFUSED = ProbeResult(False, "503 Service Unavailable", fault=Fault.REFUSED)
OVERLOADED = replace(REFUSED, busy=True)
NOBODY = ProbeResult(False, "connection refused", fault=Fault.UNREACHABLE)
IDLE = replace(SILENCE, busy=False)


def seldom(every: float = 300.0, failures: int = 2) -> ProbeSpec:
    return probe(every=every, failures=failures, idle=True)


def asked_only(kind: ProbeKind, one: ProbeSpec) -> ServiceSpec:
    probes: dict[str, Any] = {kind.value: one}
    return replace(service(), **probes)


def running(spec: ServiceSpec, at: float = 0.0) -> Unit:
    unit, _ = run_through(Unit(spec), (at, Start("x")), (at, Admitted()), (at, Spawned(ONE, PID)))
    return unit


def health_of(unit: Unit) -> probes.Health:
    assert isinstance(unit.phase, Running)
    return unit.phase.health


def answered(unit: Unit, kind: ProbeKind, *results: ProbeResult, at: float) -> Unit:
    return run_through(unit, *answers(kind, *results, at=at))[0]


def answers(
    kind: ProbeKind, *results: ProbeResult, at: float, apart: float = 10.0
) -> list[tuple[float, Event]]:
    """Return for each result the asking, which is due by then, and the answer."""
    events: list[tuple[float, Event]] = []
    for count, result in enumerate(results):
        now = at + apart * count
        events += [(now, TimePassed()), (now, Probed(ONE, kind, result))]
    return events


def asked_at(kind: ProbeKind, result: ProbeResult, *times: float) -> list[tuple[float, Event]]:
    """Return, for each time, the asking and the same answer."""
    return [e for at in times for e in ((at, TimePassed()), (at, Probed(ONE, kind, result)))]


def judged(
    spec: ServiceSpec, health: probes.Health, kind: ProbeKind, result: ProbeResult, now: float
) -> tuple[probes.Health, tuple[Verdict, ...]]:
    health, asked = probes.ask(spec, health, now)
    assert kind in asked
    return judge(spec, ONE, health, kind, result, now)
