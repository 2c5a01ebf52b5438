"""A watch over how many processes of a service are there at one and the same time."""

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from supervisor.posix.environment import FLEET_MARK, UNIT_MARK, fleet_mark

LOOK_EVERY = 0.01
SETTLED = 1.0
"""Seconds after which a process has got past the exec that gives it its own environment."""


@dataclass
class Watch:
    """Looks from entering to leaving; `crowds` says who was seen together."""

    state_dir: Path
    allowed: int = 1
    crowds: list[str] = field(default_factory=list)
    looks: int = 0
    most: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._mark = fleet_mark(str(self.state_dir)).encode()
        self._units: dict[tuple[int, bytes], str] = {}
        self._strangers: set[int] = set()
        """Looked at no more while they live: most are, and a look at all took half a processor."""
        self._first_seen: dict[tuple[int, bytes], float] = {}
        self._over = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            while not self._over.wait(LOOK_EVERY):
                self.look()
        except BaseException as failure:  # noqa: BLE001 - raised at the end of the watch
            self._failure = failure

    def look(self) -> None:
        """Take one look. Those of one unit were together only if all still live afterwards."""
        self.looks += 1
        by_unit: dict[str, list[tuple[int, bytes]]] = {}
        present = set()
        pids = {int(name) for name in os.listdir("/proc") if name.isdecimal()}
        self._strangers &= pids
        for pid in pids - self._strangers:
            process = _alive(pid)
            if process is None:
                continue
            present.add(process)
            unit = self._unit_of(process)
            if unit is not None:
                by_unit.setdefault(unit, []).append(process)
        self._units = {p: u for p, u in self._units.items() if p in present}
        self._first_seen = {p: at for p, at in self._first_seen.items() if p in present}
        for unit, processes in by_unit.items():
            together = [p for p in processes if _alive(p[0]) == p]
            self.most[unit] = max(self.most.get(unit, 0), len(together))
            if len(together) > self.allowed:
                self.crowds.append(f"{unit}: {[_shown(pid) for pid, _ in together]}")

    def _unit_of(self, process: tuple[int, bytes]) -> str | None:
        if process in self._units:
            return self._units[process]
        environment = _read(process[0], "environ").split(b"\0")
        marks = dict(variable.partition(b"=")[::2] for variable in environment)
        unit = marks.get(UNIT_MARK.encode())
        if unit is not None and marks.get(FLEET_MARK.encode()) == self._mark:
            return self._units.setdefault(process, unit.decode())
        now = time.monotonic()
        if now - self._first_seen.setdefault(process, now) > SETTLED:
            self._strangers.add(process[0])
        return None


def _read(pid: int, what: str) -> bytes:
    """Return what /proc says of a process; nothing where it is gone, or may not be read."""
    try:
        with open(f"/proc/{pid}/{what}", "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return b""


def _alive(pid: int) -> tuple[int, bytes] | None:
    """Return pid and start time of a process that is there and no zombie."""
    fields = _read(pid, "stat").rpartition(b") ")[2].split()
    return (pid, fields[19]) if fields and fields[0] not in (b"Z", b"X") else None


def _shown(pid: int) -> str:
    return f"{pid} {_read(pid, 'cmdline')[:80]!r}"
