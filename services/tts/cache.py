"""Audio of sentences that were spoken before, in memory and, if asked for, on disk.

Both are bounded in bytes and drop what was used longest ago. Nothing here is needed for speech: a
damaged file is dropped, a full or broken disk is told of once, and everything goes on without it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import struct
import threading
import time
import zlib
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

    from services.tts.engine import Samples, Utterance

log = logging.getLogger("tts.cache")

MEMORY_BYTES: Final = 32 * 1024 * 1024
"""About six minutes of speech."""

Key: TypeAlias = str

_SUFFIX: Final = ".phrase"
_HEADER: Final = struct.Struct("<4sII")  # magic, CRC-32 of the samples, their count
_MAGIC: Final = b"TTS1"
_OURS: Final = re.compile(r"[0-9a-f]{64}\.(?:phrase|[0-9]+\.tmp)")
_STALE_SECONDS: Final = 3600.0
_SLACK: Final = 0.9  # an eviction makes room for more than one file, because it lists the folder


def key(fingerprint: str, utterance: Utterance) -> Key:
    """Names one sentence as one engine says it: 64 hexadecimal digits."""
    said = [fingerprint, utterance.voice, utterance.speed, utterance.sentence]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Counts since the start; sizes in bytes. `misses` are sentences that had to be spoken."""

    hits: int
    misses: int
    entries: int
    memory_bytes: int
    disk_bytes: int


class PhraseCache:
    """Samples by key; every method may be called from any thread. What it returns is read-only."""

    def __init__(
        self,
        directory: Path | None = None,
        *,
        memory_bytes: int = MEMORY_BYTES,
        disk_bytes: int = 0,
    ) -> None:
        """`directory` is made when the first phrase is kept; None: memory alone."""
        self._memory_limit = memory_bytes
        self._lock = threading.Lock()
        self._memory: OrderedDict[Key, Samples] = OrderedDict()
        self._memory_bytes = 0
        self._hits = 0
        self._misses = 0
        self._disk = None if directory is None else _Disk(directory, disk_bytes)

    def get(self, wanted: Key) -> Samples | None:
        """The samples, or None when they are not kept."""
        with self._lock:
            samples = self._memory.get(wanted)
            if samples is not None:
                self._memory.move_to_end(wanted)
                self._hits += 1
                return samples
        if self._disk is None or (samples := self._disk.read(wanted)) is None:
            return None
        with self._lock:
            self._hits += 1
            self._keep(wanted, samples)
        return samples

    def holds(self, wanted: Key) -> bool:
        """Whether `get` is likely to find it; costs no reading."""
        with self._lock:
            in_memory = wanted in self._memory
        return in_memory or (self._disk is not None and self._disk.holds(wanted))

    def put(self, wanted: Key, samples: Samples) -> None:
        """Keeps what had to be spoken; the samples are read-only from now on."""
        samples.flags.writeable = False
        with self._lock:
            self._misses += 1
            self._keep(wanted, samples)
        if self._disk is not None:
            self._disk.write(wanted, samples)

    def stats(self) -> CacheStats:
        """The counters now."""
        with self._lock:
            return CacheStats(
                hits=self._hits,
                misses=self._misses,
                entries=len(self._memory),
                memory_bytes=self._memory_bytes,
                disk_bytes=0 if self._disk is None else self._disk.bytes,
            )

    def _keep(self, wanted: Key, samples: Samples) -> None:
        if samples.nbytes > self._memory_limit:
            return
        before = self._memory.pop(wanted, None)
        self._memory_bytes += samples.nbytes - (0 if before is None else before.nbytes)
        self._memory[wanted] = samples
        while self._memory_bytes > self._memory_limit:
            _, dropped = self._memory.popitem(last=False)
            self._memory_bytes -= dropped.nbytes


class _Disk:
    """One file for each phrase; its time of change is that of its last use.

    Two servers may share the folder, as they do during a restart without a gap: each file is put
    in its place whole, and the sizes are read anew when there seems to be too much.
    """

    def __init__(self, directory: Path, limit: int) -> None:
        self._directory = directory
        self._limit = limit
        self._lock = threading.Lock()
        self._complained = False
        self._files: dict[Key, int] = {}
        self._survey()

    @property
    def bytes(self) -> int:
        return sum(self._files.copy().values())

    def holds(self, wanted: Key) -> bool:
        return wanted in self._files

    def read(self, wanted: Key) -> Samples | None:
        if wanted not in self._files:
            return None
        path = self._path(wanted)
        try:
            with path.open("rb") as file:
                content = file.read(self._limit)
            os.utime(path)
        except OSError:
            self._files.pop(wanted, None)
            return None
        samples = _decoded(content)
        if samples is None:
            log.warning("%s was damaged and is dropped", path)
            self._files.pop(wanted, None)
            with suppress(OSError):
                path.unlink()
        return samples

    def write(self, wanted: Key, samples: Samples) -> None:
        content = _encoded(samples)
        if len(content) > self._limit:
            return
        with self._lock:
            try:
                self._make_room(len(content))
                self._directory.mkdir(parents=True, exist_ok=True)
                half = self._directory / f"{wanted}.{os.getpid()}.tmp"
                try:
                    half.write_bytes(content)
                    half.replace(self._path(wanted))
                except OSError:
                    half.unlink(missing_ok=True)
                    raise
            except OSError as error:
                if not self._complained:
                    self._complained = True
                    log.warning(
                        "phrases are not kept in %s: %s (told once)", self._directory, error
                    )
                return
            self._files[wanted] = len(content)

    def _make_room(self, size: int) -> None:
        if self.bytes + size <= self._limit:
            return
        files = self._survey()
        total = sum(used for _, used, _ in files)
        for _, used, path in sorted(files, key=lambda file: file[0]):
            if total + size <= self._limit * _SLACK:
                break
            path.unlink(missing_ok=True)
            self._files.pop(path.stem, None)
            total -= used

    def _survey(self) -> list[tuple[float, int, Path]]:
        """Reads which files there are: time of last use, bytes, path. Sweeps up broken writes."""
        found = []
        with suppress(OSError):
            for path in self._directory.iterdir():
                if not _OURS.fullmatch(path.name):
                    continue
                with suppress(OSError):
                    stat = path.stat()
                    if path.suffix == _SUFFIX:
                        found.append((stat.st_mtime, stat.st_size, path))
                    elif time.time() - stat.st_mtime > _STALE_SECONDS:
                        path.unlink()
        self._files = {path.stem: size for _, size, path in found}
        return found

    def _path(self, wanted: Key) -> Path:
        return self._directory / f"{wanted}{_SUFFIX}"


def _encoded(samples: Samples) -> bytes:
    import numpy as np

    data = np.ascontiguousarray(samples, dtype="<f4").tobytes()
    return _HEADER.pack(_MAGIC, zlib.crc32(data), samples.size) + data


def _decoded(content: bytes) -> Samples | None:
    """The samples of a file; None when it is not what was written."""
    import numpy as np

    if len(content) < _HEADER.size:
        return None
    magic, checksum, count = _HEADER.unpack_from(content)
    data = content[_HEADER.size :]
    if magic != _MAGIC or len(data) != 4 * count or zlib.crc32(data) != checksum:
        return None
    samples: Samples = np.frombuffer(data, dtype="<f4").astype(np.float32, copy=False)
    samples.flags.writeable = False
    return samples
