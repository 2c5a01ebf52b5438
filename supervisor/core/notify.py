"""Who is told of what, and where the figures for Prometheus are written.

Nothing of this is a service's, and the daemon makes nothing of it: it hands it to its courier
(`supervisor.notify`), a process of its own, and so needs no TCP, TLS or HTTP client.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal


class Transition(StrEnum):
    """What can be told of. The words are those of the YAML."""

    FAILED = "failed"
    """It was given up, or could not be ended: somebody has to do something."""
    CRASHED = "crashed"
    """A run ended unasked, or was ended because it did not work; another follows."""
    UNREADY = "unready"
    """It lives, and does not do its work."""
    HUNG = "hung"
    """It answers nothing any more; what it was doing was saved, and it is ended."""
    RECOVERED = "recovered"
    """It works again, after any of these."""
    REMEDY = "remedy"
    """A rule of the YAML was applied."""
    NOTICE = "notice"
    """It works, but not as asked; or as asked again."""
    STARTED = "started"
    STOPPED = "stopped"
    COMPLETED = "completed"
    DAEMON = "daemon"
    """The supervisor itself has started, stopped or changed."""


WebhookFormat = Literal["json", "slack", "discord", "text"]


@dataclass(frozen=True, slots=True)
class Webhook:
    """One POST for each notification."""

    url: str
    """It may be a secret as a whole: only its host is ever shown."""
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 10.0
    format: WebhookFormat = "json"


@dataclass(frozen=True, slots=True)
class Desktop:
    """A notification on the screen of whoever runs the supervisor."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A command, run once for each notification: words in its environment, JSON on its stdin."""

    command: tuple[str, ...]
    timeout: float = 10.0


Channel = Webhook | Desktop | Hook


@dataclass(frozen=True, slots=True)
class Target:
    """Somebody who wants to know."""

    name: str
    channel: Channel
    when: tuple[Transition, ...] = (Transition.FAILED, Transition.RECOVERED)
    services: tuple[str, ...] | None = None
    """None: all, those of later configurations too."""

    def wants(self, transition: Transition, service: str) -> bool:
        """Tell whether this is to be told; `service` is empty for the supervisor itself."""
        if transition not in self.when:
            return False
        return not service or self.services is None or service in self.services


@dataclass(frozen=True, slots=True)
class MetricsFile:
    """Where the figures are written for a collector that reads files."""

    file: str
    """Absolute. Written anew each time, in one step; `atlas_up 0` is all it says at the end."""
    every: float = 15.0
