"""What each format says when it is decoded again, although it was sent while it was made."""

from __future__ import annotations

import io
import struct
import sys
import wave
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from services.tts import audio
from services.tts.engine import SAMPLE_RATE
from services.tts.speech_api import encoding
from tests.tts.doubles import pitch, tone
from tests.tts.speech_api.decoding import decoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.tts.engine import Samples
    from services.tts.speech_api.encoding import FormatName

PAUSE = 0.25
PITCHES = (200.0, 300.0, 400.0)

DELAY = {"mp3": 0.15, "aac": 0.15, "opus": 0.02, "flac": 0.001, "wav": 0.001, "pcm": 0.001}
"""Seconds that decoded audio may be longer: codecs put whole frames before and after."""


def sentence(seconds: float, frequency: float) -> Samples:
    """A tone that comes and goes within 20 ms, with the silent ends of a trimmed sentence."""
    quiet = np.zeros(220, dtype=np.float32)
    samples = tone(seconds, frequency)
    rise = np.linspace(0.0, 1.0, 441, dtype=np.float32)
    samples[:441] *= rise
    samples[-441:] *= rise[::-1]
    return np.concatenate((quiet, samples, quiet))


def encoded(name: FormatName, *pieces: Samples) -> list[bytes]:
    return list(encoding.stream(pieces, encoding.find(name), pause=PAUSE))


def test_every_format_can_be_written_here() -> None:
    assert encoding.available() == encoding.FORMATS


@pytest.mark.parametrize("name", encoding.FORMATS)
def test_it_decodes_whole_and_in_order(name: FormatName) -> None:
    pieces = [sentence(1.0, frequency) for frequency in PITCHES]
    samples, rate = decoded(b"".join(encoded(name, *pieces)), name)
    length = sum(piece.size for piece in pieces) / SAMPLE_RATE + 2 * PAUSE
    assert length - 0.001 <= samples.size / rate <= length + DELAY[name]
    assert float(np.abs(samples).max()) == pytest.approx(audio.PEAK, abs=0.06)
    for at, frequency in enumerate(PITCHES):
        start = round((at * (1.0 + PAUSE + 0.02) + 0.3) * rate)
        heard = pitch(samples[start : start + rate // 2]) * rate / SAMPLE_RATE
        assert heard == pytest.approx(frequency, rel=0.01)


@pytest.mark.parametrize("name", encoding.FORMATS)
def test_bytes_come_out_before_the_next_sentence_goes_in(name: FormatName) -> None:
    asked: list[int] = []

    def pieces() -> Iterator[Samples]:
        for at in range(3):
            asked.append(at)
            yield sentence(3.0, 200.0)

    chunks = encoding.stream(pieces(), encoding.find(name), pause=PAUSE)
    first = next(chunks)
    assert asked == [0]
    assert len(first) > 1000
    assert all(chunk for chunk in chunks)
    assert asked == [0, 1, 2]


@pytest.mark.parametrize("name", encoding.FORMATS)
def test_a_short_first_sentence_is_heard_before_the_next(name: FormatName) -> None:
    chunks = encoding.stream([sentence(0.7, 200.0)] * 2, encoding.find(name), pause=PAUSE)
    samples, rate = decoded(next(chunks), name)
    chunks.close()
    assert samples.size / rate > 0.3
    assert float(np.abs(samples).max()) > 0.5


@pytest.mark.parametrize("name", encoding.FORMATS)
def test_silence_and_empty_sentences(name: FormatName) -> None:
    nothing = np.zeros(0, dtype=np.float32)
    silence = np.zeros(2205, dtype=np.float32)
    samples, rate = decoded(b"".join(encoded(name, nothing, silence, nothing, silence)), name)
    assert 0.2 + PAUSE - 0.001 <= samples.size / rate <= 0.2 + PAUSE + DELAY[name]
    assert float(np.abs(samples).max()) < audio.SILENCE


@pytest.mark.parametrize("name", encoding.FORMATS)
def test_an_error_of_the_speaker_passes_through(name: FormatName) -> None:
    def pieces() -> Iterator[Samples]:
        yield sentence(1.0, 200.0)
        raise LookupError("the engine broke")

    chunks = encoding.stream(pieces(), encoding.find(name), pause=PAUSE)
    with pytest.raises(LookupError):
        list(chunks)


@pytest.mark.parametrize("name", encoding.FORMATS)
def test_it_can_be_left_in_the_middle(name: FormatName) -> None:
    chunks = encoding.stream([sentence(2.0, 200.0)] * 3, encoding.find(name), pause=PAUSE)
    next(chunks)
    chunks.close()
    assert list(chunks) == []


def test_joins_of_resampled_sentences_do_not_click() -> None:
    pieces = [sentence(0.7, 250.0), sentence(0.7, 250.0)]
    samples, rate = decoded(b"".join(encoded("pcm", *pieces)), "pcm")
    steepest = audio.PEAK * 2 * np.pi * 250.0 / rate
    assert float(np.abs(np.diff(samples)).max()) <= 1.05 * steepest
    middle = samples.size // 2
    gap = samples[middle - rate // 10 : middle + rate // 10]
    assert float(np.abs(gap).max()) < audio.SILENCE


@pytest.mark.parametrize(
    ("peaks", "heard"),
    [
        ((0.1, 0.05), (0.95, 0.475)),
        ((0.1, 0.2, 0.1), (0.95, 0.95, 0.475)),
        ((0.0, 0.5), (0.0, 0.95)),
    ],
    ids=["keeps the first one's gain", "a louder one lowers it for good", "silence sets nothing"],
)
def test_loudness_is_steady(peaks: tuple[float, ...], heard: tuple[float, ...]) -> None:
    pieces = [tone(0.5, 200.0, amplitude=peak) for peak in peaks]
    samples, rate = decoded(b"".join(encoded("flac", *pieces)), "flac")
    length = rate // 2 + round(PAUSE * rate)
    found = [
        float(np.abs(samples[at * length : at * length + rate // 2]).max())
        for at in range(len(peaks))
    ]
    assert found == pytest.approx(list(heard), abs=0.005)


def test_a_long_sentence_leaves_in_parts() -> None:
    chunks = encoded("pcm", sentence(20.0, 200.0))
    assert max(map(len, chunks)) <= 2 * 65_536
    assert sum(map(len, chunks)) == 2 * round((20 * SAMPLE_RATE + 440) * 24_000 / SAMPLE_RATE)


def test_a_streamed_wav_names_no_size_and_can_be_read_all_the_same() -> None:
    content = b"".join(encoded("wav", sentence(1.0, 200.0)))
    assert struct.unpack_from("<I", content, 4) == struct.unpack_from("<I", content, 40)
    assert struct.unpack_from("<I", content, 40)[0] == 0xFFFF_FFFF
    samples, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    assert (samples.size, rate) == (SAMPLE_RATE + 440, SAMPLE_RATE)
    with wave.open(io.BytesIO(content)) as file:
        assert file.getparams()[:3] == (1, 2, SAMPLE_RATE)


def test_a_format_without_its_encoder_names_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    encoding.available.cache_clear()
    try:
        with pytest.raises(
            encoding.MissingEncoderError, match=r"pip install av.*mp3, opus, flac, wav, pcm"
        ):
            encoding.find("aac")
    finally:
        encoding.available.cache_clear()
