"""How much audio a RIFF/WAVE body really holds, by walking its chunks. Pure.

Source: Microsoft, "Multimedia Programming Interface and Data Specifications 1.0" (RIFF WAVE), and
RFC 2361 for format tags. Sizes in the header are believed only as far as the body goes: a stream
says 0xFFFFFFFF, and a broken server says anything.
"""

import struct
from typing import Final

_PCM: Final = 1
_FLOAT: Final = 3
_EXTENDED: Final = 40
"""Bytes of an extensible format chunk, the longest."""
_EXTENSIBLE: Final = 0xFFFE
_HEADER: Final = 12
_STREAM: Final = 0x7FFF0000
"""From here on a size means "not known yet": 0xFFFFFFFF of ffmpeg, about 2 GiB of eSpeak."""
_MAX_CHUNKS: Final = 1000
"""Real files have a handful; 16 MiB of empty ones would hold up the daemon."""


class WavError(Exception):
    """Why these bytes are not playable audio, as the rest of a sentence."""


def seconds_of(body: bytes, *, whole: bool = True) -> float:
    """Return the seconds of audio in a WAV body. Raises WavError.

    Not `whole`: it is the beginning of a longer one, which is not its fault.
    """
    if not body:
        raise WavError("the body is empty")
    if body[:4] != b"RIFF" or body[8:12] != b"WAVE":
        raise WavError(f"not RIFF/WAVE: it begins with {_shown(body)}")
    at = _HEADER
    bytes_per_second: int | None = None
    for _ in range(_MAX_CHUNKS):
        if at + 8 > len(body):
            break
        kind = body[at : at + 4]
        size = int.from_bytes(body[at + 4 : at + 8], "little")
        at += 8
        if kind == b"fmt ":
            bytes_per_second = _rate(body[at : at + min(size, _EXTENDED)])
        elif kind == b"data":
            if bytes_per_second is None:
                raise WavError("a data chunk before the format")
            there = min(size, len(body) - at)
            if not there:
                break
            if whole and there < size < _STREAM:
                raise WavError(f"cut off: {there} of {size} bytes of audio")
            return there / bytes_per_second
        at += size + (size & 1)
    raise WavError("a RIFF header and no audio data")


def _rate(chunk: bytes) -> int:
    if len(chunk) < 16:
        raise WavError("a format chunk that is too short")
    tag, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == _EXTENSIBLE:
        if len(chunk) < _EXTENDED:
            raise WavError("an extensible format chunk that is too short")
        # The sub-format's GUID begins with what the plain tag would be.
        tag = int.from_bytes(chunk[24:26], "little")
    if tag not in (_PCM, _FLOAT):
        raise WavError(f"audio format {tag}, neither PCM nor float")
    if not channels or not rate or not bits or block != channels * ((bits + 7) // 8):
        raise WavError(f"an impossible format: {channels} channels of {bits} bits at {rate} Hz")
    return int(rate * block)


def _shown(body: bytes) -> str:
    text = body[:40].decode("utf-8", "replace")
    return repr(text if text.isprintable() else bytes(body[:12]))
