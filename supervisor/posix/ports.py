"""Listening sockets of TCP ports, and who has one. A foreign owner is named, never touched."""

import errno
import os
import socket
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from supervisor.posix.processes import command_of

if sys.platform == "linux":
    from supervisor.posix import linux as system
else:
    from supervisor.posix import darwin as system

_TCP_LISTEN = "0A"
"""State column of /proc/net/tcp."""

_LOOPBACKS = ("127.0.0.1", "::1")
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - nothing listens there because of this


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
            if port and any(_is_taken(rival, port) for rival in _rivals(address)):
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
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
    try:
        _bind(address, port).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise _explained(error, address, port) from error
    return not any(_is_taken(rival, port) for rival in _rivals(address))


def owner_of(port: int) -> PortOwner | None:
    """Return who listens on a TCP port of this machine, or None if nobody does."""
    return owners_of((port,)).get(port)


def owners_of(ports: Collection[int]) -> dict[int, PortOwner]:
    """Return who listens on these TCP ports, those left out on which nobody does.

    One pass over the processes of the machine, however many ports are asked about.
    """
    if not ports:
        return {}
    if sys.platform == "linux":
        inodes = {
            inode: port
            for name in ("tcp", "tcp6")
            for port, found in listening_inodes(_lines(f"/proc/net/{name}"), ports).items()
            for inode in found
        }
        pids = _holders_of(inodes)
        taken = set(inodes.values())
    else:
        pids = _listeners(ports)
        taken = {
            port
            for port in ports
            if port in pids or any(_is_taken(each, port) for each in (*_LOOPBACKS, *_WILDCARDS))
        }
    return {port: _owner(pids.get(port)) for port in sorted(taken)}


def _owner(pid: int | None) -> PortOwner:
    if pid is None:
        return PortOwner(None, "another user's process")
    return PortOwner(pid, command_of(pid) or "a process that has just ended")


def listening_inodes(lines: Iterable[str], ports: Collection[int]) -> dict[int, set[str]]:
    """Return the inodes of sockets that listen on each port, from the lines of /proc/net/tcp."""
    wanted = {f"{port:04X}": port for port in ports}
    found: dict[int, set[str]] = {}
    for line in lines:
        fields = line.split(None, 10)
        if len(fields) > 9 and fields[3] == _TCP_LISTEN:
            port = wanted.get(fields[1].rpartition(":")[2])
            if port is not None:
                found.setdefault(port, set()).add(fields[9])
    return found


def _rivals(address: str) -> tuple[str, ...]:
    """Return where another may listen without being in the way of a bind to this address.

    With SO_REUSEADDR macOS compares addresses to the letter (in_pcbbind): one may bind 127.0.0.1
    beside another's 0.0.0.0 and take its callers, or 0.0.0.0 and never see those of 127.0.0.1.
    """
    if sys.platform != "darwin":
        return ()
    six = ":" in address
    return (_LOOPBACKS[six] if address == _WILDCARDS[six] else _WILDCARDS[six],)


def _is_taken(address: str, port: int) -> bool:
    try:
        _bind(address, port).close()
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False


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


def _holders_of(inodes: Mapping[str, int]) -> dict[int, int]:
    """Return by port the process that holds one of these sockets."""
    if not inodes:
        return {}
    targets = {f"socket:[{inode}]": port for inode, port in inodes.items()}
    holders: dict[int, set[int]] = {}
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            descriptors = os.listdir(f"/proc/{name}/fd")
        except OSError:
            continue
        for descriptor in descriptors:
            try:
                port = targets.get(os.readlink(f"/proc/{name}/fd/{descriptor}"))
            except OSError:
                continue  # closed just now; the others are not
            if port is not None:
                holders.setdefault(port, set()).add(int(name))
    return _youngest(holders)


def _youngest(holders: Mapping[int, Iterable[int]]) -> dict[int, int]:
    """Return of each port's holders the youngest.

    A supervisor may hold the same socket for a service, and the service is the answer.
    """
    youngest = {}
    for port, pids in holders.items():
        rows = [row for row in map(system.read_row, pids) if row is not None]
        if rows:
            youngest[port] = max(rows, key=lambda row: (row.started, row.pid)).pid
    return youngest


def _listeners(ports: Collection[int]) -> dict[int, int]:
    import psutil

    holders: dict[int, set[int]] = {}
    for process in psutil.process_iter():
        try:
            connections = process.net_connections(kind="tcp")
        except (psutil.Error, OSError):
            continue
        for each in connections:
            if each.status == psutil.CONN_LISTEN and each.laddr.port in ports:
                holders.setdefault(each.laddr.port, set()).add(int(process.pid))
    return _youngest(holders)
