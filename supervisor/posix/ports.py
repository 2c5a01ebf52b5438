"""Listening sockets of TCP ports, and who has one. A foreign owner is named, never touched."""

import errno
import os
import socket
import sys
from collections.abc import Iterable
from dataclasses import dataclass

if sys.platform == "linux":
    from supervisor.posix import linux as system
else:
    from supervisor.posix import darwin as system

_TCP_LISTEN = "0A"
"""State column of /proc/net/tcp."""


@dataclass(frozen=True, slots=True)
class PortOwner:
    """Who listens on a port. `pid` is None where the system does not say (another user's)."""

    pid: int | None
    command: str

    def __str__(self) -> str:
        return self.command if self.pid is None else f"pid {self.pid} ({self.command})"


class ListenError(Exception):
    """A port cannot be listened on.

    `retry`: it may be free later. `absent`: the machine has no such address, or none of its
    family. `owner`: who has the port now.
    """

    def __init__(
        self, why: str, *, retry: bool, absent: bool = False, owner: PortOwner | None = None
    ) -> None:
        super().__init__(why)
        self.why = why
        self.retry = retry
        self.absent = absent
        self.owner = owner


def listen(address: str, port: int, backlog: int) -> socket.socket:
    """Return a listening TCP socket, close-on-exec. `address` is numeric, IPv4 or IPv6.

    Port 0 takes a free one. Raises ListenError.
    """
    try:
        bound = _bind(address, port)
        try:
            bound.listen(backlog)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise _explained(error, address, port) from error
    return bound


def is_free(address: str, port: int) -> bool:
    """Tell whether a service could listen there now. Nothing ever listens because of this.

    Raises ListenError where the address itself is impossible.
    """
    addresses = [address]
    if sys.platform == "darwin":
        # There, one may bind a specific address beside another's wildcard, and take its callers.
        addresses.append("::" if ":" in address else "0.0.0.0")  # noqa: S104 - never listens
    for each in addresses:
        try:
            _bind(each, port).close()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise _explained(error, each, port) from error
    return True


def owner_of(port: int) -> PortOwner | None:
    """Return who listens on a TCP port of this machine, or None if nobody does."""
    if sys.platform == "linux":
        inodes = {
            inode
            for name in ("tcp", "tcp6")
            for inode in listening_inodes(_lines(f"/proc/net/{name}"), port)
        }
        if not inodes:
            return None
        pid = _holder_of(inodes)
    else:
        pid = _listener(port)
        if pid is None and is_free("127.0.0.1", port) and is_free("::1", port):
            return None
    if pid is None:
        return PortOwner(None, "another user's process")
    command = " ".join(system.command_line(pid))[:200]
    row = system.read_row(pid)
    return PortOwner(pid, command or (row.name if row else "a process that has just ended"))


def listening_inodes(lines: Iterable[str], port: int) -> set[str]:
    """Return the inodes of sockets that listen on `port`, from the lines of /proc/net/tcp."""
    wanted = f":{port:04X}"
    found = set()
    for line in lines:
        fields = line.split(None, 10)
        if len(fields) > 9 and fields[3] == _TCP_LISTEN and fields[1].endswith(wanted):
            found.add(fields[9])
    return found


def _bind(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Connections of an earlier run in TIME_WAIT must not keep the next one waiting.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((address, port))
    except OSError:
        bound.close()
        raise
    return bound


def _explained(error: OSError, address: str, port: int) -> ListenError:
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    if isinstance(error, socket.gaierror):
        return ListenError(f"not a numeric address: {address}", retry=False)
    match error.errno:
        case errno.EADDRINUSE:
            owner = owner_of(port)
            return ListenError(
                f"{where} is in use by {owner or 'a socket that is just going away'}",
                retry=True,
                owner=owner,
            )
        case errno.EACCES:
            return ListenError(
                f"not permitted to listen on {where}: ports below 1024 are for root", retry=False
            )
        case errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT:
            return ListenError(f"this machine has no address {address}", retry=False, absent=True)
        case errno.EMFILE | errno.ENFILE:
            return ListenError(f"no file descriptor is left to listen on {where}", retry=True)
        case _:
            return ListenError(f"cannot listen on {where}: {error.strerror}", retry=False)


def _lines(path: str) -> Iterable[str]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            yield from file
    except OSError:
        return


def _holder_of(inodes: set[str]) -> int | None:
    """Return the youngest process that holds one of these sockets.

    The youngest: a supervisor may hold the same socket for it, and the service is the answer.
    """
    targets = {f"socket:[{inode}]" for inode in inodes}
    holders = []
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            for fd in os.listdir(f"/proc/{name}/fd"):
                if os.readlink(f"/proc/{name}/fd/{fd}") in targets:
                    holders.append(int(name))
                    break
        except OSError:
            continue
    rows = [row for row in map(system.read_row, holders) if row is not None]
    return max(rows, key=lambda row: (row.started, row.pid)).pid if rows else None


def _listener(port: int) -> int | None:
    import psutil

    for process in psutil.process_iter():
        try:
            connections = process.net_connections(kind="tcp")
        except (psutil.Error, OSError):
            continue
        if any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in connections):
            return int(process.pid)
    return None
