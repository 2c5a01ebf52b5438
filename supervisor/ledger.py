"""Which processes are ours: what a daemon must know to take over from one that was killed.

An append-only file of one JSON object a line, so that a change costs one small `write` and a
half-written last line is all that a crash can spoil. It is written anew, compact, at start.
`intend` comes before the spawn: a daemon killed between spawn and record leaves a run whose pid
its successor finds by the marker in the environment (`supervisor.posix.environment`).

No fsync: the ledger must survive the daemon, not the machine. After a power cut the boot id
differs and every record is history.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

NAME = "ledger.ndjson"
MAX_SIZE = 1024 * 1024
"""Bytes after which the file is written anew."""
MAX_READ = 64 * 1024 * 1024
"""Bytes beyond which a file is not one of ours."""


@dataclass(frozen=True, slots=True)
class Record:
    """The latest run of one unit. `pid` is None between intent and spawn, and after the end."""

    unit: str
    run: int
    wanted: bool
    """The goal was UP. A successor in the same boot keeps to it: what was stopped stays stopped."""
    pid: int | None = None
    ticks: int = 0
    """Start time of the process as the system gives it (`ProcessIdentity.started`)."""
    boot: str = ""
    intended: bool = False
    """A spawn was begun, and its outcome is not recorded."""


class Ledger:
    """The file, and what it says."""

    def __init__(self, state_dir: str) -> None:
        self._path = Path(state_dir) / NAME
        self._records: dict[str, Record] = {r.unit: r for r in _read(self._path)}
        self._file = -1
        self._size = 0
        self.unwritten = 0
        """Records that could not be written (a full disk)."""
        self._compact()

    def record(self, unit: str) -> Record | None:
        """Return the latest record of a unit."""
        return self._records.get(unit)

    def records(self) -> tuple[Record, ...]:
        """Return the latest record of every unit ever seen."""
        return tuple(self._records.values())

    def put(self, record: Record) -> None:
        """Replace a unit's record."""
        if self._records.get(record.unit) == record:
            return
        self._records[record.unit] = record
        line = _line(record)
        try:
            if self._size + len(line) > MAX_SIZE:
                self._compact()
                return
            self._size += os.write(self._file, line)
        except OSError:
            # The next compaction, or the next record of this unit, makes it good.
            self.unwritten += 1

    def retire(self) -> None:
        """Mark all records as history: this daemon ended in order and left nothing running.

        Only the run numbers stay, so that no two runs ever have the same.
        """
        for record in self.records():
            self._records[record.unit] = Record(record.unit, record.run, wanted=True)
        self._compact()

    def forget(self, unit: str) -> None:
        """Drop a unit that is no longer in the configuration."""
        if self._records.pop(unit, None) is not None:
            self._compact()

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _compact(self) -> None:
        fresh = self._path.with_name(NAME + ".new")
        data = b"".join(map(_line, self._records.values()))
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(fresh, flags, 0o600)
        try:
            written = os.write(file, data)
            if written != len(data):
                raise OSError(f"only {written} of {len(data)} bytes of the ledger were written")
            fresh.replace(self._path)
        except OSError:
            os.close(file)
            self.unwritten += 1
            if self._file < 0:
                self._file = os.open(self._path, flags & ~os.O_TRUNC, 0o600)
            return
        if self._file >= 0:
            os.close(self._file)
        self._file, self._size = file, len(data)


def _line(record: Record) -> bytes:
    return json.dumps(asdict(record), separators=(",", ":")).encode() + b"\n"


def _read(path: Path) -> Iterator[Record]:
    try:
        if path.stat().st_size > MAX_READ:
            return
        data = path.read_bytes()
    except FileNotFoundError:
        return
    for line in data.splitlines():
        try:
            record = Record(**json.loads(line))
        except (ValueError, TypeError):
            continue
        if _sound(record):
            yield record


def _sound(record: Record) -> bool:
    """Tell whether a line that was JSON is also a record: the file may have been edited."""
    return (
        isinstance(record.unit, str)
        and type(record.run) is int
        and type(record.ticks) is int
        and (record.pid is None or (type(record.pid) is int and record.pid > 1))
        and isinstance(record.boot, str)
    )
