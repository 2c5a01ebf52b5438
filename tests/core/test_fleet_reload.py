"""From one configuration to another at once: who starts, who stops, who goes on."""

from dataclasses import replace

import pytest

from supervisor.core import fleet as fleets
from supervisor.core.effects import Signal, Spawn, Topic
from supervisor.core.events import ExitCode, ExitSignal, RunId, Stop
from supervisor.core.restart import Record
from supervisor.core.spec import Condition, ServiceSpec
from supervisor.core.unit import Completed, Failed, Goal, Past, Waiting
from tests.core.simulation import World
from tests.core.specimens import fleet_spec, probe, service, strict

TERMINATED = ExitSignal(15)


def _up(*services: ServiceSpec) -> World:
    world = World(fleet_spec(*services))
    world.start(*[s.name for s in services if s.enabled])
    assert world.runs_fairly(
        lambda: all(u.ready() for u in world.fleet.units.values() if u.spec.enabled)
    )
    world.deeds.clear()
    return world


def _reload(world: World, *services: ServiceSpec, restarting: tuple[str, ...] = ()) -> None:
    world.reloads(fleet_spec(*services), restarting, rolling=False)


def test_what_is_new_starts_in_order_and_what_is_the_same_goes_on() -> None:
    world = _up(service("a"))
    web = service("web", needs=(("db", Condition.READY),))
    _reload(world, service("a"), web, service("db", readiness=probe()))
    assert world.done(Spawn) == ["db"]
    assert list(world.fleet.units) == ["a", "web", "db"], "in the order of the configuration"
    assert world.comes_up()
    assert world.done(Signal) == []
    assert world.unit("a").run() == 1


def test_what_is_gone_stops_after_its_dependents_and_is_forgotten() -> None:
    world = _up(service("web", needs=(("db", Condition.READY),)), service("db"), service("a"))
    _reload(world, service("a"))
    assert world.done(Signal) == ["web"]
    assert not world.fleet.settled("db")
    world.exits("web", TERMINATED)
    world.cleared("web")
    assert list(world.fleet.units) == ["a", "db"]
    assert world.done(Signal) == ["web", "db"]
    world.exits("db", TERMINATED)
    world.cleared("db")
    assert list(world.fleet.units) == ["a"]
    assert [n for n, note in world.notes if note.topic is Topic.REMOVED] == ["web", "db"]
    world.deliver("db", Stop("late"))
    world.start("a")


def test_what_comes_back_before_it_has_gone_is_started_again() -> None:
    world = _up(service("a"), service("b"))
    _reload(world, service("a"))
    _reload(world, service("a"), service("b"))
    assert world.fleet.leaving == frozenset()
    world.exits("b", TERMINATED)
    world.cleared("b")
    assert world.comes_up()
    assert world.unit("b").run() == 2


def test_what_is_left_behind_can_still_be_stopped() -> None:
    world = _up(service("db"), service("web", needs=(("db", Condition.READY),)))
    _reload(world, service("db"))
    world.exits("web", TERMINATED)
    world.cleared("web")
    world.stop("db")
    assert world.done(Signal) == ["web", "db"]


def test_what_is_new_and_disabled_is_not_started() -> None:
    world = _up(service("a"))
    _reload(world, service("a"), replace(service("b"), enabled=False))
    assert world.phase("b") == "Stopped"


def test_nobody_starts_what_is_about_to_leave() -> None:
    world = _up(service("a"), service("b"))
    _reload(world, service("a"))
    world.start("b")
    world.restart("b")
    world.roll("b")
    world.exits("b", TERMINATED)
    world.cleared("b")
    assert list(world.fleet.units) == ["a"]


def test_what_leaves_later_than_what_it_needs_can_still_be_named() -> None:
    migrate = service("migrate")
    migrate = replace(migrate, restart=replace(migrate.restart, policy="never"))
    world = World(fleet_spec(service("web", needs=(("migrate", Condition.COMPLETED),)), migrate))
    world.start("web")
    world.spawned("migrate")
    world.exits("migrate", ExitCode(0))
    world.cleared("migrate")
    world.spawned("web")
    _reload(world, service("a"))
    assert set(world.fleet.units) == {"a", "web"}
    world.start("web")
    world.stop("web")
    assert world.runs_fairly(lambda: set(world.fleet.units) == {"a"})


def test_a_live_change_holds_without_a_restart() -> None:
    world = _up(service("a", restart=strict(after=5)))
    _reload(world, service("a", restart=strict(after=1)))
    assert world.done(Signal) == []
    world.exits("a", ExitCode(1))
    world.cleared("a")
    assert world.phase("a") == "Failed"


def test_a_changed_command_restarts_what_runs_and_only_that() -> None:
    world = _up(service("a"), service("b"))
    world.stop("b")
    world.exits("b", TERMINATED)
    world.cleared("b")
    world.deeds.clear()
    new = [replace(service(name), command=("other",)) for name in "ab"]
    _reload(world, *new, restarting=("a", "b"))
    assert world.done(Signal) == ["a"]
    assert world.unit("b").spec.command == ("other",), "from its next start"
    assert world.phase("b") == "Stopped"


def test_enabled_and_disabled() -> None:
    off = replace(service("b"), enabled=False)
    world = _up(service("a"), off)
    _reload(world, replace(service("a"), enabled=False), service("b"))
    assert world.done(Signal) == ["a"]
    assert world.done(Spawn) == ["b"]


def test_a_failed_service_that_is_described_anew_gets_another_chance() -> None:
    once = strict(after=1)
    world = _up(service("a", restart=once), service("b", restart=once), service("c"), service("d"))
    for name in "abcd":
        world.exits(name, ExitCode(1))
        world.cleared(name)
    assert [world.phase(name) for name in "abcd"] == ["Failed", "Failed", "Waiting", "Waiting"]
    mended = replace(service("a", restart=once), command=("mended",))
    also = replace(service("c"), command=("mended",))
    _reload(world, mended, service("b", restart=once), also, service("d"))
    assert world.done(Spawn) == ["a", "c"]


def test_what_somebody_stopped_stays_so_though_not_all_of_it_could_be_ended() -> None:
    world = _up(service("a"))
    world.stop("a")
    world.exits("a", TERMINATED)
    world.cleared("a", "pid 12")
    assert world.unit("a").phase == Failed(left=RunId(1))
    _reload(world, replace(service("a"), description="described anew"))
    assert world.unit("a").goal is Goal.DOWN


@pytest.mark.parametrize("rolling", [False, True])
def test_what_runs_though_it_was_disabled_is_restarted_when_it_is_enabled_and_changed(
    rolling: bool,
) -> None:
    off = replace(service("a"), enabled=False)
    world = _up(off)
    world.start("a")
    world.spawned("a")
    new = replace(service("a"), command=("other",))
    world.reloads(fleet_spec(new), ("a",), rolling=rolling)
    assert world.runs_fairly(lambda: world.unit("a").run() == 2 and world.fleet.settled("a"))


@pytest.mark.parametrize("rolling", [False, True])
def test_what_comes_back_changed_while_its_stop_is_held_back_is_restarted(rolling: bool) -> None:
    db = service("db")
    world = _up(service("web", needs=(("db", Condition.READY),)), db, service("a"))
    _reload(world, service("a"))
    assert world.done(Signal) == ["web"]
    other = replace(db, command=("other",))
    world.reloads(fleet_spec(service("a"), other), ("db",), rolling=rolling)
    assert world.runs_fairly(lambda: world.unit("db").run() == 2 and world.fleet.settled("db"))


@pytest.mark.parametrize("enabled", [False, True])
def test_what_comes_back_disabled_is_stopped_in_its_turn(enabled: bool) -> None:
    db = replace(service("db"), enabled=enabled)
    world = _up(service("web", needs=(("db", Condition.READY),)), db, service("a"))
    _reload(world, service("a"))
    off = replace(db, command=("other",), enabled=False)
    _reload(world, service("a"), off, restarting=("db",))
    assert world.done(Signal) == ["web"]
    assert world.runs_fairly(lambda: world.phase("db") == "Stopped")
    assert world.unit("db").last_run == 1


def test_dependencies_are_those_of_the_new_configuration() -> None:
    world = _up(service("web"), service("db"))
    _reload(world, service("web", needs=(("db", Condition.READY),)), service("db"))
    world.stop("web", "db")
    assert world.done(Signal) == ["web"]


def test_a_rolling_reload_keeps_the_old_run_until_the_new_one_is_ready() -> None:
    world = _up(service("a", readiness=probe()))
    new = replace(service("a", readiness=probe()), command=("other",))
    world.reloads(fleet_spec(new), ("a",), rolling=True)
    assert world.done(Signal) == []
    assert world.fleet.overlaps["a"].incoming
    assert world.runs_fairly(lambda: world.fleet.settled("a"))
    assert world.unit("a").run() == 2


def test_what_comes_in_takes_over_when_a_reload_drops_the_probe_that_it_waits_for() -> None:
    spec = service("a", readiness=probe())
    world = _up(spec)
    world.roll("a")
    world.spawned("a", world.places["a"].second)
    assert world.fleet.overlaps["a"].incoming
    _reload(world, service("a"))
    assert world.unit("a").run() == 2
    assert world.unit("a").ready()


def test_a_fleet_goes_on_from_where_an_earlier_daemon_was() -> None:
    spec = fleet_spec(*(service(name) for name in ("failed", "done", "waiting", "new")))
    record = Record(2, (90.0, 95.0))
    past = {
        "failed": Past(RunId(5), 3, record, Failed(), "gave up"),
        "done": Past(RunId(1), 0, Record(), Completed(), "exited with code 0"),
        "waiting": Past(RunId(2), 1, record, Waiting(101.0), "crashed"),
    }
    fleet = fleets.assemble(spec, 100.0, past)
    states = {name: (unit.goal, unit.state()) for name, unit in fleet.units.items()}
    assert states == {
        "failed": (Goal.UP, "failed"),
        "done": (Goal.UP, "completed"),
        "waiting": (Goal.UP, "backoff"),
        "new": (Goal.DOWN, "stopped"),
    }
    assert fleet.units["failed"].reason == "gave up"
    assert fleet.units["failed"].restarts == 3
    turn = fleets.pass_time(fleet, list(fleet.units), 101.0)
    assert [(name, effect) for name, effect in turn.effects] == [("waiting", Spawn(RunId(3)))]
    assert turn.fleet.units["waiting"].record == record
