"""The watch over services that may use only so much memory."""

import asyncio
from collections.abc import Callable
from typing import NoReturn

from supervisor.core.events import Event, Exceeded
from supervisor.core.unit import Running
from supervisor.machine import Machine
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
        for name, used in machine.usage().items():
            unit = runtime.fleet.units.get(name)
            if unit is None or not isinstance(unit.phase, Running):
                continue
            limit = unit.spec.limits.memory
            if limit is not None and used.rss > limit:
                text = f"uses {_mebibytes(used.rss)} of memory, and may use {_mebibytes(limit)}"
                post(name, Exceeded(unit.phase.run, text))


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
