"""When the server begins to accept, and that it ends without a word of complaint."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import requests

from services.tts import sockets
from services.tts.server import Server
from tests.late_wake import let_wake_late
from tests.tts.doubles import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    import pytest


def _answers(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    del environ
    start_response("200 OK", [("Content-Length", "5")])
    return [b"here\n"]


def test_what_comes_too_early_waits_and_is_answered_once_it_opens() -> None:
    doors, shared = sockets.bind("127.0.0.1", 0), sockets.bind("127.0.0.1", 0)
    server = Server(_answers, doors, waiting=1, later=shared)
    opened = threading.Event()
    thread = threading.Thread(target=server.run, args=(opened.is_set,))
    early: list[bytes] = []

    def ask_early() -> None:
        early.append(requests.get(sockets.url(shared[0]), timeout=PATIENCE).content)

    client = threading.Thread(target=ask_early)
    url = sockets.url(doors[0])
    with ExitStack() as stack:
        stack.callback(server.close)
        stack.callback(lambda: server.drain(timeout=PATIENCE, take_backlog=True))
        stack.callback(thread.join, PATIENCE)
        stack.callback(server.stop)
        thread.start()
        client.start()
        for _ in range(10):
            assert requests.get(url, headers={"Connection": "close"}, timeout=PATIENCE).ok
        assert early == []
        opened.set()
        client.join(PATIENCE)
        assert early == [b"here\n"]


def test_a_thread_that_is_still_at_the_end_of_its_request_is_let_come_to_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The client has its reply, and the thread that made it has yet to wake the server for it."""
    listening = sockets.bind("127.0.0.1", 0)
    server = Server(_answers, listening, waiting=1)
    let_wake_late(server._listeners[0], PATIENCE)
    thread = threading.Thread(target=server.run)
    thread.start()
    answer = requests.get(
        sockets.url(listening[0]), headers={"Connection": "close"}, timeout=PATIENCE
    )
    assert answer.content == b"here\n"
    server._stopping = True  # `stop` would wake it as well
    thread.join(PATIENCE)
    server.close()
    for other in listening[1:]:
        other.close()
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
