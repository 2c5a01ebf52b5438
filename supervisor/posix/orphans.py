"""Children of ours that nobody claims: what a service has left where no proof says whose it is.

On Linux orphans of all services come to the daemon (it is a subreaper). One that has changed its
session, wiped its environment and closed its output before it was in a control group is ours, and
of some service, but of which? At the end of the daemon that does not matter any more.
"""

import asyncio
import signal
import sys
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Final

from supervisor.posix.rows import Row
from supervisor.posix.tree import describe, signal_members

if sys.platform == "linux":
    from supervisor.posix import linux as system
else:
    from supervisor.posix import darwin as system

_GRACE: Final = 1.0
"""Seconds between SIGTERM and SIGKILL."""
_PAUSE: Final = 0.01


def orphans(known: AbstractSet[int]) -> tuple[Row, ...]:
    """Return what lives of children of ours that are not `known`, and below them.

    Empty where the system does not give us orphans (macOS).
    """
    return _living(_unclaimed(known))


async def end_orphans(known: Callable[[], AbstractSet[int]], within: float) -> tuple[str, ...]:
    """End them all; return words for those that there were, whether or not they still are.

    Bounded by `within` seconds. The reaper must be at work.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    words: tuple[str, ...] = ()
    asked: set[tuple[int, int]] = set()
    # Until none is listed, the dead included: one that has only just ended may have left us a child
    # that was not on the list yet.
    while unclaimed := _unclaimed(known()):
        found = _living(unclaimed)
        words = words or describe(found)
        fresh = [row for row in found if (row.pid, row.started) not in asked]
        signal_members(fresh, signal.SIGTERM)
        signal_members(fresh, signal.SIGCONT)
        asked.update((row.pid, row.started) for row in fresh)
        if loop.time() > began + _GRACE:
            signal_members(found, signal.SIGKILL)
        if loop.time() >= began + within:
            break
        await asyncio.sleep(_PAUSE)
    return words


def _living(unclaimed: AbstractSet[int]) -> tuple[Row, ...]:
    table = system.read_trees(unclaimed)
    return tuple(table[pid] for pid in sorted(table) if table[pid].alive)


def _unclaimed(known: AbstractSet[int]) -> AbstractSet[int]:
    return (system.children() or frozenset()) - known
