"""The keys under `probes:`: how a service is asked whether it works, and what it must answer."""

from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from supervisor.config import payloads
from supervisor.config.fields import Choice, Duration, Integer, Number, Text, rejection
from supervisor.config.shapes import Command, Keys, as_list
from supervisor.core import spec

DAY = 86400.0
STARTUP_BUDGET = 60.0
"""Seconds. Without a bound, a service that never starts would be starting for ever."""

_PROBE = spec.ProbeSpec(spec.ExecCheck(()))
_SERVICE = spec.ServiceSpec("", (), "")


def check_statuses(statuses: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Reject a list that no reply could satisfy."""
    if not statuses:
        raise rejection("accepts no status", "write 2xx, or remove it")
    return statuses


Statuses = Annotated[
    list[Annotated[tuple[int, int], payloads.Status()]],
    BeforeValidator(as_list),
    AfterValidator(check_statuses),
    WithJsonSchema(
        {
            "anyOf": [
                payloads.Status().schema(),
                {"type": "array", "items": payloads.Status().schema(), "minItems": 1},
            ]
        }
    ),
]


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
    notice: Annotated[str | None, payloads.JSON_PATH] = Field(
        default=None,
        description="Dotted path in the JSON reply to a text, for a service that works, but not as"
        " asked: what is wrong, and what to do. It stays healthy; status and why show the text.",
    )
    busy: Annotated[str | None, payloads.JSON_PATH] = Field(
        default=None,
        description="Dotted path in the JSON reply to what is true, or above 0, while it works on"
        " something. Without one, open connections tell.",
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

    successes: Annotated[int, Integer(1, 10_000)] = Field(
        default=_PROBE.successes, description="Successes in a row that are wanted. Default 1."
    )
    for_: Annotated[float, Duration(0.1, DAY)] = Field(
        default=STARTUP_BUDGET,
        alias="for",
        description="Time from spawn within which it must have succeeded. Default 1m.",
    )


class ReadinessProbe(Probe):
    """While it does not succeed, the service is up, but not ready."""

    failures: Annotated[int, Integer(1, 10_000)] = Field(
        default=_PROBE.failures, description="Failures in a row that make it unready. Default 3."
    )
    successes: Annotated[int, Integer(1, 10_000)] = Field(
        default=_PROBE.successes, description="Successes in a row that make it ready. Default 1."
    )


class LivenessProbe(Probe):
    """When it keeps failing, the service hangs: it is killed and started again."""

    failures: Annotated[int, Integer(1, 10_000)] = Field(
        default=_PROBE.failures, description="Failures in a row that end it. Default 3."
    )


class TransactionProbe(Probe):
    """Does it do its work? Costly, so it is asked seldom; when it keeps failing, it is restarted.

    One failure is enough for the service not to be ready any more.
    """

    every: Annotated[float, Duration(0.05, DAY)] = Field(
        default=300.0,
        description="What breaks is known to be broken within this time. Default 5m.",
    )
    timeout: Annotated[float, Duration(0.01, DAY)] = Field(
        default=30.0, description="Longest wait for an answer. Default 30s."
    )
    failures: Annotated[int, Integer(1, 10_000)] = Field(
        default=2, description="Failures in a row that end it. Default 2."
    )
    when: Annotated[Literal["idle", "always"], Choice({"idle": "idle", "always": "always"}, {})] = (
        Field(
            default="idle",
            description="idle (default): put off while it works on something, for busy.deadline at"
            " most. always: asked all the same.",
        )
    )


AnyProbe = StartupProbe | ReadinessProbe | LivenessProbe | TransactionProbe


class Busy(Keys):
    """How long work explains that a service does not answer."""

    deadline: Annotated[float, Duration(0.1, DAY)] = Field(
        default=_SERVICE.busy_deadline,
        description="While it works on something, silence is no failure for this long; after that"
        " it hangs. Default 10m.",
    )


class Probes(Keys):
    """How it is known that the service works, and not merely runs."""

    startup: StartupProbe | None = Field(
        default=None, description="Has it started? Gates the others."
    )
    readiness: ReadinessProbe | None = Field(
        default=None, description="Can it take work? A no never kills it."
    )
    liveness: LivenessProbe | None = Field(
        default=None, description="Is it alive? A no restarts it."
    )
    transaction: TransactionProbe | None = Field(
        default=None,
        description="Does a real request succeed? A no restarts it. Let it bypass caches.",
    )
    busy: Busy = Field(
        default_factory=Busy, description="What is made of silence while it works on something."
    )
