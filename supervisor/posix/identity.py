"""Which process is meant: a pid alone names whoever has it now.

Pid, exact start time and boot together name one process for ever. Nothing in this package sends
a signal on the word of a pid alone.
"""

import os
import sys
import time
from dataclasses import dataclass

from supervisor.posix.rows import Row

if sys.platform == "linux":
    from supervisor.posix import linux as system
else:
    from supervisor.posix import darwin as system


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process, told from every other that had or will have its pid."""

    pid: int
    started: int
    """In the system's own units, exact: Linux clock ticks since boot, macOS microseconds."""
    boot: str
    uid: int


def boot_id() -> str:
    """Return what is new at every boot of this machine."""
    return system.boot_id()


def identify(pid: int) -> ProcessIdentity | None:
    """Return who has this pid now, a zombie included, or None if nobody has."""
    row = system.read_row(pid)
    uid = system.owner(pid)
    if row is None or uid is None:
        return None
    return ProcessIdentity(pid, row.started, system.boot_id(), uid)


def identify_row(row: Row) -> ProcessIdentity | None:
    """Return who this row is of, or None if that one is gone: its pid may be another's by now."""
    identity = identify(row.pid)
    return identity if identity is not None and identity.started == row.started else None


def is_alive(identity: ProcessIdentity) -> bool:
    """Tell whether this very process still runs. A zombie does not."""
    if identity.boot != system.boot_id():
        return False
    row = system.read_row(identity.pid)
    return row is not None and row.started == identity.started and row.alive


def is_child(identity: ProcessIdentity) -> bool:
    """Tell whether this very process is our child, a zombie included: its end can be reaped."""
    row = system.read_row(identity.pid)
    return (
        identity.boot == system.boot_id()
        and row is not None
        and row.started == identity.started
        and row.ppid == os.getpid()
    )


def started_monotonic(identity: ProcessIdentity) -> float | None:
    """Return when a living process started, on the clock of time.monotonic(), or None if gone.

    Where the machine slept since, the result is earlier than that clock ever showed, so that
    "now minus start" is the process's true age.
    """
    row = system.read_row(identity.pid)
    if row is None or row.started != identity.started or identity.boot != system.boot_id():
        return None
    return time.monotonic() - system.age(row)
