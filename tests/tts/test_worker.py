from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from services.tts.engine import EngineError
from services.tts.job import Broken, Cancelled, Refused, Spoken
from services.tts.worker import State, UnavailableError
from tests.tts.doubles import PATIENCE, FakeEngine, tone, until
from tests.tts.workers import everything, order, outcome_of, state_is, submit, working

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.tts.engine import Samples, Utterance


def test_it_is_ready_only_after_a_warm_up_that_spoke() -> None:
    engine = FakeEngine()
    engine.hold_warm_up()
    with working(engine) as worker:
        until(lambda: engine.warm_ups == 1, "the warm-up began")
        assert worker.snapshot().state is State.LOADING
        assert not worker.snapshot().ready
        assert worker.snapshot().last_success is None
        engine.release()
        state_is(worker, State.READY)
        assert worker.snapshot().last_success is not None


def test_a_job_waits_for_an_engine_that_is_loading() -> None:
    engine = FakeEngine()
    engine.hold_warm_up()
    with working(engine) as worker:
        threading.Timer(0.0, engine.release).start()
        assert isinstance(outcome_of(submit(worker, "слово")), Spoken)


def test_a_job_is_refused_when_loading_outlasts_its_patience() -> None:
    engine = FakeEngine()
    engine.hold_warm_up()
    with working(engine, patience=0.01) as worker:
        with pytest.raises(UnavailableError, match="loading") as refusal, worker.slot():
            pass
        assert not refusal.value.overloaded
        assert refusal.value.retry_after >= 1


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.zeros(22050, dtype=np.float32), "silence"),
        (np.zeros(0, dtype=np.float32), "silence"),
        (tone(0.1, 200.0), "audible for 0.10 s only"),
        (np.append(tone(1.0, 200.0), np.float32(np.nan)), "no numbers"),
    ],
    ids=["silence", "nothing", "too short", "not a number"],
)
def test_a_warm_up_that_cannot_be_heard_is_a_failure(samples: Samples, reason: str) -> None:
    class Mute(FakeEngine):
        def synthesise(
            self, batch: Sequence[Utterance], *, give_up: Callable[[], bool]
        ) -> list[Samples]:
            return [samples]

    with working(Mute(), pauses=(PATIENCE,)) as worker:
        state_is(worker, State.FAILED)
        assert reason in str(worker.snapshot().reason)


def test_a_failed_warm_up_is_tried_again() -> None:
    engine = FakeEngine(warm_up_failures=2)
    with working(engine) as worker:
        state_is(worker, State.READY)
        assert engine.warm_ups == 3
        assert worker.snapshot().reason is None
        assert "told to fail" in str(worker.snapshot().last_error)


def test_between_two_warm_ups_that_fail_the_reason_stands() -> None:
    engine = FakeEngine(warm_up_failures=2)
    with working(engine, pauses=(0.001, PATIENCE)) as worker:
        until(lambda: engine.warm_ups == 2, "two warm-ups were tried")
        state_is(worker, State.FAILED)
        with pytest.raises(UnavailableError, match="told to fail"), worker.slot():
            pass
        until(lambda: worker.snapshot().links[0].retry_in is not None, "the second has failed")
    assert engine.warm_ups == 2


def test_an_engine_at_another_rate_is_refused() -> None:
    with working(FakeEngine(sample_rate=16_000), pauses=(PATIENCE,)) as worker:
        state_is(worker, State.FAILED)
        assert "16000 Hz" in str(worker.snapshot().reason)


def test_every_sentence_is_spoken_in_order() -> None:
    engine = FakeEngine()
    with working(engine) as worker:
        pieces, outcome = everything(submit(worker, "раз", "два слова", "три"))
    assert engine.spoken == ["раз", "два слова", "три"]
    assert isinstance(outcome, Spoken)
    assert outcome.engines == ("fake",)
    assert [round(piece.samples.size / 22050) for piece in pieces] == [1, 2, 1]


def test_a_full_queue_refuses_and_takes_again_when_there_is_room() -> None:
    engine = FakeEngine()
    engine.hold()
    with working(engine, queue=1) as worker:
        with worker.slot():
            running = worker.submit(order("раз"), within=PATIENCE)
            engine.wait_until_inside()
            with worker.slot():
                waiting = worker.submit(order("два"), within=PATIENCE)
                assert worker.snapshot().queued == 1
                assert worker.snapshot().state is State.BUSY
                with pytest.raises(UnavailableError) as refusal, worker.slot():
                    pass
                assert refusal.value.overloaded
            with worker.slot():
                pass
        engine.release()
        assert isinstance(outcome_of(running), Spoken)
        assert isinstance(outcome_of(waiting), Spoken)


def test_a_job_cancelled_while_it_waits_never_reaches_the_engine() -> None:
    engine = FakeEngine()
    engine.hold()
    with working(engine) as worker:
        running = submit(worker, "раз")
        engine.wait_until_inside()
        waiting = submit(worker, "два")
        waiting.cancel()
        engine.release()
        last = submit(worker, "три")
        assert isinstance(outcome_of(last), Spoken)
        assert isinstance(outcome_of(running), Spoken)
    assert isinstance(waiting.outcome, Cancelled)
    assert engine.spoken == ["раз", "три"]


def test_a_running_job_that_is_cancelled_stops_within_its_sentence() -> None:
    engine = FakeEngine()
    engine.hold()
    with working(engine) as worker:
        job = submit(worker, "раз", "два", "три")
        engine.wait_until_inside()
        job.cancel()
        until(lambda: not worker.snapshot().busy, "the engine was left")
        until(lambda: worker.snapshot().queued == 0, "the job is gone")
        engine.release()
        assert isinstance(outcome_of(submit(worker, "інше")), Spoken)
    assert engine.spoken == ["інше"]
    assert isinstance(job.outcome, Cancelled)


def test_a_job_past_its_deadline_is_given_up() -> None:
    engine = FakeEngine()
    with working(engine) as worker:
        state_is(worker, State.READY)
        outcome = outcome_of(submit(worker, "раз", within=0.0))
    assert isinstance(outcome, Refused)
    assert engine.spoken == []


def test_a_failure_ends_readiness_until_the_engine_spoke_again() -> None:
    engine = FakeEngine()

    def fail(sentence: str) -> Samples:
        raise EngineError("the operator is not implemented")

    with working(engine) as worker:
        state_is(worker, State.READY)
        engine.answer = fail
        engine.hold()
        job = submit(worker, "раз")
        engine.wait_until_inside()
        engine.hold_warm_up()
        engine.release_sentence()
        assert outcome_of(job) == Broken("the operator is not implemented")
        until(lambda: engine.warm_ups == 2, "a second warm-up began")
        assert not worker.snapshot().ready
        assert worker.snapshot().last_error == "the operator is not implemented"
        engine.release()
        state_is(worker, State.READY)


def test_jobs_behind_a_failure_are_spoken_when_the_engine_recovers() -> None:
    engine = FakeEngine()
    engine.hold()

    def answer(sentence: str) -> Samples:
        if sentence == "отрута":
            raise RuntimeError("shape '[1, 1, 1, 605]' is invalid")
        return tone(1.0, 200.0)

    engine.answer = answer
    with working(engine) as worker:
        poisoned = submit(worker, "отрута")
        engine.wait_until_inside()
        behind = submit(worker, "слово")
        engine.release()
        assert outcome_of(poisoned) == Broken("RuntimeError: shape '[1, 1, 1, 605]' is invalid")
        assert isinstance(outcome_of(behind), Spoken)


def test_silence_for_a_whole_text_is_a_failure_not_a_success() -> None:
    engine = FakeEngine()
    engine.answer = lambda _: np.zeros(22050, dtype=np.float32)
    with working(engine) as worker:
        outcome = outcome_of(submit(worker, "раз"))
    assert isinstance(outcome, Broken)
    assert "silence" in outcome.reason


def test_a_hang_is_noticed_while_its_thread_is_stuck_and_survived_when_it_ends() -> None:
    engine = FakeEngine(deaf=True)
    engine.hold()
    with working(engine, sentence_limit=0.01) as worker:
        state_is(worker, State.READY)
        # Both places first: from 20 ms after the engine is entered on, nobody gets one.
        with worker.slot(), worker.slot():
            running = worker.submit(order("раз"), within=PATIENCE)
            waiting = worker.submit(order("два"), within=PATIENCE)
        engine.wait_until_inside()
        state_is(worker, State.FAILED)
        assert "hangs" in str(worker.snapshot().reason)
        assert worker.snapshot().hung
        worker.fail_if_hung()
        assert isinstance(running.outcome, Broken)
        assert isinstance(waiting.outcome, Refused)
        with pytest.raises(UnavailableError, match="hangs"), worker.slot():
            pass
        engine.release()
        state_is(worker, State.READY)
        assert not worker.snapshot().hung


def test_close_refuses_what_waits_and_what_is_in_work() -> None:
    engine = FakeEngine(deaf=True)
    engine.hold()
    with working(engine) as worker:
        running = submit(worker, "раз", "два")
        engine.wait_until_inside()
        waiting = submit(worker, "три")
        assert not worker.close(timeout=0.0)
        assert isinstance(waiting.outcome, Refused)
        assert isinstance(running.outcome, Refused)
        with pytest.raises(UnavailableError, match="stopping"), worker.slot():
            pass
    assert engine.spoken == ["раз"]


def test_close_does_not_wait_for_the_end_of_a_sentence() -> None:
    engine = FakeEngine()
    engine.hold()
    with working(engine) as worker:
        running = submit(worker, "раз", "два")
        engine.wait_until_inside()
        assert worker.close(timeout=PATIENCE)
    assert isinstance(running.outcome, Refused)
    assert engine.spoken == []


def test_an_order_without_sentences_is_a_mistake_of_the_caller() -> None:
    with (
        working(FakeEngine()) as worker,
        worker.slot(),
        pytest.raises(ValueError, match="sentence"),
    ):
        worker.submit(order(), within=1.0)
