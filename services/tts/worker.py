"""One thread that owns the engine, and the bounded queue in front of it.

What it keeps true:

* One synthesis at a time: models keep state inside, and two requests at once mix in them.
* Ready means that this engine has lately spoken: a warm-up at the start, and another one after any
  failure, before the next job is tried.
* At most `queue` jobs wait; the next is refused at once. Every job ends in exactly one Outcome.
* A sentence that does not come back is noticed by whoever asks, although its thread is stuck.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from services.tts.engine import DEFAULT_VOICE, SAMPLE_RATE, EngineError, GivenUp, Utterance
from services.tts.job import Broken, Cancelled, Job, Order, Outcome, Refused, Spoken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from services.tts.engine import Engine, Samples

log = logging.getLogger("tts.worker")

WARM_UP_SENTENCE: Final = "привіт"
WARM_UP_SECONDS: Final = 0.2
"""The warm-up must be audible for longer than this, or the engine is not ready."""

WARM_UP_DELAYS: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Pauses between warm-ups that fail, in seconds; after the last one it is given up."""

PATIENCE: Final = 2.0
"""How long a job waits for an engine that is loading, in seconds. The restart of a fast engine is
then not seen by clients; 503 would cost them at least the second before their next try."""


class State(StrEnum):
    """What the worker can do for a new job; `/health` shows it."""

    LOADING = "loading"
    READY = "ready"
    BUSY = "busy"
    FAILED = "failed"
    DRAINING = "draining"


class UnavailableError(Exception):
    """A job cannot be taken now; the message says why.

    `retry_after` is in seconds. `overloaded` tells a full queue from an engine that is not ready.
    """

    def __init__(self, reason: str, *, retry_after: int, overloaded: bool) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.overloaded = overloaded


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the worker is like at one moment.

    Stamps are unix seconds, for people; `uptime` and `busy_for` are seconds.
    """

    state: State
    reason: str | None
    engine: str
    device: str
    device_reason: str | None
    notice: str | None
    queued: int
    busy: bool
    busy_for: float
    last_success: float | None
    last_error: str | None
    uptime: float

    @property
    def ready(self) -> bool:
        """Whether a job sent now would be spoken."""
        return self.state in (State.READY, State.BUSY)


class Worker:
    """Owns an engine; every method may be called from any thread."""

    def __init__(
        self,
        engine: Engine,
        *,
        queue: int,
        sentence_limit: float,
        prepare: Callable[[], None],
        warm_up_delays: Sequence[float] = WARM_UP_DELAYS,
        patience: float = PATIENCE,
    ) -> None:
        """Makes a worker that is not started.

        `queue` is how many jobs may wait beside the one in work. `prepare` is called once in the
        worker's thread before the first warm-up, to load what the text pipeline needs.
        `sentence_limit` is in seconds: a sentence beyond it means that the engine hangs.
        """
        self._engine = engine
        self._capacity = queue + 1
        self._sentence_limit = sentence_limit
        self._prepare = prepare
        self._delays = tuple(warm_up_delays)
        self._patience = patience
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._slots = 0
        self._running: Job | None = None
        self._sentence_since: float | None = None
        self._loaded = False
        self._failure: str | None = None
        self._closed = False
        self._last_success: float | None = None
        self._last_error: str | None = None
        self._last_job_seconds = 0.0
        self._started = time.monotonic()
        # A daemon thread: one that hangs inside the engine must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="tts-worker", daemon=True)

    def start(self) -> None:
        """Starts the thread, which loads the engine first."""
        self._thread.start()

    @contextmanager
    def slot(self, wait: float = 0.0) -> Iterator[None]:
        """Holds a place for one job from before its text is prepared until its reply is made.

        `wait` is how many seconds it may wait for the preferred engine. Raises UnavailableError
        when the engine is not ready or every place is taken: that bounds the threads and the memory
        that waiting requests use.
        """
        with self._changed:
            if self._slots >= self._capacity:
                raise UnavailableError(
                    f"{self._slots} requests are waiting already, which is the most this server "
                    "takes: try again later",
                    retry_after=self._expected_wait(),
                    overloaded=True,
                )
            self._slots += 1
        try:
            with self._changed:
                self._changed.wait_for(self._is_settled, max(wait, self._patience))
                now = self.snapshot()
            if not now.ready:
                raise UnavailableError(_why_not(now), retry_after=2, overloaded=False)
            yield
        finally:
            with self._changed:
                self._slots -= 1
                self._changed.notify_all()

    def submit(self, order: Order, *, within: float) -> Job:
        """Queues an order; call it inside `slot`. It is given up after `within` seconds."""
        if not order.sentences:
            raise ValueError("an order needs at least one sentence")
        job = Job(order, deadline=time.monotonic() + within)
        with self._changed:
            if self._closed:
                job.finish(Refused("the server is stopping"))
            elif self._failure is not None:
                # It failed since the slot was given; after the last warm-up nobody would look.
                job.finish(Refused(self._failure))
            else:
                self._jobs.append(job)
                self._changed.notify_all()
        return job

    def fail_if_hung(self) -> None:
        """Ends every job when the engine hangs; whoever waits for a job calls this now and then."""
        with self._changed:
            reason = self._hung(time.monotonic())
            if reason is None:
                return
            self._last_error = reason
            waiting = list(self._jobs)
            self._jobs.clear()
            running = self._running
        if running is not None:
            running.finish(Broken(reason))
        for job in waiting:
            job.finish(Refused(reason))

    def snapshot(self) -> Snapshot:
        """The state now. A hang is found here: the thread that hangs cannot tell of it."""
        with self._changed:
            now = time.monotonic()
            since = self._sentence_since
            busy_for = 0.0 if since is None else now - since
            reason = self._hung(now) or self._failure
            if self._closed:
                state = State.DRAINING
            elif reason is not None:
                state = State.FAILED
            elif not self._loaded:
                state = State.LOADING
            else:
                state = State.BUSY if self._running is not None else State.READY
            busy = self._running is not None
            return Snapshot(
                state=state,
                reason=reason,
                engine=self._engine.name,
                device=self._engine.device,
                device_reason=self._engine.device_reason,
                notice=None,
                queued=len(self._jobs),
                busy=busy,
                busy_for=busy_for if busy else 0.0,
                last_success=self._last_success,
                last_error=self._last_error,
                uptime=now - self._started,
            )

    def close(self, *, timeout: float) -> bool:
        """Refuses what waits, gives up what is in work after its sentence, and ends the thread.

        Returns whether the thread ended within `timeout` seconds; False means it hangs.
        """
        with self._changed:
            self._closed = True
            waiting = [*self._jobs, *([self._running] if self._running else [])]
            self._jobs.clear()
            self._changed.notify_all()
        for job in waiting:
            job.finish(Refused("the server is stopping"))
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _is_settled(self) -> bool:
        return self._loaded or self._closed or self._failure is not None

    def _hung(self, now: float) -> str | None:
        since = self._sentence_since
        # Twice the limit: the engine's own bound comes first and gives the better message.
        if since is None or now - since <= 2 * self._sentence_limit:
            return None
        return f"{self._engine.name} hangs: one sentence took over {2 * self._sentence_limit:g} s"

    def _expected_wait(self) -> int:
        """Whole seconds until a place is likely free: what the last job took, times the queue."""
        return max(1, min(30, round(self._last_job_seconds * self._capacity)))

    def _run(self) -> None:
        while self._warm_up():
            if not self._serve():
                return

    def _serve(self) -> bool:
        """Works jobs until one fails (True) or the worker is closed (False)."""
        while True:
            with self._changed:
                while not self._jobs and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return False
                job = self._jobs.popleft()
                self._running = job
            outcome = self._speak(job)
            failed = isinstance(outcome, Broken)
            with self._changed:
                self._running = None
                if isinstance(outcome, Broken):
                    self._last_error = outcome.reason
                    # Until the next warm-up has passed nothing may call this engine ready.
                    self._loaded = False
                elif isinstance(outcome, Spoken):
                    self._last_success = time.time()
                    self._last_job_seconds = outcome.seconds
            job.finish(outcome)
            if failed:
                return True

    def _speak(self, job: Job) -> Outcome:
        from services.tts import audio

        rate = self._engine.sample_rate
        try:
            while utterances := job.left(1):
                if time.monotonic() >= job.deadline:
                    return Refused("it took too long: send shorter text, or try again later")
                samples = self._synthesise(utterances[0], give_up=lambda: job.finished)
                job.put(audio.trim(samples, rate), self._engine.name)
        except GivenUp:
            return Cancelled()
        except EngineError as error:
            log.warning("synthesis failed: %s", error)
            return Broken(str(error))
        except Exception as error:
            log.exception("synthesis failed in an unforeseen way")
            return Broken(f"{type(error).__name__}: {error}")
        return job.outcome or Cancelled()

    def _synthesise(self, utterance: Utterance, *, give_up: Callable[[], bool]) -> Samples:
        with self._changed:
            self._sentence_since = time.monotonic()
        try:
            return self._engine.synthesise([utterance], give_up=give_up)[0]
        finally:
            with self._changed:
                self._sentence_since = None

    def _warm_up(self) -> bool:
        """Makes the engine speak one word; tries again after pauses. False: give up, or closed."""
        for delay in (*self._delays, None):
            reason = self._try_warm_up()
            with self._changed:
                self._failure = reason
                self._loaded = reason is None
                self._changed.notify_all()
                if reason is None:
                    log.info("ready: %s on %s", self._engine.name, self._engine.device)
                    return True
                self._last_error = reason
                waiting = list(self._jobs)
                self._jobs.clear()
            for job in waiting:
                job.finish(Refused(reason))
            if delay is None:
                log.error("warm-up failed: %s; given up, restart the server", reason)
                return False
            log.warning("warm-up failed: %s; again in %g s", reason, delay)
            with self._changed:
                if self._changed.wait_for(lambda: self._closed, delay):
                    return False
        return False

    def _try_warm_up(self) -> str | None:
        """None when it spoke audibly, else why not."""
        from services.tts import audio

        try:
            self._prepare()
            self._engine.load()
            if self._engine.sample_rate != SAMPLE_RATE:
                return f"the engine speaks at {self._engine.sample_rate} Hz, not {SAMPLE_RATE}"
            samples = self._synthesise(
                Utterance(WARM_UP_SENTENCE, DEFAULT_VOICE, 1.0), give_up=lambda: self._closed
            )
        except EngineError as error:
            return str(error)
        except Exception as error:
            log.exception("warm-up failed in an unforeseen way")
            return f"{type(error).__name__}: {error}"
        heard = audio.audible_seconds(samples, SAMPLE_RATE)
        if heard <= WARM_UP_SECONDS:
            return f"the warm-up word was audible for {heard:.2f} s only"
        with self._changed:
            self._last_success = time.time()
        return None


def _why_not(now: Snapshot) -> str:
    match now.state:
        case State.DRAINING:
            return "the server is stopping"
        case State.LOADING:
            return "the engine is loading"
        case _:
            return now.reason or f"the engine is {now.state}"
