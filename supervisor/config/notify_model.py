"""The keys under `notify:` and `metrics:`: who is told of what, and where figures are written."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal, Self, assert_never
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from supervisor.config import payloads
from supervisor.config.document import Scalar
from supervisor.config.fields import (
    EXPANDABLE,
    Boolean,
    Choice,
    Duration,
    ScalarType,
    Text,
    read_text,
    rejection,
)
from supervisor.config.root import Folders
from supervisor.config.shapes import SERVICE_NAME, Command, Keys, Path, as_list
from supervisor.core import notify

MAX_TARGETS = 20
"""Each may have one delivery under way, in a thread of its own."""

_WEBHOOK = notify.Webhook("")
_HOOK = notify.Hook(())
_TARGET = notify.Target("", notify.Desktop())
_METRICS = notify.MetricsFile("")

TRANSITION = Choice(
    {transition.value: transition for transition in notify.Transition},
    {
        "gave-up": "failed",
        "fatal": "failed",
        "exited": "crashed",
        "restarted": "crashed",
        "unhealthy": "unready",
        "healthy": "recovered",
        "ready": "recovered",
    },
)

NAME = Text(SERVICE_NAME.pattern, "is not a name", SERVICE_NAME.hint)


@dataclass(frozen=True, slots=True)
class SecretHeader(ScalarType):
    """The value of a header. No error repeats it."""

    def read(self, value: object) -> str:
        """Return the value."""
        text = read_text(value)
        if not re.fullmatch(payloads.HEADER_VALUE.pattern, text):
            raise rejection("is not a header value", payloads.HEADER_VALUE.hint)
        return text

    def schema(self) -> dict[str, object]:
        """Return the pattern of values."""
        return payloads.HEADER_VALUE.schema()


@dataclass(frozen=True, slots=True)
class HookUrl(ScalarType):
    """Where a POST goes: http or https. No error repeats it, for it may be a secret."""

    def read(self, value: object) -> str:
        """Return the URL."""
        text = read_text(value)
        hint = "write it like https://host/path"
        if not re.fullmatch(r"[\x21-\x7e]+", text):
            raise rejection("has characters that a URL may not have", "percent-encode them")
        try:
            parts = urlsplit(text)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise rejection("is not a URL", hint) from None
        if parts.scheme not in ("http", "https") or not host:
            raise rejection("is not an http or https URL", hint)
        if parts.username is not None:
            raise rejection(
                "has a user and a password in it",
                'write headers: {Authorization: "Basic ${NAME}"} and the name in .env',
            )
        if parts.fragment:
            raise rejection("has a #fragment, which is never sent", "remove it")
        return text

    def schema(self) -> dict[str, object]:
        """Return the pattern of URLs."""
        pattern = rf"^(?:https?://[\x21\x22\x24-\x7e]+|{EXPANDABLE})$"
        return {"type": "string", "pattern": pattern, "examples": ["${PHONE_WEBHOOK}"]}


class Webhook(Keys):
    """An HTTP POST for each notification."""

    url: Annotated[str, HookUrl()] = Field(
        description='Where to, http or https. Keep it in .env if it is a secret: "${NAME}".'
    )
    headers: dict[Annotated[str, payloads.HEADER_NAME], Annotated[str, SecretHeader()]] = Field(
        default_factory=dict, description="Request headers."
    )
    timeout: Annotated[float, Duration(0.1, 60)] = Field(
        default=_WEBHOOK.timeout, description="Time that an answer may take. Default 10s."
    )
    format: Annotated[
        notify.WebhookFormat,
        Choice(
            {"json": "json", "slack": "slack", "discord": "discord", "text": "text"},
            {"ntfy": "text", "mattermost": "slack", "plain": "text"},
        ),
    ] = Field(
        default=_WEBHOOK.format,
        description="json (default): all that is known; slack (Mattermost too), discord: what"
        " these take; text: one line of plain text, as ntfy takes it.",
    )


def as_webhook(value: object) -> object:
    """Read `https://…` as `{url: https://…}`."""
    return {"url": value} if isinstance(value, Scalar) else value


def check_transitions(when: list[notify.Transition]) -> list[notify.Transition]:
    """Reject what would never tell anything."""
    if not when:
        raise rejection("chooses nothing", "write [failed, recovered], or remove it")
    return when


def check_services(services: list[str] | None) -> list[str] | None:
    """Reject what would never tell anything."""
    if services is not None and not services:
        raise rejection("names no service", "name some, or remove it: all are meant then")
    return services


class Target(Keys):
    """Somebody who wants to know. Exactly one of webhook, desktop and command."""

    name: Annotated[str, NAME] | None = Field(
        default=None,
        description="For `atlasctl notify` and the journal. Default: its kind and a number.",
    )
    when: Annotated[
        list[Annotated[notify.Transition, TRANSITION]],
        BeforeValidator(as_list),
        AfterValidator(check_transitions),
        WithJsonSchema(
            {
                "anyOf": [
                    TRANSITION.schema(),
                    {"type": "array", "items": TRANSITION.schema(), "minItems": 1},
                ]
            }
        ),
    ] = Field(
        default_factory=lambda: list(_TARGET.when),
        description="Of what to tell. Default: failed (given up) and recovered. Also: crashed"
        " (ended unasked, and is restarted), unready, hung, remedy, notice (works, but not as"
        " asked), started, stopped, completed, daemon (the supervisor itself).",
    )
    services: Annotated[
        list[Annotated[str, NAME]] | None,
        BeforeValidator(as_list),
        AfterValidator(check_services),
        WithJsonSchema(
            {"anyOf": [NAME.schema(), {"type": "array", "items": NAME.schema(), "minItems": 1}]}
        ),
    ] = Field(default=None, description="Of which services. Default: all.")
    webhook: Annotated[
        Webhook | None,
        BeforeValidator(as_webhook, json_schema_input_type=Webhook | Annotated[str, HookUrl()]),
    ] = Field(default=None, description="A URL, or url with headers, timeout and format.")
    desktop: Annotated[bool, Boolean()] | None = Field(
        default=None,
        description="true: on the screen, by osascript (macOS) or notify-send (Linux).",
    )
    command: Command | None = Field(
        default=None,
        description="Program and arguments; it finds ATLAS_EVENT, ATLAS_SERVICE and ATLAS_SUMMARY"
        " in its environment and all that is known as JSON on its stdin. It has 10 s.",
    )

    @model_validator(mode="after")
    def _one_channel(self) -> Self:
        given = [self.webhook is not None, self.desktop is not None, self.command is not None]
        if sum(given) != 1:
            raise rejection(
                "must have exactly one of webhook, desktop and command",
                "write one, like desktop: true; a second one is an entry of its own",
            )
        if self.desktop is False:
            raise rejection("desktop: false tells nobody", "remove the entry")
        return self


def check_targets(targets: list[Target]) -> list[Target]:
    """Reject too many, and two of one name."""
    if len(targets) > MAX_TARGETS:
        raise rejection(f"has {len(targets)} entries", f"{MAX_TARGETS} are the most")
    names: set[str] = set()
    for target in targets:
        if target.name is not None and target.name in names:
            raise rejection(f"{target.name!r} is named twice", "give each a name of its own")
        names.add(target.name or "")
    return targets


Targets = Annotated[list[Target], AfterValidator(check_targets)]


class Metrics(Keys):
    """A file that Prometheus' node_exporter (or another collector) reads."""

    file: Path = Field(
        description="Path; *.prom in the folder of node_exporter's --collector.textfile.directory."
    )
    every: Annotated[float, Duration(1, 3600)] = Field(
        default=_METRICS.every, description="How often it is written. Default 15s."
    )


def as_metrics(value: object) -> object:
    """Read `PATH` as `{file: PATH}`."""
    return {"file": value} if isinstance(value, Scalar) else value


MetricsFile = Annotated[Metrics, BeforeValidator(as_metrics, json_schema_input_type=Metrics | str)]


def targets(read: list[Target]) -> tuple[notify.Target, ...]:
    """Return the targets, each with a name."""
    given = {target.name for target in read}
    named: list[notify.Target] = []
    for target in read:
        channel = _channel(target)
        name = target.name or _free_name(_kind(channel), given)
        given.add(name)
        services = None if target.services is None else tuple(dict.fromkeys(target.services))
        named.append(notify.Target(name, channel, tuple(dict.fromkeys(target.when)), services))
    return tuple(named)


def metrics_file(read: Metrics | None, folders: Folders) -> notify.MetricsFile | None:
    """Return where figures are written, if anywhere."""
    return None if read is None else notify.MetricsFile(folders.absolute(read.file), read.every)


def _channel(read: Target) -> notify.Channel:
    if read.webhook is not None:
        given = read.webhook
        return notify.Webhook(given.url, dict(given.headers), given.timeout, given.format)
    if read.command is not None:
        return notify.Hook(tuple(read.command), _HOOK.timeout)
    return notify.Desktop()


def _kind(channel: notify.Channel) -> Literal["webhook", "desktop", "command"]:
    match channel:
        case notify.Webhook():
            return "webhook"
        case notify.Desktop():
            return "desktop"
        case notify.Hook():
            return "command"
        case _:
            assert_never(channel)


def _free_name(kind: str, given: set[str | None]) -> str:
    names = (kind if number == 1 else f"{kind}-{number}" for number in range(1, MAX_TARGETS + 2))
    return next(name for name in names if name not in given)
