"""What happened and what was decided, in order, on disk: one JSON object a line.

Two files at most (`journal.ndjson` and `journal.ndjson.1`), each bounded, so the past is kept
without a limit ever being passed. Clients read the files themselves (`read`), so that `atlasctl
why` answers while no daemon runs; the daemon keeps a short tail in memory for those who follow.
A full disk costs lines of the journal, which are counted, and nothing else.
"""

import asyncio
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

NAME = "journal.ndjson"
MAX_SIZE = 2 * 1024 * 1024
"""Bytes of one file; a restart with its causes is about 1 kB."""
TAIL = 1000
"""Entries in memory, and the most that a slow follower may lag behind."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal."""

    seq: int
    """Counts up by one over the life of the state directory."""
    at: float
    """Unix seconds: for people and for order across reboots, never for decisions."""
    unit: str
    topic: str
    text: str
    run: int | None = None


class Journal:
    """The writing side; one per state directory, held by the daemon."""

    def __init__(self, state_dir: str, clock: Callable[[], float]) -> None:
        self._path = Path(state_dir) / NAME
        self._clock = clock
        last = deque(read(state_dir), maxlen=1)
        self._seq = last[0].seq if last else 0
        self._tail: deque[Entry] = deque(maxlen=TAIL)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _SAFE, 0o600)
        self._size = os.fstat(self._file).st_size
        # The last daemon died, or the disk filled up, in the middle of a line.
        self._torn = self._size > 0 and not _ends_with_newline(self._path)
        self._news = asyncio.Event()
        self.lost = 0
        """Entries that could not be written to disk."""

    def append(self, unit: str, topic: str, text: str, run: int | None = None) -> Entry:
        """Write one entry and wake those who follow."""
        self._seq += 1
        entry = Entry(self._seq, round(self._clock(), 3), unit, topic, text, run)
        self._tail.append(entry)
        # Not dataclasses.asdict, which copies deeply: 10 µs, several times in each restart.
        told = {name: getattr(entry, name) for name in Entry.__slots__}
        line = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        try:
            if self._size + len(line) > MAX_SIZE:
                self._rotate()
            written = os.write(self._file, b"\n" * self._torn + line)
            self._size += written
            self._torn = written < len(line)
        except OSError:
            self._torn = True
        self.lost += self._torn
        news, self._news = self._news, asyncio.Event()
        news.set()
        return entry

    def _rotate(self) -> None:
        self._path.replace(self._path.with_name(NAME + ".1"))
        os.close(self._file)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _SAFE, 0o600)
        self._size = 0

    @property
    def seq(self) -> int:
        """The number of the latest entry; 0 before the first."""
        return self._seq

    def since(self, seq: int) -> tuple[Entry, ...]:
        """Return what is in memory of the entries after `seq`, oldest first."""
        return tuple(entry for entry in self._tail if entry.seq > seq)

    async def news(self) -> None:
        """Return when the next entry is written."""
        await self._news.wait()

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW


def read(state_dir: str) -> Iterator[Entry]:
    """Yield every entry on disk, oldest first; lines that are not whole entries are passed over."""
    for name in (NAME + ".1", NAME):
        try:
            with (Path(state_dir) / name).open("rb") as lines:
                yield from _entries(lines)
        except FileNotFoundError:
            continue


def _entries(lines: Iterable[bytes]) -> Iterator[Entry]:
    for line in lines:
        try:
            yield Entry(**json.loads(line))
        except (ValueError, TypeError):
            continue


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
