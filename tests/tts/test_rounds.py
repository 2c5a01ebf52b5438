"""Who is spoken when: everybody soon hears something, nobody is forgotten, batches are full."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from services.tts.cache import PhraseCache
from services.tts.engine import EngineError
from services.tts.job import Broken, Job, Piece, Spoken
from tests.tts.doubles import PATIENCE, FakeEngine, tone, until
from tests.tts.workers import everything, outcome_of, speaks, submit, working

if TYPE_CHECKING:
    from services.tts.cache import Key
    from services.tts.engine import Samples
    from services.tts.worker import Worker


def held_up(worker: Worker, engine: FakeEngine, sentence: str = "затримка") -> Job:
    """A job whose round does not end before the engine is released, so that others gather.

    A `sentence` that was spoken before comes from the cache, and reaches no engine.
    """
    engine.hold()
    job = submit(worker, sentence)
    engine.wait_until_inside()
    return job


def sizes(engine: FakeEngine) -> list[int]:
    return [len(batch) for batch in engine.batches]


@pytest.mark.parametrize(("streamed", "rounds"), [(True, [1, 1, 2, 4, 8, 4]), (False, [8, 8, 4])])
def test_whoever_listens_hears_the_first_sentence_early_and_then_batches(
    streamed: bool, rounds: list[int]
) -> None:
    engine = FakeEngine(batch=8)
    sentences = [f"с{at}" for at in range(20)]
    with working(engine) as worker:
        pieces, outcome = everything(submit(worker, *sentences, streamed=streamed))
    assert isinstance(outcome, Spoken)
    assert len(pieces) == 20
    assert engine.spoken == sentences
    assert sizes(engine) == rounds


def test_the_first_sentences_of_all_go_together_and_before_any_second() -> None:
    engine = FakeEngine(batch=4)
    with working(engine, queue=4) as worker:
        held_up(worker, engine)
        jobs = [submit(worker, f"{name}1", f"{name}2", f"{name}3") for name in "абв"]
        engine.release()
        for job in jobs:
            assert isinstance(outcome_of(job), Spoken)
    assert engine.batches[1] == ["а1", "б1", "в1"]
    assert sorted(engine.batches[2]) == ["а2", "б2", "в2"]


def test_a_newcomer_is_heard_before_others_hear_more() -> None:
    engine = FakeEngine(batch=1)
    newcomers: list[Job] = []

    def answer(sentence: str) -> Samples:
        if sentence == "а3":
            newcomers.append(submit(worker, "нове"))
        return tone(0.1, 200.0)

    engine.answer = answer
    with working(engine, queue=6) as worker:
        held_up(worker, engine)
        jobs = [submit(worker, *[f"{name}{at}" for at in range(6)]) for name in "абвгґ"]
        engine.release()
        for job in jobs:
            assert isinstance(outcome_of(job), Spoken)
        assert isinstance(outcome_of(newcomers[0]), Spoken)
    assert engine.spoken.index("нове") - engine.spoken.index("а3") <= 2, engine.spoken


def test_a_long_text_goes_on_while_new_ones_keep_coming() -> None:
    engine = FakeEngine(batch=1)
    with working(engine, queue=8) as worker:
        held_up(worker, engine)
        long = submit(worker, *[f"д{at}" for at in range(20)])
        shorts = [submit(worker, f"к{at}") for at in range(7)]
        engine.release()
        for at in range(40):
            # The oldest is done before the next comes, so some are always new.
            assert isinstance(outcome_of(shorts[at]), Spoken)
            shorts.append(submit(worker, f"н{at}"))
        assert isinstance(outcome_of(long), Spoken)
        for job in shorts:
            assert isinstance(outcome_of(job), Spoken)
    turns = [at for at, sentence in enumerate(engine.spoken) if sentence.startswith("д")]
    # Of eight that wait each has its turn; newcomers get one round of two besides.
    assert max(later - turn for turn, later in pairwise(turns)) <= 2 * 8, engine.spoken


def test_a_batch_that_fails_is_spoken_by_the_stand_in_and_nobody_notices() -> None:
    def fail(sentence: str) -> Samples:
        raise EngineError("the operator is not implemented")

    voice, stand_in = FakeEngine("voice", batch=4), FakeEngine("stand-in", fingerprint="")
    with working(stand_in, preferred=[voice], queue=4) as worker:
        speaks(worker, voice)
        held = held_up(worker, voice)
        jobs = [submit(worker, f"{name}1", f"{name}2 слова") for name in "абв"]
        voice.hold_warm_up()
        voice.answer = fail
        voice.release_sentence()
        for job in [held, *jobs]:
            _, outcome = everything(job)
            assert isinstance(outcome, Spoken)
            assert outcome.engines == ("stand-in",)
    assert voice.batches == []
    assert sizes(stand_in) == [1] * 7


def test_a_reply_under_way_goes_on_in_the_other_voice() -> None:
    def fail(sentence: str) -> Samples:
        if sentence == "два":
            raise EngineError("x")
        return tone(1.0, 200.0)

    voice, stand_in = FakeEngine("voice"), FakeEngine("stand-in", fingerprint="")
    with working(stand_in, preferred=[voice], pauses=(PATIENCE,)) as worker:
        speaks(worker, voice)
        voice.answer = fail
        pieces, outcome = everything(submit(worker, "раз", "два"))
        assert [piece.engine for piece in pieces] == ["voice", "stand-in"]
        assert isinstance(outcome, Spoken)
        assert outcome.engines == ("voice", "stand-in")


def test_a_batch_that_nobody_else_can_speak_is_broken_for_all_in_it() -> None:
    def fail(sentence: str) -> Samples:
        raise EngineError("the operator is not implemented")

    engine = FakeEngine(batch=2)
    with working(engine) as worker:
        held_up(worker, engine)
        jobs = [submit(worker, "раз"), submit(worker, "два")]
        engine.answer = fail
        engine.release()
        for job in jobs:
            assert isinstance(outcome_of(job), Broken)


def test_one_that_leaves_does_not_stop_the_batch_and_all_that_leave_do() -> None:
    engine = FakeEngine(batch=4)
    with working(engine, queue=4) as worker:
        held = held_up(worker, engine)
        jobs = [submit(worker, name) for name in ("раз", "два")]
        engine.release()
        assert isinstance(outcome_of(held), Spoken)
        for job in jobs:
            outcome_of(job)
        engine.hold()
        leaving, staying = submit(worker, "іде"), submit(worker, "лишається")
        engine.wait_until_inside()
        leaving.cancel()
        engine.release()
        assert isinstance(outcome_of(staying), Spoken)
        held = held_up(worker, engine, "друга затримка")
        held.cancel()
        # Nothing opens the gate: only giving up ends that round.
        until(lambda: not worker.snapshot().busy, "the engine was left")


def test_a_phrase_that_was_spoken_is_not_spoken_again() -> None:
    engine = FakeEngine(batch=8)
    with working(engine) as worker:
        first, _ = everything(submit(worker, "раз", "два слова"))
        again, outcome = everything(submit(worker, "раз", "два слова"))
        assert isinstance(outcome, Spoken)
        assert [one.samples.tolist() for one in first] == [one.samples.tolist() for one in again]
        stats = worker.snapshot().cache
        assert (stats.hits, stats.misses, stats.entries) == (2, 2, 2)
        everything(submit(worker, "раз", "нове", "два слова"))
    assert engine.spoken == ["раз", "два слова", "нове"]


def test_a_known_text_waits_for_no_engine() -> None:
    engine = FakeEngine()
    with working(engine, queue=4) as worker:
        everything(submit(worker, "раз", "два"))
        held_up(worker, engine)
        assert isinstance(outcome_of(submit(worker, "раз", "два")), Spoken)
        assert isinstance(submit(worker, "раз", "нове").take(PATIENCE), Piece)


def test_a_voice_that_failed_is_still_heard_in_what_it_said_before() -> None:
    def fail(sentence: str) -> Samples:
        raise EngineError("x")

    voice, stand_in = FakeEngine("voice"), FakeEngine("stand-in", fingerprint="")
    with working(stand_in, preferred=[voice], pauses=(PATIENCE,)) as worker:
        speaks(worker, voice)
        everything(submit(worker, "раз"))
        voice.hold_warm_up()
        voice.answer = fail
        pieces, _ = everything(submit(worker, "інше"))
        assert [piece.engine for piece in pieces] == ["stand-in"]
        pieces, _ = everything(submit(worker, "раз"))
        assert [piece.engine for piece in pieces] == ["voice"]
        pieces, _ = everything(submit(worker, "раз", "нове"))
        assert [piece.engine for piece in pieces] == ["stand-in"] * 2, "no mixture of voices"


def test_an_unforeseen_fault_breaks_its_jobs_and_not_the_worker() -> None:
    class Faulty(PhraseCache):
        faults = 1

        def put(self, wanted: Key, samples: Samples) -> None:
            if self.faults:
                self.faults -= 1
                raise MemoryError
            super().put(wanted, samples)

    with working(FakeEngine(), phrases=Faulty()) as worker:
        assert outcome_of(submit(worker, "раз")) == Broken("MemoryError")
        assert worker.snapshot().last_error == "MemoryError"
        assert isinstance(outcome_of(submit(worker, "раз")), Spoken)


def test_many_at_once_get_their_own_audio() -> None:
    engine = FakeEngine(batch=8)
    wrong: list[str] = []

    def client(number: int, worker: Worker) -> None:
        for turn in range(6):
            # A sentence of n words lasts n seconds; none is asked for twice, so none is recalled.
            lengths = [1 + (number + turn + at) % 5 for at in range(1 + (number + turn) % 4)]
            sentences = [" ".join([f"к{number}о{turn}"] * length) for length in lengths]
            pieces, _ = everything(submit(worker, *sentences, streamed=number % 2 == 0))
            heard = [round(piece.samples.size / 22_050) for piece in pieces]
            if heard != lengths:
                wrong.append(f"{number}: {lengths} became {heard}")

    with working(engine, queue=15) as worker:
        clients = [
            threading.Thread(target=client, args=(number, worker), name="tts-client")
            for number in range(16)
        ]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join(PATIENCE)
            assert not thread.is_alive()
    assert not wrong
    assert max(sizes(engine)) > 1, "nothing was spoken together"
