"""The keys of the YAML, each with the sentence that an editor shows beside it.

Shapes and spellings only: what one value needs of another service is checked in `consistency`, and
what a value becomes is decided in `translation`. Defaults are those of `supervisor.core.spec`, so
that they are written down once.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from supervisor.config.document import Scalar
from supervisor.config.fields import (
    EXPANDABLE,
    Boolean,
    Choice,
    Duration,
    Integer,
    Never,
    Number,
    ScalarType,
    Signal,
    Size,
    Text,
    kind_words,
    read_text,
    rejection,
)
from supervisor.config.model_files import Models
from supervisor.config.notify_model import MetricsFile, Targets
from supervisor.config.probe_model import DAY, Probes
from supervisor.config.quantities import SpellingError, parse_endpoint
from supervisor.config.remedy_model import Remedies
from supervisor.config.shapes import (
    ACCOUNT,
    VARIABLE,
    Command,
    Environment,
    Keys,
    Name,
    Path,
    Paths,
    Umask,
)
from supervisor.core import spec

YEAR = 366 * DAY
MAX_SERVICES = 1000
PORT = Integer(1, 65535)

_LOGS = spec.LogSpec()
_LIMITS = spec.Limits()
_STOP = spec.StopSpec()
_RESTART = spec.RestartSpec()
_BACKOFF = spec.Backoff()
_GIVE_UP = spec.GiveUp()
_DOCTOR = spec.DoctorSpec(())
_SERVICE = spec.ServiceSpec("", (), "")


def as_dependencies(value: object) -> object:
    """Read `[a, b]` as `{a: {}, b: {}}` and `{a: ready}` as `{a: {condition: ready}}`."""
    if isinstance(value, dict):
        return {k: {"condition": v} if isinstance(v, Scalar) else v for k, v in value.items()}
    if not isinstance(value, list):
        return value
    names: dict[str, object] = {}
    for item in value:
        name = read_text(item)
        if name in names:
            raise rejection(f"{name!r} is named twice", "remove one", at=item)
        names[name] = {}
    return names


def check_count(services: "dict[str, Service]") -> "dict[str, Service]":
    """Reject more services than this supervisor is made for."""
    if len(services) > MAX_SERVICES:
        raise rejection(f"has {len(services)} services", f"{MAX_SERVICES} are the most")
    return services


@dataclass(frozen=True, slots=True)
class Endpoint(ScalarType):
    """`host:port`, as the addresses that it stands for."""

    def read(self, value: object) -> tuple[tuple[str, int], ...]:
        """Return the addresses."""
        if isinstance(value, list | dict):
            raise rejection(
                f'must be "host:port", not {kind_words(value)}', 'write "localhost:3001"'
            )
        try:
            return parse_endpoint(value.text if isinstance(value, Scalar) else read_text(value))
        except SpellingError as error:
            raise rejection(error.message, error.hint) from None

    def schema(self) -> dict[str, object]:
        """Return the pattern of endpoints."""
        pattern = rf"^(?:(?:localhost|[0-9.]+|\[[0-9A-Fa-f:.]+\]):[0-9]{{1,5}}|{EXPANDABLE})$"
        return {"type": "string", "pattern": pattern, "examples": ["localhost:3001"]}


@dataclass(frozen=True, slots=True)
class Version(ScalarType):
    """The number of this format."""

    def read(self, value: object) -> int:
        """Return 1, or reject what another release wrote."""
        if Integer(0, 10**6).read(value) != 1:
            raise rejection("is not a version that this atlasctl reads", "write version: 1")
        return 1

    def schema(self) -> dict[str, object]:
        """Return the one number."""
        return {"const": 1}


class Backoff(Keys):
    """Wait before restart n: first * factor^(n-1), at most max, varied by jitter."""

    first: Annotated[float, Duration(0, DAY)] = Field(
        default=_BACKOFF.first, description="Wait before the first restart. Default 200ms."
    )
    factor: Annotated[float, Number(1, 100)] = Field(
        default=_BACKOFF.factor, description="How much longer each next wait is. Default 2."
    )
    max: Annotated[float, Duration(0, DAY)] = Field(
        default=_BACKOFF.max, description="Longest wait. Default 30s."
    )
    jitter: Annotated[float, Number(0, 1)] = Field(
        default=_BACKOFF.jitter, description="Part by which a wait is varied, 0 to 1. Default 0.1."
    )

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.first > self.max:
            raise rejection("first is longer than max", "make max the longer one")
        return self


class GiveUp(Keys):
    """Stop trying after this many failures within this time."""

    after: Annotated[int, Integer(1, 10_000)] = Field(
        default=_GIVE_UP.after, description="Failures. Default 5."
    )
    within: Annotated[float, Duration(0.1, YEAR)] = Field(
        default=_GIVE_UP.within, description="Time in which they are counted. Default 60s."
    )


def as_give_up(value: object) -> object:
    """Read `false` as None: never give up."""
    if isinstance(value, Scalar):
        Never().read(value)
        return None
    return value


class Restart(Keys):
    """When an ended run is followed by another."""

    policy: Annotated[
        spec.RestartWhen,
        Choice(
            {"always": "always", "on-failure": "on-failure", "never": "never"},
            {"no": "never", "unless-stopped": "always", "false": "never", "true": "always"},
        ),
    ] = Field(default=_RESTART.policy, description="always (default), on-failure or never.")
    backoff: Backoff = Field(
        default_factory=Backoff, description="How long to wait before a restart."
    )
    give_up: Annotated[
        GiveUp | None, BeforeValidator(as_give_up, json_schema_input_type=GiveUp | Literal[False])
    ] = Field(default_factory=GiveUp, description="When to stop trying. false: never.")
    proven_after: Annotated[float, Duration(0, DAY)] = Field(
        default=_RESTART.proven_after,
        description="A run healthy for this long clears the count of failures. Default 10s.",
    )


class Stop(Keys):
    """How a run is asked to end."""

    signal: Annotated[int, Signal()] = Field(
        default=_STOP.signal, description="Signal sent first, by name. Default TERM."
    )
    timeout: Annotated[float, Duration(0, DAY)] = Field(
        default=_STOP.timeout, description="Time it has before it is killed. Default 10s."
    )


class Logs(Keys):
    """One file per service under logs_dir, rotated by size."""

    max_size: Annotated[int, Size(4096, 2**40)] = Field(
        default=_LOGS.max_size, description="Size at which a new file begins. Default 10MiB."
    )
    keep: Annotated[int, Integer(0, 1000)] = Field(
        default=_LOGS.keep, description="How many older files are kept. Default 5."
    )
    compress: Annotated[bool, Boolean()] = Field(
        default=_LOGS.compress, description="Whether older files are gzipped. Default true."
    )


class Limits(Keys):
    """What a service may use. What is not given is not limited."""

    memory: Annotated[int, Size(2**20, 2**50)] | None = Field(
        default=_LIMITS.memory,
        description="Memory of all its processes together; with more, it is restarted. Where"
        " cgroup v2 gives us its memory controller, the kernel ends it at 10 % more.",
    )
    open_files: Annotated[int, Integer(16, 2**30)] | None = Field(
        default=_LIMITS.open_files,
        description="Files and sockets that each process may have open (ulimit -n).",
    )
    processes: Annotated[int, Integer(1, 2**22)] | None = Field(
        default=_LIMITS.processes,
        description="Processes and threads that it may have. Where cgroup v2 does not give us its"
        " pids controller (never on macOS), the system counts all that the user has, not this"
        " service's alone, and holds root to nothing (ulimit -u).",
    )
    nice: Annotated[int, Integer(-20, 19)] = Field(
        default=_LIMITS.nice,
        description="-20 (served first) to 19 (last); below 0 only as root. Default: as the"
        " supervisor, mostly 0.",
    )


class Doctor(Keys):
    """A command that looks for what is wrong or missing, for `atlasctl doctor`.

    It prints a JSON object a line: {"check": name, "level": "ok", "note" or "wrong", "text": what
    was found, "hint": what to do or null, "details": anything}. It exits with 0 if it has looked at
    everything, whatever it found.
    """

    command: Command = Field(
        description="Program and arguments, run in the service's environment and directory."
    )
    timeout: Annotated[float, Duration(0.1, DAY)] = Field(
        default=_DOCTOR.timeout, description="Time it has before it is killed. Default 60s."
    )


class Dependency(Keys):
    """What another service must have reached first."""

    condition: Annotated[
        spec.Condition,
        Choice(
            {condition.value: condition for condition in spec.Condition},
            {
                "healthy": "ready",
                "service_healthy": "ready",
                "service_started": "started",
                "service_completed_successfully": "completed",
                "running": "started",
            },
        ),
    ] = Field(
        default=spec.Condition.READY,
        description="started, ready (default) or completed (exited with 0).",
    )


class Defaults(Keys):
    """Keys that every service has unless it says otherwise. Mappings are merged key by key."""

    cwd: Path | None = Field(default=None, description="Working directory. Default: root.")
    venv: Path | None = Field(
        default=None,
        description="Virtual environment: its bin goes first on PATH, VIRTUAL_ENV is set.",
    )
    env: Environment = Field(
        default_factory=dict, description="Environment variables. Put numbers like 1.10 in quotes."
    )
    env_file: Paths = Field(
        default_factory=list,
        description="KEY=VALUE files for the service's environment, read again at every start.",
    )
    inherit_env: list[Annotated[str, VARIABLE]] = Field(
        default_factory=list,
        description="Variables taken from the supervisor's environment, by name.",
    )
    restart: Restart = Field(default_factory=Restart, description="When it is restarted.")
    stop: Stop = Field(default_factory=Stop, description="How it is asked to end.")
    logs: Logs = Field(default_factory=Logs, description="How its output is kept.")
    limits: Limits = Field(default_factory=Limits, description="What it may use.")
    umask: Annotated[int, Umask()] = Field(
        default=_SERVICE.umask,
        description='Permissions that files it makes lack, octal, in quotes. Default "022".',
    )
    user: Annotated[str, ACCOUNT] | None = Field(
        default=_SERVICE.user,
        description="Account that it runs as, if root runs the supervisor. Default: the"
        " supervisor's own.",
    )


class Service(Defaults):
    """One service."""

    command: Command = Field(
        description="Program and arguments, as a list or as one line. No shell runs it."
    )
    description: Annotated[str, Text(most=1000)] = Field(default="", description="For people.")
    enabled: Annotated[bool, Boolean()] = Field(
        default=True, description="Whether `up` starts it. Default true."
    )
    ports: list[Annotated[int, PORT]] = Field(
        default_factory=list, description="TCP ports that the service opens itself."
    )
    sockets: dict[Name, Annotated[tuple[tuple[str, int], ...], Endpoint()]] = Field(
        default_factory=dict,
        description="Sockets the supervisor opens and hands over (LISTEN_FDS): name and host:port."
        " localhost is 127.0.0.1 and ::1. A rolling restart adds a private one of the same name: a"
        " service has to serve every one that it gets, and to finish its work after SIGTERM.",
    )
    probes: Probes = Field(default_factory=Probes, description="How it is known that it works.")
    doctor: Doctor | None = Field(
        default=None, description="What `atlasctl doctor` runs to find out what is wrong with it."
    )
    remedies: Remedies = Field(
        default_factory=list,
        description="Known failures and what helps against each; the first that fits is applied.",
    )
    depends_on: Annotated[
        dict[Name, Dependency],
        BeforeValidator(
            as_dependencies,
            json_schema_input_type=dict[Name, Dependency | spec.Condition] | list[str],
        ),
    ] = Field(default_factory=dict, description="Services that must be there first.")


class Fleet(Keys):
    """What atlasctl runs."""

    version: Annotated[int, Version()] = Field(description="Version of this format: 1.")
    root: Path = Field(
        default=".",
        description="What relative paths are relative to; itself relative to this file. Plain text"
        " on a line of its own. Default: this file's folder.",
    )
    env_file: Paths | None = Field(
        default=None,
        description="KEY=VALUE files for ${NAME} in this file only; the environment wins over"
        " them. Default: .env, if it exists.",
    )
    logs_dir: Path = Field(
        default="logs", description="Folder of logs and PID files. Default logs."
    )
    protected_ports: list[Annotated[int, PORT]] = Field(
        default_factory=list,
        description="TCP ports of other programs, which no service here may have by mistake."
        " (Whoever listens on a port and is not of a service is left alone on any port.)",
    )
    start_limit: Annotated[int, Integer(1, MAX_SERVICES)] = Field(
        default=spec.FleetSpec("", "", "", "").start_limit,
        description="How many services may be starting at once. Default 8.",
    )
    defaults: Defaults = Field(
        default_factory=Defaults, description="Keys for every service that does not set them."
    )
    services: Annotated[dict[Name, Service], AfterValidator(check_count)] = Field(
        description="The services, by name."
    )
    models: Models = Field(
        default_factory=dict,
        description="Files that `atlasctl models fetch` brings, by name. No service depends on it.",
    )
    notify: Targets = Field(
        default_factory=list, description="Who is told when a service fails, and of what else."
    )
    metrics: MetricsFile | None = Field(
        default=None,
        description="A file for Prometheus, written while the supervisor runs: a path, or file and"
        " every. `atlasctl metrics` prints the same.",
    )
