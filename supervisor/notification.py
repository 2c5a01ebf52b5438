"""What systemd is told of the daemon: that it is ready, lives, executes itself anew, ends.

sd_notify(3), in the few lines of it that are needed. Nobody may listen, or listen any more: then
nothing is said, and supervision goes on.
"""

import contextlib
import socket
import time
from collections.abc import MutableMapping
from dataclasses import dataclass

ADDRESS, PERIOD, WATCHED = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"


@dataclass(frozen=True, slots=True)
class Notifier:
    """Where the service manager that started this process listens."""

    address: str = ""
    """Path of a Unix datagram socket, or `@` and a name in Linux's abstract namespace; "": nobody
    listens."""
    every: float | None = None
    """Seconds between two signs of life: half of what is waited for; None: none are awaited."""

    def tell(self, *assignments: str) -> None:
        """Send `NAME=value` lines, in one datagram. Does not block and does not raise."""
        if not self.address:
            return
        text = "\n".join(assignments).encode("utf-8", "replace")
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        with (
            contextlib.suppress(OSError, ValueError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out,
        ):
            out.setblocking(False)
            out.sendto(text, address)

    def ready(self, status: str) -> None:
        """Say that everything that was asked for has been begun; also after an upgrade."""
        self.tell("READY=1", "WATCHDOG=1", f"STATUS={status}")

    def alive(self, status: str) -> None:
        """Give a sign of life."""
        self.tell("WATCHDOG=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Say that for a moment there is no code to answer; `ready` ends it."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self.tell("RELOADING=1", f"MONOTONIC_USEC={now}", "STATUS=executing new code")

    def stopping(self) -> None:
        """Say that the end has begun, or goes on: that buys time, whatever the unit grants."""
        self.tell("STOPPING=1", "WATCHDOG=1", "STATUS=stopping everything", *self._more_time())

    def _more_time(self) -> tuple[str, ...]:
        return () if self.every is None else (f"EXTEND_TIMEOUT_USEC={self.every * 2e6:.0f}",)


def taken_from(environ: MutableMapping[str, str], pid: int) -> Notifier:
    """Return who is to be told; what says so is gone from `environ` then.

    Whatever this process starts is not the service, and must not be able to speak as it.
    """
    address = environ.pop(ADDRESS, "")
    period, watched = environ.pop(PERIOD, ""), environ.pop(WATCHED, "")
    if not address.startswith(("/", "@")) or len(address) < 2:
        return Notifier()
    # The variables may have been meant for a process that started this one.
    mine = watched in ("", str(pid))
    awaited = int(period) if mine and period.isascii() and period.isdecimal() else 0
    return Notifier(address, awaited / 2e6 if awaited else None)
