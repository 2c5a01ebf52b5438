"""The state of services as clients see it: pure, from the units and what was measured of them."""

from collections.abc import Mapping
from dataclasses import dataclass

from supervisor.control.messages import OverlapStatus, ProbeStatus, ServiceStatus
from supervisor.core.exits import describe_exit
from supervisor.core.overlap import Overlap
from supervisor.core.turn import Fleet
from supervisor.core.unit import Running, Unit


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of a service's whole tree."""

    cpu: float
    """Percent of one core."""
    memory: int
    """Resident bytes."""
    processes: int


NOTHING = Measured(0.0, 0, 0)


def service_status(
    fleet: Fleet, name: str, log: str, measured: Measured | None, log_lost: int, now: float
) -> ServiceStatus:
    """Return what `status` says of one service. `now` is on the clock of the unit's times."""
    unit, overlap = fleet.units[name], fleet.overlaps.get(name)
    spec = unit.spec
    started_at = unit.started_at()
    alive = measured or NOTHING
    return {
        "name": spec.name,
        "description": spec.description,
        # Not down before the last of its runs is.
        "state": "stopping" if overlap is not None and unit.run() is None else unit.state(),
        "goal": unit.goal.value,
        "ready": unit.ready(),
        "settled": fleet.settled(name),
        "reason": unit.reason,
        "since": max(0.0, now - unit.since),
        "pid": unit.pid(),
        "run": unit.last_run,
        "uptime": None if started_at is None else max(0.0, now - started_at),
        "restarts": unit.restarts,
        "ports": list(spec.all_ports()),
        "probe": probe_status(unit, now),
        "notice": unit.notice(),
        "cpu": alive.cpu if unit.pid() is not None else None,
        "memory": alive.memory if unit.pid() is not None else None,
        "processes": alive.processes,
        "overlap": None if overlap is None else _overlap_status(overlap),
        "last_exit": None if unit.last_exit is None else describe_exit(unit.last_exit),
        "enabled": spec.enabled,
        "remedies": list(unit.chart.in_force),
        "depends_on": [dependency.on for dependency in spec.depends_on],
        "log": log,
        "log_lost": log_lost,
    }


def _overlap_status(overlap: Overlap) -> OverlapStatus:
    return {
        "run": overlap.unit.last_run if overlap.incoming else overlap.unit.run() or 0,
        "pid": overlap.unit.pid(),
        "state": overlap.unit.state(),
        "incoming": overlap.incoming,
    }


def probe_status(unit: Unit, now: float) -> ProbeStatus | None:
    """Return the latest probe answer of the present run, or None if there was none yet."""
    if not isinstance(unit.phase, Running):
        return None
    health = unit.phase.health
    if health.spoken is None or health.spoken_kind is None:
        return None
    return {
        "kind": health.spoken_kind.value,
        "ok": health.spoken.ok,
        "detail": health.spoken.detail,
        "latency": health.spoken.latency,
        "age": max(0.0, now - health.spoken_at),
    }


def percent_of_core(
    now: float,
    before: Mapping[str, tuple[float, float]],
    cpu_seconds: Mapping[str, float],
    uptime: Mapping[str, float],
) -> dict[str, float]:
    """Return percent of a core by service.

    `before` holds (time, cpu seconds) of the last look. Between looks closer than 0.2 s, and at
    the first, the average over the life of the run is the better answer.
    """
    percent: dict[str, float] = {}
    for name, used in cpu_seconds.items():
        at, earlier = before.get(name, (0.0, 0.0))
        span = now - at
        # Less than before: another run, or a child that ended and took its time with it.
        if name in before and span >= 0.2 and used >= earlier:
            percent[name] = 100 * (used - earlier) / span
        else:
            percent[name] = 100 * used / uptime[name] if uptime.get(name) else 0.0
    return percent
