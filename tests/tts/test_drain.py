"""A stop drops nothing that was accepted."""

from __future__ import annotations

import signal
import socket
import struct
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import psutil
import pytest
import requests

from services.tts import sockets
from tests.tts.doubles import PATIENCE, FakeEngine, until
from tests.tts.processes import health, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.tts.conftest import Harness
    from tests.tts.processes import ServerProcess


def test_what_is_in_work_and_what_waits_is_answered_whole(serve: Callable[..., Harness]) -> None:
    engine = FakeEngine()
    engine.hold()
    server = serve(engine, queue=4)
    with ThreadPoolExecutor(4) as pool:
        accepted = [pool.submit(say, server.url, "слово", return_audio=True) for _ in range(4)]
        engine.wait_until_inside()
        until(lambda: health(server.url)["queued"] == 3, "three requests wait")
        server.server.stop()
        until(lambda: _is_refused(server.url), "no new connection is taken")
        engine.release()
        answers = [request.result(PATIENCE) for request in accepted]
    assert server.stop() == 0
    assert [answer.status_code for answer in answers] == [200] * 4
    assert [answer.headers["Connection"] for answer in answers] == ["close"] * 4
    assert all(len(answer.content) == 44 + 2 * 22050 for answer in answers)


def test_a_request_half_sent_at_the_stop_is_answered(serve: Callable[..., Harness]) -> None:
    server = serve()
    host, port = server.url.removeprefix("http://").split(":")
    until(lambda: health(server.url)["tts_ready"] is True, "it is ready")
    body = '{"text": "слово"}'.encode()
    head = f"POST /tts HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(head + body[:5])
        channels = server.server._channels
        until(lambda: any(one.request for one in channels()), "half a request has arrived")
        server.server.stop()
        until(lambda: _is_refused(server.url), "no new connection is taken")
        connection.sendall(body[5:])
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"Connection: close" in answer
    assert server.stop() == 0


def test_an_idle_connection_does_not_hold_up_the_stop(serve: Callable[..., Harness]) -> None:
    server = serve()
    with requests.Session() as session:
        assert session.get(f"{server.url}/health", timeout=PATIENCE).status_code == 200
        assert server.stop() == 0


def test_what_is_not_done_in_time_is_cut_off_and_counted(serve: Callable[..., Harness]) -> None:
    engine = FakeEngine()
    engine.hold()
    server = serve(engine, drain_timeout=0.05)
    with ThreadPoolExecutor(1) as pool:
        request = pool.submit(say, server.url, "слово")
        engine.wait_until_inside()
        assert server.stop() == 1
        server.server.close()
        with pytest.raises(requests.ConnectionError):
            request.result(PATIENCE)
        engine.release()


def _connections(pid: int, requests_made: list[Future[requests.Response]]) -> int:
    """How many requests the process holds a connection of, or has answered already."""
    held = [
        one
        for one in psutil.Process(pid).net_connections("tcp4")
        if one.status == psutil.CONN_ESTABLISHED
    ]
    return len(held) + sum(request.done() for request in requests_made)


def _is_refused(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        # It came in the instant between the last accept and the close of the socket.
        return False
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_with_0_and_every_reply_whole(
    launch: Callable[..., ServerProcess], number: signal.Signals
) -> None:
    process = launch("--port", "0", "--queue", "8")
    url = process.wait_until_ready()
    text = "Сонце світить над великим містом, і люди йдуть додому. " * 60
    with ThreadPoolExecutor(6) as pool:
        accepted = [pool.submit(say, url, text, return_audio=True) for _ in range(6)]
        until(lambda: _connections(process.pid, accepted) >= 6, "six requests are accepted")
        process.signal(number)
        assert not all(request.done() for request in accepted), "nothing was left to drain"
        answers = [request.result(PATIENCE) for request in accepted]
    assert process.wait() == 0
    assert [answer.status_code for answer in answers] == [200] * 6
    sizes = [len(answer.content) for answer in answers]
    assert min(sizes) == pytest.approx(max(sizes), rel=0.03)
    assert all(
        struct.unpack_from("<I", answer.content, 4)[0] == len(answer.content) - 8
        for answer in answers
    )
    assert "cut off" not in process.output


def test_a_second_signal_ends_it_at_once(launch: Callable[..., ServerProcess]) -> None:
    process = launch("--port", "0", "--drain-timeout", "600")
    url = process.wait_until_ready()
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        # Half a request keeps the drain waiting.
        connection.sendall(b"POST /tts HTTP/1.1\r\nContent-Length: 50\r\n\r\n{")
        process.signal(signal.SIGTERM)
        process.wait_for_line("stopping")
        process.signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM


def test_a_replacement_on_the_same_socket_costs_no_client_anything(
    launch: Callable[..., ServerProcess],
) -> None:
    listening = sockets.bind("127.0.0.1", 0)
    url = sockets.url(listening[0])
    old = launch(hand_over=listening)
    old.wait_until_ready()
    enough = threading.Event()
    served: list[int] = []
    failures: list[str] = []

    def client() -> None:
        while not enough.is_set():
            try:
                answer = say(url, "слово", return_audio=True)
            except requests.RequestException as error:
                failures.append(repr(error))
                return
            if answer.status_code != 200 or answer.content[:4] != b"RIFF":
                failures.append(f"{answer.status_code} {answer.text[:200]}")
            served.append(answer.status_code)

    threads = [threading.Thread(target=client, name="tts-client") for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        new = launch(hand_over=listening)
        new.wait_until_ready()
        before_the_stop = len(served)
        until(lambda: len(served) > before_the_stop + 20, "clients are served by both")
        old.signal(signal.SIGTERM)
        assert old.wait() == 0
        after_the_stop = len(served)
        until(lambda: len(served) > after_the_stop + 20 or bool(failures), "clients are served on")
    finally:
        enough.set()
        for thread in threads:
            thread.join(PATIENCE)
    for sock in listening:
        sock.close()
    assert not failures
    assert "cut off" not in old.output
