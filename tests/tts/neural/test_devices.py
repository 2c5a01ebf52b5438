"""A device speaks when it is there and right on a long sentence; `auto` keeps the faster."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from services.tts.engine import SAMPLE_RATE, EngineError
from services.tts.engines.ukrainian import devices
from services.tts.engines.ukrainian.model import Line
from tests.tts.neural.devices_doubles import Clock, DoubleVoice, babble, incident

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.tts.engine import Samples
    from services.tts.engines.ukrainian.devices import Choice

TRIAL = Line((1, 2, 3), np.zeros(4, dtype=np.float32), seed=1)


class Bench:
    """A machine with the voices that a test gives it; `None` is a device that cannot be built."""

    def __init__(self, **voices: DoubleVoice | None) -> None:
        self.voices = voices
        self.made: list[str] = []
        self.released: list[str] = []

    def make(self, device: str) -> DoubleVoice:
        self.made.append(device)
        voice = self.voices[device]
        if voice is None:
            raise RuntimeError(f"{device} is out of memory")
        return voice

    def choose(self, asked: str, clock: Clock) -> Choice:
        return devices.choose(
            asked,
            make=self.make,
            trial=TRIAL,
            rate=SAMPLE_RATE,
            absence=lambda device: None if device in self.voices else f"there is no {device}",
            release=self.released.append,
            clock=clock,
        )

    def open(self) -> list[str]:
        return [name for name, voice in self.voices.items() if voice and not voice.closed]


def test_the_cpu_is_taken_without_a_trial() -> None:
    clock = Clock()
    bench = Bench(cpu=DoubleVoice(clock), mps=DoubleVoice(clock))
    choice = bench.choose("cpu", clock)
    assert (choice.device, choice.reason) == ("cpu", None)
    assert bench.made == ["cpu"]
    assert clock.now == 0.0


def test_auto_without_a_gpu_is_the_cpu_without_a_trial() -> None:
    clock = Clock()
    choice = Bench(cpu=DoubleVoice(clock)).choose("auto", clock)
    assert (choice.device, choice.reason) == ("cpu", None)
    assert clock.now == 0.0


@pytest.mark.parametrize("device", ["mps", "cuda"])
def test_a_device_that_is_not_there_is_explained(device: str) -> None:
    clock = Clock()
    choice = Bench(cpu=DoubleVoice(clock)).choose(device, clock)
    assert choice.device == "cpu"
    assert choice.reason == f"there is no {device}; the CPU is used instead of {device}"
    assert clock.now == 0.0


@pytest.mark.parametrize(
    ("seconds", "first", "chosen"),
    [(0.5, 0.0, "mps"), (2.0, 0.0, "cpu"), (0.5, 30.0, "mps"), (1.0, 0.0, "cpu")],
    ids=["faster", "slower", "faster-once-compiled", "as-fast"],
)
def test_auto_keeps_the_faster(seconds: float, first: float, chosen: str) -> None:
    clock = Clock()
    mps = DoubleVoice(clock, seconds=seconds, first_seconds=first)
    bench = Bench(cpu=DoubleVoice(clock, seconds=1.0), mps=mps)
    choice = bench.choose("auto", clock)
    assert (choice.device, choice.reason) == (chosen, None)
    assert choice.voice is bench.voices[chosen]
    assert bench.open() == [chosen]
    # Whichever lost the contest: its memory is given back.
    assert bench.released == ["mps"]


def test_a_device_that_was_asked_for_is_taken_though_it_is_slower() -> None:
    clock = Clock()
    bench = Bench(cpu=DoubleVoice(clock), cuda=DoubleVoice(clock, seconds=9.0))
    choice = bench.choose("cuda", clock)
    assert (choice.device, choice.reason) == ("cuda", None)
    assert bench.open() == ["cuda"]


def silent_after_3_seconds() -> Samples:
    samples = babble(5.0)
    samples[3 * SAMPLE_RATE :] = 0.0
    return samples


def noise_after_3_seconds() -> Samples:
    samples = babble(5.0)
    random = np.random.default_rng(9)
    rest = samples[3 * SAMPLE_RATE :]
    rest[:] = 0.3 * random.standard_normal(rest.size)
    return samples


def repeated_after_3_seconds() -> Samples:
    samples = babble(5.0)
    samples[3 * SAMPLE_RATE :] = samples[: samples.size - 3 * SAMPLE_RATE]
    return samples


def not_a_number() -> Samples:
    samples = babble(5.0)
    samples[-1] = np.nan
    return samples


def a_little_off() -> Samples:
    samples = babble(5.0)
    noise = np.random.default_rng(3).standard_normal(samples.size)
    return (samples * (1 + 1e-4 * noise) + 1e-5 * noise).astype(np.float32)


@pytest.mark.parametrize("asked", ["auto", "mps"])
@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            silent_after_3_seconds,
            r"sound is wrong: \d+\.\d dB from the CPU's, [234]\.\d s into",
        ),
        (noise_after_3_seconds, "its sound is wrong"),
        (repeated_after_3_seconds, "its sound is wrong"),
        (lambda: babble(2.0), "it makes 2.0 s of a sentence that lasts 5.0 s on the CPU"),
        (lambda: np.zeros(0, dtype=np.float32), "it makes 0.0 s"),
        (not_a_number, "no numbers"),
        (incident, "_weight_norm_interface.*PYTORCH_ENABLE_MPS_FALLBACK=1"),
    ],
)
def test_a_device_that_is_wrong_is_not_trusted(
    asked: str, answer: Callable[[], Samples], told: str
) -> None:
    clock = Clock()
    mps = DoubleVoice(clock, seconds=0.1, answer=answer)
    bench = Bench(cpu=DoubleVoice(clock), mps=mps)
    choice = bench.choose(asked, clock)
    assert choice.device == "cpu"
    assert choice.voice is bench.voices["cpu"]
    assert bench.open() == ["cpu"]
    assert bench.released == ["mps"]
    assert choice.reason is not None
    assert choice.reason.startswith("mps failed: ")
    assert choice.reason.endswith("; the CPU is used")
    assert re.search(told, choice.reason), choice.reason


def test_sums_in_another_order_are_no_reason() -> None:
    clock = Clock()
    mps = DoubleVoice(clock, answer=a_little_off)
    assert Bench(cpu=DoubleVoice(clock), mps=mps).choose("mps", clock).device == "mps"


def test_a_device_that_cannot_be_built_is_explained_with_the_cure() -> None:
    clock = Clock()
    choice = Bench(cpu=DoubleVoice(clock), cuda=None).choose("cuda", clock)
    assert choice.device == "cpu"
    assert "cuda is out of memory; free memory" in str(choice.reason)


def test_a_device_that_takes_for_ever_is_left() -> None:
    clock = Clock()
    bench = Bench(cpu=DoubleVoice(clock), mps=DoubleVoice(clock, seconds=1000.0))
    choice = bench.choose("auto", clock)
    assert choice.device == "cpu"
    assert "took over 120 s" in str(choice.reason)


def test_a_trial_of_under_3_seconds_proves_nothing() -> None:
    clock = Clock()
    voices = {
        device: DoubleVoice(clock, seconds=0.1, answer=lambda: babble(2.9))
        for device in ("cpu", "mps")
    }
    choice = Bench(**voices).choose("mps", clock)
    assert choice.device == "cpu"
    assert "lasts 2.9 s only" in str(choice.reason)


def test_a_cpu_that_fails_is_an_error_and_leaves_nothing_open() -> None:
    clock = Clock()
    bench = Bench(cpu=DoubleVoice(clock, answer=incident), mps=DoubleVoice(clock))
    with pytest.raises(NotImplementedError):
        bench.choose("auto", clock)
    slow = Bench(cpu=DoubleVoice(clock, seconds=1000.0), mps=DoubleVoice(clock))
    with pytest.raises(EngineError, match="over 120 s"):
        slow.choose("mps", clock)
    assert bench.voices["cpu"] is not None
    assert bench.voices["cpu"].closed
    assert slow.voices["cpu"] is not None
    assert slow.voices["cpu"].closed


def test_this_machine_says_why_it_has_no_such_device() -> None:
    for device in ("cuda", "mps"):
        why = devices.absence(device)
        assert why is None or "torch" in why
    assert devices.absence("cpu") is None
