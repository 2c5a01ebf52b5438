"""What of a system lives on this machine: asked of the process table, not of the system."""

import contextlib
import os
import sys
import time
from collections.abc import Callable

import psutil

from supervisor.posix.environment import FLEET_MARK, environment_of, fleet_mark

if sys.platform == "linux":
    from supervisor.posix.linux import is_executing
else:
    from supervisor.posix.darwin import is_executing

_DEADLINE = 10.0


def commands_of(
    state_dir: str, is_named: Callable[[list[str]], bool]
) -> list[tuple[psutil.Process, list[str]]]:
    """Return every process that has this system's mark, or whose command line names it.

    With the words of its command line: what has ended a moment later can still be told.
    """
    mark = fleet_mark(state_dir)
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                continue
            _await_program(process.pid)
            words = process.cmdline()
            if (environment_of(process.pid) or {}).get(FLEET_MARK) == mark or is_named(words):
                found.append((process, words))
    return found


def _await_program(pid: int) -> None:
    """Wait until a process has the words and the environment of the program that it executes.

    Whoever started it goes on as soon as it has left the old memory: some 100 µs before, and any
    time on a virtual machine whose other processor rests. Until then it is found by nothing.
    """
    deadline = time.monotonic() + _DEADLINE
    # A thread of the kernel has no memory, either, and tells that nobody may read it.
    while is_executing(pid) and environment_of(pid) == {} and time.monotonic() < deadline:
        os.sched_yield()
