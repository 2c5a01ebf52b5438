"""What is made of silence: excused by work, for how long, and looked into before it is ended."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core import health as probes
from supervisor.core.effects import Signal
from supervisor.core.ending import DUMP_TIME
from supervisor.core.events import (
    ExitCode,
    Exited,
    ProbeResult,
    TimePassed,
)
from supervisor.core.judgement import NOTICE_WINDOW, judge
from supervisor.core.spec import ProbeKind
from supervisor.core.step import step
from supervisor.core.verdicts import (
    Excused,
)
from tests.core.probing import (
    BROKEN,
    IDLE,
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
    asked_only,
    health_of,
    judged,
    running,
    seldom,
)
from tests.core.specimens import (
    BUSY,
    NO,
    PROBER_ERROR,
    SILENCE,
    YES,
    deeds,
    probe,
    run_through,
    service,
    topics,
)


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
