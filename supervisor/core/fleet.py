"""All units together: who may start when, and who must end first.

The fleet adds two rules to what a unit decides for itself. A unit starts when each of its
dependencies holds and fewer than `start_limit` others are starting. A unit that is to end waits
until those that depend on it, and are to end too, have ended. Both are looked at again after
every event (`_settle`), so no notice can be missed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

from supervisor.core import graph
from supervisor.core.effects import Effect
from supervisor.core.events import Admitted, Event, Held, Restart, RunId, Start, Stop, TimePassed
from supervisor.core.spec import Condition, Dependency, FleetSpec, ServiceSpec
from supervisor.core.step import step
from supervisor.core.unit import (
    NO_RUN,
    Blocked,
    Clearing,
    Completed,
    Failed,
    Goal,
    Running,
    Spawning,
    Stopped,
    Stopping,
    Unit,
    Waiting,
)

Named = tuple[str, Effect]
"""An effect and the unit that it is for."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Every unit by name, and the endings that are still held back."""

    units: Mapping[str, Unit]
    edges: graph.Edges = field(default_factory=dict)
    dependents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    start_limit: int = 8
    held_back: Mapping[str, Stop | Restart] = field(default_factory=dict)
    """Stops and restarts that wait until the dependents have ended."""


def assemble(spec: FleetSpec, now: float, last_runs: Mapping[str, RunId] | None = None) -> Fleet:
    """Return the fleet of a specification, with every unit stopped.

    Runs are counted on from `last_runs`, where an earlier daemon has had some.
    """
    edges = {s.name: tuple(d.on for d in s.depends_on) for s in spec.services}
    counted = last_runs or {}
    units = {
        s.name: Unit(s, reason=_first_reason(s), since=now, last_run=counted.get(s.name, NO_RUN))
        for s in spec.services
    }
    return Fleet(units, edges, graph.dependents(edges), spec.start_limit)


def _first_reason(spec: ServiceSpec) -> str:
    return "not started yet" if spec.enabled else "disabled in the configuration"


@dataclass(frozen=True, slots=True)
class Turn:
    """What became of the fleet, what is to be done, and whose deadlines may have changed."""

    fleet: Fleet
    effects: tuple[Named, ...]
    touched: frozenset[str]


def handle(fleet: Fleet, name: str, event: Event, now: float) -> Turn:
    """Let one unit take one event, and everything that follows from it in the fleet."""
    work = _Work(fleet, now)
    work.deliver(name, event)
    return work.settle()


def pass_time(fleet: Fleet, names: Iterable[str], now: float) -> Turn:
    """Let those of `names` whose deadline has come act on it."""
    work = _Work(fleet, now)
    for name in names:
        at = fleet.units[name].deadline()
        if at is not None and at <= now:
            work.deliver(name, TimePassed())
    return work.settle()


def start(fleet: Fleet, names: Iterable[str], why: str, now: float) -> Turn:
    """Start these services and all that they need, which may have been stopped on purpose."""
    asked = set(names)
    work = _Work(fleet, now)
    for name in graph.closure(fleet.edges, [n for n in fleet.units if n in asked]):
        if isinstance(work.held_back.get(name), Stop):
            # A restart that is held back stays: it ends with the service up, as is asked here.
            del work.held_back[name]
        if name not in asked and isinstance(work.units[name].phase, Completed):
            # What it was needed for is done; a migration must not run at every start.
            continue
        because = why if name in asked else f"{why} (needed by {_needed_by(fleet, name, asked)})"
        work.deliver(name, Start(because))
    return work.settle()


def stop(fleet: Fleet, names: Iterable[str], why: str, now: float) -> Turn:
    """Stop these services, each after those of them that depend on it."""
    work = _Work(fleet, now)
    work.held_back.update(dict.fromkeys(names, Stop(why)))
    return work.settle()


def restart(fleet: Fleet, names: Iterable[str], why: str, now: float) -> Turn:
    """Restart these services: down in reverse order, up again in order."""
    work = _Work(fleet, now)
    work.held_back.update(dict.fromkeys(names, Restart(why)))
    return work.settle()


def _needed_by(fleet: Fleet, name: str, asked: set[str]) -> str:
    direct = [n for n in fleet.dependents.get(name, ()) if n in asked]
    return ", ".join(direct or fleet.dependents.get(name, ()))


class _Work:
    """One turn in the making: copies of the fleet's mappings, which `settle` freezes again."""

    def __init__(self, fleet: Fleet, now: float) -> None:
        self.fleet = fleet
        self.now = now
        self.units = dict(fleet.units)
        self.held_back = dict(fleet.held_back)
        self.effects: list[Named] = []
        self.touched: set[str] = set()

    def deliver(self, name: str, event: Event) -> None:
        """Let a unit take an event, and keep what follows."""
        unit, effects = step(self.units[name], event, self.now)
        self.units[name] = unit
        self.touched.add(name)
        self.effects.extend((name, effect) for effect in effects)

    def settle(self) -> Turn:
        """Let go of every ending and every start that nothing holds back any more.

        Each round delivers an event or is the last. A delivered ending leaves `held_back` and an
        admitted unit leaves `Blocked`, so there are no more rounds than twice the units.
        """
        while self._end_what_may_end() or self._admit_what_may_start():
            pass
        units = self.units if self.touched else self.fleet.units
        fleet = replace(self.fleet, units=units, held_back=self.held_back)
        return Turn(fleet, tuple(self.effects), frozenset(self.touched))

    def _end_what_may_end(self) -> bool:
        free = [name for name in self.held_back if self._may_end(name)]
        for name in free:
            self.deliver(name, self.held_back.pop(name))
        return bool(free)

    def _may_end(self, name: str) -> bool:
        """Tell whether nothing that depends on this unit, and is to end too, still lives."""
        unit = self.units[name]
        if unit.run() is None:
            return True
        if isinstance(unit.phase, Spawning):
            # It is until the system has answered, and ends in its turn after that. Told now, it
            # would take a restart as done, and a stop for when its turn may not have come.
            return False
        # All the way up: what ends may, until it has, need this unit through one that stays.
        seen: set[str] = set()
        pending = list(self.fleet.dependents.get(name, ()))
        while pending:
            other = pending.pop()
            if self._is_ending(other):
                return False
            if other not in seen:
                seen.add(other)
                pending.extend(self.fleet.dependents.get(other, ()))
        return True

    def _is_ending(self, name: str) -> bool:
        unit = self.units[name]
        if name in self.held_back:
            return unit.run() is not None
        return isinstance(unit.phase, Stopping | Clearing)

    def _admit_what_may_start(self) -> bool:
        blocked = [n for n, unit in self.units.items() if isinstance(unit.phase, Blocked)]
        if not blocked:
            return False
        starting = sum(unit.starting() for unit in self.units.values())
        admitted = False
        for name in blocked:
            why = self._held_by(self.units[name])
            if why is None and starting >= self.fleet.start_limit:
                limit = self.fleet.start_limit
                why = f"waiting for room: {limit} services (start_limit) are starting"
            if why is not None:
                if why != self.units[name].reason:
                    # Else every event would touch, and have recorded, all that are blocked.
                    self.deliver(name, Held(why))
                continue
            self.deliver(name, Admitted())
            starting += 1
            admitted = True
        return admitted

    def _held_by(self, unit: Unit) -> str | None:
        """Return what this unit waits for, in words, or None if nothing holds it."""
        unmet = (self._unmet(dependency) for dependency in unit.spec.depends_on)
        waits = [words for words in unmet if words is not None]
        return "waiting for " + ", ".join(waits) if waits else None

    def _unmet(self, dependency: Dependency) -> str | None:
        name, unit = dependency.on, self.units[dependency.on]
        if name in self.held_back:
            return f"{name}, which is about to end"
        match unit.phase:
            case Failed():
                return f"{name}, which failed: {unit.reason}"
            case Stopped() if unit.goal is Goal.DOWN:
                return f"{name}, which is stopped: start it"
            case Completed():
                return None
            case Running(health=health):
                met = dependency.condition is Condition.STARTED or (
                    dependency.condition is Condition.READY and health.ready
                )
            case Stopped() | Blocked() | Spawning() | Stopping() | Clearing() | Waiting():
                met = False
            case _:
                assert_never(unit.phase)
        return None if met else f"{name} to be {dependency.condition} (it is {unit.state()})"
