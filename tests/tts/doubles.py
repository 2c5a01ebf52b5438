"""Engines that tests steer: real enough to run a whole server on, with no model inside."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import numpy as np

from services.tts.chain import WARM_UP_SENTENCE
from services.tts.engine import SAMPLE_RATE, EngineError
from services.tts.text import Spoken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.tts.engine import Samples, Utterance

PATIENCE = 20.0
"""Seconds after which a test that waits for an event fails."""


def tone(seconds: float, frequency: float, *, amplitude: float = 0.5) -> Samples:
    """A sine of whole-number start phase."""
    at = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (amplitude * np.sin(2 * np.pi * frequency * at)).astype(np.float32)


def pitch(samples: Samples) -> float:
    """Frequency in Hz of the strongest bin of a whole-signal spectrum, for steady tones."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size), 8 * samples.size))
    return float(np.argmax(spectrum)) * SAMPLE_RATE / (8 * samples.size)


def plain_text(raw: str) -> Spoken:
    """A text pipeline that splits at full stops, so that a test knows its sentences."""
    sentences = tuple(part.strip() for part in raw.lower().split(".") if part.strip())
    return Spoken(text=". ".join(sentences), sentences=sentences)


class FakeEngine:
    """Answers a sentence with a tone as many seconds long as the sentence has words.

    A gate, closed by `hold`, stops the engine inside a sentence until `release`. The warm-up word
    passes, unless `warm_up_failures` are left or `hold_warm_up` was called.
    """

    name = "fake"
    device = "cpu"
    device_reason: str | None = None
    batch = 1
    fingerprint = "fake"

    def __init__(self, *, warm_up_failures: int = 0, sample_rate: int = SAMPLE_RATE) -> None:
        self.sample_rate = sample_rate
        self.spoken: list[str] = []
        self.entered = threading.Semaphore(0)
        self.warm_ups = 0
        self.answer: Callable[[str], Samples] = lambda sentence: tone(
            float(len(sentence.split())), 200.0
        )
        self._failures = warm_up_failures
        self._gate = threading.Event()
        self._gate.set()
        self._warm_up_gate = threading.Event()
        self._warm_up_gate.set()
        self._inside = threading.Lock()

    def hold(self) -> None:
        self._gate.clear()

    def release(self) -> None:
        self._gate.set()
        self._warm_up_gate.set()

    def release_sentence(self) -> None:
        self._gate.set()

    def hold_warm_up(self) -> None:
        self._warm_up_gate.clear()

    def wait_until_inside(self) -> None:
        """Returns when a sentence, not the warm-up, has reached the engine."""
        assert self.entered.acquire(timeout=PATIENCE), "no sentence reached the engine"

    def load(self) -> None:
        pass

    def unload(self) -> None:
        pass

    def synthesise(
        self, batch: Sequence[Utterance], *, give_up: Callable[[], bool]
    ) -> list[Samples]:
        return [self._speak(utterance.sentence) for utterance in batch]

    def _speak(self, sentence: str) -> Samples:
        assert self._inside.acquire(blocking=False), "two syntheses at once"
        try:
            if sentence == WARM_UP_SENTENCE:
                self.warm_ups += 1
                assert self._warm_up_gate.wait(PATIENCE)
                if self._failures:
                    self._failures -= 1
                    raise EngineError("the fake engine was told to fail")
                return tone(0.5, 200.0)
            self.entered.release()
            assert self._gate.wait(PATIENCE), "the test left the gate closed"
            self.spoken.append(sentence)
            return self.answer(sentence)
        finally:
            self._inside.release()


def until(condition: Callable[[], bool], what: str) -> None:
    """Waits for a condition that has no event of its own, with a deadline."""
    deadline = time.monotonic() + PATIENCE
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"in {PATIENCE:g} s it did not happen that {what}"
        pause.wait(0.005)
