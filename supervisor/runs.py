"""The runs of which something exists on this machine, by service and number."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from supervisor.core.events import RunId
from supervisor.core.spec import Limits, ServiceSpec
from supervisor.posix import tree as trees
from supervisor.posix.cgroup import Group
from supervisor.posix.identity import ProcessIdentity
from supervisor.posix.pidfile import PidFile
from supervisor.posix.rows import Row
from supervisor.posix.tree import Tree
from supervisor.posix.watch import ExitWatch
from supervisor.sockets import Private


@dataclass(slots=True)
class LiveRun:
    """One run: its processes, and what it was started with."""

    spec: ServiceSpec
    """As it was when the run started: a reload may have changed it since."""
    run: RunId
    tree: Tree
    fingerprint: int = 0
    """Of the spec that it was started with, were it by an earlier daemon; 0: not known."""
    environment: Mapping[str, str] | None = None
    """What it was started with; None of an adopted run, of which only a checksum is known."""
    environment_mark: int = 0
    """The checksum; 0: not known."""
    watch: ExitWatch | None = None
    """Only of an adopted run: our own children are reaped."""
    private: Private = field(default_factory=Private)
    group: Group | None = None
    """Its control group, where the system has such."""
    limits: Limits = field(init=False)
    """Those that its group keeps: the spec's, until a reload says otherwise."""
    ended: bool = False
    """Its leader is dead, and its number will be another's: of another run perhaps."""
    gone: bool = False
    """Nothing of it is left, and it is forgotten."""
    seen: tuple[Row, ...] = ()
    """What was below the leader when it was asked to end: the only proof that a process is of
    this run if it has left the session and wiped its environment since."""

    def __post_init__(self) -> None:
        self.limits = self.spec.limits

    @property
    def leader(self) -> ProcessIdentity:
        """The first process of the run."""
        return self.tree.leader


class Runs:
    """All of them, and their PID files."""

    def __init__(
        self,
        logs_dir: str,
        others: Callable[[], AbstractSet[int]],
        retire: Callable[[Group], None],
    ) -> None:
        """`others` tells the daemon's own helpers; `retire` takes a dead run's control group."""
        self._logs_dir = logs_dir
        self._others = others
        self._retire = retire
        self._runs: dict[tuple[str, RunId], LiveRun] = {}
        self._by_pid: dict[int, tuple[str, RunId]] = {}
        self._named: dict[str, int] = {}
        """Whom the PID file of each service names: ours, as long as we hold the daemon's lock."""

    def __iter__(self) -> Iterator[LiveRun]:
        return iter(self._runs.values())

    def add(self, live: LiveRun) -> None:
        """Take a run in."""
        key = (live.spec.name, live.run)
        self._runs[key] = live
        self._by_pid[live.leader.pid] = key

    def drop(self, name: str, run: RunId) -> None:
        """Forget a run of which nothing is left."""
        live = self._runs.pop((name, run))
        live.gone = True
        if live.group is not None:
            self._retire(live.group)
        if self._by_pid.get(live.leader.pid) == (name, run):
            del self._by_pid[live.leader.pid]
        if live.watch is not None:
            live.watch.cancel()
        if self._named.get(name) == live.leader.pid:
            del self._named[name]
            with contextlib.suppress(OSError):
                os.unlink(self._pid_file(name).path)

    def get(self, name: str, run: RunId | None) -> LiveRun | None:
        """Return a run, or None if nothing of it exists."""
        return None if run is None else self._runs.get((name, run))

    def of(self, name: str) -> list[LiveRun]:
        """Return every run of one service: two in a rolling restart."""
        return [live for (its, _), live in self._runs.items() if its == name]

    def ended(self, pid: int) -> LiveRun | None:
        """Take note that a process is dead; return the run whose first process it was, if any."""
        key = self._by_pid.get(pid)
        if key is None:
            return None
        live = self._runs[key]
        live.ended = True
        return live

    def members(self, live: LiveRun) -> tuple[Row, ...]:
        """Return all that lives of a run."""
        return trees.survivors(live.tree, known=self.known(live), seen=live.seen, group=live.group)

    def is_over(self, live: LiveRun) -> bool:
        """Tell whether one look proves that nothing of a run lives."""
        return trees.is_empty(live.tree, known=self.known(live), seen=live.seen, group=live.group)

    def known(self, live: LiveRun) -> set[int]:
        """Return every process that this daemon started and that is not of this run."""
        known = {other.leader.pid for other in self if other is not live and not other.ended}
        return known | self._others()

    def all_known(self) -> set[int]:
        """Return every process that this daemon started itself."""
        return {live.leader.pid for live in self if not live.ended} | self._others()

    def write_pid_file(self, live: LiveRun) -> None:
        """Name this run in the PID file of its service. Raises UnsafePathError."""
        self._pid_file(live.spec.name).write(live.leader.pid)
        self._named[live.spec.name] = live.leader.pid

    def _pid_file(self, name: str) -> PidFile:
        return PidFile(f"{self._logs_dir}/{name}.pid")
