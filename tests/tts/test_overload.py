"""More work than the engine can do, and an engine that cannot do it."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from services.tts.engine import EngineError
from tests.tts.doubles import PATIENCE, FakeEngine, until
from tests.tts.processes import health, say

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from services.tts.engine import Samples
    from tests.tts.conftest import Harness


def test_health_and_503_answer_at_once_while_every_place_is_taken(
    serve: Callable[..., Harness],
) -> None:
    engine = FakeEngine()
    engine.hold()
    server = serve(engine, queue=2)
    with ThreadPoolExecutor(3) as pool:
        accepted = [pool.submit(say, server.url, f"слово{at}") for at in range(3)]
        engine.wait_until_inside()
        until(lambda: health(server.url)["queued"] == 2, "two requests wait")
        state = health(server.url)
        assert (state["status"], state["tts_ready"], state["busy"]) == ("ok", True, True)
        for _ in range(20):
            refused = say(server.url, "ще")
            assert refused.status_code == 503
            assert int(refused.headers["Retry-After"]) >= 1
            assert refused.json()["error"].startswith("Overloaded")
        engine.release()
        assert [request.result(PATIENCE).status_code for request in accepted] == [200] * 3
    assert say(server.url, "знову").status_code == 200


def test_a_client_that_leaves_frees_its_place(serve: Callable[..., Harness]) -> None:
    engine = FakeEngine()
    engine.hold()
    server = serve(engine, queue=1)
    host, port = server.url.removeprefix("http://").split(":")
    body = '{"text": "покинуте"}'.encode()
    head = f"POST /tts HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(say, server.url, "перше")
        engine.wait_until_inside()
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
            connection.sendall(head + body)
            until(lambda: health(server.url)["queued"] == 1, "the second request waits")
            assert say(server.url, "зайве").status_code == 503
        taken: list[int] = []

        def is_taken() -> bool:
            # It waits in the place that the other one left, or is refused while that is held.
            try:
                taken.append(say(server.url, "третє", timeout=0.5).status_code)
            except OSError:
                return True
            return False

        until(is_taken, "the place is free again")
        assert set(taken) <= {503}
        engine.release()
        assert first.result(PATIENCE).status_code == 200
    assert "покинуте" not in engine.spoken


def test_a_client_that_leaves_in_the_middle_stops_the_engine(
    serve: Callable[..., Harness],
) -> None:
    engine = FakeEngine()
    engine.hold()
    server = serve(engine)
    host, port = server.url.removeprefix("http://").split(":")
    body = '{"text": "раз. два. три."}'.encode()
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(
            b"POST /tts HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
            + body
        )
        engine.wait_until_inside()
    until(lambda: health(server.url)["busy"] is False, "the engine was left")
    engine.release()
    assert say(server.url, "інше").status_code == 200
    assert engine.spoken == ["інше"]


def test_loading_is_503_with_the_words_that_clients_know(serve: Callable[..., Harness]) -> None:
    engine = FakeEngine()
    engine.hold_warm_up()
    server = serve(engine, patience=0.0)
    state = health(server.url)
    assert (state["status"], state["tts_ready"], state["state"]) == ("ok", False, "loading")
    answer = say(server.url, "слово")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.json()["error"] == "TTS not initialized"


def test_a_failed_warm_up_is_an_error_in_health_and_503_in_tts(
    serve: Callable[..., Harness],
) -> None:
    server = serve(FakeEngine(warm_up_failures=99), retry_pauses=(PATIENCE,))
    until(lambda: health(server.url)["status"] == "error", "health tells of the failure")
    state = health(server.url)
    assert state["tts_ready"] is False
    assert "told to fail" in str(state["reason"])
    answer = say(server.url, "слово")
    assert answer.status_code == 503
    assert answer.json()["error"] == "TTS not initialized"
    assert "told to fail" in answer.json()["reason"]


def test_a_fault_of_the_engine_is_500_and_the_server_serves_on(
    serve: Callable[..., Harness],
) -> None:
    def fail(sentence: str) -> Samples:
        raise EngineError("the operator is not implemented")

    engine = FakeEngine()
    usual, engine.answer = engine.answer, fail
    server = serve(engine)
    answer = say(server.url, "слово")
    assert answer.status_code == 500
    assert answer.json()["error"] == "Synthesis failed: the operator is not implemented"
    assert health(server.url)["last_error"] == "the operator is not implemented"
    engine.answer = usual
    assert say(server.url, "слово").status_code == 200


def test_a_hang_is_500_for_its_request_and_an_error_in_health(
    serve: Callable[..., Harness],
) -> None:
    engine = FakeEngine(deaf=True)
    engine.hold()
    server = serve(engine, sentence_limit=0.01)
    # Its warm-up word would be a hang too, if it took 20 ms.
    until(lambda: health(server.url)["tts_ready"] is True, "it is ready")
    answer = say(server.url, "слово")
    assert answer.status_code == 500
    assert "hangs" in answer.json()["error"]
    state = health(server.url)
    assert (state["status"], state["tts_ready"]) == ("error", False)
    assert say(server.url, "слово").status_code == 503


def test_a_large_reply_is_buffered_in_memory(
    serve: Callable[..., Harness], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(buffer: object) -> None:
        raise AssertionError("a temporary file was asked for")

    monkeypatch.setattr("waitress.buffers.TempfileBasedBuffer.newfile", refuse)
    answer = say(serve().url, "слово " * 200, return_audio=True)
    assert len(answer.content) == 44 + 2 * 200 * 22050


def test_different_requests_at_once_get_their_own_audio(serve: Callable[..., Harness]) -> None:
    server = serve(queue=8)
    with ThreadPoolExecutor(8) as pool:
        words = list(range(1, 9))
        answers = list(pool.map(lambda count: say(server.url, "слово " * count), words))
    assert [round(answer.json()["audio_duration"]) for answer in answers] == words
