"""What is done to samples between the engine and the reply.

Everything here is pure and keeps its input whole: the only samples ever removed are silent ones at
the edges of a sentence. Durations are kept by every effect.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.tts.engine import Samples

Effect: TypeAlias = Literal["none", "robot"]
EFFECTS: Final[tuple[Effect, ...]] = get_args(Effect)

PEAK: Final = 0.95
ROBOT_SEMITONES: Final = -4.0
SILENCE: Final = 1e-3
"""Amplitude below which nothing is heard (-60 dB)."""

_EDGE_SECONDS: Final = 0.01
_FRAME_SECONDS: Final = 0.046
_HEADER_BYTES: Final = 44
_BLOCK_SAMPLES: Final = 65_536
_RIFF_LIMIT: Final = 0xFFFF_FFFF


def trim(samples: Samples, rate: int) -> Samples:
    """Takes the silence off both ends, leaving 10 ms so that no onset is cut.

    Engines end a sentence with pauses of their own length; without this the pauses of joined
    sentences would depend on the engine. All-silent input comes back empty.
    """
    loud = np.flatnonzero(np.abs(samples) >= SILENCE)
    if loud.size == 0:
        return samples[:0]
    edge = round(_EDGE_SECONDS * rate)
    return samples[max(0, int(loud[0]) - edge) : int(loud[-1]) + 1 + edge]


def audible_seconds(samples: Samples, rate: int) -> float:
    """Length from the first to the last sample that can be heard; 0.0 for silence."""
    loud = np.flatnonzero(np.abs(samples) >= SILENCE)
    return 0.0 if loud.size == 0 else (int(loud[-1]) - int(loud[0]) + 1) / rate


def apply_effect(samples: Samples, rate: int, effect: Effect) -> Samples:
    """Applies an effect of the contract; the duration stays as it was."""
    if effect == "robot":
        return shift_pitch(samples, rate, ROBOT_SEMITONES)
    return samples


def shift_pitch(samples: Samples, rate: int, semitones: float) -> Samples:
    """Moves the pitch by `semitones` and keeps the duration.

    Resampling lowers pitch and tempo together; the stretch then gives the tempo back.
    """
    if samples.size == 0:
        return samples
    ratio = 2.0 ** (-semitones / 12.0)
    slower = resample(samples, round(samples.size * ratio))
    return _fit(stretch(slower, rate, 1.0 / ratio), samples.size)


def stretch(samples: Samples, rate: int, factor: float) -> Samples:
    """Makes the duration `factor` times as long and keeps the pitch.

    Waveform-similarity overlap-add (Verhelst and Roelands, 1993): each output frame is taken near
    its place in the input, at the offset where it best continues the frame before, so that pitch
    periods meet. The frame of 46 ms holds at least three periods of the deepest voice here.
    """
    wanted = round(samples.size * factor)
    if samples.size == 0 or wanted == 0 or math.isclose(factor, 1.0):
        return _fit(samples, wanted)
    hop = max(8, round(_FRAME_SECONDS * rate) // 2)
    frame = 2 * hop
    reach = hop // 2
    window = (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(frame) / frame)).astype(np.float32)
    # Half a frame of zeros in front lets the first window's rising half fall before the output;
    # the tail lets every search run its full width.
    padded = np.concatenate(
        (
            np.zeros(hop + reach, dtype=np.float32),
            samples.astype(np.float32, copy=False),
            np.zeros(2 * frame + 2 * reach, dtype=np.float32),
        )
    )
    frames = math.ceil(wanted / hop) + 1
    out = np.zeros((frames + 1) * hop, dtype=np.float32)
    position = reach
    for index in range(frames):
        if index:
            ideal = reach + round(index * hop / factor)
            ideal = min(ideal, padded.size - frame - reach)
            continuation = padded[position + hop : position + hop + frame]
            position = ideal + _best_offset(padded, continuation, ideal, reach)
        out[index * hop : index * hop + frame] += padded[position : position + frame] * window
    return _fit(out[hop:], wanted)


def _best_offset(padded: Samples, continuation: Samples, ideal: int, reach: int) -> int:
    """Offset within ±reach of `ideal` whose frame is most like `continuation`."""
    span = continuation.size
    region = padded[ideal - reach : ideal + reach + span]
    likeness = np.correlate(region, continuation, mode="valid")
    energy = np.concatenate(([0.0], np.cumsum(np.square(region, dtype=np.float64))))
    power = energy[span:] - energy[:-span]
    # The floor keeps a nearly silent frame from winning by division alone.
    scores = likeness / np.sqrt(np.maximum(power, 1e-6))
    return int(np.argmax(scores)) - reach


def resample(samples: Samples, size: int) -> Samples:
    """Band-limited resampling of a whole sentence to `size` samples through its spectrum."""
    spectrum = np.fft.rfft(samples)
    bins = size // 2 + 1
    resized = np.zeros(bins, dtype=np.complex128)
    kept = min(bins, spectrum.size)
    resized[:kept] = spectrum[:kept]
    return (np.fft.irfft(resized, size) * (size / samples.size)).astype(np.float32)


def _fit(samples: Samples, size: int) -> Samples:
    """Cuts or zero-fills to `size`: rounding of hops must not move the duration."""
    if samples.size >= size:
        return samples[:size]
    return np.concatenate((samples, np.zeros(size - samples.size, dtype=np.float32)))


@dataclass(frozen=True, slots=True)
class WavFile:
    """Sentences as one RIFF/WAVE file: PCM, signed 16 bit little endian, mono, with true sizes.

    The loudest sample is brought to PEAK; silence stays silence, because its noise is not speech.
    The file is encoded block by block while it is sent: an hour of audio in every intermediate form
    at once took 3 GB.
    """

    pieces: tuple[Samples, ...]
    rate: int
    pause: float
    """Silence between two pieces, in seconds."""

    @property
    def seconds(self) -> float:
        """Length of the audio."""
        return self._count() / self.rate

    @property
    def size(self) -> int:
        """Bytes of the whole file. Raises ValueError beyond the 4 GiB that RIFF can name."""
        size = _HEADER_BYTES + 2 * self._count()
        if size - 8 > _RIFF_LIMIT:
            raise ValueError(f"{size} bytes of audio do not fit in a RIFF file: send shorter text")
        return size

    def chunks(self) -> Iterator[bytes]:
        """The file from its header on, in blocks of at most 128 KiB."""
        yield wav_header(self.rate, self.size - 8, self.size - _HEADER_BYTES)
        gain = _gain(max(map(_peak, self.pieces), default=0.0))
        gap = bytes(2 * self._gap())
        for index, piece in enumerate(self.pieces):
            if index:
                yield gap
            for at in range(0, piece.size, _BLOCK_SAMPLES):
                yield pcm16(piece[at : at + _BLOCK_SAMPLES] * gain)

    def _gap(self) -> int:
        return round(self.pause * self.rate)

    def _count(self) -> int:
        pauses = self._gap() * max(0, len(self.pieces) - 1)
        return sum(piece.size for piece in self.pieces) + pauses


class StreamGain:
    """Loudness of speech whose end is not known yet: the first sentence is brought to PEAK.

    The gain then stays, so that sentences keep their loudness to one another; only a later sentence
    that would be louder than PEAK lowers it, from its start on.
    """

    def __init__(self) -> None:
        self._gain: np.float32 | None = None

    def scaled(self, samples: Samples) -> Samples:
        """The next sentence at its loudness, within -PEAK..PEAK."""
        wanted = _gain(_peak(samples))
        # A silent sentence says nothing of how loud the voice is.
        if _peak(samples) >= SILENCE:
            self._gain = wanted if self._gain is None else min(self._gain, wanted)
        return samples if self._gain is None else samples * self._gain


class WavStream:
    """One RIFF/WAVE made while it is sent, for a client that plays while it reads.

    Nobody knows the length yet, so both sizes are 0xFFFFFFFF, which players take for "to the end".
    """

    def __init__(self, rate: int, pause: float) -> None:
        """`pause` is the silence between two pieces, in seconds."""
        self._rate = rate
        self._gap = bytes(2 * round(pause * rate))
        self._gain = StreamGain()
        self._begun = False

    def chunk(self, piece: Samples, *, more: bool) -> bytes:
        """The next bytes: the header before the first piece, the pause behind all but the last.

        The pause comes with the piece before it, so that whoever plays what has come plays a
        sentence with its end, and can tell where that is.
        """
        header = b"" if self._begun else wav_header(self._rate)
        self._begun = True
        return header + pcm16(self._gain.scaled(piece)) + (self._gap if more else b"")


def pcm16(samples: Samples) -> bytes:
    """Samples within -1..1 as signed 16 bit little endian."""
    return bytes(np.rint(samples * np.float32(32_767)).astype("<i2").data)


def wav_header(rate: int, riff_size: int = _RIFF_LIMIT, data_size: int = _RIFF_LIMIT) -> bytes:
    """What stands before 16 bit mono samples in RIFF/WAVE; without sizes it reads "to the end"."""
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        riff_size,
        b"WAVE",
        b"fmt ",
        16,
        1,
        1,
        rate,
        2 * rate,
        2,
        16,
        b"data",
        data_size,
    )


def _gain(peak: float) -> np.float32:
    """What brings `peak` to PEAK; 1 for silence, because its noise is not speech."""
    return np.float32(PEAK / peak if peak >= SILENCE else 1.0)


def _peak(samples: Samples) -> float:
    # Two reductions instead of abs(): nothing is copied to be measured.
    return max(float(samples.max()), -float(samples.min())) if samples.size else 0.0
