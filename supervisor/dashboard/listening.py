"""The sockets that the dashboard listens on: handed over by the supervisor, or bound here."""

import errno
import os
import socket
from collections.abc import MutableMapping, Sequence
from typing import Final

FIRST_FD: Final = 3
BACKLOG: Final = 64
_MOST: Final = 8


class ListenError(Exception):
    """Nothing to listen on; the message says why and what to do."""


def take_handed_over(environ: MutableMapping[str, str]) -> tuple[socket.socket, ...]:
    """Return the sockets that sd_listen_fds(3) speaks of, or none; all must be on loopback.

    The variables are taken out of `environ`. Raises ListenError.
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()):
        return ()
    if not count.isdecimal() or not 1 <= int(count) <= _MOST:
        raise ListenError(f"LISTEN_FDS is {count!r}: 1 to {_MOST} sockets are expected")
    return tuple(map(_adopted, range(FIRST_FD, FIRST_FD + int(count))))


def _adopted(fd: int) -> socket.socket:
    try:
        os.set_inheritable(fd, False)
        taken = socket.socket(fileno=fd)
        where = taken.getsockname()
    except OSError as error:
        raise ListenError(f"descriptor {fd} is no socket: {error.strerror}") from None
    if taken.family not in (socket.AF_INET, socket.AF_INET6):
        raise ListenError(f"descriptor {fd} is no TCP socket: give it one with `sockets:`")
    if where[0] not in ("127.0.0.1", "::1"):
        # What it shows and what it can do are for this user alone, and HTTP hides nothing.
        raise ListenError(
            f"the dashboard is for this machine only, and {where[0]} is not loopback: write "
            "localhost in `sockets:`, and reach it from elsewhere through ssh -L"
        )
    return taken


def bind(port: int) -> tuple[socket.socket, ...]:
    """Return a socket that listens at 127.0.0.1; port 0: any that is free. Raises ListenError."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        hint = ": choose another with --port" if error.errno == errno.EADDRINUSE else ""
        raise ListenError(f"cannot listen at 127.0.0.1:{port}: {error.strerror}{hint}") from None
    return (listening,)


def url_of(sockets: Sequence[socket.socket]) -> str:
    """Return where a browser reaches one of these sockets.

    At its very address: the same port of the other one may be another user's, who would be handed
    the token.
    """
    one = min(sockets, key=lambda each: each.family != socket.AF_INET)
    host = one.getsockname()[0]
    return f"http://{f'[{host}]' if ':' in host else host}:{port_of(one)}"


def port_of(listening: socket.socket) -> int:
    """Return the port that a socket listens at."""
    return int(listening.getsockname()[1])
