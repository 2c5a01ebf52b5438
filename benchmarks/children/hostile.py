"""A service that is hard to stop: `hostile.py FIFO NAME PORT`.

Its tree: the leader, a sibling that ignores SIGTERM, a grandchild that has left the session and
holds PORT, and fifty children. Each says "NAME.<part> PID NANOSECONDS" to FIFO when it is ready.
"""

import os
import signal
import socket
import sys
import time

CHILDREN = 50


def announce(part: str) -> None:
    """Say in one write that a part of the tree is ready."""
    fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CLOEXEC)
    os.write(fd, f"{sys.argv[2]}.{part} {os.getpid()} {time.monotonic_ns()}\n".encode())
    os.close(fd)


def live(part: str) -> None:
    """Be a part of the tree until a signal ends it."""
    announce(part)
    while True:
        signal.pause()


def ignore_term() -> None:
    """Live through SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    live("sibling")


def hold_port() -> None:
    """Leave the session and hold the port, as a daemon does that detaches itself."""
    os.setsid()
    if os.fork():
        os._exit(0)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(sys.argv[3])))
    listener.listen()
    live("holder")


def main() -> None:
    """Start the others, then be the leader."""
    if os.fork() == 0:
        ignore_term()
    if os.fork() == 0:
        hold_port()
    for number in range(CHILDREN):
        if os.fork() == 0:
            live(f"child{number}")
    live("leader")


if __name__ == "__main__":
    main()
