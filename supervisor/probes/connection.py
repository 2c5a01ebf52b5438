"""A TCP connection to the service under probe, and what a refused one says about whom."""

import asyncio
import errno
import os
import socket
from weakref import WeakSet

from supervisor.core.events import Fault, ProbeResult

OURS = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.EADDRNOTAVAIL,  # no ephemeral port is left
        errno.EAFNOSUPPORT,
        errno.EPERM,  # a firewall of this machine
    }
)
"""Errors that say something about the prober and nothing about the service."""

RECEIVING = "header received"
"""The stage of an exchange from which on the service has said something."""

_made: WeakSet[socket.socket] = WeakSet()


def own_ports() -> frozenset[int]:
    """Return the ports from which our own probes are connected now: those are no work."""
    return frozenset(made.getsockname()[1] for made in _made if made.fileno() != -1)


async def connect(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a numeric address. Raises OSError, and ValueError for a name.

    A port in the ephemeral range on which nobody listens can be connected to *itself*: the
    kernel picks it as the source too, and TCP's simultaneous open succeeds. That is a refusal.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.inet_pton(family, host)
    except OSError:
        # asyncio would resolve it, in a thread that no deadline ends.
        raise ValueError(f"{host} is no address: write 127.0.0.1 or ::1") from None
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        _made.add(made)
        await asyncio.get_running_loop().sock_connect(made, (host, port))
        if made.getsockname() == made.getpeername():
            raise ConnectionRefusedError(errno.ECONNREFUSED, "connected to itself")
        return await asyncio.open_connection(sock=made)
    except BaseException:
        made.close()
        raise


def refusal(error: OSError, latency: float, stage: str) -> ProbeResult:
    """Return what an OSError in the middle of a probe says."""
    if error.errno in OURS:
        text = f"the prober cannot ask: {os.strerror(error.errno)}"
        return ProbeResult(ok=None, detail=text, latency=latency)
    match error:
        case ConnectionRefusedError():
            text = "connection refused"
        case ConnectionResetError() | BrokenPipeError():
            text = f"connection reset ({stage})"
        case _:
            text = f"{error.strerror or error} ({stage})"
    fault = Fault.WRONG if stage == RECEIVING else Fault.UNREACHABLE
    return ProbeResult(ok=False, detail=text, latency=latency, fault=fault)
