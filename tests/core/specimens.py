"""Specs and units to begin a test from, each with as little in it as the test needs."""

from supervisor.core.effects import Effect, Note
from supervisor.core.events import Event, Fault, ProbeResult, RunId
from supervisor.core.spec import (
    Backoff,
    Condition,
    Dependency,
    FleetSpec,
    GiveUp,
    ProbeSpec,
    RestartSpec,
    ServiceSpec,
    TcpCheck,
)
from supervisor.core.step import step
from supervisor.core.unit import Unit

RUN = RunId(7)
OLDER = RunId(6)
PID = 4711
STEADY = Backoff(first=0.2, factor=2.0, max=30.0, jitter=0.0)
"""Backoff without jitter, so that a delay can be written down."""

YES = ProbeResult(True, "200 OK", 0.01)
NO = ProbeResult(False, "503 Service Unavailable", 0.01)
PROBER_ERROR = ProbeResult(None, "no descriptor left")
SILENCE = ProbeResult(False, "no reply within 2 s", 2.0, fault=Fault.SILENT)
BUSY = ProbeResult(False, "no reply while 1 request is in flight", fault=Fault.SILENT, busy=True)
PUT_OFF = ProbeResult(None, "put off: 1 request is in flight", busy=True)


def probe(
    *,
    every: float = 2.0,
    failures: int = 3,
    successes: int = 1,
    budget: float | None = None,
    idle: bool = False,
) -> ProbeSpec:
    """Return a probe that nothing here ever makes: only its numbers matter."""
    check = TcpCheck("127.0.0.1", 1)
    return ProbeSpec(
        check,
        every=every,
        timeout=1.0,
        failures=failures,
        successes=successes,
        budget=budget,
        idle=idle,
    )


def service(
    name: str = "tts",
    *,
    startup: ProbeSpec | None = None,
    readiness: ProbeSpec | None = None,
    liveness: ProbeSpec | None = None,
    transaction: ProbeSpec | None = None,
    restart: RestartSpec | None = None,
    needs: tuple[tuple[str, Condition], ...] = (),
) -> ServiceSpec:
    """Return a service with the given probes and policy, and defaults for the rest."""
    return ServiceSpec(
        name=name,
        command=("serve",),
        cwd="/",
        startup=startup,
        readiness=readiness,
        liveness=liveness,
        transaction=transaction,
        restart=restart or RestartSpec(backoff=STEADY),
        depends_on=tuple(Dependency(on, condition) for on, condition in needs),
    )


def forgiving() -> RestartSpec:
    """Return a policy that never gives up and waits without jitter."""
    return RestartSpec(backoff=STEADY, give_up=None)


def fleet_spec(*services: ServiceSpec, start_limit: int = 8) -> FleetSpec:
    """Return the fleet of these services."""
    return FleetSpec("/atlas.yaml", "/", "/state", "/logs", services, start_limit=start_limit)


def strict(after: int = 3, within: float = 60.0) -> RestartSpec:
    """Return a policy that gives up soon."""
    return RestartSpec(backoff=STEADY, give_up=GiveUp(after, within))


def run_through(unit: Unit, *history: tuple[float, Event]) -> tuple[Unit, tuple[Effect, ...]]:
    """Let a unit take events at their times; return it with all effects in order."""
    effects: list[Effect] = []
    for now, event in history:
        unit, more = step(unit, event, now)
        effects.extend(more)
    return unit, tuple(effects)


def topics(effects: tuple[Effect, ...]) -> list[str]:
    """Return what the notes among the effects are about."""
    return [effect.topic.value for effect in effects if isinstance(effect, Note)]


def deeds(effects: tuple[Effect, ...]) -> list[Effect]:
    """Return the effects that are not notes."""
    return [effect for effect in effects if not isinstance(effect, Note)]
