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
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Final

NAME = "ledger.ndjson"
MAX_SIZE = 1024 * 1024
"""Bytes after which the file is written anew."""
MAX_READ = 64 * 1024 * 1024
"""Bytes beyond which a file is not one of ours."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one unit. `pid` is None between intent and spawn, and after the end.

    Both runs of a rolling restart stand in one record, so that no crash can come between them.
    """

    unit: str
    run: int
    """The latest run; in a rolling restart the one in service."""
    wanted: bool
    """The goal was UP. A successor in the same boot keeps to it: what was stopped stays stopped."""
    pid: int | None = None
    ticks: int = 0
    """Start time of the process as the system gives it (`ProcessIdentity.started`)."""
    boot: str = ""
    intended: bool = False
    """A spawn was begun, and its outcome is not recorded."""
    started: bool = True
    """The run has passed its startup probe."""
    fingerprint: int = 0
    """Of the spec that the run was started with (`supervisor.core.plan`); 0: not known."""
    environment: int = 0
    """Checksum of the environment that the run was started with; 0: not known."""
    last_run: int = 0
    """The highest number that any run has had; 0 where it is that of `run`."""
    other_run: int = 0
    """The second run that lives, in a rolling restart; 0: there is none."""
    other_pid: int | None = None
    other_ticks: int = 0
    phase: str = ""
    """Where the unit was without a process: failed, completed or waiting."""
    until: float = 0.0
    """When waiting ends, on the monotonic clock of this boot."""
    reason: str = ""
    restarts: int = 0
    in_a_row: int = 0
    recent: tuple[float, ...] = ()
    """Failures within the give-up window, on the monotonic clock of this boot."""
    in_force: tuple[str, ...] = ()
    """Remedies whose variables and arguments the next run gets (`supervisor.core.remedy`)."""
    of_run: tuple[str, ...] = ()
    """Those that the latest run was started with."""
    rests_on: int = 0
    """Checksum of what those rest on."""
    uses: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """When each remedy was applied, on the monotonic clock of this boot."""

    def highest_run(self) -> int:
        """Return the number that the next run must exceed."""
        return max(self.run, self.last_run, self.other_run)


class Ledger:
    """The file, and what it says."""

    def __init__(self, state_dir: str) -> None:
        self._path = Path(state_dir) / NAME
        self._records: dict[str, Record] = {r.unit: r for r in read_records(self._path)}
        self._file = -1
        self._size = 0
        self._torn = False
        """The file may end in half a line, to which nothing must be added."""
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
        line = b"\n" * self._torn + _line(record)
        if self._size + len(line) > MAX_SIZE:
            self._compact()
            return
        try:
            written = os.write(self._file, line)
        except OSError:
            written = 0
        self._size += written
        if written < len(line):
            # The next compaction, or the next record of this unit, makes it good.
            self.unwritten += 1
            self._torn = self._torn or written > 0
        else:
            self._torn = False

    def retire(self) -> None:
        """Mark all records as history: this daemon ended in order and left nothing running.

        The run numbers stay, so that no two runs ever have the same, and what remedies have set,
        which holds until the configuration is changed.
        """
        for record in self.records():
            self._records[record.unit] = Record(
                record.unit,
                record.highest_run(),
                wanted=True,
                in_force=record.in_force,
                of_run=record.of_run,
                rests_on=record.rests_on,
            )
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
                self._torn = True
            return
        if self._file >= 0:
            os.close(self._file)
        self._file, self._size, self._torn = file, len(data), False


def _line(record: Record) -> bytes:
    # Not dataclasses.asdict, which copies deeply: 30 µs of each restart. Defaults are left out.
    told = {
        name: value
        for name in _TYPES
        if (value := getattr(record, name)) != _DEFAULTS.get(name, _DEFAULTS)
    }
    return json.dumps(told, separators=(",", ":")).encode() + b"\n"


def read_records(path: Path) -> Iterator[Record]:
    """Yield the records of a ledger file, oldest first; lines that are none are passed over."""
    try:
        if path.stat().st_size > MAX_READ:
            return
        data = path.read_bytes()
    except FileNotFoundError:
        return
    for line in data.splitlines():
        try:
            told = json.loads(line)
            # A field that this release does not know was written by a newer one, which may have
            # been taken back: better to know less of a run than to lose it.
            record = Record(**{name: told[name] for name in told if name in _TYPES})
            record = replace(
                record,
                recent=tuple(record.recent),
                in_force=tuple(record.in_force),
                of_run=tuple(record.of_run),
                uses={rule: tuple(times) for rule, times in record.uses.items()},
            )
        except (ValueError, TypeError, AttributeError):
            continue
        if _sound(record):
            yield record


_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "unit": (str,),
    "run": (int,),
    "wanted": (bool,),
    "pid": (int, type(None)),
    "ticks": (int,),
    "boot": (str,),
    "intended": (bool,),
    "started": (bool,),
    "fingerprint": (int,),
    "environment": (int,),
    "last_run": (int,),
    "other_run": (int,),
    "other_pid": (int, type(None)),
    "other_ticks": (int,),
    "phase": (str,),
    "until": (float, int),
    "reason": (str,),
    "restarts": (int,),
    "in_a_row": (int,),
    "recent": (tuple,),
    "in_force": (tuple,),
    "of_run": (tuple,),
    "rests_on": (int,),
    "uses": (dict,),
}


_DEFAULTS: Final[Mapping[str, object]] = {
    each.name: each.default for each in fields(Record) if each.default is not MISSING
} | {"uses": {}}


def _sound(record: Record) -> bool:
    """Tell whether a line that was JSON is also a record: the file may have been edited."""
    # type(), not isinstance: True is an int to isinstance.
    right = all(type(getattr(record, name)) in types for name, types in _TYPES.items())
    return (
        right
        and all(pid is None or pid > 1 for pid in (record.pid, record.other_pid))
        and all(type(name) is str for name in (*record.in_force, *record.of_run))
        and all(
            type(at) in (int, float)
            for times in (record.recent, *record.uses.values())
            for at in times
        )
    )
