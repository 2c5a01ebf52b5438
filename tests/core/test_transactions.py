"""Transactions: when one is asked, what its answers mean, and the state that three probes make."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core import health as probes
from supervisor.core.effects import Ask, Note, Signal, Topic
from supervisor.core.events import (
    Probed,
    ProbeResult,
    Respec,
    RunId,
    TimePassed,
)
from supervisor.core.judgement import judge
from supervisor.core.patience import LATEST, SOONEST
from supervisor.core.step import step
from supervisor.core.unit import Running, Stopping
from supervisor.core.verdicts import (
    BecameReady,
    BecameUnready,
    Dead,
    FirstFailure,
    Verdict,
)
from tests.core.probing import (
    BROKEN,
    LIVENESS,
    NOBODY,
    ONE,
    OVERLOADED,
    READINESS,
    REFUSED,
    STARTUP,
    TRANSACTION,
    answered,
    answers,
    judged,
    running,
    seldom,
)
from tests.core.specimens import (
    BUSY,
    NO,
    PROBER_ERROR,
    PUT_OFF,
    SILENCE,
    YES,
    deeds,
    probe,
    run_through,
    service,
    topics,
)

# When it is asked ----------------------------------------------------------------------------


@given(
    st.sampled_from("abc"),
    st.integers(1, 50),
    st.floats(0.05, 86400),
    st.integers(1, 5),
    st.floats(0, 1e6),
)
def test_what_breaks_is_known_to_be_broken_within_one_period(
    name: str, run: int, every: float, failures: int, now: float
) -> None:
    spec = service(name, transaction=seldom(every, failures))
    number = RunId(run)
    health = probes.begin(spec, number, now)
    due = probes.deadline(health)
    assert due is not None
    assert 0.4 * every <= due - now <= 0.9 * every, "spread, and well within the first period"
    health, _ = probes.ask(spec, health, due)
    health, _ = judge(spec, number, health, TRANSACTION, YES, due)
    last_success = due
    verdicts: tuple[Verdict, ...] = ()
    for _ in range(failures):
        asked_at = probes.deadline(health)
        assert asked_at is not None
        health, _ = probes.ask(spec, health, asked_at)
        health, verdicts = judge(spec, number, health, TRANSACTION, NO, asked_at)
        due = asked_at
    assert isinstance(verdicts[-1], Dead)
    shortest = SOONEST * failures  # of a period that nobody would choose
    assert due - last_success <= max(every, 0.9 * every + shortest) + 1e-6
    assert due - last_success >= 0.8 * every


def test_a_slow_success_delays_nothing() -> None:
    spec = service(transaction=seldom(100.0))
    health = probes.begin(spec, ONE, 0.0)
    health, _ = probes.ask(spec, health, 90.0)
    health, _ = judge(spec, ONE, health, TRANSACTION, YES, 115.0)
    due = probes.deadline(health)
    assert due is not None
    assert 170.0 <= due <= 180.0, "counted from the question, not from the answer"


@pytest.mark.parametrize(
    ("every", "failures", "again"),
    [(300.0, 2, LATEST), (60.0, 2, 6.0), (60.0, 4, 2.0), (2.0, 1, 0.2), (0.05, 2, SOONEST)],
)
@pytest.mark.parametrize("result", [PROBER_ERROR, PUT_OFF, BUSY, OVERLOADED])
def test_what_was_no_success_is_asked_again_soon(
    every: float, failures: int, again: float, result: ProbeResult
) -> None:
    spec = service(transaction=seldom(every, failures))
    health, verdicts = judged(spec, probes.begin(spec, ONE, 0.0), TRANSACTION, result, every)
    assert probes.deadline(health) == pytest.approx(every + again)
    assert Dead not in {type(v) for v in verdicts}
    tally = health.tally(TRANSACTION)
    assert tally is not None
    assert tally.streak == 0


def test_it_begins_when_the_service_has_started() -> None:
    spec = service(startup=probe(), transaction=seldom())
    health = probes.begin(spec, ONE, 0.0)
    assert [kind for kind, _ in health.tallies] == [STARTUP]
    health, _ = judged(spec, health, STARTUP, YES, 1.0)
    assert [kind for kind, _ in health.tallies] == [TRANSACTION]
    adopted = probes.resume(spec, ONE, 0.0)
    assert [kind for kind, _ in adopted.tallies] == [TRANSACTION]


def test_a_lost_readiness_makes_it_due_at_once() -> None:
    spec = service(readiness=probe(failures=2), transaction=seldom())
    health = probes.begin(spec, ONE, 0.0)
    health, _ = judged(spec, health, READINESS, YES, 0.0)
    health, _ = judged(spec, health, READINESS, NO, 10.0)
    health, asked = probes.ask(spec, health, 19.0)
    assert asked == (READINESS,), "one failure is no verdict"
    health, verdicts = judge(spec, ONE, health, READINESS, NO, 20.0)
    assert [type(v) for v in verdicts] == [BecameUnready]
    _, asked = probes.ask(spec, health, 20.0)
    assert asked == (TRANSACTION,)


def test_it_is_put_off_while_the_service_works_and_not_for_ever() -> None:
    spec = replace(service(transaction=seldom(20.0)), busy_deadline=30.0)
    unit = running(spec)
    patient = Ask(ONE, TRANSACTION, even_if_busy=False)
    insisting = Ask(ONE, TRANSACTION, even_if_busy=True)
    at, asked = 20.0, []
    for _ in range(20):
        unit, effects = run_through(unit, *answers(TRANSACTION, PUT_OFF, at=at))
        asked += deeds(effects)
        at += 2.0
    # From 20.0, when it was first put off, to below 50.0; the host itself puts off no longer.
    assert asked == [patient] * 15 + [insisting] * 5
    unit, effects = run_through(unit, *answers(TRANSACTION, YES, PUT_OFF, at=100.0, apart=20.0))
    assert deeds(effects) == [insisting, patient], "a success begins it all anew"
    results = (YES, BROKEN, PUT_OFF)
    unit, effects = run_through(unit, *answers(TRANSACTION, *results, at=200.0, apart=20.0))
    assert deeds(effects) == [insisting, patient, insisting], (
        "whether a failure was right must be known"
    )
    always = service(transaction=probe(every=20.0))
    _, effects = step(running(always), TimePassed(), 20.0)
    assert deeds(effects) == [insisting]


# What its answers mean -----------------------------------------------------------------------


def test_one_failure_is_enough_to_be_ready_no_more_and_one_success_to_be_again() -> None:
    spec = service(readiness=probe(), transaction=seldom(failures=3))
    unit = answered(running(spec), READINESS, YES, at=0.0)
    unit, effects = run_through(unit, *answers(TRANSACTION, BROKEN, at=300.0))
    words = "transaction probe failed once: 500 Internal Server Error"
    assert Note(Topic.UNREADY, words, ONE) in effects
    assert (unit.state(), unit.ready(), unit.reason, unit.since) == ("broken", False, words, 300.0)
    unit, effects = run_through(unit, *answers(READINESS, YES, at=301.0))
    assert not unit.ready(), "what /health says does not mend it"
    unit, effects = run_through(unit, *answers(TRANSACTION, BROKEN, YES, at=310.0))
    assert topics(effects) == ["ready"]
    assert (unit.state(), unit.reason, unit.since) == ("healthy", "200 OK", 320.0)


def test_a_success_does_not_make_ready_what_readiness_refuses() -> None:
    spec = service(readiness=probe(failures=1), transaction=seldom())
    unit = answered(running(spec), READINESS, YES, NO, at=0.0)
    unit = answered(unit, TRANSACTION, BROKEN, YES, at=20.0)
    assert (unit.state(), unit.ready()) == ("unready", False)
    unit, effects = run_through(unit, *answers(READINESS, YES, at=50.0))
    assert topics(effects) == ["ready"]


def test_a_readiness_of_many_successes_is_waited_for_after_a_failed_transaction() -> None:
    spec = service(readiness=probe(failures=1, successes=2), transaction=seldom(failures=3))
    unit = answered(running(spec), READINESS, YES, YES, at=0.0)
    unit = answered(unit, TRANSACTION, BROKEN, at=300.0)
    unit = answered(unit, READINESS, NO, YES, at=301.0)
    unit = answered(unit, TRANSACTION, YES, at=320.0)
    assert not unit.ready()
    assert answered(unit, READINESS, YES, at=330.0).ready()


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_it_is_replaced_exactly_at_its_failures(failures: int) -> None:
    spec = service(readiness=probe(), transaction=seldom(failures=failures))
    unit = answered(running(spec), READINESS, YES, at=0.0)
    unit = answered(unit, TRANSACTION, *[BROKEN] * (failures - 1), at=300.0)
    assert isinstance(unit.phase, Running)
    unit, effects = run_through(unit, *answers(TRANSACTION, BROKEN, at=400.0))
    times = "once" if failures == 1 else f"{failures} times in a row"
    why = f"failed its transaction probe {times}: 500 Internal Server Error"
    assert effects[-2:] == (Note(Topic.STOPPING, why, ONE), Signal(ONE, 15))
    assert isinstance(unit.phase, Stopping)
    assert unit.phase.failure == why


def test_a_failure_before_it_was_ever_ready_is_told_and_counts() -> None:
    spec = service(readiness=probe(), transaction=seldom(failures=3))
    health = probes.begin(spec, ONE, 0.0)
    health, verdicts = judged(spec, health, TRANSACTION, BROKEN, 300.0)
    assert verdicts == (FirstFailure(BROKEN.detail),)
    health, verdicts = judged(spec, health, TRANSACTION, BROKEN, 320.0)
    assert verdicts == ()
    _, verdicts = judged(spec, health, TRANSACTION, BROKEN, 340.0)
    assert [type(v) for v in verdicts] == [Dead]


def test_it_alone_can_prove_that_a_service_works() -> None:
    unit = running(service(transaction=seldom()))
    assert unit.state() == "running"
    assert answered(unit, TRANSACTION, YES, at=300.0).state() == "healthy"


def test_a_reload_takes_what_a_transaction_said_with_it() -> None:
    spec = service(readiness=probe(), transaction=seldom(failures=3))
    unit = answered(running(spec), READINESS, YES, at=0.0)
    unit = answered(unit, TRANSACTION, BROKEN, at=300.0)
    still, _ = step(unit, Respec(replace(spec, description="x")), 301.0)
    assert still.state() == "broken"
    without, _ = step(unit, Respec(replace(spec, transaction=None)), 301.0)
    assert without.state() == "healthy"
    neither = replace(spec, transaction=None, readiness=None)
    assert step(unit, Respec(neither), 301.0)[0].state() == "running"
    added, _ = step(without, Respec(spec), 302.0)
    assert added.ready()
    _, effects = step(added, TimePassed(), 302.0)
    assert Ask(ONE, TRANSACTION, even_if_busy=False) in effects


# States --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Situation:
    """What three probes said last, and the state that it makes."""

    readiness: ProbeResult
    liveness: ProbeResult
    transaction: ProbeResult
    state: str
    because: str


@pytest.mark.parametrize(
    "case",
    [
        Situation(YES, YES, YES, "healthy", "200 OK"),
        Situation(REFUSED, YES, YES, "unready", "readiness probe failed once: 503"),
        Situation(BROKEN, YES, YES, "unready", "readiness probe failed once: 500"),
        Situation(SILENCE, YES, YES, "hung", "readiness probe failed once: no reply"),
        Situation(NOBODY, YES, YES, "unreachable", "readiness probe failed once: connection"),
        Situation(NO, NO, YES, "broken", "liveness probe failed once: 503"),
        Situation(YES, YES, BROKEN, "broken", "transaction probe failed once: 500"),
        Situation(YES, YES, SILENCE, "hung", "transaction probe failed once: no reply"),
        Situation(YES, YES, REFUSED, "unready", "transaction probe failed once: 503"),
        Situation(YES, YES, NOBODY, "unreachable", "transaction probe failed once: connection"),
        Situation(SILENCE, NOBODY, BROKEN, "unreachable", "liveness probe failed once: conn"),
        Situation(REFUSED, YES, BROKEN, "broken", "transaction probe failed once: 500"),
        # One failure of liveness is no verdict while the others are content.
        Situation(YES, BROKEN, YES, "healthy", "200 OK"),
        Situation(YES, SILENCE, YES, "healthy", "200 OK"),
    ],
    ids=lambda case: f"{case.state}: {case.because}",
)
def test_each_fault_has_its_state_and_its_words(case: Situation) -> None:
    spec = service(
        readiness=probe(failures=1), liveness=probe(failures=9), transaction=seldom(failures=9)
    )
    unit = running(spec)
    for kind in (READINESS, LIVENESS, TRANSACTION):
        unit = answered(unit, kind, YES, at=300.0)
    unit, _ = step(unit, TimePassed(), 900.0)
    said = {READINESS: case.readiness, LIVENESS: case.liveness, TRANSACTION: case.transaction}
    for kind, result in said.items():
        unit, _ = step(unit, Probed(ONE, kind, result), 900.0)
    assert unit.state() == case.state
    assert unit.reason.startswith(case.because)
    assert unit.ready() == (case.state == "healthy")


def test_the_reason_follows_the_state() -> None:
    spec = service(startup=probe(), readiness=probe(failures=1))
    unit = answered(running(spec), STARTUP, YES, at=1.0)
    assert (unit.state(), unit.reason) == ("unready", "waiting for the readiness probe")
    unit = answered(unit, READINESS, NOBODY, at=10.0)
    assert unit.state() == "unreachable"
    assert unit.reason == "readiness probe failed once: connection refused"
    assert unit.since == 10.0
    unit = answered(unit, READINESS, NOBODY, at=20.0)
    assert unit.since == 10.0, "it is what it was"
    unit = answered(unit, READINESS, SILENCE, at=30.0)
    assert (unit.state(), unit.since) == ("hung", 30.0)
    assert unit.reason == "readiness probe failed 3 times in a row: no reply within 2 s"
    unit = answered(unit, READINESS, REFUSED, at=40.0)
    assert (unit.state(), unit.since) == ("unready", 40.0)
    assert "503" in unit.reason
    slow = service(readiness=probe(failures=1, successes=2))
    unit = answered(running(slow), READINESS, SILENCE, at=10.0)
    assert unit.state() == "hung"
    unit = answered(unit, READINESS, YES, at=20.0)
    assert (unit.state(), unit.reason) == ("unready", "waiting for the readiness probe")


def test_a_proven_run_that_breaks_has_been_proven() -> None:
    spec = service(readiness=probe(), transaction=seldom(failures=1))
    unit = answered(running(spec), READINESS, YES, at=0.0)
    assert isinstance(unit.phase, Running)
    health = unit.phase.health
    after, verdicts = judged(spec, health, TRANSACTION, BROKEN, 86_400.0)
    assert [type(v) for v in verdicts] == [Dead]
    assert after.healthy_since == 0.0, "what is counted when it ends"
    again, verdicts = judged(
        service(readiness=probe(), transaction=seldom()), health, TRANSACTION, BROKEN, 86_400.0
    )
    assert [type(v) for v in verdicts] == [BecameUnready]
    assert again.healthy_since is None
    _, verdicts = judged(
        service(readiness=probe(), transaction=seldom()), again, TRANSACTION, YES, 86_420.0
    )
    assert verdicts == (BecameReady("200 OK"),)
