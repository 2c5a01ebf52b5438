"""Two runs of one service at once, in plain examples: who serves, who takes over, who goes."""

from dataclasses import replace

import pytest

from supervisor.core.effects import Clear, Signal, Spawn, Topic
from supervisor.core.events import ExitCode, ExitSignal, Probed, RunId
from supervisor.core.overlap import ROLL_TIMEOUT, can_overlap
from supervisor.core.spec import Condition, ProbeKind, ServiceSpec, SocketSpec
from tests.core.simulation import World
from tests.core.specimens import NO, YES, fleet_spec, probe, service

ONE, TWO, THREE = RunId(1), RunId(2), RunId(3)
TERMINATED = ExitSignal(15)


def _serving(*more: ServiceSpec, start_limit: int = 8) -> World:
    """Return a world in which run 1 of `a` is ready."""
    spec = service("a", startup=probe(budget=5.0), readiness=probe(failures=1))
    world = World(fleet_spec(spec, *more, start_limit=start_limit))
    world.start(*world.places)
    assert world.comes_up()
    world.deeds.clear()
    world.notes.clear()
    return world


def _incoming(world: World) -> RunId | None:
    overlap = world.fleet.overlaps.get("a")
    return overlap.unit.run() if overlap is not None and overlap.incoming else None


def _topics(world: World) -> list[Topic]:
    return [note.topic for _, note in world.notes]


def _answer_all(world: World, run: RunId, ok: bool) -> None:
    """Let what is due be asked, and answer every question of this run."""
    world.waits_for_deadline()
    while True:
        asked = [at for at, (its, _) in enumerate(world.places["a"].probes) if its == run]
        if not asked:
            return
        world.answers("a", YES if ok else NO, asked[0])


def test_the_old_run_serves_until_the_new_one_is_ready() -> None:
    world = _serving()
    world.roll("a")
    assert world.done(Spawn) == ["a"]
    assert world.unit("a").run() == ONE
    assert world.unit("a").ready()
    world.spawned("a", world.places["a"].second)
    assert world.done(Signal) == [], "running is not ready"
    assert not world.fleet.settled("a")
    while _incoming(world) is not None:
        _answer_all(world, TWO, ok=True)
    assert world.unit("a").run() == TWO
    assert [effect for _, effect in world.deeds if isinstance(effect, Signal)] == [Signal(ONE, 15)]
    world.exits("a", TERMINATED, world.places["a"].second)
    assert next(effect for _, effect in world.deeds if isinstance(effect, Clear)).run == ONE
    world.cleared("a", slot=world.places["a"].second)
    assert world.fleet.settled("a")
    assert _topics(world)[-1] is Topic.RETIRED, "the service has not stopped, one of its runs has"
    assert Topic.STOPPED not in _topics(world)
    assert world.unit("a").restarts == 0


@pytest.mark.parametrize("how", ["exits", "cannot be spawned", "is never ready"])
def test_a_new_run_that_never_becomes_ready_is_dropped(how: str) -> None:
    world = _serving()
    world.roll("a")
    second = world.places["a"].second
    if how == "cannot be spawned":
        world.spawn_failed("a", second)
    else:
        world.spawned("a", second)
        if how == "exits":
            world.exits("a", ExitCode(1), second)
            world.cleared("a", slot=second)
        else:
            while _incoming(world) is not None:
                _answer_all(world, TWO, ok=False)
            world.exits("a", TERMINATED, second)
            world.cleared("a", slot=second)
    assert world.fleet.overlaps == {}
    assert (world.unit("a").run(), world.unit("a").ready()) == (ONE, True)
    assert world.unit("a").restarts == 0
    assert world.unit("a").record.in_a_row == 0
    failed = next(note for _, note in world.notes if note.topic is Topic.ROLL_FAILED)
    assert "run 1 stays in service" in failed.text
    assert failed.run == TWO
    assert Topic.RESTARTING not in _topics(world)
    world.roll("a")
    assert _incoming(world) == THREE, "no number comes twice"


def test_a_new_run_that_only_loads_is_dropped_after_a_while() -> None:
    spec = service("a", readiness=probe(every=10.0))
    world = World(fleet_spec(spec))
    world.start("a")
    assert world.comes_up()
    world.roll("a")
    second = world.places["a"].second
    world.spawned("a", second)
    began = world.now
    while _incoming(world) is not None:
        _answer_all(world, TWO, ok=False)
    assert world.now == began + ROLL_TIMEOUT
    assert any("not within 120 s" in note.text for _, note in world.notes)
    world.exits("a", TERMINATED, second)
    world.cleared("a", slot=second)
    assert world.fleet.settled("a")
    assert world.unit("a").run() == ONE


def test_a_new_run_takes_over_at_once_when_the_old_one_dies() -> None:
    world = _serving()
    world.roll("a")
    world.spawned("a", world.places["a"].second)
    world.exits("a", ExitSignal(9))
    assert world.unit("a").run() == TWO
    assert world.unit("a").state() == "loading"
    assert world.done(Spawn) == ["a"], "there is a new run already"
    world.cleared("a", slot=world.places["a"].second)
    assert world.comes_up()
    assert world.unit("a").run() == TWO


def test_a_stop_ends_both() -> None:
    world = _serving()
    world.roll("a")
    world.spawned("a", world.places["a"].second)
    world.stop("a")
    signals = [effect for _, effect in world.deeds if isinstance(effect, Signal)]
    assert [signal.run for signal in signals] == [TWO, ONE]
    world.exits("a", TERMINATED)
    world.cleared("a")
    assert world.phase("a") == "Stopped"
    assert not world.fleet.settled("a"), "its second run still lives"
    world.exits("a", TERMINATED, world.places["a"].second)
    world.cleared("a", slot=world.places["a"].second)
    assert world.fleet.settled("a")


def test_a_stop_reaches_a_second_run_that_is_only_being_spawned() -> None:
    world = _serving()
    world.roll("a")
    world.stop("a")
    world.spawned("a", world.places["a"].second)
    signals = [effect for _, effect in world.deeds if isinstance(effect, Signal)]
    assert {signal.run for signal in signals} == {ONE, TWO}


def test_a_plain_restart_overtakes_a_rolling_one() -> None:
    world = _serving()
    world.roll("a")
    world.spawned("a", world.places["a"].second)
    world.restart("a")
    assert world.runs_fairly(lambda: world.fleet.settled("a"))
    assert world.unit("a").run() == THREE


def test_what_went_wrong_before_is_not_forgotten() -> None:
    world = _serving()
    world.exits("a", ExitCode(1))
    world.cleared("a")
    assert world.comes_up()
    world.roll("a")
    assert world.runs_fairly(lambda: world.fleet.settled("a"))
    assert (world.unit("a").record.in_a_row, world.unit("a").restarts) == (1, 1)


def test_two_rolling_restarts_come_one_after_the_other() -> None:
    world = _serving()
    world.roll("a")
    world.roll("a")
    assert world.done(Spawn) == ["a"]
    assert world.runs_fairly(lambda: world.fleet.settled("a"))
    assert world.unit("a").run() == THREE


def test_what_does_not_serve_is_restarted_plainly() -> None:
    world = _serving()
    _answer_all(world, ONE, ok=False)
    assert world.unit("a").state() == "unready"
    world.roll("a")
    assert world.fleet.overlaps == {}
    assert world.done(Signal) == ["a"]


def test_what_binds_its_port_itself_is_restarted_plainly() -> None:
    world = World(fleet_spec(replace(service("a"), ports=(4000,))))
    world.start("a")
    assert world.comes_up()
    world.roll("a")
    assert world.fleet.overlaps == {}
    assert world.done(Signal) == ["a"]
    held = SocketSpec("http", (("127.0.0.1", 4000),))
    assert can_overlap(replace(service("a"), sockets=(held,)))


def test_a_rolling_restart_waits_for_room_to_start() -> None:
    world = _serving(service("b", startup=probe()), start_limit=1)
    world.restart("b")
    world.exits("b", TERMINATED)
    world.cleared("b")
    assert world.phase("b") == "Spawning"
    world.roll("a")
    assert world.fleet.overlaps == {}
    assert not world.fleet.settled("a")
    world.spawned("b")
    assert world.runs_fairly(lambda: world.fleet.settled("a"))
    assert world.unit("a").run() == TWO


def test_an_answer_about_the_old_run_says_nothing_of_the_new_one() -> None:
    world = _serving()
    world.roll("a")
    world.spawned("a", world.places["a"].second)
    world.waits_for_deadline()
    world.deliver("a", Probed(ONE, ProbeKind.STARTUP, YES))
    world.deliver("a", Probed(ONE, ProbeKind.READINESS, YES))
    assert _incoming(world) == TWO


def test_dependents_do_not_notice() -> None:
    world = _serving(service("web", needs=(("a", Condition.READY),)))
    world.roll("a")
    assert world.runs_fairly(lambda: world.fleet.settled("a"))
    assert world.done(Spawn) == ["a"]
    assert world.unit("web").run() == ONE


def test_what_cannot_be_rolled_ends_in_its_turn() -> None:
    world = World(fleet_spec(service("web", needs=(("db", Condition.READY),)), service("db")))
    world.start("db")
    world.spawned("db")
    world.start("web")
    world.stop("web")
    world.restart("db")
    world.roll("web")
    assert world.done(Signal) == [], "the database waits for what needs it, and is to end too"
    world.spawned("web")
    assert world.done(Signal) == ["web"]
    world.exits("web", ExitSignal(15))
    world.cleared("web")
    assert world.done(Signal) == ["web", "db"]
