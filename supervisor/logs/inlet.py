"""The FIFO of one service and the log it runs into.

Kept true: the sink reads through a description of its own, opened by path, so what is in the FIFO
stays there as long as service, daemon or sink holds it, and its end means that no writer is left.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import stat
import sys
import time
from typing import TYPE_CHECKING

from supervisor.logs.transfer import waiting_bytes

if TYPE_CHECKING:
    from supervisor.logs.logfile import LogFile

TURN = 1024 * 1024
"""Most bytes of one FIFO before the others, and the control connections, have their turn."""
LARGE_PIPE = 1024 * 1024
BUSY = 32 * 1024
"""Bytes of one turn from which on a service is not just printing lines."""
WORTHWHILE = 128 * 1024
GATHERING = 0.0002
"""Seconds that a flood gets to gather so much. A sink that keeps up with it step by step moves
8 KiB at a time: twice the CPU time, at three quarters of the rate. In 0.2 ms come 0.3 MB."""
MOST_LARGE_PIPES = 16
"""More would use up pipe-user-pages-soft (64 MiB a user), after which every new pipe of the user,
ours or not, is 8 KiB small (pipe(7))."""

MOST_SELECTED = 1024
"""FD_SETSIZE: descriptors from this number on are beyond select(2)."""


def selector_of_fifos() -> selectors.BaseSelector:
    """Return what can wait for FIFOs on this system.

    kqueue of macOS, and poll(2), which is made of it there, tell of a FIFO's bytes when write(2)
    returns: not while it waits for room, which one of more than 8 KiB does. Nor do they tell of its
    end. select(2) tells both (xnu: filt_vnode_common, fifo_select; golang/go#24164, cpython#95600).
    """
    if sys.platform == "darwin":
        return selectors.SelectSelector()
    return selectors.DefaultSelector()


class Inlet:
    """Drains one FIFO into one log."""

    def __init__(self, name: str, path: str, log: LogFile) -> None:
        """Open the FIFO at `path` for reading; OSError when it is missing or no FIFO."""
        self.name = name
        self.log = log
        self.large = False
        self._flooding = False
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        found = os.fstat(self.fd)
        self.identity = (found.st_dev, found.st_ino)
        if not stat.S_ISFIFO(found.st_mode):
            os.close(self.fd)
            raise OSError(f"{path} is not a FIFO")

    def close(self) -> None:
        """Close the reading end; what is still in it stays for the next reader."""
        os.close(self.fd)

    def enlarge(self) -> bool:
        """Make the pipe hold more, where the system allows it; True if it now does."""
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, LARGE_PIPE)
                self.large = True
        return self.large

    def pump(self) -> tuple[int, bool]:
        """Move up to one turn of bytes; return how many, and whether the FIFO is at its end."""
        # Its writer goes on meanwhile: what a small pipe holds would stop it.
        if self._flooding and self.large and waiting_bytes(self.fd) < WORTHWHILE:
            time.sleep(GATHERING)
        moved, step, ended = 0, TURN, False
        # Little came: the rest is worth a turn of its own, when there is one.
        while moved < TURN and step >= BUSY:
            try:
                step = self.log.take(self.fd, TURN - moved)
            except BlockingIOError:
                break
            moved += step
            ended = step == 0
        self._flooding = moved >= BUSY
        return moved, ended

    def drain(self, most: int | None = None) -> None:
        """Move what is in the FIFO now, `most` bytes of it at most.

        Not what comes meanwhile: a flood has no end.
        """
        left = waiting_bytes(self.fd)
        if most is not None:
            left = min(left, most)
        while left > 0:
            try:
                step = self.log.take(self.fd, left)
            except BlockingIOError:
                return
            if step == 0:
                return
            left -= step
