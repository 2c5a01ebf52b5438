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
        self._known: dict[tuple[int, bytes], str | None] = {}
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
        for name in os.listdir("/proc"):
            if not name.isdecimal():
                continue
            process = _alive(int(name))
            if process is None:
                continue
            present.add(process)
            unit = self._unit_of(process)
            if unit is not None:
                by_unit.setdefault(unit, []).append(process)
        self._known = {p: u for p, u in self._known.items() if p in present}
        self._first_seen = {p: at for p, at in self._first_seen.items() if p in present}
        for unit, processes in by_unit.items():
            together = [p for p in processes if _alive(p[0]) == p]
            self.most[unit] = max(self.most.get(unit, 0), len(together))
            if len(together) > self.allowed:
                self.crowds.append(f"{unit}: {[_shown(pid) for pid, _ in together]}")

    def _unit_of(self, process: tuple[int, bytes]) -> str | None:
        if process in self._known:
            return self._known[process]
        try:
            environment = Path(f"/proc/{process[0]}/environ").read_bytes().split(b"\0")
        except OSError:
            return None
        marks = dict(variable.partition(b"=")[::2] for variable in environment)
        unit = marks.get(UNIT_MARK.encode())
        ours = marks.get(FLEET_MARK.encode()) == self._mark and unit is not None
        found = unit.decode() if ours and unit is not None else None
        now = time.monotonic()
        if found is not None or now - self._first_seen.setdefault(process, now) > SETTLED:
            self._known[process] = found
        return found


def _alive(pid: int) -> tuple[int, bytes] | None:
    """Return pid and start time of a process that is there and no zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else (pid, fields[19])


def _shown(pid: int) -> str:
    try:
        return f"{pid} {Path(f'/proc/{pid}/cmdline').read_bytes()[:80]!r}"
    except OSError:
        return f"{pid} (gone)"
