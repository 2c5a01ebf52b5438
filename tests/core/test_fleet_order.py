"""Who starts when and who ends first, in plain examples."""

from dataclasses import replace

import pytest

from supervisor.core import fleet as fleets
from supervisor.core.effects import Signal, Spawn, Topic
from supervisor.core.events import ExitCode, ExitSignal
from supervisor.core.jitter import fraction
from supervisor.core.spec import Condition, ServiceSpec
from supervisor.core.unit import Goal
from tests.core.simulation import World
from tests.core.specimens import NO, YES, fleet_spec, probe, service, strict

READY, STARTED, COMPLETED = Condition.READY, Condition.STARTED, Condition.COMPLETED
TERMINATED = ExitSignal(15)


def _one_shot(name: str) -> ServiceSpec:
    spec = service(name)
    return replace(spec, restart=replace(spec.restart, policy="never"))


def _web_api_db() -> World:
    return World(
        fleet_spec(
            service("web", needs=(("api", READY),)),
            service("api", needs=(("db", READY),), readiness=probe()),
            service("db", readiness=probe()),
        )
    )


def _up() -> World:
    world = _web_api_db()
    world.start("web", "api", "db")
    assert world.comes_up()
    world.deeds.clear()
    return world


def _end(world: World, name: str) -> None:
    """Let a process end as it was asked to, its tree with it."""
    process = world.places[name].process
    assert process is not None
    assert process.signals, f"{name} was not asked to end"
    world.exits(name, TERMINATED)
    world.cleared(name)


def test_start_brings_up_what_is_needed_in_order() -> None:
    world = _web_api_db()
    world.start("web")
    assert world.done(Spawn) == ["db"]
    assert world.unit("api").reason == "waiting for db to be ready (it is starting)"
    world.spawned("db")
    assert world.done(Spawn) == ["db"], "running is not ready"
    assert world.unit("api").reason == "waiting for db to be ready (it is unready)"
    world.waits_for_deadline()
    world.answers("db", YES)
    assert world.done(Spawn) == ["db", "api"]
    assert world.comes_up()
    assert world.done(Spawn) == ["db", "api", "web"]
    needed = [n.text for name, n in world.notes if name == "db" and n.topic is Topic.ASKED]
    assert needed == ["start asked: x (needed by api)"]


def test_started_is_enough_where_it_is_asked_for() -> None:
    world = World(
        fleet_spec(service("web", needs=(("db", STARTED),)), service("db", startup=probe()))
    )
    world.start("web")
    world.spawned("db")
    assert world.done(Spawn) == ["db", "web"]


def test_completed_waits_for_the_end_of_the_work() -> None:
    world = World(fleet_spec(service("web", needs=(("migrate", COMPLETED),)), _one_shot("migrate")))
    world.start("web")
    world.spawned("migrate")
    assert world.phase("web") == "Blocked"
    world.exits("migrate", ExitCode(0))
    assert world.phase("web") == "Blocked", "its tree is not cleared yet"
    world.cleared("migrate")
    assert world.done(Spawn) == ["migrate", "web"]


def test_a_completed_dependency_is_not_done_again_for_its_dependent() -> None:
    world = World(fleet_spec(service("web", needs=(("migrate", COMPLETED),)), _one_shot("migrate")))
    world.start("web")
    world.spawned("migrate")
    world.exits("migrate", ExitCode(0))
    world.cleared("migrate")
    world.spawned("web")
    world.stop("web")
    _end(world, "web")
    world.start("web")
    assert world.done(Spawn) == ["migrate", "web", "web"]
    world.start("migrate")
    assert world.done(Spawn)[-1] == "migrate", "asked for by name, it is done again"


def test_a_failed_dependency_is_named_with_its_reason_and_a_start_tries_it_again() -> None:
    db = service("db", readiness=probe(), restart=strict(after=1))
    world = World(fleet_spec(service("web", needs=(("db", READY),)), db))
    world.start("web")
    world.spawn_failed("db", retry=False)
    assert world.unit("web").reason == "waiting for db, which failed: no memory"
    world.start("web")
    assert world.phase("db") == "Spawning"


def test_stopped_on_purpose_is_said() -> None:
    world = _up()
    world.stop("db")
    _end(world, "db")
    world.exits("api", ExitCode(1))
    world.cleared("api")
    world.waits_for_deadline()
    assert world.phase("api") == "Blocked"
    assert world.unit("api").reason == "waiting for db, which is stopped: start it"


def test_stop_goes_dependents_first() -> None:
    world = _up()
    world.stop("db", "api", "web")
    assert world.done(Signal) == ["web"]
    world.exits("web", TERMINATED)
    assert world.done(Signal) == ["web"], "what is left of web may still use api"
    world.cleared("web")
    assert world.done(Signal) == ["web", "api"]
    _end(world, "api")
    assert world.done(Signal) == ["web", "api", "db"]
    _end(world, "db")
    assert {world.phase(name) for name in world.places} == {"Stopped"}


def test_stop_in_parallel_where_nothing_depends() -> None:
    world = World(fleet_spec(*(service(name) for name in "abc")))
    world.start("a", "b", "c")
    assert world.comes_up()
    world.stop("a", "b", "c")
    assert world.done(Signal) == ["a", "b", "c"]


def test_stop_order_reaches_through_a_service_that_stays() -> None:
    """Stopping web and db of web → api → db: web's last requests go through api to db."""
    world = _up()
    world.stop("web", "db")
    assert world.done(Signal) == ["web"]
    _end(world, "web")
    assert world.done(Signal) == ["web", "db"]
    assert world.phase("api") == "Running"


def test_stop_of_a_dependency_alone_waits_for_nobody() -> None:
    world = _up()
    world.stop("db")
    assert world.done(Signal) == ["db"]
    assert world.unit("web").goal is Goal.UP


def test_stop_waits_for_a_dependent_whose_spawn_is_under_way() -> None:
    world = _up()
    world.stop("web")
    _end(world, "web")
    world.start("web")
    assert world.phase("web") == "Spawning"
    world.deeds.clear()
    world.stop("web", "api")
    assert world.done(Signal) == []
    world.spawned("web")
    assert world.done(Signal) == ["web"]
    _end(world, "web")
    assert world.done(Signal) == ["web", "api"]


def test_stop_during_start() -> None:
    world = _web_api_db()
    world.start("web")
    world.spawned("db")
    world.stop("web", "api", "db")
    assert (world.phase("web"), world.phase("api")) == ("Stopped", "Stopped")
    assert world.done(Signal) == ["db"]


def test_start_during_a_stop_that_is_held_back() -> None:
    world = _up()
    world.stop("web", "api", "db")
    world.start("api")
    assert set(world.fleet.held_back) == set()
    _end(world, "web")
    assert world.done(Signal) == ["web"], "api and db were asked to stay"
    assert world.unit("web").goal is Goal.DOWN


def test_a_held_back_service_that_crashes_stays_down() -> None:
    world = _up()
    world.stop("web", "api", "db")
    world.exits("db", ExitSignal(11))
    world.cleared("db")
    assert (world.phase("db"), world.unit("db").goal) == ("Stopped", Goal.DOWN)
    assert world.done(Spawn) == []


def test_restart_goes_down_in_reverse_and_up_in_order() -> None:
    world = _up()
    world.restart("web", "api", "db")
    assert world.runs_fairly(
        lambda: not world.fleet.held_back and all(u.ready() for u in world.fleet.units.values())
    )
    assert world.done(Signal) == ["web", "api", "db"]
    assert world.done(Spawn) == ["db", "api", "web"]
    assert {unit.restarts for unit in world.fleet.units.values()} == {0}


def test_restart_of_one_leaves_the_others() -> None:
    world = _up()
    world.restart("api")
    assert world.phase("api") == "Stopping"
    assert world.comes_up()
    assert world.done(Signal) == ["api"]


def test_restart_asked_while_spawning_is_not_forgotten() -> None:
    world = _up()
    world.stop("web")
    _end(world, "web")
    world.start("web")
    world.deeds.clear()
    world.restart("web", "db")
    assert world.done(Signal) == []
    world.spawned("web")
    assert world.done(Signal) == ["web"]
    _end(world, "web")
    assert world.done(Signal) == ["web", "db"]
    _end(world, "db")
    assert world.comes_up()


def test_start_does_not_forget_a_restart_that_waits() -> None:
    world = _up()
    world.restart("web", "db")
    assert world.done(Signal) == ["web"]
    world.start("db")
    _end(world, "web")
    assert world.done(Signal) == ["web", "db"]


def test_the_last_word_of_the_operator_counts() -> None:
    world = _up()
    world.restart("web", "db")
    world.stop("db")
    _end(world, "web")
    _end(world, "db")
    assert (world.phase("db"), world.unit("db").goal) == ("Stopped", Goal.DOWN)
    world = _up()
    world.stop("web", "db")
    world.restart("db")
    _end(world, "web")
    _end(world, "db")
    assert world.unit("db").goal is Goal.UP


def test_no_more_than_the_limit_start_at_once() -> None:
    services = [service(name, startup=probe()) for name in "abcd"]
    world = World(fleet_spec(*services, start_limit=2))
    world.start(*"abcd")
    assert world.done(Spawn) == ["a", "b"]
    assert "waiting for room: 2 services (start_limit) are starting" in world.unit("c").reason
    world.spawned("a")
    assert world.done(Spawn) == ["a", "b"], "loading still takes a place"
    world.waits_for_deadline()
    world.answers("a", YES)
    assert world.done(Spawn) == ["a", "b", "c"]
    world.spawn_failed("b", retry=False)
    assert world.done(Spawn) == ["a", "b", "c", "d"]


def test_waiting_is_noted_once_and_touches_nobody_again() -> None:
    world = World(fleet_spec(*(service(n, startup=probe()) for n in "abc"), start_limit=1))
    world.start(*"abc")
    world.spawned("a")
    world.notes.clear()
    for _ in range(5):
        world.waits_for_deadline()
        world.answers("a", NO)
        assert world.touched == {"a"}
    assert [note.topic for _, note in world.notes] == []


def test_time_passes_only_for_those_whose_deadline_has_come() -> None:
    world = World(fleet_spec(service("a", liveness=probe()), service("b")))
    world.start("a", "b")
    assert world.comes_up()
    turn = fleets.pass_time(world.fleet, ["a", "b"], world.now)
    assert turn.touched == frozenset()
    assert turn.fleet.units == world.fleet.units


def test_an_idle_fleet_has_no_deadline() -> None:
    world = _web_api_db()
    assert world.next_deadline() is None
    world.start("web")
    world.stop("web", "api", "db")
    world.spawned("db")
    _end(world, "db")
    assert world.next_deadline() is None


@pytest.mark.parametrize("count", [1, 40])
def test_a_long_chain_comes_up_and_goes_down(count: int) -> None:
    names = [f"s{n}" for n in range(count)]
    chain = [
        service(name, needs=((names[n - 1], READY),) if n else ()) for n, name in enumerate(names)
    ]
    world = World(fleet_spec(*chain))
    world.start(*names)
    assert world.comes_up()
    assert world.done(Spawn) == names
    world.stop(*names)
    assert world.runs_fairly(lambda: all(p == "Stopped" for p in map(world.phase, names)))
    assert world.done(Signal) == names[::-1]


def test_jitter_is_the_same_for_the_same_run() -> None:
    assert fraction("a", 1) == fraction("a", 1)
    assert fraction("a", 1) != fraction("a", 2)
