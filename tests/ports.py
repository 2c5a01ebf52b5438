"""Ports for services of tests, which nobody else is given between the asking and the binding."""

import errno
import itertools
import os
import random
import socket
from typing import Final

_PORTS: Final = range(20_000, 32_000)
"""Below those that the system gives to whoever asks for any (from 32768 on, macOS: 49152)."""
_WORKERS: Final = 12


def _own() -> list[int]:
    """Return the ports of this process of the suite, from anywhere: another suite may run."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = _PORTS[worker % _WORKERS :: _WORKERS]
    start = random.randrange(len(own))
    return [*own[start:], *own[:start]]


_NEXT = itertools.cycle(_own())


def free_port() -> int:
    """Return a port that was free just now, another one each time."""
    return next(port for port in itertools.islice(_NEXT, len(_PORTS)) if _is_free(port))


def _is_free(port: int) -> bool:
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family) as probe:
                probe.bind((address, port))
        except OSError as error:
            # A machine without IPv6 has no other trouble with it.
            if error.errno == errno.EADDRINUSE:
                return False
    return True
