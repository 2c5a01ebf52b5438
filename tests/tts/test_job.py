from __future__ import annotations

import math
import threading

import numpy as np
import pytest

from services.tts.job import Broken, Cancelled, Job, Order, Outcome, Piece, Refused, Spoken
from tests.tts.doubles import PATIENCE, pitch, tone

NOTHING = np.zeros(0, dtype=np.float32)


def job(*sentences: str, effect: str = "none") -> Job:
    return Job(Order(sentences, "dmytro", effect, 1.5), deadline=math.inf)  # type: ignore[arg-type]


def test_pieces_come_in_order_and_the_outcome_last_and_for_ever() -> None:
    asked = job("раз", "два")
    assert asked.take(0) is None
    asked.put(tone(1.0, 200.0), "one")
    asked.put(tone(2.0, 200.0), "other")
    assert asked.finished
    sizes = [piece.samples.size for _ in range(2) if isinstance(piece := asked.take(0), Piece)]
    assert sizes == [22_050, 44_100]
    for _ in range(2):
        outcome = asked.take(0)
        assert isinstance(outcome, Spoken)
        assert outcome.engines == ("one", "other")


def test_what_is_left_becomes_less() -> None:
    asked = job("раз", "два", "три")
    assert [said.sentence for said in asked.left(2)] == ["раз", "два"]
    asked.put(tone(1.0, 200.0), "one")
    (said,) = asked.left(1)
    assert (said.sentence, said.voice, said.speed) == ("два", "dmytro", 1.5)
    asked.cancel()
    assert asked.left(2) == ()


def test_a_silent_sentence_is_no_piece_and_a_silent_text_is_broken() -> None:
    asked = job("в", "раз")
    asked.put(NOTHING, "one")
    asked.put(tone(1.0, 200.0), "one")
    assert isinstance(asked.take(0), Piece)
    assert isinstance(asked.take(0), Spoken)
    silent = job("в")
    silent.put(NOTHING, "one")
    assert silent.take(0) == Broken("one made silence out of 1 sentences")


@pytest.mark.parametrize("ending", [Broken("x"), Refused("x"), Cancelled()])
def test_a_job_that_ends_badly_gives_up_what_was_not_taken(ending: Outcome) -> None:
    asked = job("раз", "два")
    asked.put(tone(1.0, 200.0), "one")
    asked.finish(ending)
    asked.put(tone(1.0, 200.0), "one")
    asked.finish(Cancelled())
    assert asked.take(0) == ending


def test_the_effect_is_applied_when_a_piece_is_taken() -> None:
    asked = job("раз", effect="robot")
    asked.put(tone(1.0, 220.0), "one")
    piece = asked.take(0)
    assert isinstance(piece, Piece)
    assert pitch(piece.samples) == pytest.approx(220.0 * 2 ** (-4 / 12), rel=0.01)


def test_whoever_waits_is_woken() -> None:
    asked = job("раз")
    taken: list[object] = []
    thread = threading.Thread(target=lambda: taken.append(asked.take(PATIENCE)), name="tts-taker")
    thread.start()
    asked.put(tone(1.0, 200.0), "one")
    thread.join(PATIENCE)
    assert isinstance(taken[0], Piece)
