"""Counts of what happened to each service since this daemon began, for `GET /v1/metrics`.

Plain numbers, counted where they happen: a note costs about a microsecond. Nothing of it is kept
over the end of the daemon; collectors know how to go on from 0.
"""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, assert_never

from supervisor.control.messages import ProbeCounts, ServiceMetrics
from supervisor.core.effects import Topic
from supervisor.core.events import Exit, ExitCode, ExitSignal, ExitUnknown, ProbeResult
from supervisor.core.spec import ProbeKind
from supervisor.core.turn import Fleet
from supervisor.core.unit import Goal
from supervisor.posix.usage import Usage

LATENCY_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds."""


@dataclass(slots=True)
class ProbeTally:
    """What the probes of one kind came to."""

    ok: int = 0
    failed: int = 0
    error: int = 0
    seconds: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS) + 1))

    def add(self, result: ProbeResult) -> None:
        """Count one result."""
        if result.ok is None:
            self.error += 1
            return
        if result.ok:
            self.ok += 1
        else:
            self.failed += 1
        self.seconds += result.latency
        self.buckets[bisect_left(LATENCY_BOUNDS, result.latency)] += 1

    def message(self) -> ProbeCounts:
        """Return it as JSON has it."""
        return {
            "ok": self.ok,
            "failed": self.failed,
            "error": self.error,
            "buckets": self.buckets[:-1],
            "seconds": self.seconds,
        }


@dataclass(slots=True)
class ServiceTally:
    """What happened to one service."""

    transitions: Counter[str] = field(default_factory=Counter)
    exits: Counter[str] = field(default_factory=Counter)
    restarts: Counter[str] = field(default_factory=Counter)
    probes: dict[ProbeKind, ProbeTally] = field(default_factory=dict)
    ending: str = "exit"
    """Why the present run would be followed by another, as far as is known."""
    stopping: bool = False
    """It was asked to end, and did not end by itself."""
    cpu_seconds: float = 0.0
    cpu_seen: float = 0.0

    def cpu(self, seen: float) -> float:
        """Return processor seconds that only ever grow, from what living processes have used.

        That falls when one of them ends, which a collector would take for a new beginning, and
        count all of it once more. What is used between the last look and an end is missing.
        """
        self.cpu_seconds += max(0.0, seen - self.cpu_seen)
        self.cpu_seen = seen
        return self.cpu_seconds


class Tally:
    """What happened to all of them; by name, so bounded by the configuration."""

    def __init__(self) -> None:
        self._services: dict[str, ServiceTally] = {}

    def of(self, name: str) -> ServiceTally:
        """Return the counts of a service."""
        found = self._services.get(name)
        if found is None:
            found = self._services[name] = ServiceTally()
        return found

    def forget(self, name: str) -> None:
        """Let go of a service that is no longer in the configuration."""
        self._services.pop(name, None)

    def note(self, name: str, topic: Topic) -> None:
        """Count an entry of the journal."""
        tally = self.of(name)
        tally.transitions[topic] += 1
        match topic:
            case Topic.STARTED | Topic.ADOPTED:
                tally.ending, tally.stopping = "exit", False
            case Topic.SPAWN_FAILED:
                tally.ending = "spawn"
            case Topic.REMEDY:
                tally.ending = "remedy"
            case Topic.STOPPING:
                # Of a run that is restarted without being asked; an operator's stop leads to none.
                tally.ending = "probe" if tally.ending == "exit" else tally.ending
                tally.stopping = True
            case Topic.EXITED if tally.ending == "remedy" and not tally.stopping:
                # What was done beside the run did not end it.
                tally.ending = "exit"
            case Topic.RESTARTING:
                tally.restarts[tally.ending] += 1
                tally.ending, tally.stopping = "exit", False
            case _:
                pass

    def exceeded(self, name: str) -> None:
        """Take note that a run is about to be ended for what it uses."""
        self.of(name).ending = "limit"

    def exited(self, name: str, ending: Exit) -> None:
        """Count the end of a run."""
        self.of(name).exits[_kind(ending)] += 1

    def probed(self, name: str, kind: ProbeKind, result: ProbeResult) -> None:
        """Count the answer of a probe."""
        probes = self.of(name).probes
        if kind not in probes:
            probes[kind] = ProbeTally()
        probes[kind].add(result)


def _kind(ending: Exit) -> str:
    match ending:
        case ExitCode(code=0):
            return "success"
        case ExitCode():
            return "error"
        case ExitSignal():
            return "signal"
        case ExitUnknown():
            return "unknown"
        case _:
            assert_never(ending)


def service_metrics(
    fleet: Fleet, name: str, tally: ServiceTally, used: Usage | None, log_lost: int, began: float
) -> ServiceMetrics:
    """Return one service in figures. `began` is Unix time where the clock of its times has 0."""
    unit = fleet.units[name]
    started_at = unit.started_at()
    return {
        "name": name,
        "state": unit.state(),
        "ready": unit.ready(),
        "wanted": unit.goal is Goal.UP,
        "noticed": unit.notice() is not None,
        "started_at": None if started_at is None else round(began + started_at, 2),
        "cpu_seconds": round(tally.cpu(0.0 if used is None else used.cpu_seconds), 3),
        "memory": None if used is None else used.rss,
        "processes": 0 if used is None else used.processes,
        "log_lost": log_lost,
        "starts": tally.transitions[Topic.STARTED],
        "exits": dict(tally.exits),
        "restarts": dict(tally.restarts),
        "transitions": dict(tally.transitions),
        "probes": {kind.value: probe.message() for kind, probe in tally.probes.items()},
    }
