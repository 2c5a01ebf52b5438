"""Sixteen clients at once against a real process: none gets a fault or another's audio."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.tts.doubles import PATIENCE
from tests.tts.processes import health, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.tts.processes import ServerProcess

CLIENTS = 16
REQUESTS = 12
SENTENCES = (
    "Сонце світить над великим містом.",
    "Люди йдуть додому з роботи, і надворі вже темно.",
    "Вечір.",
)


def text_of(client: int, turn: int) -> str:
    return " ".join(SENTENCES[(client + at) % 3] for at in range(1 + (client + turn) % 7))


@pytest.mark.parametrize("stream", [False, True])
def test_sixteen_clients(launch: Callable[..., ServerProcess], stream: bool) -> None:
    process = launch("--port", "0", "--queue", "4")
    url = process.wait_until_ready()
    texts = {text_of(client, turn) for client in range(CLIENTS) for turn in range(REQUESTS)}
    sizes = {text: len(say(url, text, return_audio=True).content) for text in texts}
    before = psutil.Process(process.pid).memory_info().rss
    statuses: Counter[int] = Counter()
    wrong: list[str] = []
    together = threading.Barrier(CLIENTS)

    def client(number: int) -> None:
        for turn in range(REQUESTS):
            text = text_of(number, turn)
            # All at once, so that there are more than the five places in every turn.
            together.wait(PATIENCE)
            answer = say(url, text, return_audio=True, stream=stream)
            statuses[answer.status_code] += 1
            if answer.status_code == 503:
                if int(answer.headers["Retry-After"]) < 1:
                    wrong.append("503 without a time")
            elif answer.status_code != 200:
                wrong.append(answer.text)
            elif len(answer.content) != pytest.approx(sizes[text], rel=0.03):
                wrong.append(f"{len(answer.content)} bytes, not {sizes[text]}: {text}")

    threads = [
        threading.Thread(target=client, args=(number,), name="tts-client")
        for number in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(6 * PATIENCE)
        assert not thread.is_alive()
    assert not wrong
    assert set(statuses) == {200, 503}, statuses
    assert statuses[200] >= 5 * REQUESTS
    state = health(url)
    assert (state["status"], state["queued"], state["last_error"]) == ("ok", 0, None)
    grown = psutil.Process(process.pid).memory_info().rss - before
    assert grown < 100 * 1024 * 1024, f"{grown >> 20} MiB more than before"
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
    assert "Traceback" not in process.output
