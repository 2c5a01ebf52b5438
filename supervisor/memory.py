"""The watch over services that may use only so much memory."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import NoReturn

from supervisor.core.events import Event, Exceeded, RunId
from supervisor.core.turn import Fleet
from supervisor.core.unit import Running
from supervisor.machine import Machine
from supervisor.posix.usage import Usage
from supervisor.runtime import Runtime

PERIOD = 5.0
"""Seconds between two looks."""


async def watch(machine: Machine, runtime: Runtime, post: Callable[[str, Event], None]) -> NoReturn:
    """Post `Exceeded` for each run whose tree is seen to use more than its limit; never returns.

    This is what holds where the kernel keeps no limit for us: macOS, and Linux without a memory
    controller of cgroup v2.
    """
    while True:
        await asyncio.sleep(PERIOD)
        for name, exceeded in over_limit(machine.usage_by_run(), runtime.fleet):
            post(name, exceeded)


def over_limit(
    usage: Mapping[tuple[str, RunId], Usage], fleet: Fleet
) -> Iterator[tuple[str, Exceeded]]:
    """Yield service and event of each run that uses too much: each is to keep the limit alone."""
    overlapping = ((name, overlap.unit) for name, overlap in fleet.overlaps.items())
    for name, unit in (*fleet.units.items(), *overlapping):
        if not isinstance(unit.phase, Running):
            continue
        run, limit = unit.phase.run, unit.spec.limits.memory
        used = usage.get((name, run))
        if limit is not None and used is not None and used.rss > limit:
            text = f"uses {_mebibytes(used.rss)} of memory, and may use {_mebibytes(limit)}"
            yield name, Exceeded(run, text)


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
