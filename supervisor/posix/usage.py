"""Processor time and memory of many trees at once, in one pass over the process table."""

import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from supervisor.posix.rows import Row

if sys.platform == "linux":
    from supervisor.posix import linux as system
else:
    from supervisor.posix import darwin as system


@dataclass(frozen=True, slots=True)
class Usage:
    """What the living processes of one tree use together."""

    cpu_seconds: float = 0.0
    """User and system time since each process started; falls when one of them ends."""
    rss: int = 0
    """Bytes resident; memory that two processes share counts twice."""
    processes: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        """Return what two trees use together."""
        return Usage(
            self.cpu_seconds + other.cpu_seconds,
            self.rss + other.rss,
            self.processes + other.processes,
        )


def tree_usage(roots: Collection[int]) -> dict[int, Usage]:
    """Return the usage of the tree below each root pid, a dead one's being zero."""
    return usage_of(system.read_table(usage=True), roots)


def usage_of(table: Mapping[int, Row], roots: Collection[int]) -> dict[int, Usage]:
    """Add up the rows of `table` by root: pure.

    A process belongs to the nearest root above it, or else to the root whose session it is in:
    an orphan has lost its parent, not its session.
    """
    found: dict[int, int | None] = {root: root for root in roots}

    def root_of(pid: int) -> int | None:
        path = []
        at = pid
        while at not in found:
            path.append(at)
            found[at] = None  # also ends a loop, which a table read over time could show
            row = table.get(at)
            if row is None:
                break
            at = row.ppid
        answer = found[at]
        for step in reversed(path):
            row = table.get(step)
            if answer is None and row is not None and found.get(row.sid) == row.sid:
                answer = row.sid
            found[step] = answer
        return answer

    cpu = dict.fromkeys(roots, 0.0)
    rss = dict.fromkeys(roots, 0)
    processes = dict.fromkeys(roots, 0)
    for row in table.values():
        root = root_of(row.pid)
        if root is not None and row.alive:
            cpu[root] += row.cpu
            rss[root] += row.rss
            processes[root] += 1
    return {root: Usage(cpu[root], rss[root], processes[root]) for root in cpu}
