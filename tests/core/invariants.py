"""What must hold in a simulation after every turn: the core believes what the fake system knows."""

from math import inf
from typing import TYPE_CHECKING, assert_never

from supervisor.core.events import RunId
from supervisor.core.overlap import Overlap
from supervisor.core.spec import Condition, Dependency, ProbeKind
from supervisor.core.turn import Fleet
from supervisor.core.unit import (
    Blocked,
    Clearing,
    Completed,
    Failed,
    Goal,
    Healing,
    Running,
    Spawning,
    Stopped,
    Stopping,
    Unit,
    Waiting,
)
from tests.core.places import Place, Slot

if TYPE_CHECKING:
    from tests.core.simulation import World


def starting(fleet: Fleet) -> list[str]:
    """Return who uses a place among those that are starting."""
    main = [name for name, unit in fleet.units.items() if unit.starting()]
    return main + [n for n, o in fleet.overlaps.items() if o.incoming and o.unit.starting()]


def _expected(unit: Unit) -> tuple[RunId | None, RunId | None, RunId | None]:
    """Return what the world must have of a unit in this phase: `Slot.has`."""
    match unit.phase:
        case Spawning(run=run):
            return (run, None, None)
        case Running(run=run) | Stopping(run=run):
            return (None, run, None)
        case Clearing(run=run):
            return (None, None, run)
        case Stopped() | Blocked() | Waiting() | Healing() | Failed() | Completed():
            return (None, None, None)
        case _:
            assert_never(unit.phase)


def check(world: "World", name: str) -> None:
    place, unit = world.places[name], world.fleet.units[name]
    overlap = world.fleet.overlaps.get(name)
    if overlap is None:
        assert place.second.has() == (None, None, None), f"{name}: a run is forgotten"
    else:
        _check_overlap(world, name, unit, place.second, overlap)
    assert unit.reason
    phase = unit.phase
    if unit.goal is Goal.DOWN:
        assert isinstance(phase, Stopped | Spawning | Stopping | Clearing | Failed)
    else:
        assert not isinstance(phase, Stopped)
    assert place.has() == _expected(unit), f"{name}: {phase}"
    deadline = unit.deadline()
    if isinstance(phase, Stopping):
        assert deadline is not None, f"{name} may never end"
    if isinstance(phase, Waiting):
        assert deadline == phase.until
    if isinstance(phase, Healing):
        assert phase.number in place.steps, f"{name} waits for no remedy"
        assert deadline == phase.until < inf
    under_way = {unit.beside.number} if unit.beside is not None else set()
    under_way |= {phase.number} if isinstance(phase, Healing) else set()
    assert set(place.steps) == under_way, f"{name}: nobody waits for a step of a remedy"
    if isinstance(phase, Running):
        for kind, tally in phase.health.tallies:
            if tally.asking:
                assert (phase.run, kind) in place.probes, f"{name} waits for no {kind} probe"
            else:
                assert deadline is not None
                assert deadline <= tally.due
        assert phase.health.started or phase.health.tallies, f"{name} is never asked"
    if isinstance(phase, Blocked):
        room = len(starting(world.fleet)) < world.fleet.start_limit
        assert unmet(world, unit) or not room, f"{name} is blocked by nothing"
    if name in world.fleet.held_back:
        ending = [other for other in world.above[name] if _ends(world, other)]
        held = ending or isinstance(phase, Spawning)
        assert held, f"the end of {name} is held back by nothing"


def _check_overlap(world: "World", name: str, unit: Unit, slot: Slot, overlap: Overlap) -> None:
    second = overlap.unit
    assert second.run() is not None, f"{name}: an overlap with nothing in it"
    assert second.run() != unit.run()
    assert slot.has() == _expected(second), f"{name}: {second.phase}"
    if overlap.incoming:
        assert overlap.until < inf
        assert isinstance(unit.phase, Running), f"{name}: it need not wait to take over"
        assert isinstance(second.phase, Spawning | Running)
        assert not second.ready(), f"{name}: it is ready and does not take over"
        assert second.goal is Goal.UP
    else:
        assert second.goal is Goal.DOWN
        if isinstance(second.phase, Stopping):
            assert second.deadline() is not None, f"{name}: its second run may never end"


def _ends(world: "World", name: str) -> bool:
    unit = world.fleet.units[name]
    overlap = world.fleet.overlaps.get(name)
    if overlap is not None and not overlap.incoming:
        return True
    if unit.run() is None:
        return False
    asked = name in world.fleet.held_back or unit.goal is Goal.DOWN
    return asked or isinstance(unit.phase, Stopping | Clearing)


def unmet(world: "World", unit: Unit) -> list[str]:
    """Return the dependencies that do not hold now."""
    return [d.on for d in unit.spec.depends_on if not _met(world, d)]


def _met(world: "World", dependency: Dependency) -> bool:
    unit = world.fleet.units[dependency.on]
    if dependency.on in world.fleet.held_back:
        return False
    if isinstance(unit.phase, Completed):
        return True
    if not isinstance(unit.phase, Running) or dependency.condition is Condition.COMPLETED:
        return False
    return dependency.condition is Condition.STARTED or unit.phase.health.ready


def at_rest(world: "World", name: str) -> bool:
    """Tell whether a unit is where it can stay, all going well."""
    unit = world.fleet.units[name]
    match unit.phase:
        case Stopped():
            return unit.goal is Goal.DOWN
        case Failed():
            return unit.goal is Goal.UP or world.places[name].left_over
        case Completed():
            return True
        case Running():
            return unit.ready()
        case Blocked():
            return bool(unmet(world, unit)) and all(
                at_rest(world, name) for name in unmet(world, unit)
            )
        case Spawning() | Stopping() | Clearing() | Waiting() | Healing():
            return False
        case _:
            assert_never(unit.phase)


def check_order(world: "World", name: str) -> None:
    for other in world.above[name]:
        place = world.places[other]
        ends = place.asked_to_end is not None and place.asked_to_end == world.unit(other).run()
        assert not ends, f"{name} ends before {other}, which needs it and is to end too"


def check_patience(world: "World", name: str, unit: Unit, kind: ProbeKind) -> None:
    """Check that no run is excused for longer than it may be."""
    assert isinstance(unit.phase, Running)
    tally = unit.phase.health.tally(kind)
    assert tally is not None
    waits = (unit.phase.run, kind) in world.places[name].patient
    if waits and tally.excused_since is not None:
        patience = world.now - tally.excused_since
        assert patience < unit.spec.busy_deadline, f"{name}: its transaction is put off for ever"


def count_spawn(world: "World", name: str, place: Place, unit: Unit) -> None:
    """See that no more runs begin than restart policy and all remedies allow together.

    Each run but the first is one that policy has allowed (fewer than `after` failures within
    its window) or the one use of a rule. The first may have been decided on before the window.
    """
    place.spawns.append(world.now)
    policy = unit.spec.restart.give_up
    if policy is None or policy.within > min(
        (r.limit.within for r in unit.spec.remedies), default=0
    ):
        return
    recent = [at for at in place.spawns if world.now - at < policy.within]
    most = policy.after + sum(r.limit.times for r in unit.spec.remedies if r.restart)
    assert len(recent) <= most, f"{name}: {len(recent)} runs, and {most} are allowed"
