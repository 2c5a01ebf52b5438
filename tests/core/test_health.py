"""What probe results add up to: gates, thresholds exactly at and one below, budgets, jitter."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core import health as probes
from supervisor.core.events import ProbeResult, RunId
from supervisor.core.health import FIRST_STARTUP_PROBE, RESUME_GRACE, Health
from supervisor.core.judgement import NOTICE_WINDOW, NOTICES, judge
from supervisor.core.spec import ProbeKind, ProbeSpec, ServiceSpec
from supervisor.core.verdicts import (
    BecameReady,
    BecameUnready,
    Dead,
    FirstFailure,
    Noticed,
    Verdict,
)
from tests.core.specimens import NO, PROBER_ERROR, RUN, YES, probe, service

STARTUP, READINESS, LIVENESS, TRANSACTION = ProbeKind


def _answers(
    spec: ServiceSpec, health: Health, kind: ProbeKind, *results: ProbeResult, at: float = 100.0
) -> tuple[Health, list[Verdict]]:
    """Ask and answer once for each result, ten seconds apart."""
    verdicts: list[Verdict] = []
    for count, result in enumerate(results):
        now = at + 10.0 * count
        health, asked = probes.ask(spec, health, now)
        assert kind in asked
        health, more = judge(spec, RUN, health, kind, result, now)
        verdicts.extend(more)
    return health, verdicts


def _kinds(health: Health) -> list[ProbeKind]:
    return [kind for kind, _ in health.tallies]


def test_startup_gates_the_other_two() -> None:
    spec = service(startup=probe(), readiness=probe(), liveness=probe())
    health = probes.begin(spec, RUN, 99.0)
    assert _kinds(health) == [STARTUP]
    assert not health.started
    assert not health.ready
    health, verdicts = _answers(spec, health, STARTUP, YES)
    assert _kinds(health) == [READINESS, LIVENESS]
    assert health.started
    assert not health.ready
    assert verdicts == []


def test_startup_alone_makes_ready() -> None:
    spec = service(startup=probe())
    health, verdicts = _answers(spec, probes.begin(spec, RUN, 99.0), STARTUP, NO, YES)
    assert verdicts == [BecameReady("200 OK")]
    assert health.healthy_since == 110.0
    assert health.tallies == ()
    assert probes.deadline(health) is None


def test_readiness_without_startup_is_asked_at_once() -> None:
    spec = service(readiness=probe())
    health = probes.begin(spec, RUN, 100.0)
    assert health.started
    assert not health.ready
    assert probes.deadline(health) == 100.0


def test_liveness_alone_leaves_ready() -> None:
    health = probes.begin(service(liveness=probe()), RUN, 100.0)
    assert health.ready
    assert health.healthy_since == 100.0


@pytest.mark.parametrize("successes", [1, 2, 5])
def test_startup_needs_its_successes_in_a_row(successes: int) -> None:
    spec = service(startup=probe(successes=successes))
    begun = probes.begin(spec, RUN, 99.0)
    short, _ = _answers(spec, begun, STARTUP, *[YES] * (successes - 1), NO)
    assert not short.started
    enough, _ = _answers(spec, short, STARTUP, *[YES] * successes, at=1000.0)
    assert enough.started


@pytest.mark.parametrize("successes", [1, 2, 5])
def test_readiness_needs_its_successes_in_a_row(successes: int) -> None:
    spec = service(readiness=probe(successes=successes))
    begun = probes.begin(spec, RUN, 100.0)
    short, verdicts = _answers(spec, begun, READINESS, *[YES] * (successes - 1), NO)
    assert not short.ready
    assert verdicts == []
    enough, verdicts = _answers(spec, short, READINESS, *[YES] * successes, at=1000.0)
    assert enough.ready
    assert enough.healthy_since == 1000.0 + 10.0 * (successes - 1)
    assert verdicts == [BecameReady("200 OK")]


@pytest.mark.parametrize("failures", [1, 2, 5])
def test_readiness_is_lost_exactly_at_its_failures(failures: int) -> None:
    spec = service(readiness=probe(failures=failures))
    ready, _ = _answers(spec, probes.begin(spec, RUN, 100.0), READINESS, YES)
    below, verdicts = _answers(spec, ready, READINESS, *[NO] * (failures - 1), at=200.0)
    assert below.ready
    assert [type(v) for v in verdicts] == [FirstFailure][: failures - 1]
    at, verdicts = _answers(spec, below, READINESS, NO, at=500.0)
    assert not at.ready
    assert at.healthy_since is None
    assert [type(v) for v in verdicts] == [BecameUnready]
    _, verdicts = _answers(spec, at, READINESS, NO, at=600.0)
    assert verdicts == [], "said once"


@pytest.mark.parametrize("failures", [1, 2, 5])
def test_liveness_is_lost_exactly_at_its_failures(failures: int) -> None:
    spec = service(liveness=probe(failures=failures))
    begun = probes.begin(spec, RUN, 0.0)
    below, verdicts = _answers(spec, begun, LIVENESS, *[NO] * (failures - 1))
    assert [type(v) for v in verdicts] == [FirstFailure][: failures - 1]
    _, verdicts = _answers(spec, below, LIVENESS, NO, at=500.0)
    assert [type(v) for v in verdicts] == [Dead]
    # Had the run not been ended, it would be said again: the threshold may have been lowered.
    over, _ = _answers(spec, below, LIVENESS, NO, at=500.0)
    assert [type(v) for v in _answers(spec, over, LIVENESS, NO, at=600.0)[1]] == [Dead]


def test_one_success_between_failures_starts_the_count_anew() -> None:
    spec = service(liveness=probe(failures=3))
    begun = probes.begin(spec, RUN, 0.0)
    _, verdicts = _answers(spec, begun, LIVENESS, NO, NO, YES, NO, NO)
    assert Dead not in {type(v) for v in verdicts}


def test_the_words_of_a_dead_run_fit_after_a_name() -> None:
    spec = service(liveness=probe(failures=3))
    _, verdicts = _answers(spec, probes.begin(spec, RUN, 0.0), LIVENESS, NO, NO, NO)
    why = "failed its liveness probe 3 times in a row: 503 Service Unavailable"
    assert verdicts[-1] == Dead(why)


@pytest.mark.parametrize("kind", list(ProbeKind))
def test_a_prober_error_counts_for_nothing(kind: ProbeKind) -> None:
    one = probe(failures=2, successes=2)
    spec = {
        STARTUP: service(startup=one),
        READINESS: service(readiness=one),
        LIVENESS: service(liveness=one),
        TRANSACTION: service(transaction=one),
    }[kind]
    health = probes.begin(spec, RUN, 0.0)
    for before in ((), (YES,), (NO,)):
        health, _ = _answers(spec, probes.begin(spec, RUN, 0.0), kind, *before)
        after, verdicts = _answers(spec, health, kind, *[PROBER_ERROR] * 5, at=500.0)
        assert verdicts == []
        tally, old = after.tally(kind), health.tally(kind)
        assert tally is not None
        assert old is not None
        assert tally.streak == old.streak
        assert (after.started, after.ready) == (health.started, health.ready)
        assert after.spoken == PROBER_ERROR, "people are told all the same"
        assert after.spoken_kind is kind
        assert after.spoken_at == 540.0


def test_an_answer_nobody_waits_for_changes_nothing() -> None:
    spec = service(readiness=probe(), liveness=probe())
    health = probes.begin(spec, RUN, 0.0)
    for kind in ProbeKind:
        assert judge(spec, RUN, health, kind, NO, 1.0) == (health, ())


def test_a_startup_answer_after_the_start_changes_nothing() -> None:
    spec = service(startup=probe(), readiness=probe())
    health, _ = _answers(spec, probes.begin(spec, RUN, 0.0), STARTUP, YES)
    assert judge(spec, RUN, health, STARTUP, NO, 200.0) == (health, ())


def test_a_probe_is_not_asked_twice_at_once() -> None:
    spec = service(readiness=probe(every=1.0))
    health, asked = probes.ask(spec, probes.begin(spec, RUN, 0.0), 0.0)
    assert asked == (READINESS,)
    assert probes.deadline(health) is None, "the answer will wake it"
    assert probes.ask(spec, health, 50.0) == (health, ())


def test_the_next_question_comes_a_period_after_the_last() -> None:
    spec = service(readiness=probe(every=2.0))
    health, _ = probes.ask(spec, probes.begin(spec, RUN, 0.0), 0.0)
    quick, _ = judge(spec, RUN, health, READINESS, YES, 0.5)
    assert probes.deadline(quick) == 2.0
    slow, _ = judge(spec, RUN, health, READINESS, YES, 3.5)
    assert probes.deadline(slow) == 3.5


def test_the_budget_ends_exactly_on_time() -> None:
    spec = service(startup=probe(budget=60.0))
    health = probes.begin(spec, RUN, 100.0)
    assert probes.overdue(spec, health, 159.999) is None
    silent = Dead("did not start within 60 s: the startup probe had no answer", hung=True)
    assert probes.overdue(spec, health, 160.0) == silent
    health, asked = probes.ask(spec, health, 101.0)
    assert asked == (STARTUP,)
    assert probes.deadline(health) == 160.0, "it ends even while a probe hangs"


def test_a_startup_in_time_has_no_budget_any_more() -> None:
    spec = service(startup=probe(budget=60.0))
    health, _ = _answers(spec, probes.begin(spec, RUN, 99.0), STARTUP, YES)
    assert probes.overdue(spec, health, 1e9) is None
    assert probes.deadline(health) is None


def test_a_startup_without_budget_may_take_for_ever() -> None:
    spec = service(startup=probe())
    assert probes.overdue(spec, probes.begin(spec, RUN, 0.0), 1e9) is None


def test_an_adopted_run_is_past_its_startup() -> None:
    spec = service(startup=probe(budget=1.0), readiness=probe(), liveness=probe())
    health = probes.resume(spec, RUN, 100.0)
    assert _kinds(health) == [READINESS, LIVENESS]
    assert not health.ready


def _saying(notice: str | None) -> ProbeResult:
    return replace(YES, notice=notice)


AS_ASKED = Noticed("it works as asked again")
TABLE_OF_NOTICES: list[tuple[str, list[ProbeResult], list[Verdict], str | None]] = [
    ("none", [YES, YES], [], None),
    ("one, at once", [_saying("a")], [Noticed("a")], "a"),
    ("the same again", [_saying("a")] * 9, [Noticed("a")], "a"),
    ("another", [_saying("a"), _saying("b")], [Noticed("a"), Noticed("b")], "b"),
    ("withdrawn", [_saying("a"), YES, YES], [Noticed("a"), AS_ASKED], None),
    ("and back", [_saying("a"), YES, _saying("a")], [Noticed("a"), AS_ASKED, Noticed("a")], "a"),
    ("a failure between", [_saying("a"), NO, _saying("a")], [Noticed("a")], "a"),
    ("a failure at the end", [_saying("a"), NO], [Noticed("a")], "a"),
    ("a prober error", [_saying("a"), PROBER_ERROR], [Noticed("a")], "a"),
    ("of a failure", [replace(NO, notice="a")], [], None),
]


@pytest.mark.parametrize(
    ("results", "told", "standing"),
    [row[1:] for row in TABLE_OF_NOTICES],
    ids=[row[0] for row in TABLE_OF_NOTICES],
)
def test_a_change_of_the_notice_is_told_once(
    results: list[ProbeResult], told: list[Verdict], standing: str | None
) -> None:
    spec = service(readiness=probe(failures=9))
    health, verdicts = _answers(spec, probes.begin(spec, RUN, 100.0), READINESS, *results)
    assert [v for v in verdicts if isinstance(v, Noticed)] == told
    assert health.notice() == standing


def test_a_run_is_ready_before_its_notice_is_told() -> None:
    spec = service(readiness=probe())
    _, verdicts = _answers(spec, probes.begin(spec, RUN, 100.0), READINESS, _saying("a"))
    assert verdicts == [BecameReady("200 OK"), Noticed("a")]


def test_a_probe_that_is_told_nothing_withdraws_no_notice_of_another() -> None:
    spec = service(readiness=probe(), liveness=probe())
    health = probes.begin(spec, RUN, 0.0)
    told: list[Verdict] = []
    for at, (readiness, liveness) in enumerate([("a", None), ("a", "b"), (None, "b")], 1):
        health, asked = probes.ask(spec, health, 100.0 * at)
        assert asked == (READINESS, LIVENESS)
        for kind, notice in ((READINESS, readiness), (LIVENESS, liveness)):
            health, more = judge(spec, RUN, health, kind, _saying(notice), 100.0 * at)
            told += more
        assert health.notice() == (readiness or liveness)
    assert told == [BecameReady("200 OK"), Noticed("a"), Noticed("b")]


def test_a_text_that_changes_all_the_time_does_not_fill_the_journal() -> None:
    spec = service(readiness=probe(failures=1000))
    health = probes.begin(spec, RUN, 0.0)
    answers = [_saying(f"{n} queued") for n in range(NOTICES)]
    health, verdicts = _answers(spec, health, READINESS, *answers, at=0.0)
    assert len(verdicts) == 1 + NOTICES
    first = health.notices_at[0]
    health, verdicts = _answers(spec, health, READINESS, _saying("more"), at=first + 500.0)
    assert verdicts == []
    assert health.notice() == "more", "status shows what the journal does not"
    at = first + NOTICE_WINDOW
    health, verdicts = _answers(spec, health, READINESS, _saying("more"), at=at - 5.0)
    assert verdicts == []
    _, verdicts = _answers(spec, health, READINESS, NO, at=at)
    assert verdicts == [FirstFailure(NO.detail)], "what fails has no notice to give"
    health, verdicts = _answers(spec, health, READINESS, _saying("more"), at=at)
    assert verdicts == [Noticed("more")]
    assert len(health.notices_at) == NOTICES, "no more is kept than is needed"


@given(st.lists(st.sampled_from(["a", "b", None]), max_size=60), st.sampled_from([20.0, 200.0]))
def test_notices_are_bounded_and_the_last_word_is_true(
    notices: list[str | None], apart: float
) -> None:
    spec = service(readiness=probe())
    health = probes.begin(spec, RUN, 0.0)
    told: list[tuple[float, str]] = []
    for count, notice in enumerate([*notices, None]):
        now = apart * count
        health, verdicts = _answers(spec, health, READINESS, _saying(notice), at=now)
        told += [(now, v.words) for v in verdicts if isinstance(v, Noticed)]
    for at, _ in told:
        assert sum(at - NOTICE_WINDOW < other <= at for other, _ in told) <= NOTICES
    assert all(one != other for (_, one), (_, other) in pairwise(told))
    health, _ = _answers(spec, health, READINESS, YES, at=apart * 100 + NOTICE_WINDOW)
    assert health.told_notice is None


def test_a_reload_keeps_the_notice_and_what_was_told_of_it() -> None:
    spec = service(readiness=probe())
    health, _ = _answers(spec, probes.begin(spec, RUN, 100.0), READINESS, _saying("a"))
    health = probes.adapt(service(readiness=probe(every=1.0)), RUN, health, 101.0)
    assert health.notice() == "a"
    _, verdicts = _answers(spec, health, READINESS, _saying("a"), at=200.0)
    assert verdicts == []


@given(
    name=st.text("abc", min_size=1, max_size=8),
    run=st.integers(1, 1000),
    every=st.floats(0.05, 3600),
    now=st.floats(0, 1e6),
)
def test_first_questions_are_spread_within_bounds(
    name: str, run: int, every: float, now: float
) -> None:
    spec = service(name, startup=probe(every=every))
    due = probes.deadline(probes.begin(spec, RunId(run), now))
    assert due is not None
    assert now <= due <= now + min(every, FIRST_STARTUP_PROBE)
    spec = service(name, liveness=probe(every=every))
    due = probes.deadline(probes.begin(spec, RunId(run), now))
    assert due is not None
    assert now + every / 2 <= due <= now + every


def test_services_and_runs_are_spread_apart() -> None:
    dues = {
        probes.deadline(probes.begin(service(name, liveness=probe()), RunId(run), 0.0))
        for name in ("a", "b", "c")
        for run in (1, 2, 3)
    }
    assert len(dues) == 9


@given(st.lists(st.sampled_from([YES, NO, PROBER_ERROR]), max_size=30), st.integers(1, 4))
def test_liveness_agrees_with_a_count_by_hand(results: list[ProbeResult], failures: int) -> None:
    one: ProbeSpec = probe(failures=failures)
    spec = replace(service(liveness=one))
    health = probes.begin(spec, RUN, 0.0)
    in_a_row = 0
    for count, result in enumerate(results):
        health, verdicts = _answers(spec, health, LIVENESS, result, at=100.0 + 10.0 * count)
        if result.ok is not None:
            in_a_row = 0 if result.ok else in_a_row + 1
        dead = any(isinstance(verdict, Dead) for verdict in verdicts)
        assert dead == (result.ok is False and in_a_row >= failures)


def test_after_a_sleep_all_is_asked_at_once_and_nothing_from_before_counts() -> None:
    spec = service(readiness=probe(failures=3), liveness=probe(failures=3))
    health, _ = _answers(spec, probes.begin(spec, RUN, 99.0), READINESS, YES)
    health, _ = _answers(spec, health, LIVENESS, NO, NO, at=200.0)
    health, _ = probes.ask(spec, health, 300.0)
    health = probes.awake(health, 60.0, 301.0)
    assert probes.deadline(health) == 301.0
    # What was under way when it slept is of another time, whatever it says.
    for kind in (READINESS, LIVENESS):
        assert judge(spec, RUN, health, kind, NO, 301.0) == (health, ())
    health, asked = probes.ask(spec, health, 301.0)
    assert asked == (READINESS, LIVENESS)
    assert health.ready


@pytest.mark.parametrize(
    ("after", "dead"), [(RESUME_GRACE - 0.1, False), (RESUME_GRACE, True), (60.0, True)]
)
def test_failures_right_after_a_sleep_do_not_count(after: float, dead: bool) -> None:
    spec = service(liveness=probe(failures=1))
    health = probes.awake(probes.begin(spec, RUN, 100.0), 0.0, 1000.0)
    health, asked = probes.ask(spec, health, 1000.0)
    assert asked == (LIVENESS,)
    health, verdicts = judge(spec, RUN, health, LIVENESS, NO, 1000.0 + after)
    assert [type(verdict) for verdict in verdicts] == ([Dead] if dead else [])
    assert health.spoken == NO, "people are told all the same"


def test_a_success_right_after_a_sleep_counts() -> None:
    spec = service(readiness=probe())
    health = probes.awake(probes.begin(spec, RUN, 100.0), 0.0, 1000.0)
    health, verdicts = _answers(spec, health, READINESS, YES, at=1000.0)
    assert verdicts == [BecameReady("200 OK")]


def test_what_was_slept_through_is_not_taken_from_the_time_to_start() -> None:
    spec = service(startup=probe(budget=30.0))
    health = probes.awake(probes.begin(spec, RUN, 100.0), 60.0, 170.0)
    assert probes.overdue(spec, health, 189.9) is None
    assert probes.overdue(spec, health, 190.0) is not None


def test_to_have_slept_proves_no_health() -> None:
    spec = service(readiness=probe())
    health, _ = _answers(spec, probes.begin(spec, RUN, 99.0), READINESS, YES)
    assert health.healthy_since == 100.0
    assert probes.awake(health, 60.0, 165.0).healthy_since == 160.0
