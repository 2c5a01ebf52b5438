"""What a daemon that was killed has left running: no command may say "nothing runs" over it."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from supervisor.cli import wording
from supervisor.ledger import NAME, read_records
from supervisor.posix.identity import ProcessIdentity, is_alive

_LISTED = 10
"""Survivors named in one sentence; more are counted."""


@dataclass(frozen=True, slots=True)
class Survivor:
    """A run of a service that goes on with no daemon to watch it."""

    service: str
    pid: int


def survivors(state_dir: str) -> list[Survivor]:
    """Return the runs in the ledger whose process lives, proven by start time and boot id."""
    try:
        latest = {record.unit: record for record in read_records(Path(state_dir, NAME))}
    except OSError:
        return []
    return [
        Survivor(record.unit, pid)
        for record in latest.values()
        # In a rolling restart there are two.
        for pid, ticks in ((record.pid, record.ticks), (record.other_pid, record.other_ticks))
        if pid is not None and is_alive(ProcessIdentity(pid, ticks, record.boot, os.geteuid()))
    ]


def left_running(state_dir: str) -> str:
    """Return who was left, as a list in words; empty if nobody was."""
    left = survivors(state_dir)
    return wording.listing(list(_named(left)))


def _named(left: Sequence[Survivor]) -> Iterator[str]:
    for survivor in left[:_LISTED]:
        yield f"{survivor.service} (pid {survivor.pid})"
    if len(left) > _LISTED:
        yield f"{len(left) - _LISTED} more"
