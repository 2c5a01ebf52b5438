"""Engines in order of preference, so that there is always speech.

The last resort, the stand-in, is loaded first and speaks at once; the preferred engines are loaded
behind it by one thread, and the best one that is ready speaks. An engine is ready when it has
spoken a word that can be heard. One that fails at a text is stepped over, the same sentences are
spoken by the next, and it is promoted again when it has recovered. A reply that is under way then
goes on in another voice, which is better than an end in mid-sentence.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from services.tts.engine import DEFAULT_VOICE, SAMPLE_RATE, EngineError, GivenUp, Utterance
from services.tts.link import RETRY_PAUSES, Link, LinkState, LinkStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.tts.engine import Engine, Samples

log = logging.getLogger("tts.chain")

WARM_UP_SENTENCE: Final = "привіт"
WARM_UP_SECONDS: Final = 0.2
"""The warm-up must be audible for longer than this, or the engine is not ready."""

_VOWELS: Final = frozenset("аеєиіїоуюя")


class NobodySpeaksError(EngineError):
    """An engine failed at a text, and no other was ready to step in."""


class Chain:
    """The engines of a server; every method may be called from any thread.

    Engines are used by one thread each at a time: by the loader until they are ready, by the worker
    while they are, and by the loader again when the worker has let go of them.
    """

    def __init__(
        self,
        preferred: Sequence[Engine],
        stand_in: Engine | None,
        *,
        sentence_limit: float,
        prepare: Callable[[], None],
        retry_pauses: Sequence[float] = RETRY_PAUSES,
        hold_back: float = 0.0,
    ) -> None:
        """Makes a chain that is not started.

        `stand_in` is quick to load and needs little; None where silence is preferred to it.
        `sentence_limit` is in seconds. `prepare` is called before each warm-up, to load what the
        text pipeline needs. For `hold_back` seconds at most the stand-in is silent while a
        preferred engine may still come: where another process speaks meanwhile.
        """
        engines = [*preferred, *([] if stand_in is None else [stand_in])]
        self._links = [Link(engine, pauses=tuple(retry_pauses)) for engine in engines]
        self._stand_in = None if stand_in is None else self._links[-1]
        self._sentence_limit = sentence_limit
        self._prepare = prepare
        self._held_back_until = time.monotonic() + hold_back
        self._closed = False
        self.changed = threading.Condition()
        """Guards the links, and the queue of the worker above: what is seen under it holds."""
        self.last_error: str | None = None
        """What went wrong last, with whichever engine; guarded as they are."""
        # A daemon thread: one that hangs in a library must not keep the process alive.
        self._loader = threading.Thread(target=self._run, name="tts-loader", daemon=True)

    def start(self) -> None:
        """Starts loading."""
        self._loader.start()

    def close(self, *, timeout: float) -> bool:
        """Ends the loader; False when it did not end within `timeout` seconds."""
        with self.changed:
            self._closed = True
            self.changed.notify_all()
        if self._loader.ident is not None:
            self._loader.join(timeout)
        return not self._loader.is_alive()

    def best(self) -> Link | None:
        """The link that speaks now: the first that is ready."""
        with self.changed:
            ready = next((one for one in self._links if one.state is LinkState.READY), None)
            if ready is self._stand_in and time.monotonic() < self._held_back_until:
                return None if self._are_hopeful(self._links[:-1]) else ready
            return ready

    def is_coming(self) -> bool:
        """Whether a better link than the present one is on its way, so that waiting may help."""
        with self.changed:
            return self._are_hopeful(self._above())

    def is_settled(self) -> bool:
        """Whether something speaks, or nothing is on its way to."""
        with self.changed:
            return self.best() is not None or not self.is_coming()

    def why_silent(self) -> str | None:
        """Why nothing speaks, when nothing does and nothing is on its way to."""
        with self.changed:
            if self.best() is not None or self.is_coming():
                return None
            now = time.monotonic()
            reasons = {
                f"{one.engine.name} on {one.engine.device}": reason
                for one in self._links
                if (reason := self._hung(one, now) or one.reason) and not self._is_skipped(one)
            }
            if len(reasons) == 1:
                return next(iter(reasons.values()))
            return "; ".join(f"{place}: {reason}" for place, reason in reasons.items())

    def recallable(self) -> list[Link]:
        """The links whose audio may be played now, the best first; some of them may have failed."""
        with self.changed:
            best = self.best()
            links = [*self._above(), *([] if best is None else [best])]
            return [one for one in links if one.fingerprint]

    def notice(self) -> str | None:
        """What is not as asked although there is speech, the cure, and who speaks; else None.

        The text changes when the situation does, not with the clock.
        """
        with self.changed:
            best, first = self.best(), self._links[0]
            if best is None:
                return None
            if best is first:
                reason = first.engine.device_reason
                return (
                    f"{first.title}: {reason}" if reason and first is not self._stand_in else None
                )
            wrong = next((one for one in self._links if one.reason is not None), None)
            if wrong is None or self._links.index(wrong) > self._links.index(best):
                return f"{first.title} is loading; {best.title} speaks until then"
            again = f"in {wrong.pause:g} s" if wrong.pause >= 60 else "soon"
            speaker = best.title if best is self._stand_in else f"{best.title} on {best.place[1]}"
            if not wrong.installed:
                return f"{wrong.complaint()}; until then {speaker} speaks"
            return f"{wrong.complaint()}; {speaker} speaks instead, tried again {again}"

    def hung(self) -> str | None:
        """Says so when the engine that the worker uses does not come back."""
        with self.changed:
            now = time.monotonic()
            return next((self._hung(one, now) for one in self._links if one.in_use), None)

    def spoken_for(self) -> float:
        """Seconds since the synthesis that the worker is in began; 0.0 when it is in none."""
        with self.changed:
            started = next((one.since for one in self._links if one.in_use), None)
            return 0.0 if started is None else time.monotonic() - started

    def statuses(self) -> tuple[LinkStatus, ...]:
        """All links, the preferred one first."""
        with self.changed:
            now = time.monotonic()
            return tuple(
                LinkStatus(
                    name=one.engine.name,
                    device=one.engine.device,
                    state=LinkState.SKIPPED if self._is_skipped(one) else one.state,
                    reason=self._hung(one, now) or one.reason,
                    last_success=one.last_success,
                    last_error=one.last_error,
                    retry_in=max(0.0, one.retry_at - now)
                    if one.state is LinkState.FAILED
                    else None,
                )
                for one in self._links
            )

    def shown(self) -> Engine:
        """The engine that stands for the chain: the one that speaks, or is to speak first."""
        best = self.best()
        return (best or self._links[0]).engine

    def begin(self, link: Link, sentences: int) -> bool:
        """Takes a link for one `synthesise`; False when it is not ready any more."""
        with self.changed:
            if link.state is not LinkState.READY:
                return False
            link.in_use = True
            link.since = time.monotonic()
            link.sentences = sentences
            return True

    def synthesise(
        self, link: Link, batch: Sequence[Utterance], *, give_up: Callable[[], bool]
    ) -> list[Samples]:
        """Speaks a batch with a link that `begin` took, and lets go of it.

        Raises GivenUp, and EngineError when the link failed: then it is out of service, and the
        next one that is ready may speak instead. Raises NobodySpeaksError when there is none.
        """
        try:
            try:
                samples = link.engine.synthesise(batch, give_up=give_up)
            except GivenUp:
                if give_up():
                    raise
                raise EngineError(f"{link.engine.name} gave up unasked") from None
            _check(link.engine, batch, samples)
        except GivenUp:
            raise
        except Exception as error:
            with self.changed:
                # In one step: the loader would take a failed link in use for one that must wait,
                # and load the next for nothing.
                self._let_go(link)
                self._report(link, error)
                # Asked here and not later: the link itself may be ready again in a moment, and fail
                # at the same text for ever.
                kind = NobodySpeaksError if self.best() is None else EngineError
                raise kind(link.reason or "") from error
        else:
            with self.changed:
                link.last_success = time.time()
            return samples
        finally:
            self._let_go(link)

    def _let_go(self, link: Link) -> None:
        with self.changed:
            link.in_use = False
            link.since = None
            self.changed.notify_all()

    def _above(self) -> list[Link]:
        best = self.best()
        return self._links if best is None else self._links[: self._links.index(best)]

    def _are_hopeful(self, links: Sequence[Link]) -> bool:
        now = time.monotonic()
        return any(
            one.hopeful and not self._is_skipped(one) and self._hung(one, now) is None
            for one in links
        )

    def _is_skipped(self, link: Link) -> bool:
        """Whether a link before it, of the same place, is known to fail."""
        for one in self._links:
            if one is link:
                return False
            if one.place == link.place and one.reason is not None:
                return link.state is not LinkState.READY
        return False

    def _hung(self, link: Link, now: float) -> str | None:
        # Twice the limit: the engine's own bound comes first and gives the better message.
        limit = 2 * self._sentence_limit * link.sentences
        if link.since is None or now - link.since <= limit:
            return None
        what = "one sentence" if link.sentences == 1 else f"{link.sentences} sentences"
        return f"{link.engine.name} hangs: {what} took over {limit:g} s"

    def _report(self, link: Link, error: BaseException) -> None:
        with self.changed:
            link.fail(time.monotonic(), error)
            self.last_error = link.reason
            complaint, pause = link.complaint(), link.pause
            self.changed.notify_all()
        if isinstance(error, EngineError):
            log.warning("%s; tried again in %g s", complaint, pause)
        else:
            log.warning("%s; tried again in %g s", complaint, pause, exc_info=error)

    def _run(self) -> None:
        while step := self._next_step():
            step()

    def _next_step(self) -> Callable[[], None] | None:
        """Waits for something to load or to unload; None when the chain was closed."""
        with self.changed:
            while not self._closed:
                now = time.monotonic()
                # Memory first: what is loaded next may need it.
                if spare := self._spare(now):
                    if spare.state is LinkState.READY:
                        spare.state = LinkState.WAITING
                    return partial(self._unload, spare)
                if due := self._due(now):
                    due.state = LinkState.LOADING
                    return partial(self._load, due)
                self.changed.wait(self._until_due(now))
            return None

    def _needed(self) -> list[Link]:
        """The links that should be ready: the stand-in, and the preferred up to one that is."""
        wanted = [] if self._stand_in is None else [self._stand_in]
        for link in self._links:
            if link is not self._stand_in:
                wanted.append(link)
            if link.state is LinkState.READY:
                break
        return wanted

    def _due(self, now: float) -> Link | None:
        return next((one for one in self._candidates() if one.is_due(now)), None)

    def _until_due(self, now: float) -> float | None:
        """Seconds until a link is due; None: only an event makes one."""
        times = [one.retry_at for one in self._candidates() if one.state is LinkState.FAILED]
        return max(0.0, min(times) - now) if times else None

    def _candidates(self) -> list[Link]:
        return [one for one in self._needed() if not one.in_use and not self._is_skipped(one)]

    def _spare(self, now: float) -> Link | None:
        """A link that holds memory for nothing: it is below the one that speaks, or in a pause."""
        needed = self._needed()
        for link in self._links:
            idle = link.state is LinkState.READY and link not in needed
            failed = link.state is LinkState.FAILED and not link.is_due(now)
            if link.loaded and not link.in_use and (idle or failed):
                return link
        return None

    def _unload(self, link: Link) -> None:
        try:
            link.engine.unload()
        except Exception:
            log.exception("%s on %s was not unloaded", *link.place)
        with self.changed:
            link.loaded = False

    def _load(self, link: Link) -> None:
        try:
            self._prepare()
            if link.loaded:
                self._unload(link)
            with self.changed:
                link.loaded = True
            link.engine.load()
            self._warm_up(link)
        except GivenUp:
            pass  # closed meanwhile
        except Exception as error:  # noqa: BLE001 - reported, with its trace if it was unforeseen
            self._report(link, error)
        else:
            with self.changed:
                link.succeed(time.monotonic(), time.time())
                self.changed.notify_all()
            log.info("ready: %s on %s", *link.place)

    def _warm_up(self, link: Link) -> None:
        from services.tts import audio

        engine = link.engine
        if engine.sample_rate != SAMPLE_RATE:
            raise EngineError(f"it speaks at {engine.sample_rate} Hz, not {SAMPLE_RATE}")
        word = [Utterance(WARM_UP_SENTENCE, DEFAULT_VOICE, 1.0)]
        started = time.monotonic()
        with self.changed:
            link.since = started
            link.sentences = 1
        try:
            samples = engine.synthesise(
                word,
                give_up=lambda: self._closed or time.monotonic() - started > self._sentence_limit,
            )
        except GivenUp:
            if self._closed:
                raise
            raise EngineError(f"the warm-up word took over {self._sentence_limit:g} s") from None
        finally:
            with self.changed:
                link.since = None
        _check(engine, word, samples)
        heard = audio.audible_seconds(samples[0], SAMPLE_RATE)
        if heard <= WARM_UP_SECONDS:
            raise EngineError(f"the warm-up word was audible for {heard:.2f} s only")


def _check(engine: Engine, batch: Sequence[Utterance], samples: Sequence[Samples]) -> None:
    """Raises EngineError for what cannot be the audio of this batch."""
    import numpy as np

    from services.tts import audio

    if len(samples) != len(batch):
        raise EngineError(f"{engine.name} spoke {len(samples)} of {len(batch)} sentences")
    for utterance, one in zip(batch, samples, strict=True):
        if not np.isfinite(one).all():
            raise EngineError(f"{engine.name} made samples that are no numbers")
        # A lone consonant may be nothing to a model; a vowel never is.
        if _VOWELS.isdisjoint(utterance.sentence.lower()):
            continue
        if audio.audible_seconds(one, SAMPLE_RATE) == 0.0:
            raise EngineError(f"{engine.name} made silence out of a sentence")
