"""The listening sockets: handed over by a supervisor, or bound here.

Handed-over sockets follow sd_listen_fds(3): `LISTEN_PID` is this process, `LISTEN_FDS` sockets
start at descriptor 3. They are shared with whoever gave them, so they are closed here but never
shut down. In a rolling restart the supervisor adds a further socket of the same name at another
port, which leads to this process alone.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence

FIRST_FD: Final = 3
MAX_FDS: Final = 16
BACKLOG: Final = 128

# netinet/tcp.h of macOS; the first byte is the state of the connection.
_TCP_CONNECTION_INFO: Final = 0x106
_TCPS_LISTEN: Final = 1

_PORT_ATTEMPTS: Final = 16
_NO_SUCH_ADDRESS: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT)


class SocketError(Exception):
    """No socket to listen on; the message names the address and the way out."""


@dataclass(frozen=True, slots=True)
class HandedOver:
    """What was handed to this process; nothing where there is no supervisor that does so."""

    public: tuple[socket.socket, ...] = ()
    private: tuple[socket.socket, ...] = ()
    """Where this process alone is met: there are some only while another one serves beside it."""


def take_handed_over(environ: MutableMapping[str, str]) -> HandedOver:
    """The sockets that were handed to this process.

    Takes the variables out of `environ`, so that no child thinks itself the receiver. Raises
    SocketError when something was handed over that is no listening TCP socket.
    """
    pid = environ.pop("LISTEN_PID", None)
    count = environ.pop("LISTEN_FDS", None)
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if pid is None or count is None or pid != str(os.getpid()):
        return HandedOver()
    if not count.isascii() or not count.isdigit() or not 1 <= int(count) <= MAX_FDS:
        raise SocketError(f"LISTEN_FDS is {count!r}: a number from 1 to {MAX_FDS} is expected")
    taken = tuple(_adopt(fd) for fd in range(FIRST_FD, FIRST_FD + int(count)))
    if len(names) != len(taken):
        return HandedOver(taken)
    ports: dict[str, int] = {}
    for name, sock in zip(names, taken, strict=True):
        ports.setdefault(name, address(sock)[1])
    private = tuple(
        sock for name, sock in zip(names, taken, strict=True) if address(sock)[1] != ports[name]
    )
    return HandedOver(tuple(sock for sock in taken if sock not in private), private)


def _adopt(fd: int) -> socket.socket:
    try:
        os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise SocketError(
            f"handed-over descriptor {fd} is not a socket ({error.strerror}): check what the "
            "supervisor passes, or unset LISTEN_FDS"
        ) from error
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.type != socket.SOCK_STREAM:
        sock.detach()
        raise SocketError(f"handed-over descriptor {fd} is not a TCP socket")
    if not _is_listening(sock):
        sock.detach()
        raise SocketError(f"handed-over descriptor {fd} does not listen: call listen() first")
    return sock


def _is_listening(sock: socket.socket) -> bool:
    if sys.platform == "darwin":
        # Its headers have SO_ACCEPTCONN; getsockopt says "Protocol not available".
        try:
            return sock.getsockopt(socket.IPPROTO_TCP, _TCP_CONNECTION_INFO, 1)[0] == _TCPS_LISTEN
        except OSError:
            return True  # nobody can tell; accept will
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def bind(host: str, port: int) -> tuple[socket.socket, ...]:
    """Binds `host` and, for IPv4 loopback, `::1` too, because `localhost` may resolve to it first.

    Port 0 takes any port that is free for both. A machine without IPv6 is no error. Raises
    SocketError.
    """
    hosts = ["127.0.0.1", "::1"] if host in ("127.0.0.1", "localhost") else [host]
    attempts = _PORT_ATTEMPTS if port == 0 else 1
    for left in reversed(range(attempts)):
        try:
            return _bind_all(hosts, port)
        except SocketError:
            # Somebody may hold on ::1 the very port that was free on 127.0.0.1.
            if not left:
                raise
    raise AssertionError("unreachable")


def _bind_all(hosts: Sequence[str], port: int) -> tuple[socket.socket, ...]:
    bound: list[socket.socket] = []
    try:
        for index, host in enumerate(hosts):
            sock = _bind_one(host, port, optional=index > 0)
            if sock is not None:
                bound.append(sock)
                port = address(sock)[1]
    except SocketError:
        for sock in bound:
            sock.close()
        raise
    return tuple(bound)


def _bind_one(host: str, port: int, *, optional: bool) -> socket.socket | None:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        if optional:
            return None
        raise SocketError(f"no such address {host!r}: give an IP address or `localhost`") from error
    try:
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        if optional and error.errno in _NO_SUCH_ADDRESS:
            return None
        raise SocketError(f"cannot make a socket for {_shown(host, port)}: {error}") from error
    try:
        # Connections of a predecessor linger in TIME_WAIT; they must not delay a restart.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(where)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        if optional and error.errno in _NO_SUCH_ADDRESS:
            return None
        raise SocketError(_refusal(host, port, error)) from error
    return sock


def _refusal(host: str, port: int, error: OSError) -> str:
    where = _shown(host, port)
    if error.errno == errno.EADDRINUSE:
        return (
            f"{where} is already in use: stop what listens there, or choose another port with "
            "--port or TTS_PORT"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{where} may not be used: choose a port above 1023 with --port or TTS_PORT"
    if error.errno in _NO_SUCH_ADDRESS:
        return f"{where} is no address of this machine: choose another with --host"
    return f"cannot listen on {where}: {error.strerror}"


def address(sock: socket.socket) -> tuple[str, int]:
    """Numeric host and port of a TCP socket."""
    host, port = sock.getsockname()[:2]
    return str(host), int(port)


def url(sock: socket.socket) -> str:
    """How a client writes the address of a TCP socket."""
    return f"http://{_shown(*address(sock))}"


def is_loopback(sock: socket.socket) -> bool:
    """Whether only this machine can reach the socket."""
    return ipaddress.ip_address(address(sock)[0].partition("%")[0]).is_loopback


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
