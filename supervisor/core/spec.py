"""What is asked for: the immutable description of services, with no fact about what runs.

Every duration is in seconds (float), every size in bytes (int), every path absolute. Values here
are complete and valid: `supervisor.config` makes them from YAML, or reports why it cannot.
A spec never holds a pid; what runs is in `supervisor.core.unit`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from supervisor.core.models import ModelSpec
from supervisor.core.notify import MetricsFile, Target

JsonScalar = str | int | float | bool | None
"""What a JSON expectation compares with; containers are reached by a path instead."""


@dataclass(frozen=True, slots=True)
class Wav:
    """The body must decode as RIFF/WAVE with at least this much audio."""

    min_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Expectations:
    """What a reply must be like, beyond having come. Every expectation must hold."""

    status: tuple[tuple[int, int], ...] = ((200, 299),)
    """Accepted status codes, as inclusive ranges."""
    content_type: str | None = None
    """Media type without parameters, lower case."""
    json: tuple[tuple[str, JsonScalar], ...] = ()
    """Dotted path (list indices are numbers) and the value that must stand there."""
    body_prefix: bytes | None = None
    min_bytes: int | None = None
    max_bytes: int | None = None
    latency: float | None = None
    """Seconds from connect to the last byte of the body."""
    wav: Wav | None = None


@dataclass(frozen=True, slots=True)
class HttpCheck:
    """One HTTP/1.1 request to an address (never a name: "localhost" has two meanings)."""

    host: str
    port: int
    path: str = "/"
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    expect: Expectations = field(default_factory=Expectations)
    notice: str | None = None
    """Dotted path in the JSON reply to a text: in what it works otherwise than asked."""
    busy: str | None = None
    """Dotted path in the JSON reply to what is true while it works on something."""


@dataclass(frozen=True, slots=True)
class TcpCheck:
    """A connection that is accepted."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class ExecCheck:
    """A command, run with the service's own cwd and environment, that exits 0."""

    command: tuple[str, ...]


Check = HttpCheck | TcpCheck | ExecCheck


@dataclass(frozen=True, slots=True)
class DoctorSpec:
    """A command, run as an ExecCheck is, that prints what it finds, one JSON object a line."""

    command: tuple[str, ...]
    timeout: float = 60.0


class ProbeKind(StrEnum):
    """The kubelet's three questions, with the kubelet's meanings, and one that costs real work."""

    STARTUP = "startup"
    READINESS = "readiness"
    LIVENESS = "liveness"
    TRANSACTION = "transaction"


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """How often a check is made, and how many results in a row decide."""

    check: Check
    every: float = 10.0
    timeout: float = 2.0
    failures: int = 3
    successes: int = 1
    budget: float | None = None
    """Startup only: seconds from spawn within which it must succeed (`for:` in the YAML)."""
    idle: bool = False
    """Transaction only: not asked while the service works on something else (`when:`)."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delay before restart n (from 1): `min(max, first * factor ** (n - 1))`, then jitter."""

    first: float = 0.2
    factor: float = 2.0
    max: float = 30.0
    jitter: float = 0.1
    """Part of the delay, 0 to 1, by which it is varied either way."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Stop trying after this many failures within this many seconds."""

    after: int = 5
    within: float = 60.0


RestartWhen = Literal["always", "on-failure", "never"]


@dataclass(frozen=True, slots=True)
class RestartSpec:
    """When an ended run is followed by another."""

    policy: RestartWhen = "always"
    backoff: Backoff = field(default_factory=Backoff)
    give_up: GiveUp | None = field(default_factory=GiveUp)
    """None: never give up."""
    proven_after: float = 10.0
    """A run that was healthy for this long clears the count of failures in a row."""


@dataclass(frozen=True, slots=True)
class StopSpec:
    """How a run is asked to end, and how long it may take before SIGKILL."""

    signal: int = 15
    timeout: float = 10.0


class Condition(StrEnum):
    """What a dependency must have reached before its dependent starts."""

    STARTED = "started"
    READY = "ready"
    COMPLETED = "completed"


@dataclass(frozen=True, slots=True)
class Dependency:
    """An edge of the start-up graph."""

    on: str
    condition: Condition = Condition.READY


@dataclass(frozen=True, slots=True)
class LogSpec:
    """Size of one log file, and how many older ones are kept."""

    max_size: int = 10 * 1024 * 1024
    keep: int = 5
    compress: bool = True


@dataclass(frozen=True, slots=True)
class Limits:
    """What a service may use. None: as much as the system gives."""

    memory: int | None = None
    """Bytes resident in all processes of the run together; above it the run is replaced."""
    open_files: int | None = None
    """RLIMIT_NOFILE, soft and hard, of each process."""
    processes: int | None = None
    """Processes and threads that the whole run may have."""
    nice: int = 0
    """-20 (first served) to 19; below 0 only root may give."""


@dataclass(frozen=True, slots=True)
class SocketSpec:
    """A listening socket that the supervisor holds and hands over (sd_listen_fds(3)).

    `localhost` in the YAML becomes two addresses, of which `::1` may be missing on the machine.
    """

    name: str
    addresses: tuple[tuple[str, int], ...]
    backlog: int = 512


@dataclass(frozen=True, slots=True)
class OutputTrigger:
    """A line that the service prints fits a pattern (`supervisor.core.pattern`)."""

    pattern: str


@dataclass(frozen=True, slots=True)
class ExitTrigger:
    """A run ends so, and nobody has asked it to end."""

    codes: tuple[int, ...] = ()
    signals: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ProbeTrigger:
    """A probe fails so many times in a row, and the last time in words that fit a pattern."""

    probe: ProbeKind
    failed: int = 1
    says: str | None = None


Trigger = OutputTrigger | ExitTrigger | ProbeTrigger


@dataclass(frozen=True, slots=True)
class RemedyCommand:
    """A command, run with the service's own cwd and environment, that must exit 0 in time."""

    command: tuple[str, ...]
    timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class PortFree:
    """Nobody listens on a TCP port."""

    port: int


@dataclass(frozen=True, slots=True)
class FileExists:
    """There is something at a path."""

    path: str


@dataclass(frozen=True, slots=True)
class Succeeds:
    """A command exits 0."""

    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Something that must come true in time; it is looked at again every second."""

    condition: PortFree | FileExists | Succeeds
    timeout: float = 60.0


RemedyStep = RemedyCommand | WaitFor
"""What takes time, and is done while no run of the service lives."""


@dataclass(frozen=True, slots=True)
class RemedyLimit:
    """A rule is applied so many times at most within so many seconds."""

    times: int = 3
    within: float = 3600.0


@dataclass(frozen=True, slots=True)
class Remedy:
    """A rule: what a known failure looks like, and what helps."""

    name: str
    when: Trigger
    set_env: Mapping[str, str] = field(default_factory=dict)
    set_args: Mapping[str, str | bool] = field(default_factory=dict)
    """By flag: its value, or True for a flag without one, or False for no such flag."""
    run: RemedyCommand | None = None
    wait_for: WaitFor | None = None
    restart: bool = False
    give_up: str | None = None
    """Why trying again is no use; such a rule has no other action."""
    limit: RemedyLimit = field(default_factory=RemedyLimit)
    dry_run: bool = False
    """It is only told what would be done."""

    @property
    def ends_the_run(self) -> bool:
        """Tell whether the run that called for it is ended by it."""
        return not self.dry_run and (self.restart or self.give_up is not None)

    def steps(self) -> tuple[RemedyStep, ...]:
        """Return what takes time, in order."""
        return tuple(step for step in (self.run, self.wait_for) if step is not None)


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """All that is needed to run one service and to judge whether it works."""

    name: str
    command: tuple[str, ...]
    cwd: str
    env: Mapping[str, str] = field(default_factory=dict)
    env_files: tuple[str, ...] = ()
    """Read again at every spawn, so that a restart never uses a stale value."""
    inherit_env: tuple[str, ...] = ()
    """Names taken from the daemon's environment beyond the allow-list."""
    venv: str | None = None
    enabled: bool = True
    ports: tuple[int, ...] = ()
    """Ports that the service binds itself."""
    sockets: tuple[SocketSpec, ...] = ()
    startup: ProbeSpec | None = None
    readiness: ProbeSpec | None = None
    liveness: ProbeSpec | None = None
    transaction: ProbeSpec | None = None
    busy_deadline: float = 600.0
    """Seconds for which silence is excused, and a transaction put off, by work under way."""
    doctor: DoctorSpec | None = None
    restart: RestartSpec = field(default_factory=RestartSpec)
    stop: StopSpec = field(default_factory=StopSpec)
    depends_on: tuple[Dependency, ...] = ()
    logs: LogSpec = field(default_factory=LogSpec)
    limits: Limits = field(default_factory=Limits)
    umask: int = 0o022
    """Not inherited: what a service writes must not depend on which shell started the daemon."""
    user: str | None = None
    """Name of the account that it runs as, where the daemon is root's; None: the daemon's own."""
    remedies: tuple[Remedy, ...] = ()
    """Looked through in order: the first that fits, and may be applied, is."""
    description: str = ""

    def probe(self, kind: ProbeKind) -> ProbeSpec | None:
        """Return the probe of this kind, if the spec has one."""
        match kind:
            case ProbeKind.STARTUP:
                return self.startup
            case ProbeKind.READINESS:
                return self.readiness
            case ProbeKind.LIVENESS:
                return self.liveness
            case ProbeKind.TRANSACTION:
                return self.transaction

    def asked(self, kind: ProbeKind) -> ProbeSpec:
        """Return the probe of a kind that the spec is known to have."""
        probe = self.probe(kind)
        assert probe is not None, f"{self.name} has no {kind} probe, and yet it is asked"  # noqa: S101
        return probe

    def all_ports(self) -> tuple[int, ...]:
        """Return every TCP port of this service, held sockets first, each once."""
        held = (port for socket in self.sockets for _, port in socket.addresses)
        return tuple(dict.fromkeys((*held, *self.ports)))


@dataclass(frozen=True, slots=True)
class FleetSpec:
    """One YAML file: every service, and where their files are."""

    source: str
    """The YAML file, absolute."""
    root: str
    """What relative paths in the YAML are relative to."""
    state_dir: str
    """Control socket, lock, ledger, FIFOs: 0700, on a disk that outlives a reboot."""
    logs_dir: str
    services: tuple[ServiceSpec, ...] = ()
    protected_ports: tuple[int, ...] = ()
    """Ports of others: no service may have one, and nothing is ever done to who listens there."""
    start_limit: int = 8
    """How many services may be starting at once (model loads compete for memory and cores)."""
    models: tuple[ModelSpec, ...] = ()
    """What `atlasctl models` fetches. The daemon makes nothing of it."""
    notify: tuple[Target, ...] = ()
    metrics: MetricsFile | None = None

    def service(self, name: str) -> ServiceSpec | None:
        """Return the service of this name, or None."""
        return next((s for s in self.services if s.name == name), None)
