"""Which runs are over their limit of memory."""

from dataclasses import replace

from supervisor.core.events import RunId
from supervisor.core.spec import Limits
from supervisor.memory import over_limit
from supervisor.posix.usage import Usage
from tests.core.simulation import World
from tests.core.specimens import fleet_spec, probe, service

OLD, NEW = RunId(1), RunId(2)


def test_of_two_runs_of_a_service_each_may_use_the_limit() -> None:
    spec = replace(service("a", readiness=probe()), limits=Limits(memory=100))
    world = World(fleet_spec(spec))
    world.start("a")
    assert world.comes_up()
    world.roll("a")
    world.spawned("a", world.places["a"].second)
    assert world.fleet.overlaps["a"].unit.run() == NEW
    usage = {("a", OLD): Usage(rss=70), ("a", NEW): Usage(rss=70)}
    assert list(over_limit(usage, world.fleet)) == []
    for run in (OLD, NEW):
        found = over_limit(usage | {("a", run): Usage(rss=101)}, world.fleet)
        assert [(name, exceeded.run) for name, exceeded in found] == [("a", run)]
    assert list(over_limit({}, world.fleet)) == [], "it began after the look at what is used"
