"""Made-up answers of the daemon and journal entries, for the tests of what is shown."""

from collections.abc import Callable
from typing import Literal, TypedDict, Unpack

from supervisor.control.messages import (
    ChangeMessage,
    DaemonStatus,
    FleetStatus,
    OverlapStatus,
    ProbeStatus,
    ServiceStatus,
)
from supervisor.core.causes import Causes
from supervisor.journal import Entry

Ctl = Callable[..., tuple[int, str, str]]
"""Runs a command in this process: its exit code, what it printed, what it complained of."""


class Changes(TypedDict, total=False):
    """What of a service is unlike a healthy one."""

    description: str
    state: str
    goal: str
    ready: bool
    settled: bool
    reason: str
    since: float
    pid: int | None
    run: int
    uptime: float | None
    restarts: int
    ports: list[int]
    probe: ProbeStatus | None
    notice: str | None
    cpu: float | None
    memory: int | None
    processes: int
    overlap: OverlapStatus | None
    last_exit: str | None
    enabled: bool
    remedies: list[str]
    depends_on: list[str]
    log: str
    log_lost: int


_DOWN: Changes = {
    "ready": False,
    "pid": None,
    "uptime": None,
    "probe": None,
    "cpu": None,
    "memory": None,
    "processes": 0,
}


def service(name: str, **changes: Unpack[Changes]) -> ServiceStatus:
    """Return a healthy service, changed."""
    healthy: ServiceStatus = {
        "name": name,
        "description": "",
        "state": "healthy",
        "goal": "up",
        "ready": True,
        "settled": True,
        "reason": "200 OK, WAV of 0.41 s",
        "since": 125.4,
        "pid": 4321,
        "run": 1,
        "uptime": 126.0,
        "restarts": 0,
        "ports": [],
        "probe": {
            "kind": "readiness",
            "ok": True,
            "detail": "200 OK",
            "latency": 0.0034,
            "age": 1.0,
        },
        "notice": None,
        "cpu": 1.25,
        "memory": 222_298_112,
        "processes": 1,
        "overlap": None,
        "last_exit": None,
        "enabled": True,
        "remedies": [],
        "depends_on": [],
        "log": f"/srv/atlas/logs/{name}.log",
        "log_lost": 0,
    }
    return {**healthy, **changes}


def down(name: str, **changes: Unpack[Changes]) -> ServiceStatus:
    """Return a service without a process, changed."""
    stopped: Changes = {
        **_DOWN,
        "state": "stopped",
        "goal": "down",
        "reason": "stop asked: by a client",
    }
    stopped.update(changes)
    return service(name, **stopped)


def daemon(
    *, stopping: bool = False, config: str = "/srv/atlas/config/services.yaml"
) -> DaemonStatus:
    """Return what a daemon says of itself."""
    return {
        "pid": 41,
        "version": "0.1.0",
        "uptime": 3785.0,
        "config": config,
        "root": "/srv/atlas",
        "sink_pid": 42,
        "stopping": stopping,
        "journal_seq": 17,
        "upgrades": 0,
    }


def fleet(*services: ServiceStatus) -> FleetStatus:
    """Return the whole answer."""
    return {"daemon": daemon(), "services": list(services)}


def journal(unit: str, *lines: tuple[float, str, str, int | None], first: int = 1) -> list[Entry]:
    """Return entries of one unit from (time, topic, text, run), as a daemon writes them."""
    return chronicle(
        *((when, unit, topic, text, run) for when, topic, text, run in lines), first=first
    )


def chronicle(*lines: tuple[float, str, str, str, int | None], first: int = 1) -> list[Entry]:
    """Return entries from (time, unit, topic, text, run), as a daemon writes them."""
    causes = Causes()
    return [
        Entry(seq, when, unit, topic, text, run, *causes.note(seq, unit, topic, text, run))
        for seq, (when, unit, topic, text, run) in enumerate(lines, first)
    ]


def change(
    name: str, kind: Literal["none", "live", "restart", "add", "remove"] = "none", *why: str
) -> ChangeMessage:
    """Return what a new configuration means for one service."""
    return {"service": name, "kind": kind, "why": list(why), "env": []}
