"""What Linux says of processes: tree, CPU time, wake-ups, memory. Linux only.

A process that ends while it is looked at counts as nothing.
"""

import contextlib
import os
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from benchmarks.children.keeper import below


@dataclass(frozen=True, slots=True)
class Use:
    """What some processes have used since each began, or hold now."""

    cpu: float
    """Seconds of CPU, threads that have ended included."""
    wakeups: int
    """Voluntary context switches: each is a sleep that was woken."""
    pss: int
    """Bytes; pages shared by n processes count one n-th for each."""
    private: int
    """Bytes that no other process shares."""
    processes: int


def use_of(pids: Collection[int]) -> Use:
    """Return what these processes use together."""
    pss, private = _memory(pids)
    return Use(
        sum(map(cpu_seconds, pids)), sum(map(_wakeups, pids)), pss, private, processes=len(pids)
    )


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process with all its threads, exact to the nanosecond.

    /proc/PID/stat counts in hundredths of a second, too coarse for a supervisor that idles.
    """
    cpu_clock = (~pid << 3) | 2  # MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED), posix-timers.h
    try:
        return time.clock_gettime(cpu_clock)
    except OSError:
        return 0.0


def _wakeups(pid: int) -> int:
    total = 0
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            total += _field(f"/proc/{pid}/task/{thread}/status", "voluntary_ctxt_switches:")
    return total


def _memory(pids: Iterable[int]) -> tuple[int, int]:
    pss = private = 0
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as file:
            for line in file:
                name, _, rest = line.partition(":")
                if name == "Pss":
                    pss += int(rest.split()[0]) * 1024
                elif name.startswith("Private_"):
                    private += int(rest.split()[0]) * 1024
    return pss, private


def _field(path: str, name: str) -> int:
    with contextlib.suppress(OSError), open(path) as file:
        for line in file:
            if line.startswith(name):
                return int(line.split()[1])
    return 0


def tree(root: int, *, without: str) -> list[int]:
    """Return what is below a process, but not programs whose file is `without`."""
    return [pid for pid in below(root) if program(pid) not in (without, None)]


def program(pid: int) -> str | None:
    """Return the file that a process executes; None for one that is gone, or a zombie."""
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return None


def start_ticks(pid: int) -> int | None:
    """Return when a process began, which tells it from a later one of the same number.

    None if it is gone or a zombie.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            words = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if words[0] in (b"Z", b"X") else int(words[19])


def forks() -> int:
    """Return how many processes and threads the whole machine has started."""
    return _field("/proc/stat", "processes")


def load() -> float:
    """Return how many processes wanted to run, on average over the last minute."""
    return os.getloadavg()[0]
