"""What the page shows: one look at the daemon for all who ask, and what changed since theirs.

Nothing runs while nobody asks: there is no thread and no timer. Whoever asks when the last look is
older than `FRESH` looks anew; who asks meanwhile gets what is known.
"""

import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypedDict, cast

from supervisor import journal
from supervisor.control.client import ControlError, DaemonNotRunning
from supervisor.control.messages import DaemonStatus, FleetStatus, ProbeStatus, ServiceStatus
from supervisor.dashboard.samples import FAILED, SPACING, Sample, Samples, Series
from supervisor.journal import Entry

FRESH: Final = 0.8
"""Seconds; a page asks once a second."""
EVENTS: Final = 500
"""Entries of the journal that are kept for who comes."""
_JITTER: Final = 1.0
"""Seconds: times are told as ages, so the same moment comes out a little different each time."""


class ShownProbe(TypedDict):
    """The latest answer of a probe."""

    kind: str
    ok: bool | None
    detail: str
    latency: float
    at: float


class Shown(TypedDict):
    """One service; times are Unix seconds, so that what does not change is not told again."""

    name: str
    description: str
    state: str
    goal: str
    ready: bool
    settled: bool
    reason: str
    notice: str | None
    since: float
    started: float | None
    pid: int | None
    run: int
    restarts: int
    ports: list[int]
    probe: ShownProbe | None
    cpu: float | None
    memory: int | None
    processes: int
    second_run: str | None
    last_exit: str | None
    enabled: bool
    depends_on: list[str]
    log_lost: int
    serves_this: bool
    """It is the dashboard itself."""


class Supervisor(TypedDict):
    """The daemon, as far as is known."""

    answers: bool
    trouble: str
    """Why it does not, in words."""
    version: str
    pid: int
    since: float
    config: str
    stopping: bool


class Told(TypedDict):
    """An entry of the journal."""

    seq: int
    at: float
    unit: str
    topic: str
    text: str
    run: int | None


class Changes(TypedDict):
    """What is new for one page."""

    epoch: str
    """Numbers of another epoch mean nothing: take what comes as the whole."""
    revision: int
    look: int
    """The number of the look at the daemon that this comes from."""
    now: float
    supervisor: Supervisor
    order: list[str] | None
    """The names of all services, where that has changed."""
    services: list[Shown]
    events: list[Told]
    series: Series | None


class Source(Protocol):
    """Where the state comes from: `supervisor.control.client.ControlClient`."""

    def get(self, path: str, **query: str) -> object:
        """Return the JSON value of a reply. Raises DaemonNotRunning or ControlError."""


@dataclass(slots=True)
class _Known:
    shown: Shown
    revision: int


@dataclass(slots=True)
class Watch:
    """The last look, and when each part of it changed."""

    state_dir: str
    source: Source
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    epoch: str = field(default_factory=lambda: secrets.token_hex(6))
    _looking: threading.Lock = field(default_factory=threading.Lock)
    """Held by the one who asks the daemon, which may take as long as the client waits."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _looked_at: float = -FRESH
    _begun: int = 0
    """Looks that were begun."""
    _look_number: int = 0
    """That of the last one that came to its end."""
    _revision: int = 0
    _order: list[str] = field(default_factory=list)
    _order_revision: int = 0
    _services: dict[str, _Known] = field(default_factory=dict)
    _logs: dict[str, str] = field(default_factory=dict)
    _supervisor: Supervisor = field(default_factory=lambda: _unknown())
    _events: deque[Entry] = field(default_factory=lambda: deque(maxlen=EVENTS))
    _journal_stamp: tuple[int, int] | None = None
    _samples: Samples = field(default_factory=Samples)

    def look(self) -> None:
        """See to it that what is known is fresh, unless somebody else does so just now."""
        if self._is_fresh():
            return
        with self._lock:
            first = self._look_number == 0  # there is nothing yet that could be shown
        if not self._looking.acquire(blocking=first):
            return
        try:
            if not self._is_fresh():
                self._look()
        finally:
            self._looking.release()

    def expire(self) -> int:
        """Let the next one who asks look anew, since a command has changed something.

        Returns the number of the last look that may have seen how it was before.
        """
        with self._lock:
            self._looked_at = -FRESH
            return self._begun

    def changes(
        self, epoch: str, after: int, events_after: int, chart: str | None, samples_after: int
    ) -> Changes:
        """Return what is new since revision `after` of that epoch, event and sample."""
        with self._lock:
            if epoch != self.epoch:
                after = events_after = samples_after = 0
            return {
                "epoch": self.epoch,
                "revision": self._revision,
                "look": self._look_number,
                "now": round(self.wall(), 2),
                "supervisor": self._supervisor,
                "order": list(self._order) if self._order_revision > after or not after else None,
                "services": [
                    self._services[name].shown
                    for name in self._order
                    if self._services[name].revision > after
                ],
                "events": [_told(e) for e in self._events if e.seq > events_after],
                "series": None if chart is None else self._samples.series(chart, samples_after),
            }

    def log_of(self, name: str) -> str | None:
        """Return the path of a service's log, or None if there is no such service."""
        with self._lock:
            return self._logs.get(name)

    @property
    def latest_event(self) -> int:
        """The number of the latest entry of the journal that was seen."""
        with self._lock:
            return self._events[-1].seq if self._events else 0

    def _is_fresh(self) -> bool:
        with self._lock:
            seen = self._look_number > 0
            return seen and self.clock() - self._looked_at < FRESH

    def _look(self) -> None:
        with self._lock:
            self._begun += 1
            self._looked_at = self.clock()
        status, trouble = self._ask()
        with self._lock:
            seen = self._events[-1].seq if self._events else 0
        journal_seq = None if status is None else status["daemon"]["journal_seq"]
        anew = journal_seq is not None and journal_seq < seen
        entries = self._read_journal(0 if anew else seen, journal_seq)
        with self._lock:
            if anew:  # the state folder was removed: numbers begin again
                self.epoch = secrets.token_hex(6)
                self._events.clear()
            self._events.extend(entries)
            now = self.wall()
            if status is None:
                gone = self._supervisor.copy()  # a page may be being told of the former
                gone["answers"], gone["trouble"] = False, trouble
                self._supervisor = gone
            else:
                self._supervisor = _supervisor(status["daemon"], self._supervisor, now)
                self._note(status["services"], now)
            self._look_number = self._begun

    def _ask(self) -> tuple[FleetStatus | None, str]:
        try:
            return cast("FleetStatus", self.source.get("/v1/status")), ""
        except DaemonNotRunning:
            return None, "no supervisor runs; its services go on. Start another: atlasctl up"
        except ControlError as error:
            return None, str(error)

    def _read_journal(self, seen: int, journal_seq: int | None) -> Sequence[Entry]:
        stamp = journal.stamp(self.state_dir)
        if stamp == self._journal_stamp:
            return ()
        # Of a long past no more is decoded than is kept.
        after = max(seen, (journal_seq or 0) - EVENTS)
        try:
            entries = journal.read(self.state_dir, after)[-EVENTS:]
        except OSError:
            return ()
        self._journal_stamp = stamp
        return entries

    def _note(self, services: Sequence[ServiceStatus], now: float) -> None:
        self._revision += 1
        order = [service["name"] for service in services]
        if order != self._order:
            self._order, self._order_revision = order, self._revision
            for name in set(self._services).difference(order):
                del self._services[name]
        samples: dict[str, Sample] = {}
        for service in services:
            name = service["name"]
            self._logs[name] = service["log"]
            known = self._services.get(name)
            shown = _shown(service, None if known is None else known.shown, now)
            if known is None or shown != known.shown:
                self._services[name] = _Known(shown, self._revision)
            samples[name] = _sample(service)
        self._logs = {name: self._logs[name] for name in order}
        if now - self._samples.last_at >= SPACING - FRESH / 2 or now < self._samples.last_at:
            self._samples.add(now, samples)


def _shown(service: ServiceStatus, before: Shown | None, now: float) -> Shown:
    overlap = service["overlap"]
    started = None if service["uptime"] is None else now - service["uptime"]
    return {
        "name": service["name"],
        "description": service["description"],
        "state": service["state"],
        "goal": service["goal"],
        "ready": service["ready"],
        "settled": service["settled"],
        "reason": service["reason"],
        "notice": service["notice"],
        "since": _steady(now - service["since"], before and before["since"]),
        "started": None if started is None else _steady(started, before and before["started"]),
        "pid": service["pid"],
        "run": service["run"],
        "restarts": service["restarts"],
        "ports": service["ports"],
        "probe": _probe(service["probe"], before and before["probe"], now),
        "cpu": None if service["cpu"] is None else round(service["cpu"], 1),
        "memory": service["memory"],
        "processes": service["processes"],
        "second_run": None
        if overlap is None
        else f"a {'new' if overlap['incoming'] else 'former'} run {overlap['run']} beside it is "
        f"{overlap['state']}",
        "last_exit": service["last_exit"],
        "enabled": service["enabled"],
        "depends_on": service["depends_on"],
        "log_lost": service["log_lost"],
        "serves_this": service["pid"] == os.getpid(),
    }


def _probe(probe: ProbeStatus | None, before: ShownProbe | None, now: float) -> ShownProbe | None:
    if probe is None:
        return None
    return {
        "kind": probe["kind"],
        "ok": probe["ok"],
        "detail": probe["detail"],
        "latency": round(probe["latency"], 5),
        "at": _steady(now - probe["age"], before and before["at"]),
    }


def _steady(moment: float, before: float | None) -> float:
    if before is not None and abs(moment - before) < _JITTER:
        return before
    return round(moment, 2)


def _sample(service: ServiceStatus) -> Sample:
    probe = service["probe"]
    latency = None if probe is None or probe["ok"] is None else probe["latency"]
    if probe is not None and probe["ok"] is False:
        latency = FAILED
    return (service["cpu"], service["memory"], latency)


def _supervisor(daemon: DaemonStatus, before: Supervisor, now: float) -> Supervisor:
    return {
        "answers": True,
        "trouble": "",
        "version": daemon["version"],
        "pid": daemon["pid"],
        "since": _steady(now - daemon["uptime"], before["since"]),
        "config": daemon["config"],
        "stopping": daemon["stopping"],
    }


def _unknown() -> Supervisor:
    return {
        "answers": False,
        "trouble": "the supervisor was not asked yet",
        "version": "",
        "pid": 0,
        "since": 0.0,
        "config": "",
        "stopping": False,
    }


def _told(entry: Entry) -> Told:
    return {
        "seq": entry.seq,
        "at": entry.at,
        "unit": entry.unit,
        "topic": entry.topic,
        "text": entry.text,
        "run": entry.run,
    }
