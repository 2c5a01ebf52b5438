from __future__ import annotations

import io
import math
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from services.tts import audio
from services.tts.engine import SAMPLE_RATE
from tests.tts.doubles import pitch, tone

if TYPE_CHECKING:
    from services.tts.engine import Samples


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


def test_trim_takes_silence_off_the_ends_only() -> None:
    silence = np.zeros(SAMPLE_RATE, dtype=np.float32)
    word = np.ones(1000, dtype=np.float32)
    trimmed = audio.trim(np.concatenate((silence, word, silence, word, silence)), SAMPLE_RATE)
    edge = round(0.01 * SAMPLE_RATE)
    assert trimmed.size == 2 * 1000 + SAMPLE_RATE + 2 * edge
    assert trimmed.sum() == 2000


def test_trim_of_silence_is_empty() -> None:
    assert audio.trim(np.zeros(500, dtype=np.float32), SAMPLE_RATE).size == 0


def test_audible_seconds_leaves_out_the_silent_edges() -> None:
    silence = np.zeros(SAMPLE_RATE, dtype=np.float32)
    word = np.full(SAMPLE_RATE // 2, 0.5, dtype=np.float32)
    assert audio.audible_seconds(silence, SAMPLE_RATE) == 0.0
    assert audio.audible_seconds(
        np.concatenate((silence, word, silence)), SAMPLE_RATE
    ) == pytest.approx(0.5, abs=0.001)


def encode(*pieces: Samples, pause: float = 0.25) -> bytes:
    file = audio.WavFile(pieces, SAMPLE_RATE, pause)
    encoded = b"".join(file.chunks())
    assert len(encoded) == file.size
    assert file.seconds == (len(encoded) - 44) / 2 / SAMPLE_RATE
    return encoded


def decode(encoded: bytes) -> Samples:
    samples, rate = soundfile.read(io.BytesIO(encoded), dtype="float32")
    assert rate == SAMPLE_RATE
    decoded: Samples = samples
    return decoded


def test_a_file_keeps_every_sample_and_puts_the_pause_between() -> None:
    # The second piece is longer than one block of the encoder.
    first, second = tone(0.2, 300.0, amplitude=0.95), tone(4.0, 500.0, amplitude=0.3)
    read = decode(encode(first, second))
    gap = round(0.25 * SAMPLE_RATE)
    assert read.size == first.size + gap + second.size
    assert np.allclose(read[: first.size], first, atol=1e-3)
    assert not read[first.size : first.size + gap].any()
    assert np.allclose(read[first.size + gap :], second, atol=1e-3)


@pytest.mark.parametrize("amplitude", [0.01, 0.5, 1.0, 3.0])
def test_the_peak_of_a_file_is_0_95_and_its_sentences_keep_their_proportion(
    amplitude: float,
) -> None:
    loud, quiet = tone(0.2, 200.0, amplitude=amplitude), tone(0.2, 200.0, amplitude=amplitude / 2)
    read = decode(encode(loud, quiet, pause=0.0))
    assert float(np.abs(read[: loud.size]).max()) == pytest.approx(0.95, abs=1e-3)
    assert float(np.abs(read[loud.size :]).max()) == pytest.approx(0.475, abs=1e-3)


def test_silence_is_not_made_loud() -> None:
    noise = np.full(100, 1e-4, dtype=np.float32)
    assert float(np.abs(decode(encode(noise))).max()) < 2e-4


def test_a_file_beyond_riff_is_refused_before_anything_is_sent() -> None:
    hour = np.broadcast_to(np.float32(0.5), 3600 * SAMPLE_RATE)
    file = audio.WavFile((hour,) * 28, SAMPLE_RATE, 0.0)
    with pytest.raises(ValueError, match="shorter text"):
        _ = file.size
    with pytest.raises(ValueError, match="shorter text"):
        next(iter(file.chunks()))


@given(st.lists(st.lists(st.floats(-2.0, 2.0, width=32), max_size=100), max_size=4))
def test_a_file_has_true_sizes_and_soundfile_reads_it(values: list[list[float]]) -> None:
    pieces = [np.array(piece, dtype=np.float32) for piece in values]
    file = encode(*pieces, pause=0.001)
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
    read = decode(file)
    peak = max((float(np.abs(piece).max()) for piece in pieces if piece.size), default=0.0)
    if peak >= audio.SILENCE:
        assert float(np.abs(read).max()) == pytest.approx(0.95, abs=1e-3)


def test_the_first_sentence_sets_the_loudness_and_only_a_louder_one_lowers_it() -> None:
    gain = audio.StreamGain()
    peaks = [
        float(np.abs(gain.scaled(tone(0.1, 200.0, amplitude=amplitude))).max())
        for amplitude in (0.2, 0.1, 0.4, 0.2)
    ]
    assert peaks == pytest.approx([0.95, 0.475, 0.95, 0.475], rel=0.01)


def test_silence_sets_no_loudness() -> None:
    gain = audio.StreamGain()
    quiet = np.full(100, audio.SILENCE / 2, dtype=np.float32)
    assert np.array_equal(gain.scaled(quiet), quiet)
    loud = gain.scaled(tone(0.1, 200.0, amplitude=0.2))
    assert float(np.abs(loud).max()) == pytest.approx(0.95, rel=0.01)


def test_a_streamed_wav_reads_as_the_whole_one_does() -> None:
    pieces = (tone(0.3, 200.0, amplitude=0.4), tone(0.2, 300.0, amplitude=0.2))
    stream = audio.WavStream(SAMPLE_RATE, 0.1)
    first = stream.chunk(pieces[0], more=True)
    # The pause comes with the sentence that it follows.
    assert len(first) == 44 + 2 * round(0.4 * SAMPLE_RATE)
    streamed = first + stream.chunk(pieces[1], more=False)
    whole = b"".join(audio.WavFile(pieces, SAMPLE_RATE, 0.1).chunks())
    assert streamed[44:] == whole[44:]
    assert struct.unpack_from("<I", streamed, 4) == (0xFFFF_FFFF,)
    samples, rate = soundfile.read(io.BytesIO(streamed), dtype="float32")
    assert (samples.size, rate) == (round(0.6 * SAMPLE_RATE), SAMPLE_RATE)
