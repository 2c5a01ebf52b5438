"""All processes of a run, and their end. Only processes proven to be the run's are signalled.

What proves that is in `supervisor.posix.proofs`; here the system is asked, and signals are sent.
On Linux the daemon is a subreaper, so what the leader leaves behind becomes the daemon's own
child whatever sessions it made, and "no unknown child" proves a tree empty.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final, Literal

from supervisor.posix.cgroup import Group
from supervisor.posix.environment import Marker, marker_of
from supervisor.posix.identity import ProcessIdentity, identify_row
from supervisor.posix.proofs import Tree as Tree
from supervisor.posix.proofs import members
from supervisor.posix.rows import Row

if sys.platform == "linux":
    from supervisor.posix import linux as system
else:
    from supervisor.posix import darwin as system

become_subreaper = system.become_subreaper

FREEZE_PASSES: Final = 8
"""Scans in one round that look for what was forked during the scan before."""

_POUNCE: Final = 0.02
"""Seconds of one pounce at most: the loop has other services to look after."""

_FIRST_PAUSE: Final = 0.001
"""Seconds between rounds, doubled up to _LONGEST_PAUSE. A killed process is gone in about one."""
_LONGEST_PAUSE: Final = 0.05

_REAPING: Final = 0.5
"""Seconds between two rounds in which the dead are reaped, if there are as many."""

_QUIET_LOOKS: Final = 2
"""Looks in a row that must find nothing where one alone is no proof."""

_LISTED: Final = 20
"""Processes named one by one in a report; of a fork bomb the rest is a number."""


def signal_group(leader: ProcessIdentity, number: int, *, with_cont: bool) -> bool:
    """Send a signal to the leader's process group. False: the leader is reaped, or not ours.

    With `with_cont`, SIGCONT follows, or a stopped process would not notice a SIGTERM. Before
    6.9, Linux looks first and signals after, as macOS does.
    """
    if leader.boot != system.boot_id():
        return False
    numbers = (number, signal.SIGCONT) if with_cont else (number,)
    try:
        sent = system.send_group_signal(leader.pid, leader.started, numbers)
        if sent is None:
            row = system.read_row(leader.pid)
            sent = row is not None and row.started == leader.started
            for each in numbers if sent else ():
                os.killpg(leader.pid, each)
    except (ProcessLookupError, PermissionError):
        # macOS says EPERM of a group in which only zombies are left.
        return False
    return sent


def descendants(leader: ProcessIdentity) -> tuple[Row, ...]:
    """Return every living process below this one, itself not included; none if it is gone."""
    table = system.read_trees((leader.pid,))
    own = table.pop(leader.pid, None)
    if own is None or own.started != leader.started:
        return ()
    return tuple(table[found] for found in sorted(table) if table[found].alive)


def survivors(
    tree: Tree,
    *,
    known: AbstractSet[int],
    seen: Collection[Row] = (),
    group: Group | None = None,
) -> tuple[Row, ...]:
    """Return what lives of a run's tree, its leader included.

    `known` are all pids that the daemon started and that are not of this run: other leaders, and
    its own sink. `seen` is what descendants() told while the leader lived. `group` is the run's
    control group, if it has one. Costs some microseconds where the leader is reaped and left
    nothing.
    """
    if tree.leader.boot != system.boot_id():
        return ()
    strays = _strays(tree, known)
    if strays is not None and not strays and _group_is_gone(tree.leader.pid):
        # All that lives of a watched run is below one of our children: no control group is needed.
        return ()
    inside = _inside(group)
    # Whatever lives of a watched run is a child of ours, or below one, or in its control group.
    some = None if strays is None else strays | inside
    table = system.read_table(usage=False) if some is None else system.read_trees(some)
    # One that was there before and after its row was read is the one of that row.
    grouped = [table[pid] for pid in inside & _inside(group) if pid in table]
    return _members_now(
        table, tree, known=known, seen=(*seen, *grouped), orphans_are_ours=strays is not None
    )


def is_empty(
    tree: Tree,
    *,
    known: AbstractSet[int],
    seen: Collection[Row] = (),
    group: Group | None = None,
) -> bool:
    """Tell whether one look proves that nothing of a run lives; otherwise `clear` finds out.

    That `survivors` finds nothing is no proof: what forks and ends after our children were listed
    and before it is looked at leaves us a child that is not on the list.
    """
    return (
        not survivors(tree, known=known, seen=seen, group=group)
        and _certainty(tree, known) == "empty"
    )


def _inside(group: Group | None) -> frozenset[int]:
    return frozenset() if group is None else group.pids()


def find_leader(marker: Marker) -> ProcessIdentity | None:
    """Return the living process that carries these marks and leads its own session, if any.

    For a daemon that was killed after a spawn and before it could write down the pid. One pass
    over the table, and the environment of every session leader in it.
    """
    for row in system.read_table(usage=False).values():
        if (
            row.alive
            and row.sid == row.pid
            and marker_of(system.environment(row.pid) or {}) == marker
        ):
            return identify_row(row)
    return None


def find_marked(
    fleet: str, fifos: Mapping[str, Marker] | None = None
) -> dict[Marker, ProcessIdentity]:
    """Return, for each run of a fleet of which anything living carries the marks, its oldest.

    `fifos` tells, by the path of a unit's FIFO, of which run what has no marks and prints into
    it is to be. One pass over the table and the environment of every process in it: for the
    start after a daemon was killed, not for every day.
    """
    runs = {os.path.basename(path): (path, run) for path, run in (fifos or {}).items()}
    oldest: dict[Marker, Row] = {}
    for row in system.read_table(usage=False).values():
        if not row.alive or row.pid in (1, os.getpid()):
            continue
        marker = marker_of(system.environment(row.pid) or {}) or _printing(row.pid, runs)
        if marker is None or marker.fleet != fleet:
            continue
        known = oldest.get(marker)
        if known is None or (row.started, row.pid) < (known.started, known.pid):
            oldest[marker] = row
    found = ((marker, identify_row(row)) for marker, row in oldest.items())
    return {marker: identity for marker, identity in found if identity is not None}


def _printing(pid: int, runs: Mapping[str, tuple[str, Marker]]) -> Marker | None:
    for name in system.output_names(pid) & runs.keys():
        path, marker = runs[name]
        if system.prints_into(pid, path):
            return marker
    return None


def signal_members(rows: Collection[Row], number: int) -> int:
    """Signal each of these very processes; return how many were still there and could be."""
    sent = 0
    for row in rows:
        try:
            sent += system.send_signal(row.pid, row.started, number)
        except PermissionError:
            continue
    return sent


def kill_round(find: Callable[[], tuple[Row, ...]], *, freeze: bool) -> int:
    """Send SIGKILL to all that `find` finds; return how many it found. Bounded, never waits.

    With `freeze`, all are stopped first and looked for again until no new ones appear: what forks
    faster than it is killed cannot fork while it is stopped.
    """
    found = find()
    if freeze:
        frozen: set[tuple[int, int]] = set()
        for _ in range(FREEZE_PASSES):
            fresh = [row for row in found if (row.pid, row.started) not in frozen]
            if not fresh:
                break
            signal_members(fresh, signal.SIGSTOP)
            frozen.update((row.pid, row.started) for row in fresh)
            found = find()
    signal_members(found, signal.SIGKILL)
    return len(found)


def pounce(tree: Tree, *, known: AbstractSet[int], seen: Collection[Row]) -> None:
    """Kill orphan by orphan, the last come first, each at once when it is proven.

    A chain of processes that fork and exit is gone before a look at all of them has ended: 50
    such chains outran whole rounds for 5 s, and take 1.6 s this way. Its living end is what came
    last; the rest are dead and wait to be reaped. Bounded in time.
    """
    if not tree.ours:
        return
    until = time.monotonic() + _POUNCE
    for pid in system.newest_children():
        if time.monotonic() > until:
            break
        if pid in known:
            continue
        found = _members_now(
            system.read_trees((pid,)), tree, known=known, seen=seen, orphans_are_ours=True
        )
        signal_members(found, signal.SIGKILL)


async def clear(
    tree: Tree,
    *,
    known: Callable[[], AbstractSet[int]],
    seen: Collection[Row] = (),
    group: Group | None = None,
    within: float,
) -> tuple[str, ...]:
    """Kill what is left of a run until nothing is, or `within` seconds have gone.

    Returns words for each process that is still there; none is the proof of an empty tree.
    `known` is asked anew at each round, since other runs begin meanwhile.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within

    def find() -> tuple[Row, ...]:
        return survivors(tree, known=known(), seen=seen, group=group)

    pause = _FIRST_PAUSE
    again = False
    quiet = 0
    while True:
        if group is not None:
            group.kill()
        if again:
            pounce(tree, known=known(), seen=seen)
        if kill_round(find, freeze=again and _strays(tree, known()) is None):
            quiet, again = 0, True
        else:
            match _certainty(tree, known()):
                case "empty":
                    return ()
                case "quiet":
                    quiet += 1
                case "restless":
                    quiet = 0
            if quiet == _QUIET_LOOKS:
                return ()
        left = deadline - loop.time()
        if left <= 0:
            return describe(find()) or (
                "processes that end and begin faster than they can be looked at",
            )
        await asyncio.sleep(min(pause, left))
        # To look at 30 000 dead orphans takes a second and more, and they grow meanwhile until the
        # system has no pid left; each is reaped in less time than it is looked at.
        until = min(deadline, loop.time() + _REAPING)
        while system.dead_child() is not None and loop.time() < until:  # noqa: ASYNC110
            await asyncio.sleep(0)
        pause = min(2 * pause, _LONGEST_PAUSE)


def describe(rows: Collection[Row]) -> tuple[str, ...]:
    """Return `pid 123 python worker.py (state D)` for each process, as far as it can be told."""
    words = []
    for row in list(rows)[:_LISTED]:
        command = " ".join(system.command_line(row.pid))[:120] or row.name
        words.append(f"pid {row.pid} {command} (state {row.state})")
    if len(rows) > _LISTED:
        words.append(f"and {len(rows) - _LISTED} more processes")
    return tuple(words)


def _members_now(
    table: Mapping[int, Row],
    tree: Tree,
    *,
    known: AbstractSet[int],
    seen: Collection[Row],
    orphans_are_ours: bool,
) -> tuple[Row, ...]:
    return members(
        table,
        tree,
        me=os.getpid(),
        known=known,
        seen=seen,
        orphans_are_ours=orphans_are_ours,
        environment=system.environment,
        prints=lambda pid: system.prints_into(pid, tree.fifo),
        rivals=lambda: _rivals(tree, known),
    )


def _rivals(tree: Tree, known: AbstractSet[int]) -> tuple[int, ...]:
    """Return when each other living run of the unit started: it prints into the same FIFO."""
    starts = []
    for pid in known:
        row = system.read_row(pid)
        if row is None or not row.alive:
            continue
        marker = marker_of(system.environment(pid) or {})
        if marker is None:
            is_rival = system.prints_into(pid, tree.fifo)
        else:
            is_rival = marker != tree.marker and marker == replace(tree.marker, run=marker.run)
        if is_rival:
            starts.append(row.started)
    return tuple(starts)


def _strays(tree: Tree, known: AbstractSet[int]) -> frozenset[int] | None:
    """Return our children that nobody claims, or None where they would prove nothing."""
    if not tree.ours:
        return None
    children = system.children()
    return None if children is None else children - known


def _certainty(tree: Tree, known: AbstractSet[int]) -> Literal["empty", "quiet", "restless"]:
    """Say what it is worth that nothing was found."""
    strays = _strays(tree, known)
    if strays is None:
        return "quiet"
    # What is in the session of a process that we started is of that one's run. A service may leave
    # orphans all the time, and no other could ever be proven to be over.
    strays = frozenset(pid for pid in strays - {tree.leader.pid} if not _is_of_session(pid, known))
    if not strays:
        return "empty"
    # An orphan that ended unreaped may have left a child that was forked after the look at it,
    # and of one that is between two programs nobody can tell whose it is.
    for pid in strays:
        if system.is_ending(pid) or system.is_executing(pid):
            return "restless"
    return "quiet"


def _is_of_session(pid: int, leaders: AbstractSet[int]) -> bool:
    row = system.read_row(pid)
    return row is not None and row.sid in leaders


def _group_is_gone(pgid: int) -> bool:
    # A second opinion: the kernel's list of children promises no exactness while they change.
    try:
        os.killpg(pgid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
