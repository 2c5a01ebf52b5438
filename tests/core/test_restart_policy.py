"""Restart policy: delays, the give-up window and what clears it, policies × exits."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from supervisor.core import restart
from supervisor.core.events import Exit, ExitCode, ExitSignal, ExitUnknown, RunId
from supervisor.core.restart import Again, Done, Enough, Record, Verdict
from supervisor.core.spec import Backoff, RestartSpec, RestartWhen
from tests.core.specimens import RUN, STEADY, forgiving, strict


def test_delays_double_up_to_the_longest() -> None:
    delays = [restart.delay(STEADY, attempt, "tts", RUN) for attempt in range(1, 11)]
    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]


def test_factor_1_is_a_constant_delay() -> None:
    backoff = Backoff(first=0.5, factor=1.0, max=30.0, jitter=0.0)
    assert {restart.delay(backoff, attempt) for attempt in range(1, 200)} == {0.5}


def test_first_0_never_waits() -> None:
    backoff = Backoff(first=0.0, factor=2.0, max=30.0, jitter=0.1)
    assert {restart.delay(backoff, attempt) for attempt in (1, 5, 5000)} == {0.0}


@pytest.mark.parametrize("factor", [1.05, 2.0, 100.0, 1e10])
def test_every_growth_ends_at_the_longest(factor: float) -> None:
    backoff = Backoff(first=0.2, factor=factor, max=30.0, jitter=0.0)
    assert restart.delay(backoff, 1) == 0.2
    assert restart.delay(backoff, 5000) == 30.0


@given(
    first=st.floats(0, 10),
    factor=st.floats(1, 100),
    longest=st.floats(10, 86_400),
    jitter=st.floats(0, 1),
    attempt=st.integers(1, 10**6),
    run=st.integers(1, 10**6),
)
@example(first=0.2, factor=100.0, longest=30.0, jitter=0.1, attempt=10**6, run=1)
def test_a_delay_is_within_its_jitter(
    first: float, factor: float, longest: float, jitter: float, attempt: int, run: int
) -> None:
    plain = restart.delay(Backoff(first, factor, longest, 0.0), attempt)
    assert first <= plain <= longest
    varied = restart.delay(Backoff(first, factor, longest, jitter), attempt, "tts", RunId(run))
    assert varied >= 0.0
    assert plain * (1 - jitter) - 1e-9 <= varied <= plain * (1 + jitter) + 1e-9
    assert varied == restart.delay(
        Backoff(first, factor, longest, jitter), attempt, "tts", RunId(run)
    )


def test_jitter_goes_both_ways() -> None:
    backoff = Backoff(first=1.0, factor=1.0, max=1.0, jitter=0.5)
    delays = [restart.delay(backoff, 1, "tts", RunId(run)) for run in range(1, 50)]
    assert min(delays) < 0.8
    assert max(delays) > 1.2


def _fail(
    spec: RestartSpec, times: list[float], record: Record | None = None
) -> tuple[Record, list[Verdict]]:
    record = record or Record()
    verdicts = []
    for count, now in enumerate(times, start=1):
        record, verdict = restart.after_failure(spec, record, "tts", RunId(count), "broke", now)
        verdicts.append(verdict)
    return record, verdicts


def test_it_gives_up_exactly_at_the_limit() -> None:
    _, verdicts = _fail(strict(after=3, within=60.0), [0.0, 1.0, 2.0])
    assert [type(v) for v in verdicts] == [Again, Again, Enough]
    words = "failed 3 times within 2.0 s (limit 3 in 60 s); the last time it broke"
    assert verdicts[-1].why == words


def test_a_failure_counts_until_the_window_has_passed() -> None:
    _, verdicts = _fail(strict(after=3, within=60.0), [0.0, 30.0, 59.9])
    assert isinstance(verdicts[-1], Enough)
    record, verdicts = _fail(strict(after=3, within=60.0), [0.0, 30.0, 60.0])
    assert isinstance(verdicts[-1], Again)
    assert record.recent == (30.0, 60.0)
    assert record.in_a_row == 3, "the delay still grows"


def test_limit_1_never_tries_again() -> None:
    _, verdicts = _fail(strict(after=1), [0.0])
    assert isinstance(verdicts[0], Enough)


def test_without_a_limit_it_tries_for_ever_and_keeps_nothing() -> None:
    record, verdicts = _fail(forgiving(), [float(n) for n in range(2000)])
    assert {type(v) for v in verdicts} == {Again}
    assert record == Record(in_a_row=2000, recent=())


def test_delays_follow_the_failures_in_a_row() -> None:
    _, verdicts = _fail(forgiving(), [0.0, 1.0, 2.0])
    assert [v.delay for v in verdicts if isinstance(v, Again)] == [0.2, 0.4, 0.8]


@given(st.lists(st.floats(0, 40), min_size=1, max_size=40), st.integers(1, 6))
def test_no_window_ever_holds_more_restarts_than_allowed(gaps: list[float], after: int) -> None:
    spec = strict(after=after, within=60.0)
    record, now, restarted = Record(), 0.0, []
    for run, gap in enumerate(gaps, start=1):
        now += gap
        record, verdict = restart.after_failure(spec, record, "tts", RunId(run), "broke", now)
        if isinstance(verdict, Enough):
            break
        restarted.append(now)
        assert sum(now - at < 60.0 for at in restarted) < after
        assert len(record.recent) <= after


@pytest.mark.parametrize(
    ("healthy_for", "forgotten"), [(None, False), (0.0, False), (9.99, False), (10.0, True)]
)
def test_health_proves_a_run(healthy_for: float | None, *, forgotten: bool) -> None:
    record = Record(3, (1.0, 2.0, 3.0))
    left = restart.proven(record, RestartSpec(proven_after=10.0), healthy_for)
    assert left == (Record() if forgotten else record)


OK, BAD, KILLED, UNKNOWN = ExitCode(0), ExitCode(1), ExitSignal(9), ExitUnknown()


@pytest.mark.parametrize(
    ("policy", "ending", "expected"),
    [
        ("always", OK, Again),
        ("always", BAD, Again),
        ("always", KILLED, Again),
        ("always", UNKNOWN, Again),
        ("on-failure", OK, Done),
        ("on-failure", BAD, Again),
        ("on-failure", KILLED, Again),
        ("on-failure", UNKNOWN, Again),
        ("never", OK, Done),
        ("never", BAD, Enough),
        ("never", KILLED, Enough),
        ("never", UNKNOWN, Enough),
    ],
)
def test_policies_and_exits(policy: RestartWhen, ending: Exit, expected: type[Verdict]) -> None:
    spec = RestartSpec(policy=policy)
    record, verdict = restart.after_exit(spec, Record(), "tts", RUN, ending, 0.0)
    assert type(verdict) is expected
    assert record.in_a_row == (1 if expected is Again else 0)


def test_never_holds_for_failures_of_any_kind() -> None:
    _, verdicts = _fail(RestartSpec(policy="never"), [0.0])
    assert verdicts == [Enough("broke; its restart policy is never")]


def test_delays_never_shrink_without_jitter() -> None:
    backoff = Backoff(first=0.2, factor=1.3, max=30.0, jitter=0.0)
    delays = [restart.delay(backoff, attempt) for attempt in range(1, 100)]
    assert all(a <= b for a, b in pairwise(delays))
