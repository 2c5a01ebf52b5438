"""The keys of the YAML, each with the sentence that an editor shows beside it.

Shapes and spellings only: what one value needs of another service is checked in `consistency`, and
what a value becomes is decided in `translation`. Defaults are those of `supervisor.core.spec`, so
that they are written down once.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from supervisor.config import payloads
from supervisor.config.document import Scalar
from supervisor.config.dotenv import NAME_PATTERN
from supervisor.config.fields import (
    EXPANDABLE,
    Boolean,
    Choice,
    Duration,
    Integer,
    Key,
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
from supervisor.config.quantities import SpellingError, parse_endpoint
from supervisor.core import spec

DAY = 86400.0
YEAR = 366 * DAY
MAX_SERVICES = 1000

_LOGS = spec.LogSpec()
_STOP = spec.StopSpec()
_RESTART = spec.RestartSpec()
_BACKOFF = spec.Backoff()
_GIVE_UP = spec.GiveUp()
_PROBE = spec.ProbeSpec(spec.ExecCheck(()))

NAME_PATTERN_OF_SERVICES = r"[a-z0-9][a-z0-9_-]{0,62}"
_SERVICE_NAME = Key(
    NAME_PATTERN_OF_SERVICES,
    "cannot name a service or a socket",
    "use a-z, 0-9, _ and -, at most 63, a letter or digit first",
)
_VARIABLE = Text(
    NAME_PATTERN, "cannot name a variable", "use letters, digits and _, no digit first"
)
_PATH = Text(r"[\s\S]+", "is not a path", 'write "." for the root')
_TEXT_LIST = {"type": "array", "items": Text().schema()}


def as_list(value: object) -> object:
    """Read one value as a list of one."""
    return [value] if isinstance(value, Scalar) else value


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


def check_command(words: list[str]) -> list[str]:
    """Reject a command without a program."""
    if not words or not words[0]:
        raise rejection("names no program", "write [program, argument, …]")
    return words


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


class Keys(BaseModel):
    """A mapping with no keys but these."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, populate_by_name=False)


Name = Annotated[str, _SERVICE_NAME]
Path = Annotated[str, _PATH]
Command = Annotated[
    list[Annotated[str, Text()]],
    AfterValidator(check_command),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {**_TEXT_LIST, "minItems": 1}]}),
]
Paths = Annotated[
    list[Path],
    BeforeValidator(as_list),
    WithJsonSchema({"anyOf": [_PATH.schema(), {"type": "array", "items": _PATH.schema()}]}),
]
Statuses = Annotated[
    list[Annotated[tuple[int, int], payloads.Status()]],
    BeforeValidator(as_list),
    WithJsonSchema(
        {
            "anyOf": [
                payloads.Status().schema(),
                {"type": "array", "items": payloads.Status().schema(), "minItems": 1},
            ]
        }
    ),
]
EnvKey = Annotated[
    str,
    Key(
        rf"(?!LISTEN_(?:FDS|PID|FDNAMES)$){NAME_PATTERN}",
        "cannot be set as a variable",
        "use letters, digits and _, no digit first; LISTEN_* are set by the supervisor",
    ),
]
Environment = dict[EnvKey, Annotated[str, Text()]]


class Wav(Keys):
    """The reply must be a WAV file that can be played."""

    min_seconds: Annotated[float, Number(0, DAY)] = Field(
        default=0.0, description="Shortest audio accepted, in seconds."
    )


class Http(Keys):
    """An HTTP request, and what its reply must be like. Every expectation must hold."""

    method: Annotated[str, Text("[A-Z]{1,16}", "is not a method", "write GET or POST")] = Field(
        default="GET", description="HTTP method, in capitals. Default GET."
    )
    path: Annotated[str | None, payloads.Target()] = Field(
        default=None, description="Path and query, beginning with /. Default /."
    )
    port: Annotated[int | None, Integer(1, 65535)] = Field(
        default=None,
        description="Port on this machine. Default: the service's first socket or port.",
    )
    url: Annotated[str | None, Text()] = Field(
        default=None, description="Whole address, http only, instead of port and path."
    )
    headers: dict[Annotated[str, payloads.HEADER_NAME], Annotated[str, payloads.HEADER_VALUE]] = (
        Field(default_factory=dict, description="Request headers.")
    )
    body: Annotated[object, payloads.Body()] = Field(
        default=None, description="A mapping or list is sent as JSON, text is sent as it is."
    )
    status: Statuses | None = Field(
        default=None, description="Accepted status codes: 200, 2xx, 200-299 or a list. Default 2xx."
    )
    content_type: Annotated[str | None, payloads.MEDIA_TYPE] = Field(
        default=None, description="Media type of the reply, like audio/wav, without parameters."
    )
    json_: Annotated[tuple[tuple[str, spec.JsonScalar], ...], payloads.JsonEquals()] = Field(
        default=(),
        alias="json",
        description="Dotted path in the JSON reply, and the value it must have.",
    )
    body_prefix: Annotated[str | None, Text("[\\s\\S]+", "is empty", "remove it")] = Field(
        default=None, description="Text that the reply must begin with."
    )
    min_bytes: Annotated[int | None, Integer(0, 2**40)] = Field(
        default=None, description="Shortest body accepted, in bytes."
    )
    max_bytes: Annotated[int | None, Integer(0, 2**40)] = Field(
        default=None, description="Longest body accepted, in bytes."
    )
    latency: Annotated[float | None, Duration(0.001, DAY)] = Field(
        default=None, description="Longest time from connecting to the last byte, like 500ms."
    )
    wav: Wav | None = Field(
        default=None, description="The reply must be playable WAV. {} for any length."
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.url is not None and (self.port is not None or self.path is not None):
            raise rejection(
                "has a url and a port or path as well", "write the url alone, or port and path"
            )
        if "body" in self.model_fields_set and self.method in ("GET", "HEAD"):
            raise rejection(f"has a body, but its method is {self.method}", "write method: POST")
        if self.max_bytes is not None and (self.min_bytes or 0) > self.max_bytes:
            raise rejection("min_bytes is above max_bytes", "swap them")
        return self


class Tcp(Keys):
    """A connection that must be accepted."""

    host: Annotated[str | None, payloads.Host()] = Field(
        default=None, description="Address, never a name. Default: the one the service listens on."
    )
    port: Annotated[int | None, Integer(1, 65535)] = Field(
        default=None, description="Default: the service's first socket or port."
    )


class Probe(Keys):
    """One question, asked again and again. Exactly one of http, tcp and exec says how."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [way]} for way in ("http", "tcp", "exec")]}
    )

    http: Http | None = Field(default=None, description="Ask by an HTTP request.")
    tcp: Tcp | None = Field(
        default=None, description="Ask by connecting. {} for the service's own port."
    )
    exec: Command | None = Field(
        default=None, description="Ask by a command in the service's environment: exit 0 is a yes."
    )
    every: Annotated[float, Duration(0.05, DAY)] = Field(
        default=_PROBE.every, description="Time between two questions. Default 10s."
    )
    timeout: Annotated[float, Duration(0.01, DAY)] = Field(
        default=_PROBE.timeout, description="Longest wait for an answer. Default 2s."
    )
    failures: Annotated[int, Integer(1, 10_000)] = Field(
        default=_PROBE.failures, description="Failures in a row that decide. Default 3."
    )
    successes: Annotated[int, Integer(1, 10_000)] = Field(
        default=_PROBE.successes, description="Successes in a row that decide. Default 1."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [way for way in ("http", "tcp", "exec") if getattr(self, way) is not None]
        if not ways:
            raise rejection("asks nothing", "give it one of http, tcp or exec")
        if len(ways) > 1:
            raise rejection(f"has {' and '.join(ways)}", "keep one of them")
        return self


class StartupProbe(Probe):
    """Until it has succeeded, the service is starting, and no other probe runs."""

    for_: Annotated[float | None, Duration(0.1, DAY)] = Field(
        default=None,
        alias="for",
        description="Time from spawn within which it must have succeeded.",
    )


class Probes(Keys):
    """How it is known that the service works, and not merely runs."""

    startup: StartupProbe | None = Field(
        default=None, description="Has it started? Gates the other two."
    )
    readiness: Probe | None = Field(
        default=None, description="Can it take work? A no never kills it."
    )
    liveness: Probe | None = Field(default=None, description="Is it alive? A no restarts it.")


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
    inherit_env: list[Annotated[str, _VARIABLE]] = Field(
        default_factory=list,
        description="Variables taken from the supervisor's environment, by name.",
    )
    restart: Restart = Field(default_factory=Restart, description="When it is restarted.")
    stop: Stop = Field(default_factory=Stop, description="How it is asked to end.")
    logs: Logs = Field(default_factory=Logs, description="How its output is kept.")


class Service(Defaults):
    """One service."""

    command: Command = Field(
        description="Program and arguments, as a list or as one line. No shell runs it."
    )
    description: Annotated[str, Text(most=1000)] = Field(default="", description="For people.")
    enabled: Annotated[bool, Boolean()] = Field(
        default=True, description="Whether `up` starts it. Default true."
    )
    ports: list[Annotated[int, Integer(1, 65535)]] = Field(
        default_factory=list, description="TCP ports that the service opens itself."
    )
    sockets: dict[Name, Annotated[tuple[tuple[str, int], ...], Endpoint()]] = Field(
        default_factory=dict,
        description="Sockets the supervisor opens and hands over (LISTEN_FDS): name and host:port."
        " localhost is 127.0.0.1 and ::1.",
    )
    probes: Probes = Field(default_factory=Probes, description="How it is known that it works.")
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
