"""What is read of macOS, against its headers (xnu: sys/proc.h, sys/sysctl.h, sys/signal.h)."""

import ctypes
import errno
import os
import socket
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest

from services.tts import sockets
from supervisor.posix import darwin, descriptors
from supervisor.posix.rows import Row

Field = tuple[str, Any]
POINTER = ctypes.c_uint64
INT, UINT, SHORT, CHAR = ctypes.c_int32, ctypes.c_uint32, ctypes.c_int16, ctypes.c_int8


def struct(name: str, *fields: Field) -> type[ctypes.Structure]:
    return type(name, (ctypes.Structure,), {"_fields_": list(fields)})


TIMEVAL = struct("timeval", ("tv_sec", ctypes.c_int64), ("tv_usec", INT))
ITIMERVAL = struct("itimerval", ("it_interval", TIMEVAL), ("it_value", TIMEVAL))
EXTERN_PROC = struct(
    "extern_proc",
    ("p_starttime", TIMEVAL),
    *((name, POINTER) for name in ("p_vmspace", "p_sigacts")),
    ("p_flag", INT),
    ("p_stat", CHAR),
    *((name, INT) for name in ("p_pid", "p_oppid", "p_dupfd")),
    *((name, POINTER) for name in ("user_stack", "exit_thread")),
    *((name, INT) for name in ("p_debugger", "sigwait")),
    ("p_estcpu", UINT),
    ("p_cpticks", INT),
    ("p_pctcpu", UINT),
    *((name, POINTER) for name in ("p_wchan", "p_wmesg")),
    *((name, UINT) for name in ("p_swtime", "p_slptime")),
    ("p_realtimer", ITIMERVAL),
    ("p_rtime", TIMEVAL),
    *((name, ctypes.c_uint64) for name in ("p_uticks", "p_sticks", "p_iticks")),
    ("p_traceflag", INT),
    ("p_tracep", POINTER),
    ("p_siglist", INT),
    ("p_textvp", POINTER),
    ("p_holdcnt", INT),
    *((name, UINT) for name in ("p_sigmask", "p_sigignore", "p_sigcatch")),
    *((name, CHAR) for name in ("p_priority", "p_usrpri", "p_nice")),
    ("p_comm", ctypes.c_char * 17),
    *((name, POINTER) for name in ("p_pgrp", "p_addr")),
    *((name, SHORT) for name in ("p_xstat", "p_acflag")),
    ("p_ru", POINTER),
)
PCRED = struct(
    "_pcred",
    ("pc_lock", ctypes.c_char * 72),
    ("pc_ucred", POINTER),
    *((name, UINT) for name in ("p_ruid", "p_svuid", "p_rgid", "p_svgid")),
    ("p_refcnt", INT),
)
UCRED = struct(
    "_ucred", ("cr_ref", INT), ("cr_uid", UINT), ("cr_ngroups", SHORT), ("cr_groups", UINT * 16)
)
VMSPACE = struct(
    "vmspace", ("dummy", INT), ("dummy2", POINTER), ("dummy3", INT * 5), ("dummy4", POINTER * 3)
)
EPROC = struct(
    "eproc",
    *((name, POINTER) for name in ("e_paddr", "e_sess")),
    ("e_pcred", PCRED),
    ("e_ucred", UCRED),
    ("e_vm", VMSPACE),
    *((name, INT) for name in ("e_ppid", "e_pgid")),
    ("e_jobc", SHORT),
    *((name, INT) for name in ("e_tdev", "e_tpgid")),
    ("e_tsess", POINTER),
    ("e_wmesg", ctypes.c_char * 8),
    ("e_xsize", INT),
    *((name, SHORT) for name in ("e_xrssize", "e_xccount", "e_xswrss")),
    ("e_flag", INT),
    ("e_login", ctypes.c_char * 12),
    ("e_spare", INT * 4),
)
KINFO_PROC = struct("kinfo_proc", ("kp_proc", EXTERN_PROC), ("kp_eproc", EPROC))
SIGINFO = struct(
    "siginfo_t",
    *((name, INT) for name in ("si_signo", "si_errno", "si_code", "si_pid")),
    ("si_uid", UINT),
    ("si_status", INT),
    *((name, POINTER) for name in ("si_addr", "si_value", "si_band")),
    ("pad", POINTER * 7),
)


def kinfo(pid: int, status: int, *, name: bytes = b"python3.12", uid: int = 501) -> bytes:
    info: Any = KINFO_PROC()
    ctypes.memset(ctypes.byref(info), 0xEE, ctypes.sizeof(info))  # so that nothing fits by luck
    process, more = info.kp_proc, info.kp_eproc
    process.p_starttime.tv_sec, process.p_starttime.tv_usec = 1_764_000_000, 123_456
    process.p_stat, process.p_pid, process.p_comm = status, pid, name
    more.e_ucred.cr_uid, more.e_ppid, more.e_pgid = uid, 1, 4710
    return bytes(info)


class Kernel:
    """sysctl(3) as the kernel answers it: of kern.proc, by one pid or of all."""

    def __init__(self, *processes: bytes) -> None:
        self.processes = list(processes)
        self.grows = 0
        """Processes that begin between the question how many there are and the next."""
        self.most = 1000
        """Processes that are told of at once."""

    def sysctl(self, name: Any, length: Any, old: Any, size: Any, new: Any, new_size: Any) -> int:
        assert (length.value, new, new_size.value) == (4, None, 0)
        control, about, which, pid = list(name)
        assert (control, about) == (1, 14)
        rows = self.processes
        if which == 1:
            rows = [row for row in rows if darwin.parse_kinfo(row, sid=0).pid == pid]
        told = b"".join(rows)
        room, size = size._obj.value, size._obj
        if old is None:
            size.value = len(told) + 5 * 648
            self.processes += [kinfo(2000 + os.getpid() + at, 2) for at in range(self.grows)]
            return 0
        if room < len(told) or len(rows) > self.most:
            ctypes.set_errno(errno.ENOMEM)
            return -1
        ctypes.memmove(old, told, len(told))
        size.value = len(told)
        return 0


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Kernel]:
    def boot(*processes: bytes) -> Kernel:
        made = Kernel(*processes)
        monkeypatch.setattr(darwin, "_libc", lambda: made)
        return made

    return boot


def test_structures_are_as_large_as_on_a_mac() -> None:
    # golang.org/x/sys/unix, ztypes_darwin_arm64.go and …_amd64.go: SizeofKinfoProc = 0x288.
    assert ctypes.sizeof(KINFO_PROC) == 0x288 == len(kinfo(1, 2))
    assert ctypes.sizeof(SIGINFO) == 104


def test_process_is_read_as_the_header_lays_it_out() -> None:
    row = darwin.parse_kinfo(kinfo(4711, 4), sid=4709)
    assert row == Row(
        4711, 1, 4710, 4709, "T", 1_764_000_000_123_456, cpu=0.0, rss=0, name="python3.12"
    )


def test_name_of_sixteen_bytes_ends_where_it_ends() -> None:
    assert darwin.parse_kinfo(kinfo(1, 2, name=b"x" * 16), sid=0).name == "x" * 16


def test_zombie_and_another_users_process_have_a_row(kernel: Callable[..., Kernel]) -> None:
    """A service is identified after its start, when it may be dead, or root's (`sudo`)."""
    kernel(kinfo(10, 5), kinfo(11, 2, uid=0))
    zombie, foreign = darwin.read_row(10), darwin.read_row(11)
    assert zombie is not None
    assert not zombie.alive
    assert foreign is not None
    assert foreign.alive
    assert (darwin.owner(10), darwin.owner(11)) == (501, 0)
    assert darwin.read_row(12) is None
    assert darwin.owner(12) is None


def test_table_that_grows_while_it_is_read_is_read_again(kernel: Callable[..., Kernel]) -> None:
    # Numbers that are not ours: a fixed range was, in a process that came to be numbered so.
    made = kernel(*(kinfo(os.getpid() + at, 3) for at in range(601)))
    made.grows = 7
    table = darwin.read_table(usage=False)
    assert len(table) == 601 + 7
    assert table[os.getpid()].sid == os.getsid(0)
    made.most = 100
    with pytest.raises(OSError, match="grows faster"):
        darwin.read_table(usage=False)


def test_process_whose_words_may_not_be_read_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """psutil 7.2.2 returns a result with an exception set, which Python turns into SystemError."""

    def broken(_: object) -> None:
        raise SystemError("returned a result with an exception set")

    monkeypatch.setattr(psutil.Process, "environ", broken)
    monkeypatch.setattr(psutil.Process, "cmdline", broken)
    assert darwin.environment(os.getpid()) is None
    assert darwin.command_line(os.getpid()) == ()


class MacSocket:
    """A TCP socket as getsockopt(2) of macOS tells of it, in this state of netinet/tcp_fsm.h."""

    family = socket.AF_INET
    type = socket.SOCK_STREAM

    def __init__(self, state: int) -> None:
        self.state = state

    def getsockopt(self, level: int, name: int, length: int = 0) -> bytes:
        if (level, name) != (socket.IPPROTO_TCP, 0x106):
            raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))
        return bytes([self.state])[:length]


@pytest.mark.parametrize(("state", "listens"), [(0, False), (1, True), (4, False)])
@pytest.mark.parametrize(
    ("module", "ask"),
    [(descriptors, "is_listening"), (sockets, "_is_listening")],
    ids=["supervisor", "tts"],
)
def test_a_listening_socket_is_known_without_so_acceptconn(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, ask: str, state: int, *, listens: bool
) -> None:
    """macOS has it in its headers and refuses it: no socket could be handed over, or kept."""
    monkeypatch.setattr(module, "sys", SimpleNamespace(platform="darwin"))
    assert getattr(module, ask)(MacSocket(state)) is listens
