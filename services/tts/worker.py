"""One thread that speaks for everybody in rounds, and the bounded queue in front of it.

What it keeps true:

* One synthesis at a time: models keep state inside, and two requests at once mix in them.
* A round takes sentences of as many jobs as the engine speaks at once, so that every client soon
  hears something; then the rest in batches, for which a model reads its weights once.
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

from services.tts import cache, diagnosis
from services.tts.chain import NobodySpeaksError
from services.tts.engine import SAMPLE_RATE, EngineError, GivenUp
from services.tts.job import Broken, Job, Order, Refused, Spoken

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from services.tts.cache import CacheStats, PhraseCache
    from services.tts.chain import Chain
    from services.tts.link import Link, LinkStatus

log = logging.getLogger("tts.worker")

PATIENCE: Final = 2.0
"""How long a job waits for an engine that is loading, in seconds. The restart of a fast engine is
then not seen by clients; 503 would cost them at least the second before their next try."""

_POLL_SECONDS: Final = 1.0
"""How often jobs that wait for an engine are looked at: they may have been cancelled meanwhile."""


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
    links: tuple[LinkStatus, ...]
    cache: CacheStats
    queued: int
    busy: bool
    busy_for: float
    last_success: float | None
    last_error: str | None
    uptime: float
    hung: bool
    """Whether the engine that speaks does not come back: only a new process speaks again."""

    @property
    def ready(self) -> bool:
        """Whether a job sent now would be spoken."""
        return self.state in (State.READY, State.BUSY)


class Worker:
    """Speaks with the engines of a chain; every method may be called from any thread."""

    def __init__(
        self,
        chain: Chain,
        *,
        queue: int,
        phrases: PhraseCache,
        patience: float = PATIENCE,
    ) -> None:
        """Makes a worker that is not started, over a chain that is not either.

        `queue` is how many jobs may wait beside the one in work.
        """
        self._chain = chain
        self._capacity = queue + 1
        self._phrases = phrases
        self._patience = patience
        # The chain's own: a link that becomes ready or fails is news for whoever waits here.
        self._changed = chain.changed
        self._jobs: deque[Job] = deque()
        self._slots = 0
        self._running: tuple[Job, ...] = ()
        self._newcomers_first = False
        self._closed = False
        self._last_job_seconds = 0.0
        self._started = time.monotonic()
        # A daemon thread: one that hangs inside the engine must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="tts-worker", daemon=True)

    def start(self) -> None:
        """Starts the thread, and the loading of the engines."""
        self._chain.start()
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
                self._changed.wait_for(lambda: self._closed or not self._chain.is_coming(), wait)
                self._changed.wait_for(self._is_settled, self._patience)
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
        self._recall(job)
        with self._changed:
            if self._closed:
                job.finish(Refused("the server is stopping"))
            elif not job.finished:
                self._jobs.append(job)
                self._changed.notify_all()
        return job

    def fail_if_hung(self) -> None:
        """Ends every job when the engine hangs; whoever waits for a job calls this now and then."""
        with self._changed:
            reason = self._chain.hung()
            if reason is None:
                return
            self._chain.last_error = reason
            running, waiting = self._running, list(self._jobs)
            self._jobs.clear()
        for job in running:
            job.finish(Broken(reason))
        for job in waiting:
            job.finish(Refused(reason))

    def snapshot(self) -> Snapshot:
        """The state now. A hang is found here: the thread that hangs cannot tell of it."""
        with self._changed:
            busy = bool(self._running)
            hang = self._chain.hung()
            reason = hang or self._chain.why_silent()
            if self._closed:
                state = State.DRAINING
            elif reason is not None:
                state = State.FAILED
            elif self._chain.best() is None:
                state = State.LOADING
            else:
                state = State.BUSY if busy else State.READY
            engine = self._chain.shown()
            links = self._chain.statuses()
            return Snapshot(
                state=state,
                reason=reason,
                engine=engine.name,
                device=engine.device,
                device_reason=engine.device_reason,
                notice=self._chain.notice(),
                links=links,
                cache=self._phrases.stats(),
                queued=sum(not job.finished and job not in self._running for job in self._jobs),
                busy=busy,
                busy_for=self._chain.spoken_for(),
                last_success=max((one.last_success or 0.0 for one in links), default=0.0) or None,
                last_error=self._chain.last_error,
                uptime=time.monotonic() - self._started,
                hung=hang is not None,
            )

    def close(self, *, timeout: float) -> bool:
        """Refuses what waits, gives up what is in work, and ends the threads.

        Returns whether they ended within `timeout` seconds; False means that an engine hangs, or
        is in the middle of its loading.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            self._closed = True
            waiting = list(self._jobs)
            self._jobs.clear()
            self._changed.notify_all()
        for job in waiting:
            job.finish(Refused("the server is stopping"))
        if self._thread.ident is not None:
            self._thread.join(timeout)
        loader_ended = self._chain.close(timeout=max(0.0, deadline - time.monotonic()))
        return loader_ended and not self._thread.is_alive()

    def _is_settled(self) -> bool:
        return self._closed or self._chain.is_settled()

    def _expected_wait(self) -> int:
        """Whole seconds until a place is likely free: what the last job took, its wait included."""
        return max(1, min(30, round(self._last_job_seconds)))

    def _run(self) -> None:
        while (turn := self._next_turn()) is not None:
            link, shares = turn
            try:
                self._speak(link, shares)
            except GivenUp:
                pass  # nobody is left to hear it
            except NobodySpeaksError as error:
                for job in shares:
                    job.finish(Broken(str(error)))
            except EngineError:
                log.info("what %s left is spoken by the next engine", link.engine.name)
            except Exception as error:
                # Without this thread nobody would ever be spoken to again.
                log.exception("a round failed in an unforeseen way")
                reason = diagnosis.reason(error)
                with self._changed:
                    self._chain.last_error = reason
                for job in shares:
                    job.finish(Broken(reason))
            with self._changed:
                self._running = ()

    def _next_turn(self) -> tuple[Link, dict[Job, int]] | None:
        """Waits for work and somebody who can do it; None when the worker was closed."""
        with self._changed:
            while not self._closed:
                self._drop_hopeless()
                link = self._chain.best()
                if link is not None and self._jobs:
                    shares = self._shares(link.engine.batch)
                    self._running = tuple(shares)
                    return link, shares
                self._changed.wait(_POLL_SECONDS if self._jobs else None)
            return None

    def _drop_hopeless(self) -> None:
        """Takes out the jobs that are over, and ends those that nobody will speak."""
        reason = self._chain.why_silent()
        for job in list(self._jobs):
            if reason is not None:
                job.finish(Refused(reason))
            elif time.monotonic() >= job.deadline:
                job.finish(Refused("it took too long: send shorter text, or try again later"))
            if job.finished:
                self._jobs.remove(job)

    def _shares(self, most: int) -> dict[Job, int]:
        """The jobs of the next round, and how many sentences of each; `most` in all.

        Jobs take turns. Every other round begins with those that nobody has heard yet, so that new
        clients are quick to hear something and old ones still go on. While somebody waits for the
        first sound, each job gets one sentence, because a longer round would delay it. Whoever
        listens gets at most as many sentences at once as were spoken before, so that the next audio
        is there before the last has been played.
        """
        jobs = list(self._jobs)
        self._newcomers_first = not self._newcomers_first
        if self._newcomers_first:
            jobs.sort(key=lambda job: job.spoken > 0)
        shares = dict.fromkeys(jobs[:most], 1)
        for job in shares:
            self._jobs.remove(job)
            self._jobs.append(job)
        if any(job.order.streamed and job.spoken == 0 for job in shares):
            return shares
        room = most - len(shares)
        wants = {job: len(job.left(job.spoken if job.order.streamed else most)) for job in shares}
        while room and (hungry := [job for job in shares if shares[job] < wants[job]]):
            for job in hungry[:room]:
                shares[job] += 1
                room -= 1
        return shares

    def _speak(self, link: Link, shares: dict[Job, int]) -> None:
        """Speaks one round. Raises EngineError and GivenUp."""
        from services.tts import audio

        turn = [(job, said) for job, count in shares.items() for said in job.left(count)]
        names = [cache.key(link.fingerprint, said) for _, said in turn]
        kept = [bool(link.fingerprint) and not job.order.fresh for job, _ in turn]
        pieces = [
            self._phrases.get(name) if may else None for name, may in zip(names, kept, strict=True)
        ]
        missing = [at for at, piece in enumerate(pieces) if piece is None]
        if missing:
            if not self._chain.begin(link, len(missing)):
                return
            spoken = self._chain.synthesise(
                link,
                [turn[at][1] for at in missing],
                give_up=lambda: all(job.finished for job in shares),
            )
            for at, samples in zip(missing, spoken, strict=True):
                heard = audio.trim(samples, SAMPLE_RATE).copy()
                pieces[at] = heard
                if kept[at]:
                    self._phrases.put(names[at], heard)
        for (job, _), piece in zip(turn, pieces, strict=True):
            if piece is not None:
                job.put(piece, link.engine.name)
        self._note_ends(shares)

    def _note_ends(self, jobs: Iterable[Job]) -> None:
        with self._changed:
            for job in jobs:
                if isinstance(outcome := job.outcome, Spoken):
                    self._last_job_seconds = outcome.seconds
                elif isinstance(outcome, Broken):
                    self._chain.last_error = outcome.reason

    def _recall(self, job: Job) -> None:
        """Gives a new job what was spoken before: the whole by one engine, or its beginning.

        Only the engine that speaks now may leave a rest, because it will speak that.
        """
        if job.order.fresh:
            return
        sentences = job.left(len(job.order.sentences))
        for link in self._chain.recallable():
            names = [cache.key(link.fingerprint, said) for said in sentences]
            whole = all(self._phrases.holds(name) for name in names)
            if not whole and link is not self._chain.best():
                continue
            for name in names:
                if (samples := self._phrases.get(name)) is None:
                    break
                job.put(samples, link.engine.name)
            if job.spoken:
                return


def _why_not(now: Snapshot) -> str:
    match now.state:
        case State.DRAINING:
            return "the server is stopping"
        case State.LOADING:
            return "the engine is loading"
        case _:
            return now.reason or f"the engine is {now.state}"
