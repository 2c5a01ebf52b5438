"""One engine's place in the chain: whether it speaks, why not, and when it is tried again.

Nothing here waits, locks or asks the clock: the chain does, and hands in the time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from services.tts import diagnosis
from services.tts.engine import NotInstalledError

if TYPE_CHECKING:
    from services.tts.engine import Engine

RETRY_PAUSES: Final = (1.0, 5.0, 20.0, 60.0, 300.0, 600.0)
"""Seconds between tries of an engine that failed; the last one repeats."""

PROVEN_SECONDS: Final = 600.0
"""An engine that spoke for so long without a failure is new to failing when it fails again."""

_TITLES: Final = {"espeak": "eSpeak NG", "ukrainian": "the neural voice"}


class LinkState(StrEnum):
    """What an engine of the chain can do now; `/health` shows it."""

    WAITING = "waiting"  # not loaded, and not needed
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"  # tried again after a pause
    SKIPPED = "skipped"  # an engine of the same name and device has failed


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """A link at one moment. Stamps are unix seconds; `retry_in` is in seconds from now."""

    name: str
    device: str
    state: LinkState
    reason: str | None
    last_success: float | None
    last_error: str | None
    retry_in: float | None


@dataclass(slots=True, eq=False)
class Link:
    """The record of one engine; times are of `time.monotonic`, `last_success` is unix seconds."""

    engine: Engine
    state: LinkState = LinkState.WAITING
    loaded: bool = False
    """Whether the engine holds what `unload` would free."""
    fingerprint: str = ""
    """The engine's, from the first time that it was ready."""
    in_use: bool = False
    """Whether the worker speaks with it at this moment."""
    since: float | None = None
    """When the synthesis that is under way began, and of how many sentences it is."""
    sentences: int = 1
    hopeful: bool = True
    """Whether the try that is under way or due has no failed one before it: worth waiting for."""
    failures: int = 0
    """How often it could not be loaded since it was last ready."""
    relapses: int = 0
    """How often it failed in service since it was last proven."""
    pause: float = 0.0
    retry_at: float = 0.0
    ready_at: float | None = None
    reason: str | None = None
    remedy: str | None = None
    installed: bool = True
    """False when it failed because it was never installed, which is no fault."""
    failed_on: str = ""
    """The device that `reason` is about: the engine may be at another one when it is told."""
    last_success: float | None = None
    last_error: str | None = None
    pauses: tuple[float, ...] = field(default=RETRY_PAUSES)

    @property
    def title(self) -> str:
        """What people call it."""
        return _TITLES.get(self.engine.name, self.engine.name)

    @property
    def place(self) -> tuple[str, str]:
        """Two links of one place fail and recover together."""
        return self.engine.name, self.engine.device

    def is_due(self, now: float) -> bool:
        """Whether it may be loaded now, if it is needed."""
        return self.state is LinkState.WAITING or (
            self.state is LinkState.FAILED and now >= self.retry_at
        )

    def succeed(self, now: float, clock: float) -> None:
        """It has spoken its warm-up word; `clock` is unix time."""
        self.state = LinkState.READY
        self.fingerprint = self.engine.fingerprint
        self.hopeful = True
        self.failures = 0
        self.ready_at = now
        self.reason = self.remedy = None
        self.last_success = clock

    def fail(self, now: float, error: BaseException) -> None:
        """It could not be loaded, or failed at a text.

        A first failure in service is looked into at once: it may have been the text alone. All
        others wait, longer each time, so that an engine which speaks a word and fails at every
        sentence is not loaded for ever.
        """
        if self.ready_at is None:
            self.failures += 1
        elif now - self.ready_at >= PROVEN_SECONDS:
            self.relapses = 1
        else:
            self.relapses += 1
        tries = self.failures + self.relapses
        self.hopeful = self.ready_at is not None and tries == 1
        self.pause = 0.0 if self.hopeful else self.pauses[min(tries, len(self.pauses)) - 1]
        self.state = LinkState.FAILED
        self.retry_at = now + self.pause
        self.ready_at = None
        self.reason = self.last_error = diagnosis.reason(error)
        self.remedy = diagnosis.remedy(error)
        self.installed = not isinstance(error, NotInstalledError)
        self.failed_on = self.engine.device

    def complaint(self) -> str:
        """What is wrong with it and the cure, on one line; only for a link with a reason."""
        if not self.installed:
            return self.reason or ""
        cure = self.remedy if self.remedy and self.remedy not in (self.reason or "") else None
        failure = f"{self.title} on {self.failed_on} failed: {self.reason}"
        return failure if cure is None else f"{failure}; {cure}"
