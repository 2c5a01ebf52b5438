"""A unit that is adopted by another daemon, or described anew, while its run lives."""

from dataclasses import replace
from typing import Any

import pytest

from supervisor.core.effects import Ask, Note, Signal, Spawn, Topic
from supervisor.core.events import (
    Admitted,
    Adopted,
    Cleared,
    Event,
    Exited,
    ExitSignal,
    Respec,
    Resumed,
    RunId,
    TimePassed,
)
from supervisor.core.spec import ProbeKind
from supervisor.core.step import step
from supervisor.core.unit import (
    Goal,
    Running,
    Stopping,
    Unit,
)
from tests.core.probing import ONE, asked_at, running
from tests.core.specimens import (
    NO,
    PID,
    YES,
    deeds,
    probe,
    run_through,
    service,
    topics,
)


def _crash(at: float, run: int) -> list[tuple[float, Event]]:
    ended = Exited(RunId(run), ExitSignal(11))
    return [(at, ended), (at, Cleared(RunId(run)))]


def test_an_adopted_run_keeps_its_number_and_the_next_has_a_new_one() -> None:
    unit, effects = step(Unit(service()), Adopted(RunId(41), PID, -100.0), 0.0)
    assert topics(effects) == ["adopted"]
    assert (unit.goal, unit.pid()) == (Goal.UP, PID)
    unit, effects = run_through(unit, *_crash(1.0, 41), (1.2, TimePassed()), (1.2, Admitted()))
    assert deeds(effects)[-1] == Spawn(RunId(42))


def test_adoption_of_an_older_run_never_lets_a_number_come_twice() -> None:
    unit = Unit(service(), last_run=RunId(50))
    unit, _ = step(unit, Adopted(RunId(41), PID, -100.0), 0.0)
    assert unit.last_run == 50


def test_an_adopted_run_that_was_still_loading_is_asked_again() -> None:
    spec = service(startup=probe(every=1.0, budget=5.0), readiness=probe(every=1.0))
    unit, _ = step(Unit(spec), Adopted(ONE, PID, -100.0, started=False), 10.0)
    assert unit.state() == "loading"
    unit, effects = step(unit, TimePassed(), 15.0)
    ended = [Signal(ONE, 15, dump=True)]
    assert deeds(effects) == ended, "its budget has begun again with the adoption"


def test_a_reload_takes_nothing_from_the_time_to_start() -> None:
    """What began with an adoption, or was slept through, is not counted after all."""
    spec = service(startup=probe(every=1.0, budget=5.0))
    other = Respec(replace(spec, description="described anew"))
    adopted, _ = step(Unit(spec), Adopted(ONE, PID, -100.0, started=False), 10.0)
    slept, _ = step(running(spec), Resumed(60.0), 64.0)
    for unit, end in ((adopted, 15.0), (slept, 65.0)):
        unit, _ = step(unit, other, end - 0.5)
        unit, _ = step(unit, TimePassed(), end - 0.4)
        assert isinstance(unit.phase, Running)
        assert unit.deadline() == end
        assert isinstance(step(unit, TimePassed(), end)[0].phase, Stopping)


def test_a_budget_that_is_new_counts_from_the_start_of_the_run() -> None:
    unit = running(service(startup=probe(every=60.0)), at=10.0)
    unit, _ = step(unit, TimePassed(), 11.0)
    unit, _ = step(unit, Respec(service(startup=probe(every=60.0, budget=30.0))), 12.0)
    assert unit.deadline() == 40.0
    unit, _ = step(unit, Respec(service(startup=probe(every=60.0))), 13.0)
    assert unit.deadline() is None, "a probe is under way, and may take for ever"


@pytest.mark.parametrize(
    ("before", "after", "state", "asked"),
    [
        ({"readiness": probe()}, {}, "running", []),
        ({}, {"readiness": probe(every=1.0)}, "healthy", [ProbeKind.READINESS]),
        ({"startup": probe(every=9.0)}, {}, "running", []),
        (
            {"startup": probe(every=9.0)},
            {"readiness": probe(every=1.0)},
            "unready",
            [ProbeKind.READINESS],
        ),
        (
            {"startup": probe(every=9.0)},
            {"startup": probe(every=1.0)},
            "loading",
            [ProbeKind.STARTUP],
        ),
        ({"liveness": probe(every=60.0)}, {"liveness": probe(every=1.0)}, "running", []),
    ],
)
def test_probes_are_described_anew_while_the_run_lives(
    before: dict[str, Any], after: dict[str, Any], state: str, asked: list[ProbeKind]
) -> None:
    unit = running(service(**before))
    ready = unit.ready()
    unit, effects = step(unit, Respec(service(**after)), 2.0)
    assert topics(effects) == (["ready"] if unit.ready() and not ready else [])
    assert unit.state() == state
    _, effects = step(unit, TimePassed(), 2.0)
    assert [e.kind for e in effects if isinstance(e, Ask)] == asked


def test_the_reason_is_of_probes_that_there_are() -> None:
    loading = running(service(startup=probe()))
    for after, reason in (
        (service(), "running; it has no probe that could say whether it works"),
        (service(readiness=probe()), "waiting for the readiness probe"),
        (service(startup=probe(every=1.0)), "waiting for the startup probe"),
    ):
        assert step(loading, Respec(after), 2.0)[0].reason == reason
    spec = service(readiness=probe(every=1.0, failures=1), transaction=probe(failures=9))
    unit, _ = run_through(running(spec), *asked_at(ProbeKind.READINESS, YES, 1.0))
    broken, _ = run_through(unit, *asked_at(ProbeKind.TRANSACTION, NO, 60.0))
    assert broken.reason == "transaction probe failed once: 503 Service Unavailable"
    without = Respec(replace(spec, transaction=None))
    mended, effects = step(broken, without, 61.0)
    assert (mended.state(), mended.since) == ("healthy", 61.0)
    assert mended.reason == "works by the probes that it has now"
    assert effects == (Note(Topic.READY, mended.reason, ONE),)
    neither, _ = run_through(broken, *asked_at(ProbeKind.READINESS, NO, 61.0))
    assert neither.state() == "broken"
    unready, effects = step(neither, without, 62.0)
    assert (unready.state(), effects) == ("unready", ())
    assert unready.reason == "readiness probe failed once: 503 Service Unavailable"
    spec = service(readiness=probe(), liveness=probe())
    unit, _ = run_through(running(spec), *asked_at(ProbeKind.READINESS, YES, 1.0))
    unit, _ = run_through(unit, *asked_at(ProbeKind.LIVENESS, NO, 9.0))
    assert step(unit, Respec(replace(spec, liveness=None)), 10.0)[0].reason == "200 OK"


def test_a_shorter_period_and_a_longer_budget_hold_at_once() -> None:
    unit = running(service(startup=probe(every=60.0, budget=5.0)))
    unit, _ = step(unit, TimePassed(), 0.1)
    unit, _ = step(unit, Respec(service(startup=probe(every=60.0, budget=50.0))), 4.0)
    unit, effects = step(unit, TimePassed(), 6.0)
    assert effects == ()
    _, effects = step(unit, TimePassed(), 50.0)
    assert deeds(effects) == [Signal(ONE, 15, dump=True)]
    slow = running(service(liveness=probe(every=60.0)))
    fast, _ = step(slow, Respec(service(liveness=probe(every=1.0))), 2.0)
    assert fast.deadline() == 3.0
    slow = running(service(startup=probe(every=60.0)))
    slow, _ = run_through(slow, *asked_at(ProbeKind.STARTUP, NO, 0.1))
    assert slow.deadline() == 60.1
    fast, _ = step(slow, Respec(service(startup=probe(every=1.0))), 2.0)
    assert fast.deadline() == 3.0
