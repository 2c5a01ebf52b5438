"""Processes of the daemon's own that outlive it, found again and ended by a later one."""

import contextlib
import signal
import sys
from collections.abc import Sequence

from supervisor.posix.environment import FLEET_MARK, UNIT_MARK
from supervisor.posix.identity import ProcessIdentity, identify_row

if sys.platform == "linux":
    from supervisor.posix import linux as system
else:
    from supervisor.posix import darwin as system

_SHOWN = 200
"""Characters of a command line."""


def find_own(fleet: str, argv: Sequence[str]) -> list[ProcessIdentity]:
    """Return the processes that run just `argv`, marked as of this fleet and of no run of it.

    One pass over the process table, and the environment of every session leader in it.
    """
    found = []
    for row in system.read_table(usage=False).values():
        if not row.alive or row.sid != row.pid:
            continue
        # First, since it waits for what is just executing its program: that has no words either.
        environment = system.environment(row.pid) or {}
        ours = environment.get(FLEET_MARK) == fleet and UNIT_MARK not in environment
        if ours and system.command_line(row.pid) == tuple(argv):
            identity = identify_row(row)
            if identity is not None:
                found.append(identity)
    return found


def kill(identity: ProcessIdentity) -> None:
    """SIGKILL exactly this process, if it is still there and of this boot."""
    if identity.boot == system.boot_id():
        with contextlib.suppress(PermissionError):
            system.send_signal(identity.pid, identity.started, signal.SIGKILL)


def terminate(identity: ProcessIdentity) -> None:
    """SIGTERM to exactly this process, if it is still there and of this boot."""
    if identity.boot == system.boot_id():
        with contextlib.suppress(PermissionError):
            system.send_signal(identity.pid, identity.started, signal.SIGTERM)


def is_stopped(pid: int) -> bool:
    """Tell whether whoever has this pid was stopped, as SIGSTOP does."""
    row = system.read_row(pid)
    return row is not None and row.state in ("T", "t")


def parent_of(pid: int) -> int | None:
    """Return the parent of whoever has this pid, or None if nobody has."""
    row = system.read_row(pid)
    return None if row is None else row.ppid


def command_of(pid: int) -> str:
    """Return the command line of whoever has this pid, or its name; both may be empty."""
    row = system.read_row(pid)
    return " ".join(system.command_line(pid))[:_SHOWN] or (row.name if row else "")
