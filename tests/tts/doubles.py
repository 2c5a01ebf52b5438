"""Engines that tests steer: real enough to run a whole server on, with no model inside."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from services.tts.chain import WARM_UP_SENTENCE
from services.tts.engine import SAMPLE_RATE, EngineError, GivenUp
from services.tts.text import Spoken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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

    A gate, closed by `hold`, stops the engine inside a batch until `release`, or until it may give
    up, which a `deaf` one never notices. The warm-up word passes, unless `warm_up_failures` are
    left or `hold_warm_up` was called.
    """

    device_reason: str | None = None

    def __init__(
        self,
        name: str = "fake",
        device: str = "cpu",
        *,
        batch: int = 1,
        fingerprint: str = "fake",
        warm_up_failures: int = 0,
        sample_rate: int = SAMPLE_RATE,
        deaf: bool = False,
    ) -> None:
        self.name = name
        self.device = device
        self.batch = batch
        self.fingerprint = fingerprint
        self.sample_rate = sample_rate
        self.batches: list[list[str]] = []
        self.entered = threading.Semaphore(0)
        self.warm_ups = 0
        self.loads = 0
        self.unloads = 0
        self.answer: Callable[[str], Samples] = lambda sentence: tone(
            float(len(sentence.split())), 200.0
        )
        self._deaf = deaf
        self._failures = warm_up_failures
        self._gate = threading.Event()
        self._gate.set()
        self._warm_up_gate = threading.Event()
        self._warm_up_gate.set()
        self._inside = threading.Lock()

    @property
    def spoken(self) -> list[str]:
        """The sentences of all batches that came to their end."""
        return [sentence for batch in self.batches for sentence in batch]

    def hold(self) -> None:
        self._gate.clear()
        while self.entered.acquire(blocking=False):
            pass  # what reached the engine before is not waited for

    def release(self) -> None:
        self._gate.set()
        self._warm_up_gate.set()

    def release_sentence(self) -> None:
        self._gate.set()

    def hold_warm_up(self) -> None:
        self._warm_up_gate.clear()

    def wait_until_inside(self) -> None:
        """Returns when a batch, not the warm-up, has reached the engine."""
        assert self.entered.acquire(timeout=PATIENCE), "no sentence reached the engine"

    def load(self) -> None:
        with self._alone():
            self.loads += 1

    def unload(self) -> None:
        with self._alone():
            self.unloads += 1

    def synthesise(
        self, batch: Sequence[Utterance], *, give_up: Callable[[], bool]
    ) -> list[Samples]:
        assert 1 <= len(batch) <= self.batch
        sentences = [utterance.sentence for utterance in batch]
        with self._alone():
            if sentences == [WARM_UP_SENTENCE]:
                self.warm_ups += 1
                self._pass(self._warm_up_gate, give_up)
                if self._failures:
                    self._failures -= 1
                    raise EngineError("the fake engine was told to fail")
                return [tone(0.5, 200.0)]
            self.entered.release()
            self._pass(self._gate, give_up)
            spoken = [self.answer(sentence) for sentence in sentences]
            self.batches.append(sentences)
            return spoken

    @contextmanager
    def _alone(self) -> Iterator[None]:
        assert self._inside.acquire(blocking=False), "two uses of one engine at once"
        try:
            yield
        finally:
            self._inside.release()

    def _pass(self, gate: threading.Event, give_up: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not gate.wait(0.002):
            if give_up() and not self._deaf:
                raise GivenUp
            assert time.monotonic() < deadline, "the test left a gate closed"


def until(condition: Callable[[], bool], what: str) -> None:
    """Waits for a condition that has no event of its own, with a deadline."""
    deadline = time.monotonic() + PATIENCE
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"in {PATIENCE:g} s it did not happen that {what}"
        pause.wait(0.005)
