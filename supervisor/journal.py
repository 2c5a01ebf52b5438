"""What happened and what was decided, in order, on disk: one JSON object a line.

Two files at most (`journal.ndjson` and `journal.ndjson.1`), each bounded, so the past is kept
without a limit ever being passed. Clients read the files themselves (`read`), so that `atlasctl
why` answers while no daemon runs; the daemon keeps a short tail in memory for those who follow.

What a full disk refuses is kept in memory and written once there is room. Nothing is synced to the
disk: a line is in the kernel's hands when `append` returns, so a killed daemon loses none, and
what the last seconds before a power cut were is not worth 5 ms of every restart. Only the holder of
the daemon's lock writes.
"""

import asyncio
import contextlib
import json
import os
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from supervisor.control.messages import EventMessage
from supervisor.core.causes import Causes, Kind, kind_of

NAME = "journal.ndjson"
MAX_SIZE = 2 * 1024 * 1024
"""Bytes of one file; a restart with its causes is about 1 kB."""
TAIL = 1000
"""Entries in memory: the most that a follower may lag behind, or a full disk keep waiting."""
LONGEST = 4000
"""Characters of one text."""
_RECENT = 64 * 1024
"""Bytes at the end of the journal that a new daemon reads, instead of all of it."""
_TRIES = 10
"""Looks at the files, at most, until none has been renamed meanwhile."""

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal."""

    seq: int
    """Counts up by one over the life of the state directory."""
    at: float
    """Unix seconds: for people and for order across reboots, never for decisions."""
    unit: str
    """The service; "" if it is about the supervisor or the machine."""
    topic: str
    text: str
    run: int | None = None
    kind: Kind = Kind.SEEN
    because: tuple[int, ...] = ()
    """The entries that a decision rests on, by number, ascending."""

    def message(self) -> EventMessage:
        """Return it as JSON has it."""
        return cast("EventMessage", {**asdict(self), "because": list(self.because)})


class Journal:
    """The writing side; one per state directory, held by the daemon."""

    def __init__(self, state_dir: str, clock: Callable[[], float]) -> None:
        self._path = Path(state_dir) / NAME
        self._clock = clock
        self._causes = Causes()
        self._seq = 0
        for entry in _recent(state_dir):
            self._seq = entry.seq
            self._causes.note(entry.seq, entry.unit, entry.topic, entry.text, entry.run)
        self._tail: deque[Entry] = deque(maxlen=TAIL)
        self._file = self._open()
        self._size = os.fstat(self._file).st_size
        # The last daemon died, or the disk filled up, in the middle of a line.
        self._torn = self._size > 0 and not _ends_with_newline(self._path)
        self._unwritten: deque[bytes] = deque()
        self._news = asyncio.Event()
        self.lost = 0
        """Entries that could not be written to disk, and will not be."""

    def append(self, unit: str, topic: str, text: str, run: int | None = None) -> Entry:
        """Write one entry and wake those who follow."""
        self._seq += 1
        if len(text) > LONGEST:
            text = f"{text[: LONGEST - 1]}…"
        kind, because = self._causes.note(self._seq, unit, topic, text, run)
        at = round(self._clock(), 3)
        entry = Entry(self._seq, at, unit, topic, text, run, kind, because)
        self._tail.append(entry)
        # Not dataclasses.asdict, which copies deeply: 10 µs, several times in each restart.
        told: dict[str, object] = {
            "seq": self._seq,
            "at": at,
            "unit": unit,
            "topic": topic,
            "text": text,
            "run": run,
            "kind": kind,
        }
        if because:
            told["because"] = because
        # A path that is no UTF-8 has lone surrogates in it, which JSON can escape.
        self._unwritten.append(_encode(told).encode("utf-8", "backslashreplace") + b"\n")
        if len(self._unwritten) > TAIL:
            self._unwritten.popleft()
            self.lost += 1
        with contextlib.suppress(OSError):  # the next entry tries again
            self._write()
        news, self._news = self._news, asyncio.Event()
        news.set()
        return entry

    def _write(self) -> None:
        """Write what waits, as much as there is room for. Raises OSError."""
        lines = self._unwritten
        while lines:
            data = b"\n" * self._torn + lines[0]
            if self._size + len(data) > MAX_SIZE and self._size:
                self._rotate()
                data = lines[0]
            written = os.write(self._file, data)
            self._size += written
            self._torn = (self._torn or written > 0) and written < len(data)
            if written < len(data) - 1:  # without its newline it is an entry all the same
                return
            lines.popleft()

    def _rotate(self) -> None:
        """Begin a new file. Raises OSError, and leaves a file to be written to all the same."""
        beside = self._path.with_name(NAME + ".new")
        beside.unlink(missing_ok=True)
        file = os.open(beside, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | _SAFE, 0o600)
        try:
            with contextlib.suppress(FileNotFoundError):  # somebody has taken it away
                self._path.replace(self._path.with_name(NAME + ".1"))
            beside.replace(self._path)
        except OSError:
            os.close(file)
            raise
        os.close(self._file)
        self._file, self._size, self._torn = file, 0, False

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _SAFE, 0o600)

    @property
    def seq(self) -> int:
        """The number of the latest entry; 0 before the first."""
        return self._seq

    def since(self, seq: int) -> tuple[Entry, ...]:
        """Return what is in memory of the entries after `seq`, oldest first."""
        tail = self._tail
        if not tail or tail[-1].seq <= seq:
            return ()
        first = max(0, seq + 1 - tail[0].seq)
        return tuple(tail)[first:]

    async def follow(self, after: int) -> AsyncIterator[Entry]:
        """Yield what is in memory of the entries after that number, and then each new one.

        Ends where the reader has fallen behind by more than the memory holds: no entry is left out
        in silence. The rest is on disk.
        """
        seq = after
        while True:
            # Looked at again before each wait: much may have come while a slow reader held us up.
            while not (entries := self.since(seq)):
                await self.news()
            for entry in entries:
                if seq > after and entry.seq != seq + 1:
                    return
                seq = entry.seq
                yield entry

    async def news(self) -> None:
        """Return when the next entry is written."""
        await self._news.wait()

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW


def read(state_dir: str, after: int = 0) -> list[Entry]:
    """Return the entries on disk that come after number `after`, oldest first, each once.

    Lines that are not whole entries are passed over. The files may be written and renamed
    meanwhile. Of a file that somebody has let grow, the end is read.
    """
    return _entries(_lines(state_dir, 2 * MAX_SIZE), after)


def entry_of(value: object) -> Entry | None:
    """Return what a JSON value says, or None if that is no entry.

    Of an older writer some fields may be missing, and of a newer one some are not known here.
    """
    if not isinstance(value, dict):
        return None
    seq, at, run = value.get("seq"), value.get("at"), value.get("run")
    unit, topic, text = value.get("unit"), value.get("topic"), value.get("text")
    if not (isinstance(unit, str) and isinstance(topic, str) and isinstance(text, str)):
        return None
    if not isinstance(seq, int) or not 1 <= seq < _LAST_SEQ:
        return None
    if not isinstance(at, int | float) or not 0 <= at < _LAST_MOMENT:
        return None
    if not isinstance(run, int | None):
        return None
    kind, because = str(value.get("kind")), value.get("because")
    if not isinstance(because, list) or not all(isinstance(each, int) for each in because):
        because = ()
    return Entry(
        seq,
        at,
        unit,
        topic,
        text,
        run,
        _KINDS.get(kind) or kind_of(topic, text),
        tuple(because),
    )


_KINDS: dict[str, Kind] = {kind.value: kind for kind in Kind}
_LAST_SEQ = 2**53
_LAST_MOMENT = 1e11
"""In the year 5138: beyond is what no calendar can show."""


def stamp(state_dir: str) -> tuple[int, int]:
    """Return something that changes with each entry on disk."""
    try:
        found = os.stat(Path(state_dir) / NAME)
    except OSError:
        return (0, 0)
    return (found.st_ino, found.st_size)


def _recent(state_dir: str) -> list[Entry]:
    """Return the latest entries on disk: one at least, unless there is none."""
    found = _entries(_lines(state_dir, _RECENT), 0)
    return found or read(state_dir)


def _entries(lines: list[bytes], after: int) -> list[Entry]:
    found = []
    for line in reversed(lines):
        try:
            # A power cut may leave zeros where a line was to be.
            entry = entry_of(json.loads(line.lstrip(b"\0"))) if line else None
        except (ValueError, RecursionError):
            continue
        if entry is None:
            continue
        if entry.seq <= after:
            break
        found.append(entry)
    found.reverse()
    return found


def _lines(state_dir: str, limit: int) -> list[bytes]:
    """Return the last lines of the journal, `limit` bytes at most of each of its files."""
    path = Path(state_dir) / NAME
    older = path.with_name(NAME + ".1")
    lines: list[bytes] = []
    for _ in range(_TRIES):
        try:
            with path.open("rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                lines = [*_end_of(older, limit), *_last_lines(file.fileno(), limit)]
                if os.stat(path).st_ino == inode:
                    break
        except FileNotFoundError:
            lines = _end_of(older, limit)
            if not path.exists():
                break
        # It was renamed while we read: something could be missing, or be there twice.
    return lines


def _end_of(path: Path, limit: int) -> list[bytes]:
    try:
        with path.open("rb") as file:
            return _last_lines(file.fileno(), limit)
    except FileNotFoundError:
        return []


def _last_lines(file: int, limit: int) -> list[bytes]:
    begin = max(0, os.fstat(file).st_size - limit)
    parts = []
    at = begin
    while at < begin + 2 * limit and (part := os.pread(file, limit, at)):
        parts.append(part)
        at += len(part)
    lines = b"".join(parts).split(b"\n")
    return lines[1:] if begin else lines


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
