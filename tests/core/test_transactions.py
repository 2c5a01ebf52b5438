"""Transactions, and what is made of silence: which state, whose fault, excused for how long."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core import health as probes
from supervisor.core.effects import Ask, Note, Signal, Topic
from supervisor.core.ending import DUMP_TIME
from supervisor.core.events import (
    Admitted,
    Event,
    ExitCode,
    Exited,
    Fault,
    Probed,
    ProbeResult,
    Respec,
    RunId,
    Spawned,
    Start,
    TimePassed,
)
from supervisor.core.judgement import NOTICE_WINDOW, judge
from supervisor.core.patience import LATEST, SOONEST
from supervisor.core.spec import ProbeKind, ProbeSpec, ServiceSpec
from supervisor.core.step import step
from supervisor.core.unit import Running, Stopping, Unit
from supervisor.core.verdicts import (
    BecameReady,
    BecameUnready,
    Dead,
    Excused,
    FirstFailure,
    Verdict,
)
from tests.core.specimens import (
    BUSY,
    NO,
    PID,
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

STARTUP, READINESS, LIVENESS, TRANSACTION = ProbeKind
ONE = RunId(1)
BROKEN = ProbeResult(False, "500 Internal Server Error")
REFUSED = ProbeResult(False, "503 Service Unavailable", fault=Fault.REFUSED)
OVERLOADED = replace(REFUSED, busy=True)
NOBODY = ProbeResult(False, "connection refused", fault=Fault.UNREACHABLE)
IDLE = replace(SILENCE, busy=False)


def seldom(every: float = 300.0, failures: int = 2) -> ProbeSpec:
    return probe(every=every, failures=failures, idle=True)


def asked_only(kind: ProbeKind, one: ProbeSpec) -> ServiceSpec:
    probes: dict[str, Any] = {kind.value: one}
    return replace(service(), **probes)


def running(spec: ServiceSpec, at: float = 0.0) -> Unit:
    unit, _ = run_through(Unit(spec), (at, Start("x")), (at, Admitted()), (at, Spawned(ONE, PID)))
    return unit


def health_of(unit: Unit) -> probes.Health:
    assert isinstance(unit.phase, Running)
    return unit.phase.health


def answered(unit: Unit, kind: ProbeKind, *results: ProbeResult, at: float) -> Unit:
    return run_through(unit, *answers(kind, *results, at=at))[0]


def answers(
    kind: ProbeKind, *results: ProbeResult, at: float, apart: float = 10.0
) -> list[tuple[float, Event]]:
    """Return for each result the asking, which is due by then, and the answer."""
    events: list[tuple[float, Event]] = []
    for count, result in enumerate(results):
        now = at + apart * count
        events += [(now, TimePassed()), (now, Probed(ONE, kind, result))]
    return events


def judged(
    spec: ServiceSpec, health: probes.Health, kind: ProbeKind, result: ProbeResult, now: float
) -> tuple[probes.Health, tuple[Verdict, ...]]:
    health, asked = probes.ask(spec, health, now)
    assert kind in asked
    return judge(spec, ONE, health, kind, result, now)


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


# Work excuses silence ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [READINESS, LIVENESS, TRANSACTION])
def test_silence_while_it_works_is_excused_until_the_deadline(kind: ProbeKind) -> None:
    one = probe(every=10.0, failures=2, idle=kind is TRANSACTION)
    spec = replace(asked_only(kind, one), busy_deadline=60.0)
    unit = answered(running(spec), kind, YES, at=10.0)
    first = 30.0
    unit, effects = run_through(unit, *answers(kind, *[BUSY] * 6, at=first))
    assert (unit.state(), unit.ready()) == ("busy", True)
    assert unit.settled()
    assert topics(effects) == ["busy"]
    assert "readiness" not in str(effects) or kind is READINESS
    assert "in flight: busy, not hung" in str(effects)
    assert unit.reason == f"{kind} probe: {BUSY.detail}"
    tally = health_of(unit).tally(kind)
    assert tally is not None
    assert (tally.streak, tally.excused_since) == (1, first)
    # 60 s after the first it counts, and no new excuse begins with that.
    unit, effects = run_through(unit, *answers(kind, BUSY, BUSY, at=first + 60.0))
    if kind is READINESS:
        assert unit.state() == "hung"
        assert topics(effects)[-1] == "unready"
    else:
        assert deeds(effects)[-1] == Signal(ONE, 15, dump=True)


def test_one_answer_ends_the_excuse_and_the_next_begins_anew() -> None:
    spec = replace(service(readiness=probe(failures=1)), busy_deadline=30.0)
    unit = answered(running(spec), READINESS, YES, BUSY, BUSY, at=0.0)
    unit = answered(unit, READINESS, YES, at=30.0)
    assert (unit.state(), unit.reason) == ("healthy", "200 OK")
    unit = answered(unit, READINESS, BUSY, BUSY, BUSY, at=40.0)
    assert unit.state() == "busy"
    assert answered(unit, READINESS, BUSY, at=70.0).state() == "hung"


def test_silence_of_the_idle_is_no_work() -> None:
    spec = service(liveness=probe(failures=2))
    _, effects = run_through(running(spec), *answers(LIVENESS, IDLE, IDLE, at=10.0))
    assert topics(effects) == ["probe-failed", "stopping"]


def test_work_that_ended_just_before_the_look_excuses_once() -> None:
    spec = service(readiness=probe(failures=1))
    unit = answered(running(spec), READINESS, YES, BUSY, IDLE, at=0.0)
    assert unit.state() == "healthy"
    assert answered(unit, READINESS, IDLE, at=30.0).state() == "hung"


@pytest.mark.parametrize("result", [replace(BROKEN, busy=True), replace(NOBODY, busy=True)])
def test_only_silence_is_excused(result: ProbeResult) -> None:
    spec = service(liveness=probe(failures=1))
    _, effects = run_through(running(spec), *answers(LIVENESS, result, at=10.0))
    assert topics(effects) == ["stopping"]


def test_an_overloaded_service_is_not_broken_and_a_refusing_idle_one_is() -> None:
    spec = replace(service(readiness=probe(), transaction=seldom(failures=1)), busy_deadline=0.5)
    unit = answered(running(spec), READINESS, YES, at=0.0)
    unit, effects = run_through(unit, *answers(TRANSACTION, *[OVERLOADED] * 9, at=300.0))
    assert (unit.state(), topics(effects)) == ("busy", ["busy"])
    _, effects = run_through(unit, *answers(TRANSACTION, REFUSED, at=400.0))
    assert topics(effects) == ["stopping"]
    unit = answered(running(spec), READINESS, YES, at=0.0)
    unit = answered(unit, READINESS, *[OVERLOADED] * 3, at=10.0)
    assert unit.state() == "unready", "readiness says no in words"


def test_a_refusal_of_the_idle_counts() -> None:
    spec = service(transaction=seldom(failures=1))
    _, effects = run_through(
        running(spec), *answers(TRANSACTION, replace(REFUSED, busy=False), at=300.0)
    )
    assert topics(effects) == ["stopping"]


def test_a_startup_is_excused_by_nothing() -> None:
    spec = service(startup=probe(successes=2, budget=60.0))
    unit = answered(running(spec), STARTUP, YES, BUSY, YES, at=1.0)
    assert unit.state() == "loading"
    assert not health_of(unit).busy()


def test_by_its_own_word_it_is_busy_and_by_its_own_word_no_more() -> None:
    spec = service(readiness=probe(), liveness=probe())
    unit = answered(running(spec), READINESS, replace(YES, busy=True), at=0.0)
    assert (unit.state(), unit.ready(), unit.since) == ("busy", True, 0.0)
    unit = answered(unit, LIVENESS, YES, at=10.0)
    assert unit.state() == "busy", "another probe knows nothing of it"
    unit, effects = run_through(unit, *answers(READINESS, replace(YES, busy=False), at=20.0))
    assert (unit.state(), unit.reason, unit.since) == ("healthy", "200 OK", 0.0)
    unit, _ = run_through(unit, *answers(READINESS, replace(YES, busy=True), at=30.0))
    assert unit.reason == "works on something, by its own word"
    assert topics(effects) == []


def test_the_journal_is_told_once_in_a_while_that_silence_is_excused() -> None:
    spec = service(readiness=probe(failures=9), liveness=probe(failures=9))
    health = probes.begin(spec, ONE, 0.0)
    told = []
    at = 100.0
    for _ in range(100):
        for result in (BUSY, BUSY, YES):
            health, _ = probes.ask(spec, health, at)
            for kind in (READINESS, LIVENESS):
                health, verdicts = judge(spec, ONE, health, kind, result, at)
                told += [(at, v.why) for v in verdicts if isinstance(v, Excused)]
            at += 5.0
    assert told == [(at, BUSY.detail) for at in (100.0, 700.0, 1300.0)]
    assert told[1][0] - told[0][0] == NOTICE_WINDOW


def test_one_spell_of_work_is_told_once_however_long_it_is() -> None:
    spec = replace(service(readiness=probe()), busy_deadline=3600.0)
    unit = answered(running(spec), READINESS, YES, at=0.0)
    _, effects = run_through(unit, *answers(READINESS, *[BUSY] * 100, at=10.0, apart=30.0))
    assert topics(effects) == ["busy"]


@given(st.lists(st.sampled_from([YES, NO, SILENCE, IDLE, BUSY, PROBER_ERROR]), max_size=40))
def test_no_silence_is_excused_for_longer_than_the_deadline(results: list[ProbeResult]) -> None:
    spec = replace(service(liveness=probe(failures=3)), busy_deadline=45.0)
    health = probes.begin(spec, ONE, 0.0)
    spell: float | None = None
    for count, result in enumerate(results):
        now = 10.0 * (count + 1)
        before = health.tally(LIVENESS)
        health, _ = judged(spec, health, LIVENESS, result, now)
        after = health.tally(LIVENESS)
        assert before is not None
        assert after is not None
        if result is BUSY:
            spell = now if spell is None else spell
            counted = after.streak < 0 and after.streak != before.streak
            assert counted == (now - spell >= spec.busy_deadline)
        elif result is not PROBER_ERROR:
            spell = None


# The end of what hangs -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "dump"), [(SILENCE, True), (NOBODY, True), (BROKEN, False), (REFUSED, False)]
)
@pytest.mark.parametrize("kind", [LIVENESS, TRANSACTION])
def test_what_does_not_speak_is_looked_into_before_it_is_ended(
    kind: ProbeKind, result: ProbeResult, dump: bool
) -> None:
    spec = asked_only(kind, probe(every=10.0, failures=1))
    unit, effects = run_through(running(spec), *answers(kind, result, at=10.0))
    assert deeds(effects)[-1] == Signal(ONE, 15, dump=dump)
    extra = DUMP_TIME if dump else 0.0
    assert unit.deadline() == 10.0 + spec.stop.timeout + extra
    _, effects = step(unit, Exited(ONE, ExitCode(0)), 11.0)
    (clear,) = deeds(effects)
    assert clear.grace == min(spec.stop.timeout, 9.0 + extra), "no more than it was to have"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("results", "dump"), [([], True), ([SILENCE], True), ([NOBODY], True), ([NO], False)]
)
def test_so_is_what_does_not_start(results: list[ProbeResult], dump: bool) -> None:
    spec = service(startup=probe(every=1.0, budget=5.0))
    unit, _ = run_through(running(spec), *answers(STARTUP, *results, at=1.0))
    _, effects = step(unit, TimePassed(), 5.0)
    assert deeds(effects) == [Signal(ONE, 15, dump=dump)]


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
