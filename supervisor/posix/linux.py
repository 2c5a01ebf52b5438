"""Processes as Linux shows them: /proc, pidfds, the subreaper. See proc(5) and pidfd_open(2)."""

import contextlib
import errno
import os
import signal
import struct
import sys
import time
from collections.abc import Iterable
from functools import cache
from typing import Final

from supervisor.posix.rows import DeadChild, Row

# Tells mypy, when it checks for macOS, to look no further.
assert sys.platform == "linux"  # noqa: S101

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")

_EXEC_LOOKS: Final = 50
_EXEC_PATIENCE: Final = 0.01
"""Seconds. On a busy machine each look may wait for the processor, and the daemon with it."""

_PF_EXITING: Final = 0x4
"""linux/sched.h; in the flags of /proc/PID/stat, field 9 of proc(5)."""

_PR_SET_CHILD_SUBREAPER: Final = 36

# linux/pidfd.h, 6.13 and later; this machine's headers may be older than its kernel.
# _IOWR(0xFF, 11, struct pidfd_info) with the struct's first published size of 64 bytes.
_PIDFD_GET_INFO: Final = (3 << 30) | (64 << 16) | (0xFF << 8) | 11
_PIDFD_INFO_EXIT: Final = 1 << 3
_PIDFD_INFO: Final = struct.Struct("=QQ11Ii")

_PIDFD_SIGNAL_PROCESS_GROUP: Final = 1 << 2
"""Of pidfd_send_signal(2), 6.9 and later."""


@cache
def boot_id() -> str:
    """Return what is new at every boot: pids and start times mean nothing across it."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def read_row(pid: int) -> Row | None:
    """Return the row of one process, or None if there is none."""
    stat = _read(f"/proc/{pid}/stat", 1024)
    return parse_stat(stat, whole=True) if stat else None


def read_table(*, usage: bool) -> dict[int, Row]:  # noqa: ARG001 - costs nothing extra here
    """Return every process that can be seen, by pid. About 7 µs for each."""
    table: dict[int, Row] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            stat = _read(f"/proc/{name}/stat", 1024)
            row = parse_stat(stat, whole=True) if stat else None
            if row is not None:
                table[row.pid] = row
    return table


def parse_stat(stat: bytes, *, whole: bool) -> Row | None:
    """Parse /proc/PID/stat. The name in parentheses may hold anything, `) R 1` included.

    `whole`: it is of a process, not of one of its threads.
    """
    opened, closed = stat.find(b"("), stat.rfind(b")")
    fields = stat[closed + 2 :].split(None, 23)
    if opened < 0 or closed < opened or len(fields) < 22:
        return None
    # Numbers of proc(5) less three: state is field 3.
    state = b"S" if whole and _outlives_its_first(fields) else fields[0]
    return Row(
        pid=int(stat[:opened]),
        ppid=int(fields[1]),
        pgid=int(fields[2]),
        sid=int(fields[3]),
        state=state.decode("ascii", "replace"),
        started=int(fields[19]),
        cpu=(int(fields[11]) + int(fields[12])) / _TICKS,
        rss=int(fields[21]) * _PAGE,
        name=stat[opened + 1 : closed].decode("utf-8", "replace"),
    )


def owner(pid: int) -> int | None:
    """Return the uid a process runs as, or None if it is gone."""
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None


def age(row: Row) -> float:
    """Return seconds since a process started, the machine's sleep included."""
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - row.started / _TICKS)


def environment(pid: int) -> dict[str, str] | None:
    """Return the environment a process was started with, or None where it may not be read.

    A process that is just executing a program reads as having none, for some 100 µs; it is
    looked at again, a bounded number of times and for a bounded time.
    """
    found = _environment(pid)
    if not found and _outlives_its_first(_stat_fields(pid)):
        blocks = (_read(f"/proc/{pid}/task/{tid}/environ", 1 << 20) for tid in _tasks(pid))
        return parse_environment(next(filter(None, blocks), b""))
    return found


def _environment(pid: int) -> dict[str, str] | None:
    executing = True
    until = time.monotonic() + _EXEC_PATIENCE
    for _ in range(_EXEC_LOOKS):
        block = _read(f"/proc/{pid}/environ", 1 << 20)
        if block is None:
            return None
        # Empty is believed only once it was read after the program was seen to be in place.
        if block or not executing or time.monotonic() > until:
            return parse_environment(block)
        executing = is_executing(pid)
        if executing:
            os.sched_yield()
    return {}


def is_executing(pid: int) -> bool:
    """Tell whether a process is between two programs: its new memory has no environment yet.

    One that was started with an empty environment has an address for it all the same (env_end,
    field 51 of proc(5), the last that exec sets; it is 0 as well where we may not look). One
    that is about to end has no memory either, and will not have any.
    """
    fields = _stat_fields(pid)
    return len(fields) > 48 and fields[48] == b"0" and not _first_is_ending(fields)


def is_ending(pid: int) -> bool:
    """Tell whether a process is gone, dead, or past the last thing that it can do."""
    fields = _stat_fields(pid)
    return not fields or (_first_is_ending(fields) and not _has_other_threads(fields))


def _first_is_ending(fields: list[bytes]) -> bool:
    return fields[0] in (b"Z", b"X", b"x") or bool(int(fields[6]) & _PF_EXITING)


def _has_other_threads(fields: list[bytes]) -> bool:
    return int(fields[17]) > 1


def _outlives_its_first(fields: list[bytes]) -> bool:
    """Tell of a process whether only its first thread is dead.

    It is shown as a zombie, though it may do all that it likes: that thread has ended by itself, or
    SIGKILL has ended it and another waits inside the kernel, for a driver, and holds what it had.
    """
    return len(fields) > 17 and fields[0] == b"Z" and _has_other_threads(fields)


def parse_environment(block: bytes) -> dict[str, str]:
    """Parse NUL-separated `name=value` entries; anything else in between is skipped."""
    entries = (entry.partition(b"=") for entry in block.split(b"\0"))
    return {os.fsdecode(name): os.fsdecode(value) for name, equals, value in entries if equals}


def output_names(pid: int) -> frozenset[str]:
    """Return the names, without folders, of the files that are stdout and stderr of a process.

    None where we may not look: it is another user's, or was set-user-ID.
    """
    names = set()
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            names.add(os.path.basename(os.readlink(f"/proc/{pid}/fd/{descriptor}")))
    return frozenset(names)


def prints_into(pid: int, fifo: str) -> bool:
    """Tell whether stdout or stderr of a process is the file of this path."""
    # By name first: to stat whatever a stranger prints into could wait for a dead file server.
    if not fifo or os.path.basename(fifo) not in output_names(pid):
        return False
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            if os.path.samefile(f"/proc/{pid}/fd/{descriptor}", fifo):
                return True
    return False


def command_line(pid: int) -> tuple[str, ...]:
    """Return argv of a process; empty if it is gone, is the kernel's, or may not be read."""
    block = _read(f"/proc/{pid}/cmdline", 1 << 16) or b""
    return tuple(os.fsdecode(word) for word in block.split(b"\0")[:-1])


def program(pid: int) -> str:
    """Return the path of the file that a process runs; empty if it is gone, or may not be known."""
    try:
        return os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
    except OSError:
        return ""


def threads(pid: int, most: int) -> list[tuple[int, str, str, str]]:
    """Return number, name, state and place in the kernel of a process's threads, lowest first."""
    found = []
    for tid in _tasks(pid)[:most]:
        row = parse_stat(_read(f"/proc/{pid}/task/{tid}/stat", 1024) or b"", whole=False)
        if row is not None:
            waits = (_read(f"/proc/{pid}/task/{tid}/wchan", 256) or b"").decode("ascii", "replace")
            found.append((tid, row.name, row.state, "" if waits == "0" else waits))
    return found


def children() -> frozenset[int] | None:
    """Return this process's children, zombies too, or None where the kernel does not list them.

    Orphans that the subreaper inherits belong to the first living thread, so all are asked.
    """
    found = _children("self")
    return None if found is None else frozenset(found)


def newest_children() -> tuple[int, ...]:
    """Return this process's children, last come first; none where the kernel does not list them."""
    return tuple(reversed(_children("self") or ()))


def read_trees(roots: Iterable[int]) -> dict[int, Row]:
    """Return the rows of these processes and of all below them, by pid.

    Quicker than the whole table, so that what forks and exits at once is met while it is there.
    """
    table: dict[int, Row] = {}
    left = list(roots)
    while left:
        pid = left.pop()
        row = None if pid in table else read_row(pid)
        if row is not None:
            table[pid] = row
            left.extend(_children(str(pid)) or ())
    return table


def dead_child() -> DeadChild | None:
    """Return a child that has ended, still unreaped, or None if there is none now."""
    try:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return DeadChild(ended.si_pid, ended.si_code, ended.si_status) if ended else None


def become_subreaper() -> bool:
    """Make orphans of our descendants our children; it outlives execve(2). True if it worked."""
    import ctypes

    prctl = ctypes.CDLL(None, use_errno=True).prctl
    return bool(prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def send_signal(pid: int, started: int, signal_number: int) -> bool:
    """Signal exactly the process that has this pid and start time. False: it is gone.

    The descriptor pins the process; its start time is read after opening, so it cannot be about
    another. Raises PermissionError.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        row = read_row(pid)
        if row is None or row.started != started or not row.alive:
            return False
        signal.pidfd_send_signal(pidfd, signal_number)
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    return True


def send_group_signal(leader: int, started: int, numbers: Iterable[int]) -> bool | None:
    """Signal the group of a proven leader, which need not be our child.

    None: this kernel cannot do it without a race (before 6.9). False: the leader is gone.
    """
    try:
        pidfd = os.pidfd_open(leader)
    except ProcessLookupError:
        return False
    try:
        row = read_row(leader)
        if row is None or row.started != started:
            return False
        for number in numbers:
            signal.pidfd_send_signal(pidfd, number, None, _PIDFD_SIGNAL_PROCESS_GROUP)
    except ProcessLookupError:
        return False
    except OSError as error:
        if error.errno == errno.EINVAL:
            return None
        raise
    finally:
        os.close(pidfd)
    return True


def exit_status(pidfd: int) -> int | None:
    """Return the wait(2) status of a process that was reaped, by us or by another.

    None: it is not reaped yet, or the kernel is older than 6.15 and never tells.
    """
    import fcntl

    # Python checks the buffer's size against the request's only up to 1024 bytes: 64 is safe.
    request = bytearray(_PIDFD_INFO.pack(_PIDFD_INFO_EXIT, *[0] * 13))
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, request)
    except OSError:
        return None
    mask, *_, status = _PIDFD_INFO.unpack(request)
    return int(status) if mask & _PIDFD_INFO_EXIT else None


def zombie_status(pid: int, started: int) -> int | None:
    """Return the wait(2) status of this very process, dead and not reaped, or None.

    None also where we may not know it: the kernel then says 0, as of one that ended well
    (exit_code, field 52 of proc(5)).
    """
    try:
        os.readlink(f"/proc/{pid}/cwd")
    except FileNotFoundError:
        # A dead process has no folder, and that is told only to whom the status is told as well:
        # both ask ptrace_may_access(PTRACE_MODE_READ_FSCREDS), and others get EACCES here.
        pass
    except OSError:
        return None
    fields = _stat_fields(pid)
    # It was there all the while, if it is there now.
    if len(fields) < 50 or fields[0] != b"Z" or int(fields[19]) != started:
        return None
    return int(fields[49])


def can_tell_exit_status(pidfd: int) -> bool:
    """Tell whether asking `exit_status` again later may help: the kernel knows the request."""
    import fcntl

    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, bytearray(_PIDFD_INFO.size))
    except OSError as error:
        # ESRCH is the answer of a kernel that knows the request, about a process that is gone.
        return error.errno == errno.ESRCH
    return True


def _children(process: str) -> list[int] | None:
    # The kernel adds an orphan at the end of its new parent's list, as it does a new child.
    found: list[int] = []
    try:
        tasks = os.listdir(f"/proc/{process}/task")
    except OSError:
        return None
    for task in tasks:
        listed = _read(f"/proc/{process}/task/{task}/children", 1 << 20)
        if listed is None:
            return None
        found += map(int, listed.split())
    return found


def _tasks(pid: int) -> list[int]:
    """Return the numbers of a process's threads, lowest first; none if it is gone."""
    try:
        return sorted(map(int, os.listdir(f"/proc/{pid}/task")))
    except OSError:
        return []


def _stat_fields(pid: int) -> list[bytes]:
    """Return the fields of /proc/PID/stat from the state on, field 3 of proc(5); or nothing."""
    stat = _read(f"/proc/{pid}/stat", 1024) or b""
    return stat[stat.rfind(b")") + 2 :].split()


def _read(path: str, limit: int) -> bytes | None:
    # os.open: half the cost of open(), and a table has hundreds of files.
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        with contextlib.suppress(OSError):
            block = os.read(fd, limit)
            # Of what is longer, /proc gives a page at a time, or the whole entries that fit in one.
            while limit > _PAGE and block and len(block) < limit:
                more = os.read(fd, limit - len(block))
                if not more:
                    break
                block += more
            return block
    finally:
        os.close(fd)
    return None
