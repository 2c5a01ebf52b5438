"""One turn of the fleet: what an event does to one unit, and what follows from it for all.

A unit and its overlap are both moved by `supervisor.core.step`; events find theirs by the run that
they are about.
"""

from dataclasses import replace
from typing import assert_never

from supervisor.core import graph
from supervisor.core.effects import Effect, Note, Topic
from supervisor.core.events import (
    Admitted,
    Event,
    Exited,
    Held,
    Respec,
    Restart,
    Resumed,
    RunId,
    SpawnFailed,
    Start,
    Stop,
    TimePassed,
)
from supervisor.core.overlap import Overlap, can_overlap, heir, of_second_run, time_to_roll
from supervisor.core.spec import Condition, Dependency, ServiceSpec
from supervisor.core.step import step
from supervisor.core.turn import Fleet, Named, Turn, shaped
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


class Work:
    """One turn in the making: copies of the fleet's mappings, which `settle` freezes again."""

    def __init__(self, fleet: Fleet, now: float) -> None:
        self.fleet = fleet
        self.now = now
        self.units = dict(fleet.units)
        self.held_back = dict(fleet.held_back)
        self.overlaps = dict(fleet.overlaps)
        self.rolls = dict(fleet.rolls)
        self.leaving = set(fleet.leaving)
        self.effects: list[Named] = []
        self.touched: set[str] = set()

    # One event -------------------------------------------------------------------------------

    def deliver(self, name: str, event: Event) -> None:
        """Let the unit that an event is about take it, and keep what follows."""
        other = self.overlaps.get(name)
        run: RunId | None = getattr(event, "run", None)
        if other is not None and run is not None and run == other.unit.run():
            self._deliver_to_overlap(name, other, event)
            return
        if name in self.held_back:
            # Its end is decided on: a remedy that begins now would be abandoned.
            unit = self._step(name, replace(self.units[name], heals=False), event)
            unit = replace(unit, heals=True)
        else:
            unit = self._step(name, self.units[name], event)
        self.units[name] = unit
        if other is not None and other.incoming and not isinstance(unit.phase, Running):
            self._promote(name, unit, other.unit)

    def pass_time(self, name: str) -> None:
        """Let the unit, and its overlap, act on a deadline that has come."""
        if _is_due(self.units[name], self.now):
            self.deliver(name, TimePassed())
        other = self.overlaps.get(name)
        if other is None:
            return
        if other.incoming and other.until <= self.now:
            self._give_up_on(name, other.unit)
        elif _is_due(other.unit, self.now):
            self._deliver_to_overlap(name, other, TimePassed())

    def resume(self, name: str, lost: float) -> None:
        """Let both units of a service know that the machine slept."""
        self.units[name] = self._step(name, self.units[name], Resumed(lost))
        other = self.overlaps.get(name)
        if other is not None:
            unit = self._step(name, other.unit, Resumed(lost))
            self.overlaps[name] = replace(other, unit=unit, until=other.until + lost)

    def end(self, name: str, event: Stop | Restart) -> None:
        """Deliver an operator's word that ends the present run, and whatever was to replace it."""
        other = self.overlaps.get(name)
        if other is not None and other.incoming:
            unit = self._step(name, other.unit, Stop(event.why))
            self.overlaps[name] = Overlap(unit, incoming=False)
        self.deliver(name, event)

    def respec(self, name: str, spec: ServiceSpec) -> None:
        """Give a service its new description."""
        self.units[name] = self._step(name, self.units[name], Respec(spec))
        other = self.overlaps.get(name)
        if other is not None:
            # By other probes it may be ready.
            self._deliver_to_overlap(name, other, Respec(spec))

    def _step(self, name: str, unit: Unit, event: Event) -> Unit:
        unit, effects = step(unit, event, self.now)
        self._keep(name, *effects)
        return unit

    def _keep(self, name: str, *effects: Effect) -> None:
        self.touched.add(name)
        self.effects.extend((name, effect) for effect in effects)

    # Two runs at once ------------------------------------------------------------------------

    def _deliver_to_overlap(self, name: str, other: Overlap, event: Event) -> None:
        unit, earlier = other.unit, len(self.effects)
        if other.incoming and isinstance(event, SpawnFailed | Exited):
            # A failure of what was only to come is final: the run that it was for goes on.
            unit = replace(unit, goal=Goal.DOWN)
        unit = self._step(name, unit, event)
        said = self.effects[earlier:]
        self.effects[earlier:] = [(name, of_second_run(effect)) for _, effect in said]
        if not other.incoming:
            self._put_overlap(name, unit)
        elif unit.ready():
            self._swap(name, unit)
        elif isinstance(unit.phase, Spawning | Running):
            self.overlaps[name] = replace(other, unit=unit)
        else:
            self._say_it_failed(name, unit, unit.reason)
            self._put_overlap(name, replace(unit, goal=Goal.DOWN))

    def _give_up_on(self, name: str, unit: Unit) -> None:
        """Drop a run that lives, fails at nothing, and is not ready all the same."""
        words = f"not within {time_to_roll(unit.spec):g} s; {unit.reason}"
        self._say_it_failed(name, unit, words)
        stop = Stop("it did not become ready", asked=False)
        self._put_overlap(name, self._step(name, unit, stop))

    def _say_it_failed(self, name: str, unit: Unit, why: str) -> None:
        words = f"run {unit.last_run} did not become ready: {why}"
        stays = f"{words}; run {self.units[name].run()} stays in service"
        self._keep(name, Note(Topic.ROLL_FAILED, stays, unit.last_run))

    def _put_overlap(self, name: str, unit: Unit) -> None:
        """Keep what is on its way out, until nothing of it is left."""
        if unit.run() is None:
            self.overlaps.pop(name, None)
        else:
            self.overlaps[name] = Overlap(unit, incoming=False)

    def _swap(self, name: str, unit: Unit) -> None:
        old = self.units[name]
        words = f"run {unit.last_run} is ready and takes over from run {old.run()}"
        self._keep(name, Note(Topic.ROLLED, words, unit.last_run))
        self.units[name] = heir(unit, old)
        stop = Stop(f"run {unit.last_run} has taken over", asked=False)
        # A remedy's command that runs beside the service is the heir's from now on.
        self._put_overlap(name, self._step(name, replace(old, beside=None), stop))

    def _promote(self, name: str, old: Unit, unit: Unit) -> None:
        """Let a run that was still to become ready take the place of one that is ending."""
        words = f"its predecessor is ending: run {unit.last_run} takes over before it is ready"
        self._keep(name, Note(Topic.ROLLED, words, unit.last_run))
        self.units[name] = heir(unit, old)
        self._put_overlap(name, replace(old, goal=Goal.DOWN, beside=None))

    # Everything that follows -----------------------------------------------------------------

    def settle(self) -> Turn:
        """Let go of every ending and every start that nothing holds back any more.

        Each round delivers an event or is the last. A delivered ending leaves `held_back`, a roll
        that begins leaves `rolls` and an admitted unit leaves `Blocked`, so rounds are bounded by
        the number of units.
        """
        # What cannot be rolled is to end, and others must know before they do.
        while self._roll_what_may_roll() or self._end_what_may_end() or self._admit():
            pass
        left = self._forget_what_has_left()
        fleet = replace(
            self.fleet,
            units=self.units if self.touched else self.fleet.units,
            held_back=self.held_back,
            overlaps=self.overlaps,
            rolls=self.rolls,
            leaving=frozenset(self.leaving),
        )
        fleet = shaped(fleet) if left else fleet
        return Turn(fleet, tuple(self.effects), frozenset(self.touched))

    def _end_what_may_end(self) -> bool:
        free = [name for name in self.held_back if self._may_end(name)]
        for name in free:
            self.end(name, self.held_back.pop(name))
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
        outgoing = name in self.overlaps and not self.overlaps[name].incoming
        return outgoing or isinstance(unit.phase, Stopping | Clearing)

    def _roll_what_may_roll(self) -> bool:
        begun = False
        for name, why in list(self.rolls.items()):
            unit = self.units[name]
            if not (unit.ready() and can_overlap(unit.spec)):
                # There is no service to be kept up meanwhile, or no way to.
                del self.rolls[name]
                self.held_back[name] = Restart(why)
                begun = True
            elif name not in self.overlaps and self._starting() < self.fleet.start_limit:
                del self.rolls[name]
                self._roll(name, unit, why)
                begun = True
        return begun

    def _roll(self, name: str, old: Unit, why: str) -> None:
        run = RunId(old.last_run + 1)
        words = f"restart asked: {why}; run {run} is started beside run {old.run()}"
        self._keep(name, Note(Topic.ROLLING, words, run))
        unit = Unit(old.spec, Goal.UP, Blocked(), words, self.now, last_run=old.last_run)
        unit = replace(unit, chart=old.chart, heals=False)
        unit = self._step(name, unit, Admitted())
        self.units[name] = replace(old, last_run=unit.last_run)
        self.overlaps[name] = Overlap(unit, True, self.now + time_to_roll(old.spec))

    def _starting(self) -> int:
        incoming = sum(other.unit.starting() for other in self.overlaps.values() if other.incoming)
        return incoming + sum(unit.starting() for unit in self.units.values())

    def _admit(self) -> bool:
        blocked = [n for n, unit in self.units.items() if isinstance(unit.phase, Blocked)]
        if not blocked:
            return False
        starting = self._starting()
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
            case Stopped():
                return f"{name}, which is stopped: start it"
            case Completed():
                return None
            case Running(health=health):
                met = dependency.condition is Condition.STARTED or (
                    dependency.condition is Condition.READY and health.ready
                )
            case Blocked() | Spawning() | Stopping() | Clearing() | Waiting() | Healing():
                met = False
            case _:
                assert_never(unit.phase)
        return None if met else f"{name} to be {dependency.condition} (it is {unit.state()})"

    def _forget_what_has_left(self) -> bool:
        before = len(self.units)
        for name in sorted(self.leaving):
            if self.units[name].run() is None and name not in self.overlaps | self.held_back:
                del self.units[name]
                self.leaving.discard(name)
                self._keep(name, Note(Topic.REMOVED, "nothing of it is left, and it is forgotten"))
        return len(self.units) < before

    # What operators ask ----------------------------------------------------------------------

    def start(self, asked: set[str], why: str) -> None:
        """Start these services and all that they need."""
        for name in graph.closure(self.fleet.edges, [n for n in self.units if n in asked]):
            if name in self.leaving:
                continue
            if isinstance(self.held_back.get(name), Stop):
                # A restart that is held back stays: it ends with the service up, as is asked here.
                del self.held_back[name]
            if name not in asked and isinstance(self.units[name].phase, Completed):
                # What it was needed for is done; a migration must not run at every start.
                continue
            because = why if name in asked else f"{why} (needed by {self._needed_by(name, asked)})"
            self.deliver(name, Start(because))

    def _needed_by(self, name: str, asked: set[str]) -> str:
        direct = [n for n in self.fleet.dependents.get(name, ()) if n in asked]
        return ", ".join(direct or self.fleet.dependents.get(name, ()))


def _is_due(unit: Unit, now: float) -> bool:
    at = unit.deadline()
    return at is not None and at <= now
