from __future__ import annotations

import io
import math
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from services.tts import audio
from services.tts.engine import SAMPLE_RATE
from tests.tts.doubles import pitch, tone


def test_robot_lowers_the_pitch_by_four_semitones_and_keeps_the_duration() -> None:
    spoken = tone(1.5, 220.0)
    robot = audio.apply_effect(spoken, SAMPLE_RATE, "robot")
    assert robot.size == spoken.size
    semitones = 12 * math.log2(pitch(robot) / pitch(spoken))
    assert semitones == pytest.approx(-4.0, abs=0.1)


def test_no_effect_changes_nothing() -> None:
    spoken = tone(0.3, 220.0)
    assert np.array_equal(audio.apply_effect(spoken, SAMPLE_RATE, "none"), spoken)


def test_robot_keeps_the_order_of_what_is_said() -> None:
    spoken = np.concatenate((tone(0.6, 400.0), tone(0.6, 200.0)))
    robot = audio.apply_effect(spoken, SAMPLE_RATE, "robot")
    half = robot.size // 2
    margin = SAMPLE_RATE // 20
    assert pitch(robot[: half - margin]) == pytest.approx(400.0 * 2 ** (-4 / 12), rel=0.01)
    assert pitch(robot[half + margin :]) == pytest.approx(200.0 * 2 ** (-4 / 12), rel=0.01)


@pytest.mark.parametrize("factor", [0.4, 0.63, 0.9, 1.0, 1.3, 2.6])
def test_stretch_changes_the_duration_and_keeps_pitch_and_loudness(factor: float) -> None:
    spoken = tone(1.2, 180.0)
    longer = audio.stretch(spoken, SAMPLE_RATE, factor)
    assert longer.size == round(spoken.size * factor)
    assert pitch(longer) == pytest.approx(180.0, rel=0.01)
    inner = longer[longer.size // 10 : -longer.size // 10]
    assert float(np.sqrt(np.mean(inner**2))) == pytest.approx(0.5 / math.sqrt(2), rel=0.1)


@given(size=st.integers(0, 4000), factor=st.floats(0.3, 3.0), seed=st.integers(0, 99))
def test_stretch_gives_the_exact_size_for_any_input(size: int, factor: float, seed: int) -> None:
    noise = np.random.default_rng(seed).uniform(-1, 1, size).astype(np.float32)
    longer = audio.stretch(noise, SAMPLE_RATE, factor)
    assert longer.size == round(size * factor)
    assert longer.dtype == np.float32
    assert np.isfinite(longer).all()


@given(size=st.integers(0, 3000), seed=st.integers(0, 99))
def test_robot_gives_the_exact_size_for_any_input(size: int, seed: int) -> None:
    noise = np.random.default_rng(seed).uniform(-1, 1, size).astype(np.float32)
    assert audio.apply_effect(noise, SAMPLE_RATE, "robot").size == size


def test_join_keeps_every_sample_and_puts_the_pause_between() -> None:
    first, second = tone(0.2, 300.0), tone(0.1, 500.0)
    joined = audio.join([first, second], SAMPLE_RATE, pause=0.25)
    gap = round(0.25 * SAMPLE_RATE)
    assert np.array_equal(joined[: first.size], first)
    assert not joined[first.size : first.size + gap].any()
    assert np.array_equal(joined[first.size + gap :], second)


def test_join_of_nothing_is_empty() -> None:
    assert audio.join([], SAMPLE_RATE, pause=0.25).size == 0


def test_trim_takes_silence_off_the_ends_only() -> None:
    silence = np.zeros(SAMPLE_RATE, dtype=np.float32)
    word = np.ones(1000, dtype=np.float32)
    trimmed = audio.trim(np.concatenate((silence, word, silence, word, silence)), SAMPLE_RATE)
    edge = round(0.01 * SAMPLE_RATE)
    assert trimmed.size == 2 * 1000 + SAMPLE_RATE + 2 * edge
    assert trimmed.sum() == 2000


def test_trim_of_silence_is_empty() -> None:
    assert audio.trim(np.zeros(500, dtype=np.float32), SAMPLE_RATE).size == 0


@pytest.mark.parametrize("amplitude", [0.01, 0.5, 1.0, 3.0])
def test_normalise_brings_the_peak_to_0_95(amplitude: float) -> None:
    loud = audio.normalise(tone(0.2, 200.0, amplitude=amplitude))
    assert float(np.abs(loud).max()) == pytest.approx(0.95, abs=1e-5)


def test_normalise_leaves_silence_silent() -> None:
    noise = np.full(100, 1e-5, dtype=np.float32)
    assert np.array_equal(audio.normalise(noise), noise)
    assert audio.normalise(noise[:0]).size == 0


def test_audible_seconds_leaves_out_the_silent_edges() -> None:
    silence = np.zeros(SAMPLE_RATE, dtype=np.float32)
    word = np.full(SAMPLE_RATE // 2, 0.5, dtype=np.float32)
    assert audio.audible_seconds(silence, SAMPLE_RATE) == 0.0
    assert audio.audible_seconds(
        np.concatenate((silence, word, silence)), SAMPLE_RATE
    ) == pytest.approx(0.5, abs=0.001)


@given(st.lists(st.floats(-2.0, 2.0, width=32), max_size=300))
def test_wav_has_true_sizes_and_soundfile_reads_the_samples_back(values: list[float]) -> None:
    samples = np.array(values, dtype=np.float32)
    file = audio.wav(samples, SAMPLE_RATE)
    riff, riff_size, kind = struct.unpack_from("<4sI4s", file)
    assert (riff, kind) == (b"RIFF", b"WAVE")
    assert riff_size == len(file) - 8
    form, form_size, pcm, channels, rate, byte_rate, block, bits = struct.unpack_from(
        "<4sIHHIIHH", file, 12
    )
    assert (form, form_size, pcm, channels, rate) == (b"fmt ", 16, 1, 1, SAMPLE_RATE)
    assert (byte_rate, block, bits) == (2 * SAMPLE_RATE, 2, 16)
    data, data_size = struct.unpack_from("<4sI", file, 36)
    assert (data, data_size) == (b"data", len(file) - 44)
    read, read_rate = soundfile.read(io.BytesIO(file), dtype="float32")
    assert read_rate == SAMPLE_RATE
    assert np.allclose(read, np.clip(samples, -1, 1), atol=1e-4)
