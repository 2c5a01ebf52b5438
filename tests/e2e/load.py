"""Clients that ask over and over while everything behind the port dies and comes back.

Each request has a connection of its own, and each ends in one of the kinds of `Ending`. An open
loop asks at its scheduled times, whether or not earlier requests have been answered, and counts a
wait from the scheduled time: a server that stops for a second then shows as many slow answers, not
as one (Gil Tene's "coordinated omission").
"""

import asyncio
import io
import itertools
import threading
import time
import wave
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

PATIENCE = 30.0
"""Seconds that any one request may take."""


class Ending(StrEnum):
    RIGHT = "right"
    BUSY = "busy"
    """An honest 503 with Retry-After."""
    WRONG = "wrong"
    REFUSED = "refused"
    BROKEN = "broken"
    UNANSWERED = "unanswered"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request. Times are monotonic; `scheduled` is when it should have begun."""

    scheduled: float
    began: float
    ended: float
    ending: Ending
    detail: str

    @property
    def waited(self) -> float:
        """Seconds from the scheduled time to the last byte."""
        return self.ended - self.scheduled


@dataclass(frozen=True, slots=True)
class Question:
    """A request, and what tells whether its answer is right: None, or what is wrong with it."""

    method: str
    path: str
    body: bytes
    judge: Callable[[bytes], str | None]


async def ask(port: int, question: Question, scheduled: float) -> Outcome:
    """Make one request on a connection of its own. Never raises, but when cancelled."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(PATIENCE):
            ending, detail = await _ask(port, question)
    except ConnectionRefusedError as error:
        ending, detail = Ending.REFUSED, str(error)
    except TimeoutError:
        ending, detail = Ending.UNANSWERED, f"nothing within {PATIENCE:g} s"
    except (asyncio.IncompleteReadError, OSError) as error:
        ending, detail = Ending.BROKEN, f"{type(error).__name__}: {error}"
    return Outcome(scheduled, began, time.monotonic(), ending, detail)


async def _ask(port: int, question: Question) -> tuple[Ending, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = (
            f"{question.method} {question.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(question.body)}\r\n"
            "Connection: close\r\n\r\n"
        )
        writer.write(head.encode() + question.body)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines[1:])}
        body = await reader.readexactly(int(headers["content-length"]))
    finally:
        writer.close()
    if status == 503 and "retry-after" in headers:
        return Ending.BUSY, body.decode("utf-8", "replace")
    why = f"status {status}: {body[:200]!r}" if status != 200 else question.judge(body)
    return (Ending.RIGHT, "") if why is None else (Ending.WRONG, why)


class Clients:
    """Clients in a thread of their own, so that the test may wait for commands meanwhile."""

    def __init__(self, work: Callable[[Self], Coroutine[Any, Any, None]]) -> None:
        self.outcomes: list[Outcome] = []
        self.enough = threading.Event()
        """Set by `stop`; a closed loop looks at it before each request."""
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,))

    def _run(self, work: Callable[[Self], Coroutine[Any, Any, None]]) -> None:
        try:
            asyncio.run(work(self))
        except BaseException as failure:  # noqa: BLE001 - handed to the test
            self._failure = failure

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End a closed loop, and wait until every request has its outcome."""
        self.enough.set()
        self.wait()

    def wait(self) -> None:
        """Wait until every request has its outcome."""
        self._thread.join(4 * PATIENCE)
        assert not self._thread.is_alive(), "the clients do not come to an end"
        if self._failure is not None:
            raise self._failure

    def counts(self) -> dict[str, int]:
        """Return how many requests had which ending."""
        return {str(e): n for e, n in sorted(Counter(o.ending for o in self.outcomes).items())}

    def slowest(self, part: float = 1.0) -> float:
        """Return the longest wait of a part of the requests, the quickest ones; in seconds."""
        waits = sorted(outcome.waited for outcome in self.outcomes)
        return waits[max(0, round(part * len(waits)) - 1)] if waits else 0.0

    def not_right(self) -> list[Outcome]:
        """Return the outcomes that a client would complain about."""
        return [o for o in self.outcomes if o.ending is not Ending.RIGHT]


def open_loop(port: int, questions: Sequence[Question], rate: float) -> Clients:
    """Ask each question at its time, `rate` a second."""

    async def work(clients: Clients) -> None:
        began = time.monotonic()

        async def one(at: float, question: Question) -> None:
            await asyncio.sleep(at - time.monotonic())
            clients.outcomes.append(await ask(port, question, at))

        async with asyncio.TaskGroup() as group:
            for number, question in enumerate(questions):
                group.create_task(one(began + number / rate, question))

    return Clients(work)


def closed_loop(port: int, question: Callable[[int], Question], at_once: int) -> Clients:
    """Ask one question after another, as `at_once` clients, until told to stop."""

    async def work(clients: Clients) -> None:
        numbers = itertools.count()

        async def one() -> None:
            while not clients.enough.is_set():
                now = time.monotonic()
                outcome = await ask(port, question(next(numbers)), now)
                clients.outcomes.append(outcome)
                # A refused client that asks at once again would be a flood, not a client.
                await _pause(0.05 if outcome.ending is Ending.RIGHT else 0.1)

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(one())

    return Clients(work)


def _pause(seconds: float) -> Awaitable[None]:
    return asyncio.sleep(seconds)


def judge_speech(body: bytes) -> str | None:
    """Tell what is wrong with a WAV of one spoken word, or None."""
    try:
        with wave.open(io.BytesIO(body)) as sound:
            frames = sound.readframes(sound.getnframes() + 1)
            seconds = sound.getnframes() / sound.getframerate()
            whole = len(frames) == sound.getnframes() * sound.getsampwidth()
    except (wave.Error, EOFError) as error:
        return f"no WAV: {error}"
    if not whole:
        return "the WAV is cut off"
    if not 0.3 < seconds < 3:
        return f"{seconds:.2f} s of sound for one word"
    if not any(frames):
        return "silence"
    return None


def speech(_number: int) -> Question:
    """Return the question for a spoken word."""
    body = '{"text": "привіт", "voice": "mykyta", "return_audio": true}'.encode()
    return Question("POST", "/tts", body, judge_speech)


def echo(number: int) -> Question:
    """Return a question for `children/stand_in.py`, whose answer must have its number."""

    def judge(body: bytes) -> str | None:
        return None if body.split()[:1] == [b"%d" % number] else f"{body!r} is not {number}"

    return Question("GET", f"/echo/{number}", b"", judge)
