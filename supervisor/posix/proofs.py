"""Which processes are a run's: the proofs, and the decision by them. Pure.

The proofs, each enough: it is the leader (pid and start time); it was seen below the leader while
that lived; it is below a process that is proven; it has the leader's session or group, which are
numbers that nobody else can get while one member lives; its environment carries the run's marks;
on Linux, its stdout or stderr is the unit's own FIFO, and of the unit's runs only this one can
have started it. (That it is in the run's control group is the caller's to find out: `seen`.)
"""

from collections.abc import Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from supervisor.posix.environment import Marker, marker_of
from supervisor.posix.identity import ProcessIdentity
from supervisor.posix.rows import Row, with_descendants


@dataclass(frozen=True, slots=True)
class Tree:
    """One run as the system sees it."""

    marker: Marker
    leader: ProcessIdentity
    ours: bool
    """The leader is, or was until just now, this daemon's own child: its orphans come to us.

    False for an adopted run and for one whose leader ended while no daemon watched. The numbers
    of its session and group may then be another's by now, and prove nothing alone.
    """
    fifo: str = ""
    """The path of the FIFO into which the unit prints: whoever does is of the unit. "": unknown."""


def members(
    table: Mapping[int, Row],
    tree: Tree,
    *,
    me: int,
    known: AbstractSet[int],
    seen: Collection[Row],
    orphans_are_ours: bool,
    environment: Callable[[int], Mapping[str, str] | None],
    prints: Callable[[int], bool],
    rivals: Callable[[], Collection[int]],
) -> tuple[Row, ...]:
    """Return the living rows of `table` that are proven to be of the tree, by pid. Pure.

    `me` is the daemon; `environment` tells a process's environment, or None if it may not be
    read; `prints` whether it prints into the unit's FIFO; `rivals` when each other living run of
    the unit started. Each is asked only where it can make a difference: they are the costly part.
    """
    leader = tree.leader
    # Nothing is inherited through the daemon, through init, or through another run's leader.
    candidates = {
        pid: row for pid, row in table.items() if pid not in known and pid not in (0, 1, me)
    }
    occupant = table.get(leader.pid)
    recycled = occupant is not None and occupant.started != leader.started
    # While the leader is there, a zombie even, nobody else can have its number.
    held = occupant is not None and not recycled
    roots: set[int] = set()
    if held:
        roots.add(leader.pid)
    for earlier in seen:
        row = table.get(earlier.pid)
        if row is not None and row.started == earlier.started:
            roots.add(row.pid)
    for row in candidates.values():
        if row.pid == leader.pid or row.started < leader.started or not row.alive:
            continue
        same = leader.pid in (row.sid, row.pgid) and not recycled
        orphan = not orphans_are_ours or row.ppid == me
        if not same and not orphan:
            continue
        marker = marker_of(environment(row.pid) or {})
        if marker == tree.marker or (same and (held or tree.ours) and marker is None):
            roots.add(row.pid)
    proven = with_descendants(candidates, roots)
    # Nor is one that is below another run's leader a stray. Of a watched run, strays are ours.
    others = with_descendants(table, known)
    strays = with_descendants(
        candidates,
        (row.pid for row in candidates.values() if not orphans_are_ours or row.ppid == me),
    )
    printing = [
        candidates[pid]
        for pid in strays - proven - others - {leader.pid}
        if candidates[pid].alive
        and candidates[pid].started >= leader.started
        and prints(pid)
        and marker_of(environment(pid) or {}) is None
    ]
    if printing:
        # The FIFO is the unit's. While another run lives that may as well have started it, nobody
        # can tell whose it is; when that run is over, it is ours.
        latest = min(rivals(), default=None)
        roots.update(row.pid for row in printing if latest is None or row.started < latest)
        proven = with_descendants(candidates, roots)
    return tuple(candidates[pid] for pid in sorted(proven) if candidates[pid].alive)
