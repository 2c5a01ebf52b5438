"""Histories of a fleet as data, so that Hypothesis can shorten the one that fails.

At its end nothing is asked again: a fair system takes over, and what the operator last wanted must
come true.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

from hypothesis import strategies as st

from supervisor.core.events import (
    Applied,
    Cleared,
    Event,
    ExitCode,
    Exited,
    ExitSignal,
    Probed,
    RunId,
    Spawned,
    SpawnFailed,
)
from supervisor.core.spec import GiveUp, ProbeKind, RestartSpec
from tests.core.invariants import at_rest
from tests.core.places import Slot
from tests.core.simulation import World
from tests.core.specimens import (
    BUSY,
    NO,
    PROBER_ERROR,
    SILENCE,
    YES,
    fleet_spec,
    probe,
    service,
)

Verb = Literal[
    "start", "stop", "restart", "roll", "reload", "spawn", "die", "obey", "report", "answer",
    "clear", "wait", "sleep", "adopt", "stale", "fair", "match", "apply", "forget",
]  # fmt: skip

VERBS: tuple[Verb, ...] = get_args(Verb)


ANSWERS = (YES, YES, NO, NO, SILENCE, BUSY, PROBER_ERROR)
"""Of the simulated services; that a transaction is put off the world itself sees to."""


@dataclass(frozen=True, slots=True)
class Move:
    """One thing that happens; `pick` says to whom and how."""

    verb: Verb
    pick: int


def histories(*verbs: Verb, least: int, most: int) -> st.SearchStrategy[list[Move]]:
    """Draw so many moves of these kinds; `least` matters, for lists are drawn short if they may be.

    Moves are made once: to draw one of them costs less than to draw its parts.
    """
    moves = [Move(verb, pick) for verb in verbs for pick in range(256)]
    return st.lists(st.sampled_from(moves), min_size=least, max_size=most)


def _choose(world: World, fits: Callable[[str], bool], pick: int) -> str | None:
    """Return one of the units that fit, or None if none does."""
    names = [name for name in world.places if fits(name)]
    return names[pick % len(names)] if names else None


def some_of(world: World, pick: int) -> list[str]:
    """Return the services whose bits are set, or all if none is."""
    names = [name for bit, name in enumerate(world.places) if pick >> bit & 1]
    return names or list(world.places)


def _choose_slot(
    world: World, fits: Callable[[Slot], bool], pick: int
) -> tuple[str, Slot] | tuple[None, None]:
    """Return one of the places of runs that fit, with its service."""
    found = [(name, slot) for name, slot in world.slots() if fits(slot)]
    return found[pick % len(found)] if found else (None, None)


def _lives(slot: Slot) -> bool:
    return slot.process is not None and slot.process.ended is None


def _ended(slot: Slot) -> bool:
    return slot.process is not None and slot.process.ended is not None


def _must_die(slot: Slot) -> bool:
    return _lives(slot) and slot.process is not None and slot.process.must_die


def _reload(world: World, pick: int) -> None:
    """Change what `pick` says: drop one, bring one back, disable one, describe some anew."""
    units = world.fleet.units
    specs = {n: u.spec for n, u in units.items() if n not in world.fleet.leaving}
    needed = {d.on for spec in specs.values() for d in spec.depends_on}
    free = [name for name in specs if name not in needed]
    if pick & 1 and free and len(specs) > 1:
        del specs[free[pick % len(free)]]
    if pick & 2:
        back = f"s{pick % 7}"
        specs.setdefault(back, service(back, restart=RestartSpec(give_up=GiveUp(2, 10.0))))
    restarting = set()
    for bit, (name, spec) in enumerate(list(specs.items())):
        if pick >> bit & 4:
            readiness = spec.readiness or probe(every=0.5)
            specs[name] = replace(spec, description=f"{pick}", readiness=readiness)
            restarting.add(name)
        elif pick >> bit & 16 and spec.remedies:
            # What is in force is forgotten, and its limit with it.
            specs[name] = replace(spec, remedies=spec.remedies[1:])
            world.places[name].spawns = []
        elif pick >> bit & 8 and name in free:
            specs[name] = replace(spec, enabled=not spec.enabled)
    wanted = fleet_spec(*specs.values(), start_limit=1 + pick % 3)
    world.reloads(wanted, restarting, rolling=bool(pick & 64))


def _stale(world: World, name: str, pick: int) -> None:
    """Say something of a run that is gone, or that nobody waits for; nothing may change."""
    unit = world.unit(name)
    overlap = world.fleet.overlaps.get(name)
    runs = {unit.run(), None if overlap is None else overlap.unit.run()}
    older = RunId(max(n for n in range(unit.last_run + 1) if n not in runs))
    events: tuple[Event, ...] = (
        Spawned(older, 1),
        SpawnFailed(older, "late"),
        Exited(older, ExitCode(0)),
        Cleared(older),
        Probed(older, ProbeKind.LIVENESS, NO),
        Applied(unit.steps + 1, True, "late"),
        Applied(0, False, "late"),
    )
    effects = len(world.deeds), len(world.notes)
    world.deliver(name, events[pick % len(events)])
    assert world.unit(name) == unit
    assert effects == (len(world.deeds), len(world.notes))


def play(world: World, move: Move) -> None:
    """Make one move, if it is possible now."""
    pick, places = move.pick, world.places
    match move.verb:
        case "start":
            world.start(*some_of(world, pick))
        case "stop":
            world.stop(*some_of(world, pick))
        case "restart":
            world.restart(*some_of(world, pick))
        case "roll":
            world.roll(*some_of(world, pick))
        case "reload":
            _reload(world, pick)
        case "spawn":
            name, slot = _choose_slot(world, lambda s: s.spawning is not None, pick)
            if name is not None and pick % 8 == 7:
                world.spawn_failed(name, slot, retry=pick % 16 == 7)
            elif name is not None:
                world.spawned(name, slot)
        case "die":
            name, slot = _choose_slot(world, _lives, pick)
            if name is not None:
                world.dies(name, (ExitCode(0), ExitCode(1), ExitSignal(11))[pick % 3], slot)
        case "obey":
            name, slot = _choose_slot(world, _must_die, pick)
            if name is not None:
                world.exits(name, ExitSignal(15), slot)
        case "report":
            name, slot = _choose_slot(world, _ended, pick)
            if name is not None:
                world.reported(name, slot)
        case "answer":
            name = _choose(world, lambda n: bool(places[n].probes), pick)
            if name is not None:
                result = ANSWERS[pick % len(ANSWERS)]
                world.answers(name, result, pick % len(places[name].probes))
        case "clear":
            name, slot = _choose_slot(world, lambda s: s.clearing is not None, pick)
            if name is not None:
                world.cleared(name, *(["pid 12"] if pick % 8 == 7 else []), slot=slot)
        case "wait":
            if pick % 4 == 3:
                world.waits(world.now + pick / 100)
            else:
                world.waits_for_deadline()
        case "sleep":
            world.sleeps(lost=pick / 10 if pick % 2 else 0.0)
        case "adopt":
            # A daemon adopts when it starts, and never what it has forgotten.
            name = _choose(
                world,
                lambda n: world.unit(n).run() is None and n not in world.fleet.overlaps,
                pick,
            )
            if name is not None:
                world.adopts(name)
        case "stale":
            name = _choose(world, lambda _: True, pick)
            assert name is not None
            _stale(world, name, pick)
        case "match":
            name = _choose(world, lambda _: True, pick)
            assert name is not None
            run = RunId(max(0, world.unit(name).last_run - (pick % 8 == 7)))
            world.matches(name, ("one", "two")[pick % 2], run)
        case "apply":
            name = _choose(world, lambda n: bool(places[n].steps), pick)
            if name is not None:
                world.applied(name, ok=pick % 3 > 0)
        case "forget":
            world.forgets(*some_of(world, pick))
        case "fair":
            for _ in range(pick % 16):
                world.fair_step()


def comes_to_rest(world: World) -> None:
    """Check that, all going well and nobody asking again, the operator's last word comes true."""
    wanted = {name: unit.goal for name, unit in world.fleet.units.items()}
    held = dict(world.fleet.held_back)
    rested = world.runs_fairly(
        lambda: (
            not (world.fleet.held_back or world.fleet.overlaps or world.fleet.rolls)
            and all(at_rest(world, name) for name in world.places)
        )
    )
    assert not world.fleet.leaving
    phases = {name: (unit.goal, unit.phase) for name, unit in world.fleet.units.items()}
    assert rested, f"still moving: {phases}, held back: {world.fleet.held_back}"
    for name, goal in wanted.items():
        if name not in held and name in world.fleet.units:
            assert world.unit(name).goal is goal, f"nobody asked {name} for this"
