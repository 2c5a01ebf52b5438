"""How a text will be read, told without speaking it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import requests

from services.tts import reading, text
from services.tts.text import Spoken
from tests.tts.doubles import PATIENCE, FakeEngine

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.tts.conftest import Harness


def read(url: str, body: object) -> requests.Response:
    return requests.post(
        f"{url}/text", json=body, headers={"Connection": "close"}, timeout=3 * PATIENCE
    )


def test_a_text_is_shown_as_it_will_be_spoken(serve: Callable[..., Harness]) -> None:
    engine = FakeEngine()
    answer = read(serve(engine, normalise=text.spoken).url, {"text": "**Привіт** 😀! О 14:30."})
    assert answer.status_code == 200
    body = answer.json()
    assert body["sentences"][0] == "прив+іт!"
    assert " ".join(body["sentences"]) == body["accented_text"]
    assert "чотирн" in body["accented_text"].replace("+", "")
    assert engine.spoken == []


def test_it_is_told_while_no_engine_is_ready(serve: Callable[..., Harness]) -> None:
    engine = FakeEngine()
    engine.hold_warm_up()
    server = serve(engine, patience=0.0)
    assert read(server.url, {"text": "раз. два"}).json() == {
        "accented_text": "раз. два",
        "sentences": ["раз", "два"],
    }


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ([], 400, "JSON body required"),
        ({}, 400, "Text is required"),
        ({"text": " "}, 400, "Text is required"),
        ({"text": 5}, 400, "must be a string"),
        ({"text": "😀 ..."}, 400, "nothing that can be spoken"),
        ({"text": "а" * (reading.MAX_CHARACTERS + 1)}, 413, "the limit here is 10000"),
    ],
)
def test_what_cannot_be_read(
    serve: Callable[..., Harness], body: object, status: int, error: str
) -> None:
    answer = read(serve(normalise=text.spoken).url, body)
    assert answer.status_code == status
    assert error in answer.json()["error"]


def test_few_are_read_at_once_and_the_others_are_told_to_wait(
    serve: Callable[..., Harness],
) -> None:
    go_on = threading.Event()
    inside = threading.Semaphore(0)

    def slow(raw: str) -> Spoken:
        inside.release()
        assert go_on.wait(3 * PATIENCE)
        return Spoken(raw, (raw,))

    server = serve(normalise=slow)
    with ThreadPoolExecutor(2) as clients:
        taken = [clients.submit(read, server.url, {"text": "так"}) for _ in range(2)]
        for _ in taken:
            assert inside.acquire(timeout=PATIENCE)
        third = read(server.url, {"text": "так"})
        assert third.status_code == 503
        assert int(third.headers["Retry-After"]) >= 1
        assert "Overloaded" in third.json()["error"]
        go_on.set()
        assert [one.result().status_code for one in taken] == [200, 200]
    assert read(server.url, {"text": "так"}).status_code == 200
