"""One request for speech, and what of its reply may be taken for sound.

Only a 200 of type `audio/wav` is sound; all else is an error, in the server's words where it has
any. No proxy is asked and no redirect followed: the service is on this machine.
"""

import contextlib
import json
import re
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import h11

from supervisor import __version__, retry_after
from supervisor.cli import wording
from supervisor.cli.speech.failure import CancelledError, SpeechError
from supervisor.cli.terminal import printable

HERE: Final = "127.0.0.1"
MAX_SOUND: Final = 1024**3
"""Bytes of one reply; the longest text that the service takes comes to some 320 MB."""
LONGEST_RETRY_AFTER: Final = 60.0
"""Seconds that a server's Retry-After is heeded for."""
_PASSING: Final = frozenset((429, 502, 503, 504))
_MAX_WORDS: Final = 64 * 1024
"""Bytes read of a reply that is no sound."""
_SHOWN: Final = 1000
_CHUNK: Final = 64 * 1024
TELL_AFTER: Final = 10.0
"""Seconds without an answer, after which whoever waits is told that it is not forgotten."""
_LOOK_EVERY: Final = 0.1
"""Seconds between two looks whether it is still wanted."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to say and how; None: as the service does unless told otherwise."""

    text: str
    voice: str | None = None
    speed: float | None = None
    fx: str | None = None

    def content(self, *, streamed: bool) -> bytes:
        """Return the body of `POST /tts`."""
        said = {"text": self.text, "voice": self.voice, "speed": self.speed, "fx": self.fx}
        fields = {name: value for name, value in said.items() if value is not None}
        fields |= {"return_audio": True, "stream": streamed}
        return json.dumps(fields, ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds: without a byte, and for the reply to be whole."""

    silence: float
    whole: float


@dataclass(frozen=True, slots=True)
class Reply:
    """One that is sound: who speaks, in what otherwise than asked, and the WAV as it comes."""

    engine: str
    notice: str
    chunks: Iterator[bytes]
    """Raises SpeechError and CancelledError; at its end the reply was whole."""


@contextlib.contextmanager
def asked(
    who: str,
    port: int,
    content: bytes,
    limits: Limits,
    cancelled: threading.Event,
    tell: Callable[[str], None],
    *,
    headers: Mapping[str, str],
) -> Iterator[Reply]:
    """Ask the service `who` and give its reply, of which all but the sound is there.

    `tell` is told, once, if that takes long: the supervisor may be restarting what has hung.
    Raises SpeechError and CancelledError.
    """
    try:
        connection = socket.create_connection((HERE, port), timeout=limits.silence)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise SpeechError(f"{who} cannot be reached at {HERE}:{port}: {why}", passes=True) from None
    with connection:
        exchange = _Exchange(who, connection, limits, cancelled, tell)
        exchange.send(port, content, headers)
        head = exchange.head()
        said = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        kind = said.get("content-type", "")
        if head.status_code != 200 or not re.match(r"audio/(x-)?wav\b", kind, re.IGNORECASE):
            raise _refusal(who, head.status_code, said, exchange.words())
        engine, notice = said.get("x-tts-engine", ""), said.get("x-tts-notice", "")
        yield Reply(printable(engine), printable(notice), exchange.data())


class _Exchange:
    """The bytes both ways, bounded in time and size."""

    def __init__(
        self,
        who: str,
        connection: socket.socket,
        limits: Limits,
        cancelled: threading.Event,
        tell: Callable[[str], None],
    ) -> None:
        self._who = who
        self._connection = connection
        self._limits = limits
        self._deadline = time.monotonic() + limits.whole
        self._cancelled = cancelled
        self._tell: Callable[[str], None] | None = tell
        """None: it was told, or there is nothing to tell any more."""
        self._http = h11.Connection(h11.CLIENT)

    def send(self, port: int, content: bytes, headers: Mapping[str, str]) -> None:
        lines = {
            "Host": f"{HERE}:{port}",
            "User-Agent": f"atlasctl/{__version__}",
            "Content-Type": "application/json",
            "Content-Length": str(len(content)),
            "Accept": "audio/wav",
            "Connection": "close",
            **headers,
        }
        request = h11.Request(method="POST", target="/tts", headers=[*lines.items()])
        out = self._http.send(request) or b""
        out += self._http.send(h11.Data(data=content)) or b""
        out += self._http.send(h11.EndOfMessage()) or b""
        # It may refuse before it has read all of the request: its reply says more than the error.
        with contextlib.suppress(OSError):
            self._connection.sendall(out)

    def head(self) -> h11.Response:
        while True:
            event = self._next()
            if isinstance(event, h11.Response):
                self._tell = None
                return event
            if not isinstance(event, h11.InformationalResponse):
                raise SpeechError(f"{self._who} ended the connection unanswered", passes=True)

    def data(self) -> Iterator[bytes]:
        size = 0
        while isinstance(event := self._next(), h11.Data):
            size += len(event.data)
            if size > MAX_SOUND:
                raise SpeechError(f"{self._who} sends sound without end: over {size} bytes")
            yield bytes(event.data)

    def words(self) -> bytes:
        """Return the beginning of a body that is no sound; it need not be whole."""
        body = b""
        with contextlib.suppress(SpeechError):
            for data in self.data():
                body += data
                if len(body) > _MAX_WORDS:
                    break
        return body[:_MAX_WORDS]

    def _next(self) -> object:
        while True:
            try:
                event = self._http.next_event()
                if event is not h11.NEED_DATA:
                    return event
                data = self._received()
                self._http.receive_data(data)
                if not data:
                    return self._http.next_event()
            except h11.RemoteProtocolError as error:
                if self._http.trailing_data[1]:
                    raise self._broken_off() from None
                said = printable(str(error))
                raise SpeechError(f"{self._who} does not speak HTTP: {said}") from None
            except OSError:
                raise self._broken_off() from None

    def _received(self) -> bytes:
        began = time.monotonic()
        silent_at = began + self._limits.silence
        while True:
            if self._cancelled.is_set():
                raise CancelledError
            now = time.monotonic()
            if now >= self._deadline:
                raise SpeechError(
                    f"{self._who} has not come to an end within {self._limits.whole:g} s"
                )
            if now >= silent_at:
                raise SpeechError(f"{self._who} has sent nothing for {self._limits.silence:g} s")
            if self._tell is not None and now >= began + TELL_AFTER:
                left = wording.duration(self._limits.silence - TELL_AFTER)
                self._tell(f"{self._who} has not answered yet; waiting for {left} more at most")
                self._tell = None
            if select.select([self._connection], [], [], _LOOK_EVERY)[0]:
                return self._connection.recv(_CHUNK)

    def _broken_off(self) -> SpeechError:
        return SpeechError(f"{self._who} broke the connection off", passes=True)


def _refusal(who: str, status: int, headers: Mapping[str, str], body: bytes) -> SpeechError:
    said = printable(_words_in(body))[:_SHOWN]
    if status == 200:
        kind = printable(headers.get("content-type", "")) or "of no type"
        return SpeechError(f"{who} sent something else than sound ({kind})" + _colon(said))
    return SpeechError(
        f"{who} answered {status}" + _colon(said),
        passes=status in _PASSING,
        retry_after=_retry_after(headers),
        mendable=400 <= status < 500 and status not in _PASSING,
    )


def _colon(said: str) -> str:
    return f": {said}" if said else ""


def _words_in(body: bytes) -> str:
    """Return the server's words: of `{"error": …}` with a `reason`, or of OpenAI's shape."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(fields, dict):
        return ""
    error = fields.get("error")
    said = error.get("message") if isinstance(error, dict) else error
    return ": ".join(part for part in (said, fields.get("reason")) if isinstance(part, str))


def _retry_after(headers: Mapping[str, str]) -> float:
    asked = retry_after.seconds(headers.get("retry-after", "").strip(), headers.get("date", ""))
    return min(asked or 0.0, LONGEST_RETRY_AFTER)
