"""The header of the WAV that the service sends: 16 bit mono, and 44 bytes before the sound."""

import struct
from dataclasses import dataclass
from typing import Final

from supervisor.cli.speech.failure import SpeechError

HEADER: Final = 44
FRAME: Final = 2
"""Bytes of a sample."""
_LAYOUT: Final = "<4sI4s4sIHHIIHH4sI"
_UNKNOWN: Final = 0xFFFFFFFF
_RATES: Final = range(4000, 192_001)
_SHAPE: Final = (b"RIFF", b"WAVE", b"fmt ", 16, 1, 1, 16, b"data")


@dataclass(frozen=True, slots=True)
class Wave:
    """Samples a second, and bytes of sound; None: as many as come."""

    rate: int
    size: int | None

    def seconds(self, size: int) -> float:
        """Return how long so many bytes of sound last."""
        return size / (FRAME * self.rate)

    def check(self, size: int) -> None:
        """Raise SpeechError if so many bytes of sound are not all of it, or nothing."""
        if self.size is not None and size < self.size:
            raise SpeechError(f"the sound was cut off: {size} of {self.size} bytes")
        if size < FRAME:
            raise SpeechError("what was sent as audio/wav has no sound in it")


def read_header(head: bytes) -> Wave:
    """Read the first 44 bytes of a file. Raises SpeechError for what is no such WAV."""
    if len(head) < HEADER:
        raise SpeechError(f"what was sent as audio/wav is none: it has {len(head)} bytes")
    riff, _, wave, fmt, length, tag, channels, rate, _, _, bits, data, size = struct.unpack(
        _LAYOUT, head[:HEADER]
    )
    if (riff, wave, fmt, length, tag, channels, bits, data) != _SHAPE or rate not in _RATES:
        raise SpeechError("what was sent as audio/wav is no WAV of 16 bit mono")
    return Wave(rate, None if size == _UNKNOWN else size)


def header(rate: int, size: int) -> bytes:
    """Return what stands before `size` bytes of sound in a file."""
    fields = (16, 1, 1, rate, FRAME * rate, FRAME, 16, b"data", size)
    return struct.pack(_LAYOUT, b"RIFF", HEADER - 8 + size, b"WAVE", b"fmt ", *fields)
