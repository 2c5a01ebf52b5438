"""One order on its way through the worker: its sentences go in, its audio comes out in order."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from services.tts.engine import SAMPLE_RATE, Utterance

if TYPE_CHECKING:
    from services.tts.audio import Effect
    from services.tts.engine import Samples


@dataclass(frozen=True, slots=True)
class Order:
    """What to say: at least one sentence, and how.

    `streamed` tells that somebody listens from the first sentence on; otherwise only the end of the
    whole counts, and more of it is spoken at once. `fresh` leaves the phrase cache out of it.
    """

    sentences: tuple[str, ...]
    voice: str
    effect: Effect
    speed: float
    streamed: bool = True
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """The audio of one sentence, effect applied and silence off its ends; never empty."""

    samples: Samples
    engine: str


@dataclass(frozen=True, slots=True)
class Spoken:
    """The job was spoken to its end.

    `seconds` passed from its submission on; `engines` spoke it, in the order of first use.
    """

    seconds: float
    engines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Broken:
    """The engines failed at this job."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The job was given up unspoken, or half spoken; later may be better."""

    reason: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Nobody wanted the answer any more."""


Outcome: TypeAlias = Spoken | Broken | Refused | Cancelled


class Job:
    """Made by `Worker.submit`; whoever made it takes, the worker puts.

    What was put is taken in the same order, then the outcome. A job that ended badly gives up what
    was not taken: nobody should play half a text because the other half failed later.
    """

    def __init__(self, order: Order, *, deadline: float) -> None:
        """`deadline` is a time of `time.monotonic`."""
        self.order = order
        self.deadline = deadline
        self._started = time.monotonic()
        self._changed = threading.Condition()
        self._ready: deque[tuple[Samples, str]] = deque()
        self._engines: dict[str, None] = {}
        self._done = 0
        self._outcome: Outcome | None = None

    def take(self, timeout: float) -> Piece | Outcome | None:
        """The next piece; after the last one the outcome; None: nothing within `timeout` seconds.

        The outcome can be taken again and again.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._outcome is not None, timeout)
            if not self._ready:
                return self._outcome
            samples, engine = self._ready.popleft()
        from services.tts import audio

        # Done here and not by the worker, whose thread everybody waits for.
        return Piece(audio.apply_effect(samples, SAMPLE_RATE, self.order.effect), engine)

    def cancel(self) -> None:
        """Gives up the job; an engine that speaks it alone leaves within a few frames."""
        self.finish(Cancelled())

    @property
    def finished(self) -> bool:
        """Whether the outcome stands."""
        return self._outcome is not None

    @property
    def outcome(self) -> Outcome | None:
        """How it ended, or None while it has not."""
        return self._outcome

    @property
    def spoken(self) -> int:
        """How many of its sentences are done."""
        return self._done

    def left(self, most: int) -> tuple[Utterance, ...]:
        """Its next sentences, at most so many; none when it is finished."""
        if self.finished:
            return ()
        order = self.order
        return tuple(
            Utterance(sentence, order.voice, order.speed)
            for sentence in order.sentences[self._done : self._done + most]
        )

    def put(self, samples: Samples, engine: str) -> None:
        """Adds the audio of its next sentence, silence off its ends; the last one finishes it."""
        with self._changed:
            if self._outcome is not None:
                return
            self._done += 1
            if samples.size:
                self._engines[engine] = None
                self._ready.append((samples, engine))
                self._changed.notify_all()
        if self._done == len(self.order.sentences):
            if self._engines:
                self.finish(Spoken(time.monotonic() - self._started, tuple(self._engines)))
            else:
                self.finish(Broken(f"{engine} made silence out of {self._done} sentences"))

    def finish(self, outcome: Outcome) -> None:
        """Sets the outcome; the first one counts."""
        with self._changed:
            if self._outcome is not None:
                return
            self._outcome = outcome
            if not isinstance(outcome, Spoken):
                self._ready.clear()
            self._changed.notify_all()
