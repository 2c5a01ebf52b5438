"""Voices on devices that this machine lacks: right, slow, wrong, or failing as in the incident."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from services.tts.engine import SAMPLE_RATE, GivenUp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.tts.engine import Samples
    from services.tts.engines.ukrainian.model import Line

INCIDENT: Final = (
    "The operator 'aten::_weight_norm_interface' is not currently implemented for the MPS device. "
    "If you want this op to be considered for addition please comment on "
    "https://github.com/pytorch/pytorch/issues/141287 and mention use-case, that resulted in "
    "missing op as well as commit hash 0000000. As a temporary fix, you can set the environment "
    "variable `PYTORCH_ENABLE_MPS_FALLBACK=1` to use the CPU as a fallback for this op. WARNING: "
    "this will be slower than running natively on MPS."
)


class Clock:
    """Seconds that pass only when somebody works."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def babble(seconds: float) -> Samples:
    """Something with the spectrum of speech coming and going, the same each time."""
    random = np.random.default_rng(1)
    count = round(seconds * SAMPLE_RATE)
    at = np.arange(count) / SAMPLE_RATE
    noise = np.convolve(random.standard_normal(count), np.ones(8) / 8, mode="same")
    samples: Samples = (0.3 * noise * (1 + np.sin(2 * np.pi * 3 * at))).astype(np.float32)
    return samples


class DoubleVoice:
    """A voice that takes `seconds` of its clock for whatever it is given."""

    precision = "double"

    def __init__(
        self,
        clock: Clock,
        *,
        seconds: float = 1.0,
        answer: Callable[[], Samples] = lambda: babble(5.0),
        first_seconds: float = 0.0,
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._first = first_seconds
        self._answer = answer
        self.closed = False

    def synthesise(self, lines: Sequence[Line], *, give_up: Callable[[], bool]) -> list[Samples]:
        assert not self.closed
        self._clock.now += self._seconds + self._first
        self._first = 0.0
        if give_up():
            raise GivenUp
        return [self._answer() for _ in lines]

    def close(self) -> None:
        self.closed = True


def incident() -> Samples:
    """What every call of the device did in the incident."""
    raise NotImplementedError(INCIDENT)
