"""One request for speech: what ends it, what may be tried again, and what is kept of the sound."""

import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisor.cli.speech.exchange import Limits, Order, asked
from supervisor.cli.speech.failure import CancelledError, SpeechError
from supervisor.cli.speech.persistence import RETRIES, persist
from supervisor.cli.speech.recording import Recording
from tests.e2e.conftest import free_port
from tests.say.stand_in import (
    DEADLINE,
    PAUSE,
    Answer,
    Handler,
    StandIn,
    raw,
    refusal,
    reply,
    sentence,
    stream,
    wav,
)

ONE = sentence(1000)
PATIENT = Limits(DEADLINE, DEADLINE)


def ask(
    port: int,
    limits: Limits = PATIENT,
    cancelled: threading.Event | None = None,
    tell: Callable[[str], None] = print,
) -> bytes:
    """Return the sound of one reply."""
    content = Order("Раз").content(streamed=True)
    event = cancelled or threading.Event()
    with asked("tts", port, content, limits, event, tell, headers={}) as answer:
        return b"".join(answer.chunks)


PASSING: dict[str, tuple[Answer, float]] = {
    "closed": (raw(b""), 0),
    "half-a-header": (raw(b"HTTP/1.1 200 OK\r\nContent-"), 0),
    "only-provisional": (raw(b"HTTP/1.1 100 Continue\r\n\r\n"), 0),
    "in-the-middle": (stream(ONE, cut=True), 0),
    "short": (
        raw(b"HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nContent-Length: 9\r\n\r\nRIFF"),
        0,
    ),
    "429": (refusal(429, "slower", Retry_After="3"), 3),
    "502": (refusal(502, "x", Retry_After="999999"), 60),
    "503": (refusal(503, "loading", Retry_After="soon"), 0),
    "504": (refusal(504, "x"), 0),
    "date": (
        refusal(
            503,
            "x",
            Date="Sun, 06 Nov 1994 08:49:37 GMT",
            Retry_After="Sun, 06 Nov 1994 08:49:41 GMT",
        ),
        4,
    ),
}


@pytest.mark.parametrize("case", PASSING)
def test_what_may_succeed_later(case: str, stand_in: StandIn) -> None:
    answer, after = PASSING[case]
    stand_in.answers = [answer]
    with pytest.raises(SpeechError) as caught:
        ask(stand_in.port)
    assert (caught.value.passes, caught.value.mendable) == (True, False)
    if case != "date":  # http.server sends a date of its own before that one
        assert caught.value.retry_after == after


def test_nobody_there() -> None:
    port = free_port()
    with pytest.raises(SpeechError, match=f"127.0.0.1:{port}: connection refused") as caught:
        ask(port)
    assert caught.value.passes


def test_what_is_not_http(stand_in: StandIn) -> None:
    stand_in.answers = [raw(b"220 mail.example ESMTP\r\n\r\n")]
    with pytest.raises(SpeechError, match="tts does not speak HTTP") as caught:
        ask(stand_in.port)
    assert not caught.value.passes


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(0.2, DEADLINE), "tts has sent nothing for 0.2 s"),
        (Limits(DEADLINE, 0.2), "tts has not come to an end within 0.2 s"),
    ],
)
def test_silence_ends(limits: Limits, said: str, stand_in: StandIn) -> None:
    stand_in.answers = [stand_in.wait_until_left]
    with pytest.raises(SpeechError, match=said) as caught:
        ask(stand_in.port, limits)
    assert not caught.value.passes
    assert stand_in.left.wait(DEADLINE)


def test_a_long_wait_is_told_once(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supervisor.cli.speech.exchange.TELL_AFTER", 0.0)
    told: list[str] = []
    was_told = threading.Event()

    def tell(line: str) -> None:
        told.append(line)
        was_told.set()

    def answer(handler: Handler) -> None:
        assert was_told.wait(DEADLINE)
        stream(ONE)(handler)

    stand_in.answers = [answer]
    assert ask(stand_in.port, tell=tell).endswith(ONE)
    assert told == ["tts has not answered yet; waiting for 20 s more at most"]


def test_nobody_wants_it_any_more(stand_in: StandIn) -> None:
    stand_in.answers = [stand_in.wait_until_left]
    cancelled = threading.Event()

    def cancel() -> None:
        assert stand_in.came.wait(DEADLINE)
        cancelled.set()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(CancelledError):
        ask(stand_in.port, cancelled=cancelled)
    thread.join()
    assert stand_in.left.wait(DEADLINE)


def test_no_proxy_is_asked(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    stand_in.answers = [reply(200, "Audio/X-WAV; codecs=1", wav(ONE))]
    assert ask(stand_in.port) == wav(ONE)


# Trying again --------------------------------------------------------------------------------


class Pauses(threading.Event):
    """Waits for nothing, and notes how long it should have."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.seconds.append(timeout)
        return self.is_set()


def failing(error: SpeechError) -> Callable[[], None]:
    def attempt() -> None:
        raise error

    return attempt


def test_pauses_grow_and_end() -> None:
    pauses = Pauses()
    told: list[str] = []
    with pytest.raises(SpeechError, match="busy"):
        persist(failing(SpeechError("busy", passes=True)), told.append, pauses, lambda: 0.0)
    assert pauses.seconds == [0.5, 1, 2, 4, 8, 8]
    assert len(told) == RETRIES
    assert told[0] == "busy; trying again in 0.5 s"


def test_pauses_differ_by_chance_and_by_what_the_server_asks() -> None:
    pauses = Pauses()
    error = SpeechError("busy", passes=True, retry_after=10)
    with pytest.raises(SpeechError):
        persist(failing(error), lambda _: None, pauses, lambda: 1.0)
    assert pauses.seconds == [10.25, 10.5, 11, 12, 14, 14]


def test_what_is_no_use_is_tried_once() -> None:
    pauses = Pauses()
    with pytest.raises(SpeechError):
        persist(failing(SpeechError("no")), lambda _: None, pauses)
    assert pauses.seconds == []


def test_no_further_try_for_nobody() -> None:
    pauses = Pauses()
    pauses.set()
    with pytest.raises(CancelledError):
        persist(failing(SpeechError("busy", passes=True)), lambda _: None, pauses)


# Recording -----------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [1, 7, 44, 333, 10**6])
def test_pauses_are_found_however_the_bytes_come(piece: int, tmp_path: Path) -> None:
    numbers = random.Random(piece)
    voice = bytes(numbers.randrange(1, 256) for _ in range(3001 * 2))
    sound = voice + PAUSE + voice + bytes(1000) + voice  # 1000 bytes are 23 ms: no pause
    recording = Recording(os.fspath(tmp_path))
    whole = wav(sound, 0xFFFFFFFF)
    for at in range(0, len(whole), piece):
        recording.append(whole[at : at + piece])
    assert recording.last_pause == len(voice + PAUSE)
    assert recording.size == len(sound)
    assert recording.write(os.fspath(tmp_path / "x"), 6, 4006) == pytest.approx(2000 / 22050)
    assert (tmp_path / "x").read_bytes() == wav(sound[6:4006])
    other = Recording(os.fspath(tmp_path))
    other.append(wav(sound[:8000] + b"x"))
    assert other.begins_as(recording, 8000)
    assert not other.begins_as(recording, 8002)
    for each in (recording, other):
        each.close()
