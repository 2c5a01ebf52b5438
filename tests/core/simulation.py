"""A fleet in virtual time on a fake operating system that may be as hostile as a test likes.

The world performs every effect of the core and checks, after each turn, that what the core
believes of a unit is what the world knows of it (`invariants.py`): no process without a phase for
it, no phase that waits for something that will never come. It repeats no event and heals nothing.
"""

from collections.abc import Callable, Iterable
from typing import assert_never

from supervisor.core import fleet as fleets
from supervisor.core import graph
from supervisor.core.effects import (
    Abandon,
    Apply,
    Ask,
    Clear,
    Effect,
    Kill,
    Note,
    Signal,
    Spawn,
    Topic,
)
from supervisor.core.events import (
    Adopted,
    Applied,
    Cleared,
    Event,
    Exit,
    Exited,
    ExitSignal,
    Matched,
    Probed,
    ProbeResult,
    RunId,
    Spawned,
    SpawnFailed,
)
from supervisor.core.spec import FleetSpec, ProbeKind
from supervisor.core.turn import Turn
from supervisor.core.unit import (
    Goal,
    Running,
    Stopping,
    Unit,
)
from tests.core import invariants
from tests.core.places import Place, Process, Slot
from tests.core.specimens import BUSY, PUT_OFF, YES

TURNS_AT_ONE_INSTANT = 3
"""How often time may pass without moving on before it is a busy loop."""


class World:
    """A fleet, its fake system, and a clock that moves when it is told to."""

    def __init__(self, spec: FleetSpec) -> None:
        self.now = 1000.0
        self.fleet = fleets.assemble(spec, self.now)
        self.places = {name: Place() for name in self.fleet.units}
        self.above = self._above()
        """Each name with all that depend on it, directly or not."""
        self.deeds: list[tuple[str, Effect]] = []
        """All effects but notes."""
        self.notes: list[tuple[str, Note]] = []
        self.touched: frozenset[str] = frozenset()

    # What operators do -----------------------------------------------------------------------

    def start(self, *names: str) -> None:
        for name in graph.closure(self.fleet.edges, names):
            if not self.places[name].restart_asked:
                self.places[name].asked_to_end = None
        self._carry_out(fleets.start(self.fleet, names, "x", self.now))

    def stop(self, *names: str) -> None:
        self._ask_to_end(names, restart=False)
        self._carry_out(fleets.stop(self.fleet, names, "x", self.now))

    def restart(self, *names: str) -> None:
        self._ask_to_end(names, restart=True)
        self._carry_out(fleets.restart(self.fleet, names, "x", self.now))

    def roll(self, *names: str) -> None:
        self._carry_out(fleets.roll(self.fleet, names, "x", self.now))

    def reloads(self, spec: FleetSpec, restarting: Iterable[str], *, rolling: bool) -> None:
        gone = set(self.fleet.units) - {s.name for s in spec.services}
        self._ask_to_end(gone, restart=False)
        disabled = [s.name for s in spec.services if not s.enabled and s.name in self.places]
        self._ask_to_end([n for n in disabled if self.fleet.units[n].spec.enabled], restart=False)
        for one in spec.services:
            self.places.setdefault(one.name, Place())
        turn = fleets.reload(
            self.fleet, spec, frozenset(restarting), "x", self.now, rolling=rolling
        )
        self._carry_out(turn)

    def _ask_to_end(self, names: Iterable[str], *, restart: bool) -> None:
        for name in names:
            self.places[name].asked_to_end = self.fleet.units[name].run()
            self.places[name].restart_asked = restart

    # What the system does --------------------------------------------------------------------

    def spawned(self, name: str, slot: Slot | None = None) -> None:
        slot = slot or self.places[name]
        assert slot.spawning is not None
        run, slot.spawning = slot.spawning, None
        slot.process = Process(run)
        self.places[name].lived.add(run)
        self.deliver(name, Spawned(run, 1000 + run))

    def spawn_failed(self, name: str, slot: Slot | None = None, *, retry: bool = True) -> None:
        slot = slot or self.places[name]
        assert slot.spawning is not None
        run, slot.spawning = slot.spawning, None
        self.deliver(name, SpawnFailed(run, "no memory", retry=retry))

    def dies(self, name: str, ending: Exit, slot: Slot | None = None) -> None:
        """End a process; the core learns of it by `reported`."""
        process = (slot or self.places[name]).process
        assert process is not None
        assert process.ended is None
        process.ended = ending

    def reported(self, name: str, slot: Slot | None = None) -> None:
        slot = slot or self.places[name]
        assert slot.process is not None
        assert slot.process.ended is not None
        run, ending, slot.process = slot.process.run, slot.process.ended, None
        self.deliver(name, Exited(run, ending))

    def exits(self, name: str, ending: Exit, slot: Slot | None = None) -> None:
        self.dies(name, ending, slot)
        self.reported(name, slot)

    def cleared(self, name: str, *left: str, slot: Slot | None = None) -> None:
        place = self.places[name]
        slot = slot or place
        assert slot.clearing is not None
        run, slot.clearing = slot.clearing, None
        if slot is place:
            place.left_over = bool(left)
        if place.asked_to_end == run:
            place.asked_to_end = None
        self.deliver(name, Cleared(run, left))

    def answers(self, name: str, result: ProbeResult, at: int = 0) -> None:
        """Answer a probe that is in flight, perhaps of a run that is gone."""
        place = self.places[name]
        run, kind = place.probes.pop(at)
        if result is BUSY and (run, kind) in place.patient:
            result = PUT_OFF
        place.patient.discard((run, kind))
        self.deliver(name, Probed(run, kind, result))

    def matches(self, name: str, pattern: str, run: RunId) -> None:
        """Let it be told that a run printed a line, however late."""
        if run in self.places[name].lived:
            self.deliver(name, Matched(run, pattern, f"a line with {pattern}"))

    def applied(self, name: str, *, ok: bool) -> None:
        """Answer the oldest step of a remedy."""
        number = self.places[name].steps.pop(0)
        self.deliver(name, Applied(number, ok, "done" if ok else "exited with code 1"))

    def forgets(self, *names: str) -> None:
        for name in names:
            self.places[name].spawns = []
        self._carry_out(fleets.forget(self.fleet, names, "x", self.now))

    def adopts(self, name: str) -> None:
        place = self.places[name]
        run = RunId(max(place.highest, self.fleet.units[name].last_run) + 1)
        place.highest = run
        place.process = Process(run)
        place.retries = []
        place.not_before = 0.0
        place.spawns = []
        self.deliver(name, Adopted(run, 1000 + run, self.now - 100.0))

    def sleeps(self, lost: float) -> None:
        """Sleep, `lost` seconds of it on the clock that all is decided by."""
        self.now += lost
        for place in self.places.values():
            place.probes.clear()  # the shell gives them up
        self._carry_out(fleets.resume(self.fleet, lost, self.now))

    def next_deadline(self) -> float | None:
        times = [self.fleet.deadline(name) for name in self.fleet.units]
        return min((at for at in times if at is not None), default=None)

    def waits(self, until: float) -> None:
        """Move the clock on, however far past deadlines, and let what is due be done."""
        assert until >= self.now
        self.now = until
        for _ in range(TURNS_AT_ONE_INSTANT):
            due = [n for n in self.fleet.units if (self.fleet.deadline(n) or until + 1) <= until]
            if not due:
                return
            self._carry_out(fleets.pass_time(self.fleet, due, self.now))
        at = self.next_deadline()
        assert at is None or at > self.now, "time passes and passes, and nothing moves on"

    def waits_for_deadline(self) -> None:
        at = self.next_deadline()
        if at is not None:
            self.waits(max(at, self.now))

    def deliver(self, name: str, event: Event) -> None:
        self._carry_out(fleets.handle(self.fleet, name, event, self.now))

    # A fair system ---------------------------------------------------------------------------

    def fair_step(self) -> bool:
        """Do one thing that a machine in good order does by itself; False if there is none."""
        for name, slot in self.slots():
            if slot.spawning is not None:
                self.spawned(name, slot)
            elif slot.process is not None and slot.process.ended is not None:
                self.reported(name, slot)
            elif slot.process is not None and slot.process.must_die:
                self.exits(name, ExitSignal(slot.process.signals[-1]), slot)
            elif slot.clearing is not None:
                self.cleared(name, slot=slot)
            elif self.places[name].probes:
                self.answers(name, YES)
            elif self.places[name].steps:
                self.applied(name, ok=True)
            else:
                continue
            return True
        return False

    def slots(self) -> list[tuple[str, Slot]]:
        """Return every place where a run may be, with the name of its service."""
        return [(n, slot) for n, place in self.places.items() for slot in (place, place.second)]

    def runs_fairly(self, until: Callable[[], bool], within: float = 1000.0) -> bool:
        """Let things go well until something holds; tell whether it did, in virtual time."""
        end = self.now + within
        while not until():
            if self.fair_step():
                continue
            at = self.next_deadline()
            if at is None or at > end:
                return False
            self.waits(max(at, self.now))
        return True

    def comes_up(self) -> bool:
        """Run fairly until every unit of the fleet is ready."""
        return self.runs_fairly(lambda: all(unit.ready() for unit in self.fleet.units.values()))

    # What the core does ----------------------------------------------------------------------

    def unit(self, name: str) -> Unit:
        return self.fleet.units[name]

    def phase(self, name: str) -> str:
        return type(self.fleet.units[name].phase).__name__

    def done(self, kind: type[Effect]) -> list[str]:
        """Return the names that effects of this kind were for, in order."""
        return [name for name, effect in self.deeds if isinstance(effect, kind)]

    def _above(self) -> dict[str, set[str]]:
        needed = self.fleet.dependents
        return {name: set(graph.closure(needed, [name])) - {name} for name in self.fleet.units}

    def _carry_out(self, turn: Turn) -> None:
        before, self.fleet, self.touched = self.fleet, turn.fleet, turn.touched
        if self.fleet.dependents is not before.dependents:
            self.above = self._above()
        for name, unit in self.fleet.units.items():
            same = unit == before.units.get(name)
            if not (same and before.overlaps.get(name) == self.fleet.overlaps.get(name)):
                assert name in turn.touched, f"{name} has changed and nobody is told"
        for name in self.fleet.units:
            self._follow_the_swap(name, self.places[name])
        for name, effect in turn.effects:
            self._perform(name, effect)
        for name, place in list(self.places.items()):
            if name in self.fleet.units:
                invariants.check(self, name)
            else:
                assert place.has() == place.second.has() == (None, None, None), f"{name} has left"
                assert name in turn.touched
                assert not place.steps, f"a remedy of {name} goes on"
                del self.places[name]
        # A reload may have lowered the limit below what is starting already.
        most = max(self.fleet.start_limit, len(invariants.starting(before)))
        starting = invariants.starting(self.fleet)
        assert len(starting) <= most, f"too many are starting: {starting}"

    def _follow_the_swap(self, name: str, place: Place) -> None:
        """Let main and second run change places here, if they have in the core."""
        if self.fleet.units[name].run() in {*place.second.has()} - {None}:
            old = Slot(place.spawning, place.process, place.clearing)
            new = place.second
            place.spawning, place.process, place.clearing = (
                new.spawning, new.process, new.clearing,
            )  # fmt: skip
            place.second = old

    def _slot(self, name: str, run: RunId) -> Slot:
        """Return where a run is, or where it is to be."""
        place = self.places[name]
        overlap = self.fleet.overlaps.get(name)
        if run in place.has():
            return place
        second = overlap is not None and overlap.unit.run() == run
        return place.second if second or run in place.second.has() else place

    def _perform(self, name: str, effect: Effect) -> None:
        if isinstance(effect, Note):
            self.notes.append((name, effect))
            if name in self.fleet.units:
                self._heed(self.places[name], self.fleet.units[name], effect)
            return
        place, unit = self.places[name], self.fleet.units[name]
        self.deeds.append((name, effect))
        if isinstance(effect, Abandon):
            if effect.number in place.steps:  # its answer may be on its way
                place.steps.remove(effect.number)
            return
        slot = self._slot(name, effect.run)
        match effect:
            case Spawn(run=run):
                assert run > place.highest, f"{name}: run {run} is not new"
                assert slot.has() == (None, None, None)
                if slot is place:
                    assert not invariants.unmet(self, unit), (
                        f"{name} starts before {invariants.unmet(self, unit)}"
                    )
                    assert self.now >= place.not_before, f"{name} is restarted too early"
                    invariants.count_spawn(self, name, place, unit)
                else:
                    assert unit.ready(), f"{name}: a run beside one that does not serve"
                    assert not unit.spec.ports, f"{name}: both runs would bind its port"
                slot.spawning, place.highest = run, run
            case Signal(run=run):
                process = self._process(name, run)
                assert not process.signals, f"{name}: asked twice to end"
                if effect.dump:
                    counted = isinstance(unit.phase, Stopping) and unit.phase.failure is not None
                    assert counted or run != unit.run(), f"{name}: what is asked to end is dumped"
                process.signals.append(effect.signal)
                if isinstance(unit.phase, Stopping) and unit.phase.failure is None:
                    invariants.check_order(self, name)
                elif slot.process is process and run != unit.run():
                    overlap = self.fleet.overlaps[name]
                    assert not overlap.incoming, f"{name}: what comes in is ended"
            case Kill(run=run):
                process = self._process(name, run)
                assert process.signals, f"{name}: killed before it was asked to end"
                process.signals.append(9)
            case Clear(run=run, grace=grace):
                assert slot.has() == (None, None, None), f"{name}: cleared while it lives"
                assert grace >= 0
                slot.clearing = run
            case Ask(run=run, kind=kind):
                self._process(name, run)
                asked = unit if run == unit.run() else self.fleet.overlaps[name].unit
                assert isinstance(asked.phase, Running)
                assert unit.spec.probe(kind) is not None
                assert (run, kind) not in place.probes, f"{name}: {kind} is asked already"
                place.probes.append((run, kind))
                if not effect.even_if_busy:
                    assert kind is ProbeKind.TRANSACTION, f"{name}: {kind} waits for idleness"
                    place.patient.add((run, kind))
                invariants.check_patience(self, name, asked, kind)
            case Apply(number=number):
                assert number not in place.steps
                assert unit.goal is Goal.UP, f"{name}: a remedy for what is not wanted"
                place.steps.append(number)
                assert len(place.steps) <= 2, f"{name}: one beside it and one to heal it"
            case _:
                assert_never(effect)

    def _process(self, name: str, run: RunId) -> Process:
        process = self._slot(name, run).process
        assert process is not None, f"{name}: there is no process"
        assert process.run == run, f"{name}: another run is meant"
        return process

    def _heed(self, place: Place, unit: Unit, note: Note) -> None:
        policy = unit.spec.restart
        if note.topic is Topic.REMEDY and "restart it" in note.text:
            place.not_before = 0.0
        elif note.topic is Topic.RESTARTING and note.text.endswith("at once"):
            place.retries.append(self.now)
            place.not_before = 0.0
        elif note.topic is Topic.RESTARTING:
            # A remedy that came to nothing may stand between a failure and this.
            place.retries.append(unit.record.recent[-1] if unit.record.recent else self.now)
            if policy.give_up is not None:
                recent = [at for at in place.retries if self.now - at < policy.give_up.within]
                assert len(recent) < policy.give_up.after, "it should have given up"
            backoff = policy.backoff
            count = len(place.retries)
            plain = min(backoff.max, backoff.first * backoff.factor ** (count - 1))
            place.not_before = self.now + plain * (1 - backoff.jitter) - 1e-6
        elif note.topic is Topic.ASKED or "restart asked" in note.text:
            place.retries = []
            place.not_before = 0.0
            place.spawns = []
