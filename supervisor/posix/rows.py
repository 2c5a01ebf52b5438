"""The system's processes as rows of one table, whatever the system.

`linux.py` and `darwin.py` fill the rows; all that is decided about them is pure and here or in
`tree.py`, so it can be tested with tables that no machine would show on request.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

DEAD_STATES: Final = frozenset("ZXx")
"""ps(1)'s letters for a process that has ended and only waits to be reaped."""


class Row(NamedTuple):
    """One process at one moment. A tuple: a table of 600 is read several times a second."""

    pid: int
    ppid: int
    pgid: int
    sid: int
    """-1 where the system would not say."""
    state: str
    """ps(1)'s letter: R S D T Z …"""
    started: int
    """In the system's own units, exact: compared for equality, never computed with."""
    cpu: float
    """Seconds on a processor, user and system, of this process alone."""
    rss: int
    """Bytes."""
    name: str

    @property
    def alive(self) -> bool:
        """Tell whether it can still do something."""
        return self.state not in DEAD_STATES


class DeadChild(NamedTuple):
    """A child that ended and is not reaped: `si_code` and `si_status` of waitid(2)."""

    pid: int
    code: int
    status: int


def with_descendants(table: Mapping[int, Row], roots: Iterable[int]) -> set[int]:
    """Return those of `roots` that are in the table, and everything below them."""
    children: dict[int, list[int]] = {}
    for row in table.values():
        children.setdefault(row.ppid, []).append(row.pid)
    found: set[int] = set()
    left = [pid for pid in roots if pid in table]
    while left:
        pid = left.pop()
        if pid not in found:
            found.add(pid)
            left.extend(children.get(pid, ()))
    return found
