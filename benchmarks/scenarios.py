"""The measurements. Each works on one rig, or on several of which each has its turn."""

import contextlib
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import proc
from benchmarks.numbered import WIDTH, Tally, is_last, tally
from benchmarks.peers.layout import Peer, Service
from benchmarks.rig import Ran, Rig

HOSTILE = Path(__file__).parent / "children" / "hostile.py"
HOSTILE_PARTS = 53
OLD_ENOUGH = 1.15
"""Seconds; s6, runit and daemontools delay the restart of a service that ran for less than one."""
START_TIMEOUT = 240.0
SETTLE_TIMEOUT = 40.0
QUIET = 0.05
"""Part of a core below which a peer is done with its start."""
STORM_LASTS = 30.0
"""Seconds after which no further status is asked for."""
STORM_SETTLES = 1.5
"""Seconds, so that also those are in it that delay a restart by a second."""
LOG_STALLED = 15.0
"""Seconds without a byte written, after which what is missing counts as lost."""

Record = Callable[[str, Peer, float], None]
"""Takes one sample: key of the metric, peer, value."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What every measurement needs."""

    beacon: str
    record: Record

    def rig(
        self,
        peer: Peer,
        count: int,
        *words: str,
        logged: bool = False,
        hurried: bool = True,
    ) -> Rig:
        """Return a peer with `count` services, which get `words` after FIFO and name."""

        def programs(fifo: str) -> list[Service]:
            return [Service(n, (self.beacon, fifo, n, *words)) for n in names(count)]

        return Rig(peer, programs, self.beacon, logged=logged, hurried=hurried)


def names(count: int) -> list[str]:
    """Return the names of so many services."""
    return [f"s{number:03d}" for number in range(count)]


def start(bench: Bench, rig: Rig, count: int) -> None:
    """Start of all services, from the command on."""
    bench.record(f"start/{count}", rig.peer, rig.start(names(count), START_TIMEOUT))


def idle(bench: Bench, rig: Rig, count: int, settle: float, seconds: float) -> None:
    """CPU time and wake-ups while nothing happens, and memory after it.

    What a peer still has to do after a start is no idleness: it may take `SETTLE_TIMEOUT` seconds,
    and is a figure of its own.
    """
    began = at = time.monotonic()
    time.sleep(settle)
    while time.monotonic() < began + SETTLE_TIMEOUT:
        at, cpu = time.monotonic(), proc.use_of(rig.supervisors()).cpu
        time.sleep(1.0)
        if proc.use_of(rig.supervisors()).cpu - cpu < QUIET * (time.monotonic() - at):
            break
    bench.record(f"start/settled/{count}", rig.peer, at - began)
    bench.record(f"start/cpu/{count}", rig.peer, proc.use_of(rig.supervisors()).cpu)
    pids = rig.supervisors()
    before = proc.use_of(pids)
    began = time.monotonic()
    time.sleep(seconds)
    elapsed = time.monotonic() - began
    after = proc.use_of(pids)
    bench.record(f"idle/cpu/{count}", rig.peer, (after.cpu - before.cpu) / elapsed)
    bench.record(f"idle/wakeups/{count}", rig.peer, (after.wakeups - before.wakeups) / elapsed)
    bench.record(f"idle/pss/{count}", rig.peer, after.pss)
    bench.record(f"idle/private/{count}", rig.peer, after.private)
    bench.record(f"idle/processes/{count}", rig.peer, after.processes)


def status(bench: Bench, rig: Rig, key: str, times: int) -> None:
    """The user's status command as a whole process."""
    if rig.layout.status is not None:
        for _ in range(times):
            bench.record(f"status/{key}", rig.peer, rig.status())


def restart(bench: Bench, rig: Rig, key: str, number: int) -> None:
    """One kill of a service, and its restart: turn `number` of this peer."""
    service = rig.services[number % len(rig.services)]
    seconds = rig.restart(service.name, age=OLD_ENOUGH)
    bench.record(f"restart/{key}", rig.peer, seconds)


def storm(bench: Bench, peer: Peer, count: int, times: int) -> None:
    """Status while every service ends as soon as it has begun."""
    with tempfile.TemporaryDirectory(prefix="atlas-bench-") as folder:
        switch = Path(folder, "storm")
        with bench.rig(peer, count, "storm", str(switch)) as rig:
            if rig.layout.status is None:
                return
            rig.start(names(count), START_TIMEOUT)
            switch.touch()
            for service in rig.services:
                os.kill(rig.heard.latest[service.name].pid, signal.SIGKILL)
            time.sleep(STORM_SETTLES)
            before, began = proc.forks(), time.monotonic()
            for _ in range(times):
                bench.record("status/storm", peer, rig.status())
                if time.monotonic() > began + STORM_LASTS:
                    break
            elapsed = time.monotonic() - began
            bench.record("storm/forks", peer, (proc.forks() - before) / elapsed)
            switch.unlink()


def logs(bench: Bench, peer: Peer, megabytes: int) -> Tally | None:
    """Write numbered lines as fast as they are taken; count what arrives in the files."""
    count = megabytes * 1_000_000 // WIDTH
    with bench.rig(peer, 1, "lines", str(count), logged=True) as rig:
        if rig.layout.logs is None:
            return None
        (name,) = names(1)
        rig.start([name], START_TIMEOUT)
        time.sleep(0.5)
        pids = rig.supervisors()
        cpu = proc.use_of(pids).cpu
        began = time.monotonic()
        os.kill(rig.heard.latest[name].pid, signal.SIGUSR1)
        written = _all_written(lambda: rig.layout.logs(name), count)  # type: ignore[misc]
        used = proc.use_of(pids).cpu - cpu
        found = tally(_blocks(rig.layout.logs(name)), count, rig.layout.remark)
        size = (count - found.lost) * WIDTH
        bench.record("logs/rate", peer, size / (written - began))
        bench.record("logs/cpu", peer, used / (count * WIDTH / 1e8))
        bench.record("logs/lost", peer, found.lost)
        bench.record("logs/doubled", peer, found.doubled)
        bench.record("logs/broken", peer, found.broken + found.misplaced)
        bench.record("logs/files", peer, len(rig.layout.logs(name)))
        return found


def _all_written(files: Callable[[], Sequence[str]], count: int) -> float:
    """Return the moment at which all lines were in the files, or the last byte came."""
    seen, since = -1, time.monotonic()
    while time.monotonic() < since + LOG_STALLED:
        paths = files()
        size = 0
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                size += os.stat(path).st_size
        if size != seen:
            seen, since = size, time.monotonic()
        # A rotation may just have begun a new file, which is still empty.
        if size >= count * WIDTH and any(is_last(_tail(p), count) for p in paths[-2:]):
            return since
        time.sleep(0.005)
    return since


def _tail(path: str) -> bytes:
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 16 * WIDTH))
        return file.read()
    return b""


def _blocks(paths: Sequence[str]) -> Iterator[bytes]:
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                yield block


@dataclass(frozen=True, slots=True)
class Stopped:
    """What a stop of the hostile tree came to."""

    ran: Ran
    left: tuple[str, ...]
    """Parts alive when the command had ended."""
    later: tuple[str, ...]
    """Parts alive five seconds later."""
    port_free: bool
    """At that time."""


def hostile(bench: Bench, peer: Peer) -> Stopped | None:
    """Stop a tree that resists."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])

    def programs(fifo: str) -> list[Service]:
        argv = (sys.executable, "-I", "-S", str(HOSTILE), fifo, "h", str(port))
        return [Service("h", argv, port=port)]

    with Rig(peer, programs, bench.beacon, logged=False, hurried=True) as rig:
        rig.patience = 1.0  # what has survived the stop stays
        if rig.layout.stop is None:
            return None
        parts = ["leader", "sibling", "holder", *(f"child{n}" for n in range(HOSTILE_PARTS - 3))]
        rig.start([f"h.{part}" for part in parts], 60.0)
        pids = {part: rig.heard.latest[f"h.{part}"].pid for part in parts}
        ticks = {part: proc.start_ticks(pid) for part, pid in pids.items()}

        def alive() -> tuple[str, ...]:
            return tuple(
                part
                for part, pid in pids.items()
                if ticks[part] == proc.start_ticks(pid) is not None
            )

        ran = rig.run(rig.layout.stop("h"), within=20.0)
        left = alive()
        deadline = time.monotonic() + 5.0
        while (later := alive()) and time.monotonic() < deadline:
            time.sleep(0.02)
        with socket.socket() as probe:
            free = probe.connect_ex(("127.0.0.1", port)) != 0
        bench.record("hostile/stop", peer, ran.seconds)
        bench.record("hostile/left", peer, len(left))
        bench.record("hostile/later", peer, len(later))
        return Stopped(ran, left, later, free)
