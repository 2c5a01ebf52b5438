"""Audio that is sent while it is spoken: early, whole, and visibly broken when it is not whole."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import requests
import urllib3

from services.tts.engine import EngineError
from tests.tts.doubles import PATIENCE, FakeEngine, tone, until
from tests.tts.processes import health, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.tts.engine import Samples
    from tests.tts.conftest import Harness

SECOND = 2 * 22_050
PAUSE = 2 * round(0.25 * 22_050)


class Stepwise(FakeEngine):
    """Speaks its first sentence at once, and what follows when it is told to."""

    def __init__(self, seconds: float = 1.0) -> None:
        super().__init__(deaf=False)
        self.go_on = threading.Event()
        self.reached = threading.Event()
        self.failing = False
        self.answer = self._step
        self._seconds = seconds

    def release(self) -> None:
        super().release()
        self.go_on.set()

    def _step(self, sentence: str) -> Samples:
        if sentence != "раз":
            self.reached.set()
            assert self.go_on.wait(PATIENCE)
            if self.failing:
                raise EngineError("the operator is not implemented")
        return tone(self._seconds, 200.0)


@contextmanager
def streamed(url: str, text: str) -> Iterator[requests.Response]:
    with requests.post(
        f"{url}/tts",
        json={"text": text, "return_audio": True, "stream": True},
        stream=True,
        timeout=PATIENCE,
    ) as answer:
        yield answer


@pytest.mark.parametrize("seconds", [1.0, 0.05], ids=["a long one", "a short one"])
def test_the_first_sentence_is_there_while_the_second_is_spoken(
    serve: Callable[..., Harness], seconds: float
) -> None:
    engine = Stepwise(seconds)
    server = serve(engine)
    size = 2 * round(seconds * 22_050)
    with streamed(server.url, "раз. два") as answer:
        first = answer.raw.read(44 + size)
        assert len(first) == 44 + size
        assert not engine.go_on.is_set()
        engine.go_on.set()
        assert len(answer.raw.read()) == PAUSE + size


def test_a_failure_in_mid_stream_is_seen_by_the_client(serve: Callable[..., Harness]) -> None:
    engine = Stepwise()
    engine.failing = True
    server = serve(engine)
    with streamed(server.url, "раз. два") as answer:
        # Before the first bytes have left a failure would still be a status.
        assert len(answer.raw.read(44)) == 44
        engine.go_on.set()
        with pytest.raises(urllib3.exceptions.ProtocolError):
            answer.raw.read()
    assert say(server.url, "раз").status_code == 200


def test_a_failure_before_the_first_sentence_has_its_status(serve: Callable[..., Harness]) -> None:
    engine = Stepwise()
    engine.failing = True
    engine.go_on.set()
    answer = say(serve(engine).url, "два", return_audio=True, stream=True)
    assert answer.status_code == 500
    assert answer.json()["error"] == "Synthesis failed: the operator is not implemented"


def test_a_listener_who_leaves_frees_the_engine_and_the_place(
    serve: Callable[..., Harness],
) -> None:
    engine = Stepwise()
    server = serve(engine, queue=1)
    host, port = server.url.removeprefix("http://").split(":")
    body = '{"text": "раз. два. три. чотири", "return_audio": true, "stream": true}'.encode()
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(
            b"POST /tts HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
            + body
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        assert engine.reached.wait(PATIENCE)
    jobs = server.worker._running
    until(lambda: all(job.finished for job in jobs), "the server noticed that the client left")
    engine.go_on.set()
    until(lambda: health(server.url)["busy"] is False, "the engine was left")
    assert "три" not in engine.spoken
    until(lambda: server.worker._slots == 0, "its place is free")


def test_a_stop_lets_a_stream_come_to_its_end(serve: Callable[..., Harness]) -> None:
    engine = Stepwise()
    server = serve(engine)
    with streamed(server.url, "раз. два") as answer:
        answer.raw.read(44)
        server.server.stop()
        engine.go_on.set()
        assert len(answer.raw.read()) == SECOND + PAUSE + SECOND
    assert server.stop() == 0
