"""From a request's text to its audio, for every API alike: a place, the text pipeline, the pieces.

What can go wrong is an exception here, and each API gives it its own form:

* RequestError: the client can mend it (400, 413).
* UnavailableError: no place, or no engine yet (503); GivenUpError: it was taken, and given up.
* SpeechFailedError: a real fault (500).
* ClientGoneError: nobody reads the answer.

All of them can come before the first piece; the last three in the middle of the audio too.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Self, assert_never

from services.tts import speech_request
from services.tts.job import Broken, Cancelled, Order, Piece, Refused, Spoken
from services.tts.server import CutOffError
from services.tts.speech_request import RequestError
from services.tts.worker import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    from services.tts.audio import Effect
    from services.tts.job import Job
    from services.tts.text import Spoken as SpokenText
    from services.tts.worker import Worker

JOB_SECONDS: Final = 600.0
"""How long one request may wait and be spoken, in seconds."""

PAUSE_SECONDS: Final = 0.25
"""Silence between two sentences at speed 1."""

_CHECK_SECONDS: Final = 0.25
_NOTICE_CHARACTERS: Final = 500


class SpeechFailedError(Exception):
    """The engines failed at this text; the message says why."""


class GivenUpError(UnavailableError):
    """A request that was taken is not spoken to its end, but may be next time."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, retry_after=2, overloaded=False)


class ClientGoneError(Exception):
    """The client has closed its connection."""


MID_STREAM: Final = (SpeechFailedError, GivenUpError, ClientGoneError)
"""What can come after the first piece."""


def cut_off_visibly(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """A reply's body that breaks where its speech does.

    The status line has left by then: only a body without its end still tells of the failure.
    """
    try:
        yield from chunks
    except MID_STREAM as error:
        raise CutOffError(f"in mid-stream: {error}") from error


class Delivery:
    """Opens speech; one for the whole server, used by all its threads."""

    def __init__(self, worker: Worker, normalise: Callable[[str], SpokenText]) -> None:
        """`normalise` is the text pipeline."""
        self._worker = worker
        self._normalise = normalise

    def open(
        self,
        text: str,
        *,
        voice: str,
        effect: Effect = "none",
        speed: float = 1.0,
        wait: float = 0.0,
        streamed: bool = True,
        fresh: bool = False,
        is_gone: Callable[[], bool] = lambda: False,
    ) -> Speech:
        """Takes a place for `text`, prepares and queues it; close what it returns.

        `wait` is how many seconds it may wait for the preferred engine. `streamed` tells that each
        piece is sent as it comes. `fresh` leaves the phrase cache out of it. `is_gone` tells
        whether the client has left. Raises RequestError and UnavailableError.
        """
        with ExitStack() as place:
            place.enter_context(self._worker.slot(wait))
            spoken = self._normalise(text)
            if not spoken.sentences:
                raise RequestError(speech_request.NOTHING_TO_SPEAK)
            # Digits grow into words, so the length is bounded again behind the pipeline.
            speech_request.check_length(len(spoken.text), speed)
            order = Order(spoken.sentences, voice, effect, speed, streamed, fresh)
            job = self._worker.submit(order, within=JOB_SECONDS)
            return Speech(self._worker, job, spoken.text, is_gone, place.pop_all())


class Speech:
    """One text being spoken; it holds its place until it is closed. Used by one thread."""

    def __init__(
        self,
        worker: Worker,
        job: Job,
        text: str,
        is_gone: Callable[[], bool],
        place: ExitStack,
    ) -> None:
        self.text = text
        """The text as it is spoken, with stress marks."""
        self.outcome: Spoken | None = None
        """Stands when every piece was given out."""
        self._worker = worker
        self._job = job
        self._is_gone = is_gone
        self._place = place

    @property
    def sentences(self) -> int:
        """How many there are; those without a sound give no piece."""
        return len(self._job.order.sentences)

    @property
    def pause(self) -> float:
        """Silence that belongs between two pieces, in seconds."""
        return PAUSE_SECONDS / self._job.order.speed

    def pieces(self) -> Iterator[Piece]:
        """The sentences in order, each as soon as it is spoken; at least one.

        Raises SpeechFailedError, GivenUpError and ClientGoneError, before any piece or after some.
        """
        while True:
            match self._job.take(_CHECK_SECONDS):
                case Piece() as piece:
                    yield piece
                case None:
                    if self._is_gone():
                        self._job.cancel()
                    self._worker.fail_if_hung()
                case Spoken() as outcome:
                    self.outcome = outcome
                    return
                case Broken(reason):
                    raise SpeechFailedError(reason)
                case Refused(reason):
                    raise GivenUpError(reason)
                case Cancelled():
                    raise ClientGoneError
                case other:
                    assert_never(other)

    def headers(self, first: Piece) -> Mapping[str, str]:
        """What a reply that begins with `first` says of its engine."""
        headers = {"X-TTS-Engine": first.engine}
        if notice := self._worker.snapshot().notice:
            # A header takes neither other letters nor line ends.
            line = " ".join(notice.split()).encode("ascii", "replace").decode()
            headers["X-TTS-Notice"] = line[:_NOTICE_CHARACTERS]
        return headers

    def close(self) -> None:
        """Gives up what is not spoken yet and frees the place; may be called twice."""
        self._job.cancel()
        self._place.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
