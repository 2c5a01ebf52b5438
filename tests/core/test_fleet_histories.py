"""Random fleets, random operators, a hostile system: the world checks itself after every turn.

A history is data (a list of moves), so that Hypothesis can shorten the one that fails. At its end
nothing is asked again: a fair system takes over, and what the operator last wanted must come true.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from hypothesis import given
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
from supervisor.core.spec import (
    Backoff,
    Condition,
    ExitTrigger,
    FleetSpec,
    GiveUp,
    OutputTrigger,
    PortFree,
    ProbeKind,
    ProbeSpec,
    ProbeTrigger,
    Remedy,
    RemedyCommand,
    RemedyLimit,
    RestartSpec,
    ServiceSpec,
    StopSpec,
    Trigger,
    WaitFor,
)
from tests.core.simulation import Slot, World
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

VERBS: tuple[Verb, ...] = (
    "start", "stop", "restart", "roll", "reload", "spawn", "die", "obey", "report", "answer",
    "clear", "wait", "sleep", "adopt", "stale", "fair", "match", "apply", "forget",
)  # fmt: skip


ANSWERS = (YES, YES, NO, NO, SILENCE, BUSY, PROBER_ERROR)
"""Of the simulated services; that a transaction is put off the world itself sees to."""


@dataclass(frozen=True, slots=True)
class Move:
    """One thing that happens; `pick` says to whom and how."""

    verb: Verb
    pick: int


moves = st.builds(Move, st.sampled_from(VERBS), st.integers(0, 255))
probe_specs = st.builds(
    probe,
    every=st.sampled_from([0.5, 2.0, 10.0]),
    failures=st.integers(1, 3),
    successes=st.integers(1, 2),
)
transaction_specs = st.builds(replace, probe_specs, successes=st.just(1), idle=st.booleans())
startup_specs = st.builds(replace, probe_specs, budget=st.sampled_from([None, 3.0, 60.0]))
NEVER_PROVEN = 1e9
policies = st.builds(
    RestartSpec,
    policy=st.sampled_from(["always", "on-failure", "never"]),
    backoff=st.sampled_from([Backoff(), Backoff(1.0, 1.0, 1.0, 0.5), Backoff(0.0, 2.0, 5.0, 0.1)]),
    give_up=st.sampled_from([GiveUp(2, 10.0), GiveUp(5, 60.0)]),
    # The world counts restarts; that proven health forgives has its own tests.
    proven_after=st.just(NEVER_PROVEN),
)


triggers: st.SearchStrategy[Trigger] = st.sampled_from(
    [
        OutputTrigger("one"),
        OutputTrigger("two"),
        ExitTrigger(codes=(1,)),
        ExitTrigger(codes=(0,), signals=(11,)),
        ProbeTrigger(ProbeKind.READINESS, 2),
        ProbeTrigger(ProbeKind.LIVENESS, 1, "*503*"),
        ProbeTrigger(ProbeKind.STARTUP, 1),
    ]
)
deeds_of_rules: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "restart": st.sampled_from([True, True, False]),
        "set_env": st.sampled_from([{}, {"A": "1"}, {"A": "2"}]),
        "set_args": st.sampled_from([{}, {"--device": "cpu"}]),
        "run": st.sampled_from([None, RemedyCommand(("rm",), 5.0)]),
        "wait_for": st.sampled_from([None, WaitFor(PortFree(3001), 5.0)]),
        "dry_run": st.sampled_from([False, False, False, True]),
    }
)


@st.composite
def remedies(draw: st.DrawFn, *, least: int) -> tuple[Remedy, ...]:
    """Draw some rules, with limits that last at least as long as any window of restart policy."""
    rules = []
    for number in range(draw(st.integers(least, 3))):
        deeds = draw(deeds_of_rules)
        if draw(st.integers(0, 9)) == 0:
            deeds = {"give_up": "nothing helps"}
        limit = RemedyLimit(draw(st.integers(1, 3)), draw(st.sampled_from([60.0, 3600.0])))
        rules.append(Remedy(f"r{number}", draw(triggers), limit=limit, **deeds))
    return tuple(rules)


@st.composite
def fleets_of(draw: st.DrawFn, *, most: int, rules: bool = False) -> FleetSpec:
    """Draw up to `most` services, each needing some of those before it, in shuffled order."""
    services: list[ServiceSpec] = []
    for number in range(draw(st.integers(1, most))):
        needs = draw(st.lists(st.integers(0, number - 1), unique=True)) if number else []
        one = service(
            f"s{number}",
            startup=draw(st.none() | startup_specs),
            readiness=draw(st.none() | probe_specs),
            liveness=draw(st.none() | probe_specs),
            transaction=draw(st.none() | transaction_specs),
            restart=draw(policies),
            needs=tuple((f"s{need}", draw(st.sampled_from(list(Condition)))) for need in needs),
        )
        stop = StopSpec(timeout=draw(st.sampled_from([0.0, 1.0, 10.0])))
        busy_deadline = draw(st.sampled_from([0.0, 3.0, 600.0]))
        one = replace(one, stop=stop, busy_deadline=busy_deadline)
        services.append(replace(one, remedies=draw(remedies(least=int(rules)))))
    return fleet_spec(*draw(st.permutations(services)), start_limit=draw(st.integers(1, 3)))


def _choose(world: World, fits: Callable[[str], bool], pick: int) -> str | None:
    """Return one of the units that fit, or None if none does."""
    names = [name for name in world.places if fits(name)]
    return names[pick % len(names)] if names else None


def _some(world: World, pick: int) -> list[str]:
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
            world.start(*_some(world, pick))
        case "stop":
            world.stop(*_some(world, pick))
        case "restart":
            world.restart(*_some(world, pick))
        case "roll":
            world.roll(*_some(world, pick))
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
            world.forgets(*_some(world, pick))
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
            and all(map(world.at_rest, world.places))
        )
    )
    assert not world.fleet.leaving
    phases = {name: (unit.goal, unit.phase) for name, unit in world.fleet.units.items()}
    assert rested, f"still moving: {phases}, held back: {world.fleet.held_back}"
    for name, goal in wanted.items():
        if name not in held and name in world.fleet.units:
            assert world.unit(name).goal is goal, f"nobody asked {name} for this"


def _run(spec: FleetSpec, history: list[Move]) -> None:
    world = World(spec)
    for move in history:
        play(world, move)
    comes_to_rest(world)


@given(fleets_of(most=1), st.lists(moves, max_size=50))
def test_one_unit(spec: FleetSpec, history: list[Move]) -> None:
    _run(spec, history)


@given(fleets_of(most=6), st.lists(moves, max_size=80))
def test_a_fleet(spec: FleetSpec, history: list[Move]) -> None:
    _run(spec, history)


@given(fleets_of(most=6), st.integers(0, 63), st.lists(moves, max_size=40))
def test_all_down_is_all_stopped(spec: FleetSpec, pick: int, history: list[Move]) -> None:
    world = World(spec)
    world.start(*_some(world, pick))
    for move in history:
        play(world, move)
    world.stop(*world.places)
    comes_to_rest(world)
    for name, place in world.places.items():
        assert world.phase(name) == "Stopped" or (world.phase(name) == "Failed" and place.left_over)


@given(
    st.none() | probe_specs,
    st.none() | probe_specs,
    st.none() | probe_specs,
    st.none() | transaction_specs,
    st.integers(1, 6),
    st.integers(1, 3),
)
def test_all_up_is_all_ready(
    startup: ProbeSpec | None,
    readiness: ProbeSpec | None,
    liveness: ProbeSpec | None,
    transaction: ProbeSpec | None,
    count: int,
    limit: int,
) -> None:
    names = [f"s{number}" for number in range(count)]
    if startup is not None:
        startup = replace(startup, budget=startup.every * (startup.successes + 1))
    services = [
        service(
            name,
            startup=startup,
            readiness=readiness,
            liveness=liveness,
            transaction=transaction,
        )
        for name in names
    ]
    world = World(fleet_spec(*services, start_limit=limit))
    world.start(*names)
    assert world.comes_up()
    assert {unit.restarts for unit in world.fleet.units.values()} == {0}
