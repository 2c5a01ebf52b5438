"""The JSON that daemon and clients exchange, as types.

Times are seconds; `since` and `uptime` are ages, so that clients need not share a clock.
"""

from typing import Literal, NotRequired, TypedDict


class ProbeStatus(TypedDict):
    """The latest answer of a service's probes."""

    kind: str
    ok: bool | None
    detail: str
    latency: float
    age: float


class OverlapStatus(TypedDict):
    """The second run of a service, in a rolling restart."""

    run: int
    pid: int | None
    state: str
    incoming: bool
    """It is to take the place of the first; otherwise it is on its way out."""


class ServiceStatus(TypedDict):
    """One service, as `atlasctl status --json` prints it."""

    name: str
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
    """In what a service that works does so otherwise than asked, and the remedy, in its words."""
    cpu: float | None
    """Percent of one core, over the time since the last look (or the life of the run)."""
    memory: int | None
    """Resident bytes of the whole tree."""
    processes: int
    overlap: OverlapStatus | None
    """None unless two runs of it live at once."""
    last_exit: str | None
    enabled: bool
    remedies: list[str]
    """Rules whose variables and arguments are in force."""
    depends_on: list[str]
    log: str
    log_lost: int
    """Bytes of output that could not be written."""


class DaemonStatus(TypedDict):
    """The daemon itself."""

    pid: int
    version: str
    uptime: float
    config: str
    root: str
    sink_pid: int | None
    stopping: bool
    journal_seq: int
    upgrades: int
    """How often this process has executed itself anew."""
    login_item: NotRequired[str | None]
    """By what name launchd or systemd starts it at login; `atlasctl status --json` adds it."""


class FleetStatus(TypedDict):
    """The whole of `GET /v1/status`."""

    daemon: DaemonStatus
    services: list[ServiceStatus]


class Accepted(TypedDict):
    """The answer to a command: what it is about, and where its events begin."""

    services: list[str]
    """The services that were asked for, in configuration order."""
    also: list[str]
    """What they need and is started with them."""
    seq: int
    """The journal's number before the command: its events come after."""


class EnvChangeMessage(TypedDict):
    """One environment variable of a service; secrets are masked. None: not set."""

    name: str
    old: str | None
    new: str | None


class ChangeMessage(TypedDict):
    """What a new configuration means for one service (`supervisor.core.plan.Change`)."""

    service: str
    kind: Literal["none", "live", "restart", "add", "remove"]
    why: list[str]
    """In words, secrets masked."""
    env: list[EnvChangeMessage]


class Plan(TypedDict):
    """The answer to `POST /v1/plan`: what `reload` would do with this configuration."""

    changes: list[ChangeMessage]
    """In the order of the new configuration; what is removed comes last."""


class Reloading(Accepted):
    """The answer to `POST /v1/reload`: the new configuration holds, its runs are under way."""

    changes: list[ChangeMessage]


class Upgrading(TypedDict):
    """The answer to `POST /v1/upgrade`: the new code has proved itself and is about to run."""

    seq: int
    """The journal's number before the command."""
    pid: int
    """Of the daemon, now and afterwards."""


class RemedyStatus(TypedDict):
    """One rule of a service, in words, and what came of it."""

    name: str
    when: str
    do: str
    """Secrets masked."""
    limit: str
    dry_run: bool
    uses: int
    """How often it was applied within its limit's time."""
    age: float | None
    """Seconds since it was applied last; None: not within that time."""
    used_up: bool
    """It is not applied again for now."""
    in_force: bool
    """The next run gets what it sets."""


class TreatedService(TypedDict):
    """The remedies of one service."""

    service: str
    rules: list[RemedyStatus]
    pending: bool
    """What is in force differs from what the latest run was started with."""


class Treated(TypedDict):
    """The whole of `GET /v1/remedies`."""

    services: list[TreatedService]


class EventMessage(TypedDict):
    """One journal entry, as `GET /v1/events` streams it."""

    seq: int
    at: float
    unit: str
    topic: str
    text: str
    run: int | None
    kind: str
    """`asked`, `seen` or `decided` (`supervisor.core.causes.Kind`)."""
    because: list[int]
    """The entries that a decision rests on, by `seq`."""


class ProbeCounts(TypedDict):
    """What the probes of one kind of one service came to, since this daemon began."""

    ok: int
    failed: int
    error: int
    """Of the prober itself: they say nothing of the service."""
    buckets: list[int]
    """How many took at most each of `latency_bounds`, and not as little as the one before."""
    seconds: float
    """How long all of them took together."""


class ServiceMetrics(TypedDict):
    """One service in figures."""

    name: str
    state: str
    ready: bool
    wanted: bool
    """It is meant to be up."""
    noticed: bool
    """It works, but not as asked."""
    started_at: float | None
    """Unix seconds; None: no process lives."""
    cpu_seconds: float
    memory: int | None
    processes: int
    log_lost: int
    starts: int
    exits: dict[str, int]
    """By kind: `success` (code 0), `error` (another code), `signal`, `unknown`."""
    restarts: dict[str, int]
    """Automatic ones by cause: `exit`, `probe`, `limit`, `spawn`, `remedy`."""
    transitions: dict[str, int]
    """By topic of the journal."""
    probes: dict[str, ProbeCounts]
    """By kind; only what was asked."""


class DaemonMetrics(TypedDict):
    """The supervisor in figures."""

    version: str
    started_at: float
    """Unix seconds."""
    upgrades: int
    journal_seq: int
    journal_lost: int


class Metrics(TypedDict):
    """The whole of `GET /v1/metrics`. Counts begin at 0 with each daemon, and each upgrade."""

    daemon: DaemonMetrics
    latency_bounds: list[float]
    """Seconds. What took longer than the last is in none of the buckets."""
    services: list[ServiceMetrics]
