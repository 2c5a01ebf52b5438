"""Random fleets, random operators, a hostile system: the world checks itself after every turn."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.spec import FleetSpec, ProbeSpec
from tests.core.histories import VERBS, Move, comes_to_rest, histories, play, some_of
from tests.core.random_fleets import fleets_of, probes, startups, transactions
from tests.core.simulation import World
from tests.core.specimens import fleet_spec, service


def _run(spec: FleetSpec, history: list[Move]) -> None:
    world = World(spec)
    for move in history:
        play(world, move)
    comes_to_rest(world)


@given(fleets_of(most=1), histories(*VERBS, least=20, most=60))
def test_one_unit(spec: FleetSpec, history: list[Move]) -> None:
    _run(spec, history)


@given(fleets_of(most=6), histories(*VERBS, least=20, most=60))
def test_a_fleet(spec: FleetSpec, history: list[Move]) -> None:
    _run(spec, history)


@given(fleets_of(most=6), st.integers(0, 63), histories(*VERBS, least=10, most=30))
def test_all_down_is_all_stopped(spec: FleetSpec, pick: int, history: list[Move]) -> None:
    world = World(spec)
    world.start(*some_of(world, pick))
    for move in history:
        play(world, move)
    world.stop(*world.places)
    comes_to_rest(world)
    for name, place in world.places.items():
        assert world.phase(name) == "Stopped" or (world.phase(name) == "Failed" and place.left_over)


@given(startups, probes, probes, transactions, st.integers(1, 6), st.integers(1, 3))
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
