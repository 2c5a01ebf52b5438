"""Speech as the bytes of a file format, while it is being spoken.

Sentences go in one by one and bytes come out after each, so nothing that is written may be changed
later: where a format wants its length in front, it says "unknown" there.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias, get_args

import numpy as np

from services.tts import audio
from services.tts.engine import SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from services.tts.engine import Samples

FormatName: TypeAlias = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
FORMATS: Final[tuple[FormatName, ...]] = get_args(FormatName)

PCM_RATE: Final = 24_000
"""Hz of `pcm`, which has no header to tell it: clients were told this number by OpenAI."""

_BLOCK_SAMPLES: Final = 65_536
"""Most samples that an encoder is given at once (3 s): a long sentence leaves in parts too."""

_AAC_BITS: Final = 96_000
"""Bits per second: at 64000 FFmpeg's encoder overshot the first frame of a tone by half."""

_MP3_COMPRESSION: Final = 0.63
"""libsndfile's scale of 0 to 1 for a constant rate; here it is 64 kbit/s at 22050 Hz. A constant
rate lets players tell the length, which the header of a stream cannot."""


class Encoder(Protocol):
    """Turns samples of one reply into bytes; used from one thread."""

    def encode(self, samples: Samples) -> bytes:
        """The bytes that are ready now, often fewer than went in."""

    def finish(self) -> bytes:
        """The rest."""

    def close(self) -> None:
        """Frees what is held; may be called at any time, and again."""


@dataclass(frozen=True, slots=True)
class Format:
    """A file format; `rate` is the rate of its samples in Hz."""

    name: FormatName
    content_type: str
    rate: int
    start: Callable[[], Encoder]


class MissingEncoderError(Exception):
    """This machine cannot write the format; the message says what would help."""


def find(name: FormatName) -> Format:
    """The format of that name. Raises MissingEncoderError."""
    if name not in available():
        need = "PyAV (pip install av)" if name == "aac" else "libsndfile 1.1 or newer"
        raise MissingEncoderError(
            f"{name} needs {need}, which is not installed here: choose one of "
            f"{', '.join(available())}"
        )
    return _FORMATS[name]


@cache
def available() -> tuple[FormatName, ...]:
    """The formats that this machine can write, in the order of FORMATS."""
    import soundfile

    # A distribution's own libsndfile may be old or built without them.
    missing: set[FormatName] = set()
    for name, (container, codec) in _SOUNDFILE.items():
        if not soundfile.check_format(container, codec):
            missing.add(name)
    try:
        import av  # noqa: F401
    except ImportError:
        missing.add("aac")
    return tuple(name for name in FORMATS if name not in missing)


def stream(pieces: Iterable[Samples], wanted: Format, *, pause: float) -> Generator[bytes]:
    """The bytes of a whole file, some after each piece; never an empty one.

    `pieces` are at SAMPLE_RATE; `pause` is the silence between two of them, in seconds. What ends
    `pieces` early ends this: errors pass through, and the encoder is closed.
    """
    encoder = wanted.start()
    gain = audio.StreamGain()
    gap = np.zeros(round(pause * wanted.rate), dtype=np.float32)
    spoken = False
    try:
        for piece in pieces:
            if not piece.size:
                continue
            samples = _at_rate(gain.scaled(piece), wanted.rate)
            if spoken:
                samples = np.concatenate((gap, samples))
            spoken = True
            for at in range(0, samples.size, _BLOCK_SAMPLES):
                block = encoder.encode(np.clip(samples[at : at + _BLOCK_SAMPLES], -1.0, 1.0))
                if block:
                    yield block
        rest = encoder.finish()
        if rest:
            yield rest
    finally:
        encoder.close()


def _at_rate(samples: Samples, rate: int) -> Samples:
    """A piece that begins and ends in silence, at another rate.

    Its ends are silent, so nothing is heard where it is joined to zeros. Zeros fill it up to where
    the ratio of the two lengths is exact and the transform is fast.
    """
    if rate == SAMPLE_RATE:
        return samples
    common = math.gcd(rate, SAMPLE_RATE)
    step = 32 * SAMPLE_RATE // common
    steps = -(-samples.size // step)
    filled = np.zeros(steps * step, dtype=np.float32)
    filled[: samples.size] = samples
    resampled = audio.resample(filled, steps * 32 * rate // common)
    return resampled[: round(samples.size * rate / SAMPLE_RATE)]


class _Pcm:
    """Signed 16 bit little endian with nothing around it."""

    def __init__(self, header: bytes = b"") -> None:
        self._header = header

    def encode(self, samples: Samples) -> bytes:
        header, self._header = self._header, b""
        return header + audio.pcm16(samples)

    def finish(self) -> bytes:
        return b""

    def close(self) -> None:
        pass


class _Tail:
    """A file for libsndfile of which only the end is kept, until it is taken.

    At the end libsndfile goes back to write the length and a checksum into the header, which has
    been sent long before: those bytes are dropped. FLAC, MP3 and Ogg are whole without them.
    """

    def __init__(self) -> None:
        self._at = 0
        self._size = 0
        self._kept = bytearray()

    def take(self) -> bytes:
        taken = bytes(self._kept)
        self._kept.clear()
        return taken

    def write(self, data: bytes) -> int:
        if self._at == self._size:
            self._kept += data
            self._size += len(data)
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at


class _Soundfile:
    """MP3, Ogg Opus and FLAC by libsndfile."""

    def __init__(self, container: str, codec: str, rate: int, **options: object) -> None:
        import soundfile

        self._tail = _Tail()
        self._file = soundfile.SoundFile(
            self._tail,
            "w",
            samplerate=rate,
            channels=1,
            format=container,
            subtype=codec,
            **options,
        )

        if container == "OGG":
            self._send_pages_early()

    def encode(self, samples: Samples) -> bytes:
        self._file.write(samples)
        return self._tail.take()

    def finish(self) -> bytes:
        self._file.close()
        return self._tail.take()

    def close(self) -> None:
        self._file.close()

    def _send_pages_early(self) -> None:
        """Lets an Ogg page hold 0.2 s instead of 1 s, so that a short first sentence is heard.

        The command is libsndfile's own (SFC_SET_OGG_PAGE_LATENCY_MS), but soundfile has no public
        way to it; without it audio is whole as well, and late.
        """
        import soundfile

        with suppress(AttributeError):
            latency = soundfile._ffi.new("double *", 200.0)
            soundfile._snd.sf_command(self._file._file, 0x1302, latency, 8)


class _Aac:
    """AAC by FFmpeg, in ADTS frames that can be cut anywhere."""

    def __init__(self) -> None:
        import av

        self._tail = _Tail()
        self._container = av.open(self._tail, "w", format="adts")
        self._stream = self._container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        self._stream.bit_rate = _AAC_BITS

    def encode(self, samples: Samples) -> bytes:
        import av

        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        self._container.mux(self._stream.encode(frame))
        return self._tail.take()

    def finish(self) -> bytes:
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._tail.take()

    def close(self) -> None:
        self._container.close()


_SOUNDFILE: Final[dict[FormatName, tuple[str, str]]] = {
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "opus": ("OGG", "OPUS"),
    "flac": ("FLAC", "PCM_16"),
}


def _mp3() -> Encoder:
    return _Soundfile(
        *_SOUNDFILE["mp3"],
        SAMPLE_RATE,
        bitrate_mode="CONSTANT",
        compression_level=_MP3_COMPRESSION,
    )


# The names of the types are those that OpenAI sends. Opus knows a few rates only: 24 kHz is the
# first above ours.
_FORMATS: Final[dict[FormatName, Format]] = {
    one.name: one
    for one in (
        Format("mp3", "audio/mpeg", SAMPLE_RATE, _mp3),
        Format("opus", "audio/opus", 24_000, lambda: _Soundfile(*_SOUNDFILE["opus"], 24_000)),
        Format("aac", "audio/aac", SAMPLE_RATE, _Aac),
        Format(
            "flac", "audio/flac", SAMPLE_RATE, lambda: _Soundfile(*_SOUNDFILE["flac"], SAMPLE_RATE)
        ),
        Format("wav", "audio/wav", SAMPLE_RATE, lambda: _Pcm(audio.wav_header(SAMPLE_RATE))),
        Format("pcm", "audio/pcm", PCM_RATE, _Pcm),
    )
}
