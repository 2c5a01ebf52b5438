"""`python -m supervisor.export.listen NAME=ADDRESS… -- COMMAND…`: open sockets, become the command.

For a service that the supervisor hands its sockets to, where there is none: the command finds them
at 3, 4, …, named by LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES (sd_listen_fds(3)). ADDRESS is
`127.0.0.1:3001`, `[::1]:3001`, or a port alone for every interface. Exit code 125: it did not
become the command.
"""

import contextlib
import errno
import fcntl
import os
import signal
import socket
import sys
from typing import Final, NoReturn

FIRST_FD: Final = 3
BACKLOG: Final = 512
NOT_STARTED: Final = 125
_NO_SUCH_FAMILY: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)


def main(argv: list[str]) -> NoReturn:
    """Do as told; never returns."""
    try:
        cut = argv.index("--")
    except ValueError:
        _fail("nothing to start: write -- and a command")
    opened = [each for word in argv[:cut] for each in _open(*_named(word))]
    command = argv[cut + 1 :]
    if not command:
        _fail("nothing to start: write a command after --")
    _hand_over([each.detach() for _, each in opened])
    environment = {
        **os.environ,
        "LISTEN_FDS": str(len(opened)),
        "LISTEN_PID": str(os.getpid()),
        "LISTEN_FDNAMES": ":".join(name for name, _ in opened),
    }
    # Python ignores these, and "ignored" would survive the exec.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606
    except OSError as error:
        _fail(f"cannot execute {command[0]}: {error.strerror}")


def _named(word: str) -> tuple[str, str]:
    name, equals, address = word.partition("=")
    if not equals:
        _fail(f"{word!r} is no socket: write NAME=ADDRESS:PORT or NAME=PORT")
    return name, address


def _open(name: str, address: str) -> list[tuple[str, socket.socket]]:
    host, colon, port = address.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        _fail(f"{address!r} has no port: write ADDRESS:PORT or PORT")
    # The two families apart: not every system gives an IPv6 socket what comes by IPv4.
    hosts = [host.strip("[]")] if colon else ["0.0.0.0", "::"]  # noqa: S104 - as was asked
    found = [made for each in hosts if (made := _listening(each, int(port))) is not None]
    if not found:
        _fail(f"this machine has no address {address}")
    return [(name, each) for each in found]


def _listening(host: str, port: int) -> socket.socket | None:
    """Return a socket that listens, or None where the machine has no such address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with contextlib.ExitStack() as undone:
            made = undone.enter_context(socket.socket(family, socket.SOCK_STREAM))
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind((host, port))
            made.listen(BACKLOG)
            undone.pop_all()
            return made
    except OSError as error:
        if error.errno in _NO_SUCH_FAMILY:
            return None
        _fail(f"cannot listen on {host} port {port}: {error.strerror}")


def _hand_over(descriptors: list[int]) -> None:
    """Put them at 3, 4, … and let them be inherited."""
    # First out of the way: one may already be where another belongs. These copies end at the exec.
    beyond = FIRST_FD + len(descriptors)
    lifted = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, beyond) for each in descriptors]
    for place, each in enumerate(lifted, start=FIRST_FD):
        os.dup2(each, place, inheritable=True)


def _fail(why: str) -> NoReturn:
    print(f"supervisor.export.listen: {why}", file=sys.stderr, flush=True)
    sys.exit(NOT_STARTED)


if __name__ == "__main__":
    main(sys.argv[1:])
