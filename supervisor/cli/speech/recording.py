"""A WAV that is still coming, kept on the disk: what of it can be heard already."""

import os
import tempfile
from typing import Final

from supervisor.cli.speech.wave import FRAME, HEADER, Wave, header, read_header

_PAUSE_SECONDS: Final = 0.04
"""Silence in which a cut is not heard; the service's pause is 0.25 s, 0.0625 s at its fastest."""
_BLOCK: Final = 256 * 1024


class Recording:
    """One reply. Not for several threads at once; `close` it."""

    def __init__(self, folder: str) -> None:
        """Keep it in this folder, without a name. Raises OSError, as the other methods do."""
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - until `close`
        self._head = b""
        self._wave = Wave(0, None)
        self._length = 0
        self._tail = b""
        self.last_pause = 0
        """Bytes of sound up to the end of the last pause: sentences come with theirs."""

    @property
    def size(self) -> int:
        """Bytes of sound that are there; whole samples only."""
        return self._length // FRAME * FRAME

    def close(self) -> None:
        """Give up what is kept."""
        self._file.close()

    def append(self, data: bytes) -> None:
        """Take what comes next. Raises SpeechError when this is no WAV."""
        if not self._wave.rate:
            self._head += data
            if len(self._head) < HEADER:
                return
            self._wave = read_header(self._head)
            data = self._head[HEADER:]
        self._file.write(data)
        quiet = bytes(FRAME * round(_PAUSE_SECONDS * self._wave.rate))
        recent = self._tail + data
        at = recent.rfind(quiet)
        if at >= 0:
            end = self._length - len(self._tail) + at + len(quiet)
            self.last_pause = end // FRAME * FRAME
        self._length += len(data)
        self._tail = recent[-len(quiet) + 1 :]

    def end(self) -> None:
        """Say that all has come. Raises SpeechError if there is nothing to hear, or not all."""
        read_header(self._head).check(self._length)

    def begins_as(self, other: "Recording", size: int) -> bool:
        """Tell whether both begin with the same `size` bytes of sound."""
        if self._wave.rate != other._wave.rate or min(self.size, other.size) < size:
            return False
        return all(
            self._read(at, min(_BLOCK, size - at)) == other._read(at, min(_BLOCK, size - at))
            for at in range(0, size, _BLOCK)
        )

    def write(self, path: str, start: int, end: int) -> float:
        """Make a part of its sound a file of its own, with true sizes; return its seconds."""
        with open(path, "wb") as file:
            file.write(header(self._wave.rate, end - start))
            for at in range(start, end, _BLOCK):
                file.write(self._read(at, min(_BLOCK, end - at)))
        return self._wave.seconds(end - start)

    def _read(self, at: int, size: int) -> bytes:
        self._file.flush()
        return os.pread(self._file.fileno(), size, at)
