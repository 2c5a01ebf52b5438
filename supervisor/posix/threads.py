"""What a process is and what its threads wait for, as far as the system tells others."""

import os
import re
import sys
from typing import Final, NamedTuple

from supervisor.posix.rows import Row

if sys.platform == "linux":
    from supervisor.posix import linux as system
else:
    from supervisor.posix import darwin as system

_MOST: Final = 64
"""Threads of one process that are told of."""
# python3.11, Python (of the framework), pypy3: also behind a script whose first line names it.
_PYTHON = re.compile(r"(?:[Pp]ython|pypy)[0-9.]*(?:t|d)?$")


class Thread(NamedTuple):
    """One thread of a process."""

    tid: int
    name: str
    state: str
    """ps(1)'s letter."""
    waits_in: str
    """The function of the kernel that it waits in; empty: it runs, or we may not know."""

    def __str__(self) -> str:
        waits = f" in {self.waits_in}" if self.waits_in else ""
        return f"{self.tid} {self.name} (state {self.state}){waits}"


def row_of(pid: int) -> Row | None:
    """Return the row of a process, or None if there is none."""
    return system.read_row(pid)


def is_python(pid: int) -> bool:
    """Tell whether the program of a process is a Python interpreter."""
    return _PYTHON.fullmatch(os.path.basename(system.program(pid))) is not None


def command_of(pid: int) -> str:
    """Return the command line of a process, cut to one line of bearable length."""
    return " ".join(system.command_line(pid))[:200]


def of(pid: int) -> tuple[Thread, ...]:
    """Return the threads of a process, the main one first; none where the system does not tell."""
    return tuple(Thread(*each) for each in system.threads(pid, _MOST))
