"""Services that only fail, with rules that are called for all the time: it ends, and within bounds.

The world counts every start against what restart policy and the limits of all rules allow together
(`World._count_spawn`), and sees that no step of a remedy is waited for in vain.
"""

from dataclasses import replace

from hypothesis import given

from supervisor.core.events import ExitCode
from supervisor.core.spec import (
    Backoff,
    ExitTrigger,
    FleetSpec,
    GiveUp,
    OutputTrigger,
    Remedy,
    RemedyLimit,
    RestartSpec,
    ServiceSpec,
)
from supervisor.core.unit import Failed
from tests.core.histories import Move, Verb, comes_to_rest, histories, play
from tests.core.random_fleets import fleets_of
from tests.core.simulation import World
from tests.core.specimens import fleet_spec, service

TROUBLE: tuple[Verb, ...] = (
    "spawn", "spawn", "die", "report", "clear", "match", "match", "answer", "apply", "wait",
)  # fmt: skip
OTHERS: tuple[Verb, ...] = ("start", "restart", "stop", "roll", "reload", "forget", "sleep", "fair")
trouble = histories(*TROUBLE, least=20, most=60)
anything = histories(*TROUBLE, *TROUBLE, *OTHERS, least=20, most=60)


def at_once(*rules: Remedy, after: int = 3) -> ServiceSpec:
    """Return a service that is restarted without delay, and given up within a minute."""
    policy = RestartSpec(backoff=Backoff(first=0.0, jitter=0.0), give_up=GiveUp(after, 60.0))
    return replace(service(restart=policy), remedies=rules)


@given(fleets_of(most=1, rules=True), trouble)
def test_trouble_without_end(spec: FleetSpec, history: list[Move]) -> None:
    world = World(spec)
    world.start(*world.places)
    for move in history:
        play(world, move)
    comes_to_rest(world)


@given(fleets_of(most=2, rules=True), anything)
def test_trouble_and_operators(spec: FleetSpec, history: list[Move]) -> None:
    world = World(spec)
    world.start(*world.places)
    for move in history:
        play(world, move)
    comes_to_rest(world)


def test_the_bound_is_reached_and_not_passed() -> None:
    """First it dies of what no rule is for, then of what each is for, until all is used up."""
    rules = (
        Remedy("a", OutputTrigger("one"), restart=True, limit=RemedyLimit(2, 3600.0)),
        Remedy("b", ExitTrigger(codes=(1,)), restart=True, limit=RemedyLimit(3, 3600.0)),
    )
    world = World(fleet_spec(at_once(*rules, after=3)))
    world.start("tts")
    for turn in range(50):
        place = world.places["tts"]
        if place.spawning is not None:
            world.spawned("tts")
        if place.process is not None:
            if turn > 2:
                world.matches("tts", "one", place.process.run)
            world.exits("tts", ExitCode(1 if turn > 2 else 2))
        if place.clearing is not None:
            world.cleared("tts")
        if turn > 2:
            world.matches("tts", "one", world.unit("tts").last_run)
    assert isinstance(world.unit("tts").phase, Failed)
    assert len(world.places["tts"].spawns) == 3 + 2 + 3
    skipped = [note.text for _, note in world.notes if note.topic == "remedy-skipped"]
    assert len(skipped) == 2, "that a limit is used up is told once"


def test_a_limit_is_counted_in_its_own_window() -> None:
    rule = Remedy("a", OutputTrigger("one"), restart=True, limit=RemedyLimit(1, 100.0))
    world = World(fleet_spec(at_once(rule, after=1)))
    world.start("tts")
    for expected in (2, 2, 3):
        while world.fair_step():
            pass
        world.matches("tts", "one", world.unit("tts").last_run)
        while world.fair_step():
            pass
        if world.unit("tts").run() is not None:
            world.exits("tts", ExitCode(1))
            world.cleared("tts")
        assert world.unit("tts").last_run == expected
        world.waits(world.now + 60.0)
