"""Connections that a service has taken: the sign of work in one that cannot answer meanwhile."""

import sys
from collections.abc import Callable, Collection, Iterable

_ESTABLISHED = "01"
"""State column of /proc/net/tcp."""


def taken_connections(
    ports: Collection[int], own: Collection[int], pids: Callable[[], Iterable[int]]
) -> int:
    """Return how many connections to these ports were accepted and are still open.

    `own` are the local ports of connections that we made ourselves; they do not count. `pids`
    tells the processes of the service, and is asked only where the system tells connections by
    process (macOS). What only waits in the backlog is not counted, for nobody works on it.
    """
    if not ports:
        return 0
    if sys.platform == "linux":
        return sum(established(_lines(f"/proc/net/{name}"), ports, own) for name in ("tcp", "tcp6"))
    return _taken_by(pids(), ports, own)


def established(lines: Iterable[str], ports: Collection[int], own: Collection[int]) -> int:
    """Return the same of the lines of one table of /proc/net. Pure."""
    wanted = {f"{port:04X}" for port in ports}
    ours = {f"{port:04X}" for port in own}
    count = 0
    for line in lines:
        fields = line.split(None, 10)
        # A connection that nobody has accepted yet is no file: its inode is 0.
        if len(fields) > 9 and fields[3] == _ESTABLISHED and fields[9] != "0":
            local, remote = (field.rpartition(":")[2] for field in fields[1:3])
            count += local in wanted and remote not in ours
    return count


def _lines(path: str) -> Iterable[str]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            yield from file
    except OSError:
        return


def _taken_by(pids: Iterable[int], ports: Collection[int], own: Collection[int]) -> int:
    import psutil

    seen: set[tuple[object, object]] = set()
    for pid in pids:
        try:
            connections = psutil.Process(pid).net_connections(kind="tcp")
        except (psutil.Error, OSError):
            continue
        # Workers of one service may hold the same connection.
        seen.update(
            (c.laddr, c.raddr)
            for c in connections
            if c.status == psutil.CONN_ESTABLISHED
            and c.laddr.port in ports
            and c.raddr.port not in own
        )
    return len(seen)
