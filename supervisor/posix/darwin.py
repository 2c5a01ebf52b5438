"""Processes as macOS shows them: rows by sysctl(3), as ps(1) reads them, the rest through psutil.

proc_pidinfo(3) would tell nothing of zombies, nor of other users' processes (a service that is
`sudo` has become root before its start has returned): xnu's bsd/kern/proc_info.c. There is no pidfd
and no subreaper: a process is known by pid and exact start time, checked as late as possible, and
orphans are found by session, group and environment marker.
"""

import contextlib
import ctypes
import errno
import os
import struct
import time
from collections.abc import Iterable
from functools import cache
from typing import Final

from supervisor.posix.rows import DeadChild, Row, with_descendants

# sys/sysctl.h
_CTL_KERN: Final = 1
_KERN_PROC: Final = 14
_ALL: Final = 0
_BY_PID: Final = 1
# struct kinfo_proc, 648 bytes in every 64-bit process. What is read of it, in this order:
# p_starttime (seconds, microseconds), p_stat, p_pid, p_comm, e_ucred.cr_uid, e_ppid, e_pgid.
_KINFO: Final = struct.Struct("=qi24xb3xi199x17s160xI136x2i80x")
_ATTEMPTS: Final = 10
"""Times that the table may outgrow what was set aside for it."""

# sys/signal.h: the head of siginfo_t (104 bytes): signo, errno, code, pid, uid, status.
_SIGINFO: Final = struct.Struct("=3i i I i")
_SIGINFO_SIZE: Final = 104
# sys/wait.h
_P_ALL: Final = 0
_WNOHANG: Final = 0x01
_WEXITED: Final = 0x04
_WNOWAIT: Final = 0x20

# sys/proc.h: SIDL SRUN SSLEEP SSTOP SZOMB
_STATES: Final = {1: "I", 2: "R", 3: "S", 4: "T", 5: "Z"}


@cache
def _libc() -> ctypes.CDLL:
    # libproc is part of libSystem, which every process has loaded.
    return ctypes.CDLL(None, use_errno=True)


@cache
def boot_id() -> str:
    """Return what is new at every boot: pids and start times mean nothing across it."""
    size = ctypes.c_size_t(64)
    value = ctypes.create_string_buffer(size.value)
    failed = _libc().sysctlbyname(
        b"kern.bootsessionuuid", value, ctypes.byref(size), None, ctypes.c_size_t(0)
    )
    if failed:
        raise OSError(ctypes.get_errno(), "sysctl kern.bootsessionuuid failed")
    return value.value.decode("ascii")


def read_row(pid: int) -> Row | None:
    """Return the row of one process without its usage, a zombie's too, or None if there is none."""
    info = _kinfo(_BY_PID, pid)
    return parse_kinfo(info, sid=_session(pid)) if len(info) == _KINFO.size else None


def read_table(*, usage: bool) -> dict[int, Row]:
    """Return every process that can be seen, by pid; usage if wanted and where it may be read."""
    table: dict[int, Row] = {}
    everything = _kinfo(_ALL, 0)
    for at in range(0, len(everything), _KINFO.size):
        row = parse_kinfo(everything[at : at + _KINFO.size], sid=-1)
        table[row.pid] = row._replace(sid=_session(row.pid))
    if usage:
        import psutil

        for pid, row in table.items():
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                times = process.cpu_times()
                rss = process.memory_info().rss
                table[pid] = row._replace(cpu=times.user + times.system, rss=rss)
    return table


def parse_kinfo(info: bytes, *, sid: int) -> Row:
    """Parse struct kinfo_proc. `started` is microseconds of the wall clock, set once."""
    seconds, microseconds, status, pid, name, _uid, ppid, pgid = _KINFO.unpack(info)
    return Row(
        pid=pid,
        ppid=ppid,
        pgid=pgid,
        sid=sid,
        state=_STATES.get(status, "?"),
        started=seconds * 1_000_000 + microseconds,
        cpu=0.0,
        rss=0,
        name=name.split(b"\0", 1)[0].decode("utf-8", "replace"),
    )


def owner(pid: int) -> int | None:
    """Return the uid a process runs as, or None if it is gone."""
    info = _kinfo(_BY_PID, pid)
    return int(_KINFO.unpack(info)[5]) if len(info) == _KINFO.size else None


def age(row: Row) -> float:
    """Return seconds since a process started, as the wall clock counts: for people's eyes."""
    return max(0.0, time.time() - row.started / 1e6)


def environment(pid: int) -> dict[str, str] | None:
    """Return the environment a process was started with, or None where it may not be read.

    Empty for Apple's own programs (/bin/sh, /bin/sleep): since macOS 11 the kernel keeps theirs.
    """
    import psutil

    try:
        return psutil.Process(pid).environ()
    except (psutil.Error, OSError, SystemError):  # psutil 7.2.2 of one that ends (psutil#2854)
        return None


def is_executing(_pid: int) -> bool:
    """Return False: the kernel does not say, and reading the environment fails meanwhile."""
    return False


def output_names(_pid: int) -> frozenset[str]:
    """Return none: what other processes have open is not asked here."""
    return frozenset()


def prints_into(_pid: int, _fifo: str) -> bool:
    """Return False: what other processes have open is not asked here."""
    return False


def is_ending(pid: int) -> bool:
    """Tell whether a process is gone or dead."""
    row = read_row(pid)
    return row is None or not row.alive


def command_line(pid: int) -> tuple[str, ...]:
    """Return argv of a process; empty if it is gone or may not be read."""
    import psutil

    try:
        return tuple(psutil.Process(pid).cmdline())
    except (psutil.Error, OSError, SystemError):  # as for the environment
        return ()


def program(pid: int) -> str:
    """Return the path of the file that a process runs; empty if it is gone, or may not be known."""
    import psutil

    try:
        return psutil.Process(pid).exe()
    except (psutil.Error, OSError):
        return ""


def threads(_pid: int, _most: int) -> list[tuple[int, str, str, str]]:
    """Return none: sample(1) tells more."""
    return []


def children() -> frozenset[int] | None:
    """Return None: orphans never come to us here, so our children say nothing about a tree."""
    return None


def newest_children() -> tuple[int, ...]:
    """Return none, as `children` does."""
    return ()


def read_trees(roots: Iterable[int]) -> dict[int, Row]:
    """Return the rows of these processes and of all below them, by pid."""
    table = read_table(usage=False)
    return {pid: table[pid] for pid in with_descendants(table, roots)}


def dead_child() -> DeadChild | None:
    """Return a child that has ended, still unreaped, or None if there is none now.

    By ctypes, because Python has os.waitid on macOS only from 3.13.
    """
    info = ctypes.create_string_buffer(_SIGINFO_SIZE)
    flags = _WEXITED | _WNOHANG | _WNOWAIT
    if _libc().waitid(_P_ALL, ctypes.c_uint32(0), info, flags) != 0:
        return None  # ECHILD
    return parse_siginfo(info.raw)


def parse_siginfo(info: bytes) -> DeadChild | None:
    """Parse the head of siginfo_t; a pid of 0 is waitid's way to say that nobody has ended.

    The status has all 32 bits of what exit(3) was given, of which the first look alone gets the
    highest 8 (kern_exit.c); everybody else knows the lowest 8.
    """
    _signo, _errno, code, pid, _uid, status = _SIGINFO.unpack_from(info)
    return DeadChild(pid, code, status & 0xFF) if pid else None


def become_subreaper() -> bool:
    """Return False: macOS has no such thing."""
    return False


def send_signal(pid: int, started: int, signal_number: int) -> bool:
    """Signal the process that has this pid and start time. False: it is gone.

    Between check and signal is one system call: without pidfds that is as near as one can get.
    Raises PermissionError.
    """
    row = read_row(pid)
    if row is None or row.started != started or not row.alive:
        return False
    try:
        os.kill(pid, signal_number)
    except ProcessLookupError:
        return False
    return True


def send_group_signal(leader: int, started: int, numbers: Iterable[int]) -> bool | None:
    """Signal the group of a proven leader, which need not be our child. False: it is gone."""
    row = read_row(leader)
    if row is None or row.started != started:
        return False
    try:
        for number in numbers:
            os.killpg(leader, number)
    except ProcessLookupError:
        return False
    return True


def _kinfo(which: int, argument: int) -> bytes:
    """Return what the kernel tells of these processes, one struct kinfo_proc after the other."""
    name = (ctypes.c_int * 4)(_CTL_KERN, _KERN_PROC, which, argument)
    room = _KINFO.size
    for _ in range(_ATTEMPTS):
        info = ctypes.create_string_buffer(room)
        if (size := _sysctl(name, info, room)) is not None:
            return info.raw[:size]
        # Too many for it. As much again as the kernel says: they may be forking.
        room = 2 * (_sysctl(name, None, 0) or room)
    raise OSError(errno.ENOMEM, "sysctl kern.proc: the process table grows faster than it is read")


def _sysctl(name: "ctypes.Array[ctypes.c_int]", old: object, room: int) -> int | None:
    """Return how many bytes were written, or would be; None if there was no room for them."""
    size = ctypes.c_size_t(room)
    length = ctypes.c_uint(len(name))
    if _libc().sysctl(name, length, old, ctypes.byref(size), None, ctypes.c_size_t(0)) == 0:
        return size.value
    if ctypes.get_errno() == errno.ENOMEM:
        return None
    raise OSError(ctypes.get_errno(), "sysctl kern.proc failed")


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1
