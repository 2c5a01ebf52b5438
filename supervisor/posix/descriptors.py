"""Taking back a listening socket out of a process that runs: pidfd_getfd(2), Linux 5.6 and later.

For the case that everybody else who had a copy of it is dead. It needs the rights of ptrace(2):
root, or the same user where Yama does not forbid it. macOS has no such call.
"""

import contextlib
import errno
import os
import socket
import sys
from typing import Final

_PIDFD_GETFD: Final = 438
"""The same number on every architecture, as of all system calls since 5.1."""

_TCP_CONNECTION_INFO: Final = 0x106
"""netinet/tcp.h of macOS. The first byte is the connection's state."""
_TCPS_LISTEN: Final = 1

_NOT_ALLOWED: Final = frozenset({errno.EPERM, errno.EACCES, errno.ENOSYS})
"""ENOSYS: a kernel before 5.6, or a sandbox."""


def listening_sockets(pid: int) -> list[socket.socket]:
    """Return copies of the TCP sockets on which a process listens, each once.

    They are the caller's to close. Empty where there are none, the process is gone, or we may not.
    The process is pinned first: if its identity is the expected one *afterwards*, the sockets are
    of no other process.
    """
    if sys.platform != "linux":
        return []
    found: dict[str, socket.socket] = {}
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return []
    try:
        for number, inode in _sockets_of(pid):
            if inode not in found:
                copy = _copy(pidfd, number)
                if copy is not None:
                    found[inode] = copy
    except PermissionError:
        for copy in found.values():
            copy.close()
        return []
    finally:
        os.close(pidfd)
    return list(found.values())


def listening_socket(fd: int) -> socket.socket | None:
    """Make a socket of a descriptor if it is a TCP socket that listens; else close it."""
    try:
        sock = socket.socket(fileno=fd)
    except OSError:
        os.close(fd)
        return None
    if is_listening(sock):
        return sock
    sock.close()
    return None


def is_listening(sock: socket.socket) -> bool:
    """Tell whether this is a TCP socket that listens."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.type != socket.SOCK_STREAM:
        return False
    with contextlib.suppress(OSError):
        if sys.platform == "darwin":
            # Its headers have SO_ACCEPTCONN, and its kernel has not (sogetoptlock of xnu).
            return sock.getsockopt(socket.IPPROTO_TCP, _TCP_CONNECTION_INFO, 1)[0] == _TCPS_LISTEN
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    return False


def _sockets_of(pid: int) -> list[tuple[int, str]]:
    """Return number and inode of each descriptor that is a socket, by number."""
    folder = f"/proc/{pid}/fd"
    numbers: list[tuple[int, str]] = []
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    for name in sorted(names, key=int):
        with contextlib.suppress(OSError):
            target = os.readlink(f"{folder}/{name}")
            if target.startswith("socket:"):
                numbers.append((int(name), target))
    return numbers


def _copy(pidfd: int, number: int) -> socket.socket | None:
    """Return a copy of a descriptor if it is a listening TCP socket; raises PermissionError."""
    import ctypes

    syscall = ctypes.CDLL(None, use_errno=True).syscall
    # Close-on-exec is set on the copy by the kernel.
    fd = syscall(
        ctypes.c_long(_PIDFD_GETFD), ctypes.c_int(pidfd), ctypes.c_int(number), ctypes.c_uint(0)
    )
    if fd < 0:
        error = ctypes.get_errno()
        if error in _NOT_ALLOWED:
            raise PermissionError(error, os.strerror(error))
        return None  # closed meanwhile, or the process is gone
    return listening_socket(fd)
