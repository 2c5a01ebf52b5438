"""Processes as macOS shows them: libproc through ctypes, the rest through psutil.

There is no pidfd and no subreaper: a process is known by pid and exact start time, checked as
late as possible, and orphans are found by session, group and environment marker.
"""

import contextlib
import ctypes
import os
import struct
import time
from collections.abc import Iterable
from functools import cache
from typing import Final

from supervisor.posix.rows import DeadChild, Row, with_descendants

# sys/proc_info.h: struct proc_bsdinfo up to pbi_start_tvusec, 136 bytes.
_PROC_PIDTBSDINFO: Final = 3
_BSDINFO: Final = struct.Struct("=12I16s32s5Ii2Q")

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
    """Return the row of one process without its usage, or None if there is none."""
    info = _bsdinfo(pid)
    return None if info is None else parse_bsdinfo(info, sid=_session(pid))


def read_table(*, usage: bool) -> dict[int, Row]:
    """Return every process that can be seen, by pid; usage if wanted and where it may be read."""
    import psutil

    table: dict[int, Row] = {}
    for pid in psutil.pids():
        row = read_row(pid)
        if row is None:
            continue
        table[pid] = row
        if not usage:
            continue
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            times = process.cpu_times()
            table[pid] = row._replace(cpu=times.user + times.system, rss=process.memory_info().rss)
    return table


def parse_bsdinfo(info: bytes, *, sid: int) -> Row:
    """Parse struct proc_bsdinfo. `started` is microseconds of the wall clock, set once."""
    (_flags, status, _xstatus, pid, ppid, *_, short, name, _files, pgid, _jobs, _tdev, _tpgid,
     _nice, seconds, microseconds) = _BSDINFO.unpack(info)  # fmt: skip
    return Row(
        pid=pid,
        ppid=ppid,
        pgid=pgid,
        sid=sid,
        state=_STATES.get(status, "?"),
        started=seconds * 1_000_000 + microseconds,
        cpu=0.0,
        rss=0,
        name=_text(name) or _text(short),
    )


def owner(pid: int) -> int | None:
    """Return the uid a process runs as, or None if it is gone."""
    info = _bsdinfo(pid)
    return None if info is None else int(_BSDINFO.unpack(info)[5])


def age(row: Row) -> float:
    """Return seconds since a process started, as the wall clock counts: for people's eyes."""
    return max(0.0, time.time() - row.started / 1e6)


def environment(pid: int) -> dict[str, str] | None:
    """Return the environment a process was started with, or None where it may not be read."""
    import psutil

    try:
        return psutil.Process(pid).environ()
    except (psutil.Error, OSError):
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
    except (psutil.Error, OSError):
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
    """Parse the head of siginfo_t; a pid of 0 is waitid's way to say that nobody has ended."""
    _signo, _errno, code, pid, _uid, status = _SIGINFO.unpack_from(info)
    return DeadChild(pid, code, status) if pid else None


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


def _bsdinfo(pid: int) -> bytes | None:
    info = ctypes.create_string_buffer(_BSDINFO.size)
    got = _libc().proc_pidinfo(
        pid, _PROC_PIDTBSDINFO, ctypes.c_uint64(0), info, ctypes.c_int(_BSDINFO.size)
    )
    return info.raw if got == _BSDINFO.size else None


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1


def _text(name: bytes) -> str:
    return name.split(b"\0", 1)[0].decode("utf-8", "replace")
