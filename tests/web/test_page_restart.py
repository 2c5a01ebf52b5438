"""A supervised service that dies while it speaks to the page."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import CHECKOUT, System, free_port
from tests.web.children.halting import SECONDS
from tests.web.test_page import HEARD, downloaded, heard, shows, speak, told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

PAUSE = 0.25


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[System, int]]:
    """A running system and the port on which its speech service is ready."""
    root = tmp_path_factory.mktemp("speech")
    system = System(root)
    port = free_port()
    system.write(
        {
            "tts": {
                "command": [sys.executable, "-m", "tests.web.children.halting"],
                "cwd": str(CHECKOUT),
                "env": {"GATE": str(root / "gate")},
                "sockets": {"http": f"localhost:{port}"},
                "probes": {
                    "readiness": {
                        "http": {"path": "/health", "json": {"tts_ready": True}},
                        "every": "500ms",
                    }
                },
                "restart": {"policy": "always", "backoff": {"first": "200ms"}},
            }
        }
    )
    try:
        system.ctl("up")
        yield system, port
    finally:
        system.close()


def test_a_server_that_dies_in_mid_utterance_goes_on_where_it_was(
    page: Page, speech: tuple[System, int]
) -> None:
    system, port = speech
    page.goto(f"http://localhost:{port}/")
    shows(page, "#health", "Готовий · голос: halting")
    speak(page, "Раз. Два, стій! Три.")
    shows(page, "#state", "Готується продовження…")
    assert heard(page) == pytest.approx(SECONDS + PAUSE, abs=0.01)

    pid = system.service("tts")["pid"]
    os.kill(pid, signal.SIGKILL)
    (system.root / "gate").touch()
    shows(page, "#state", HEARD)
    assert "Зв’язок із сервером перервався. Пробую ще раз…" in told(page)
    # Nothing twice, nothing left out.
    assert heard(page) == pytest.approx(3 * SECONDS + 2 * PAUSE, abs=0.01)
    assert (len(downloaded(page)) - 44) / 44_100 == pytest.approx(heard(page), abs=0.01)
    assert system.service("tts")["pid"] != pid
    shows(page, "#health", "Готовий")


def test_a_server_that_is_down_for_a_while_is_found_again(
    page: Page, speech: tuple[System, int]
) -> None:
    system, port = speech
    page.goto(f"http://localhost:{port}/")
    shows(page, "#health", "Готовий")
    system.ctl("stop", "tts")
    shows(page, "#health", "Сервер не відповідає")
    system.ctl("start", "tts")
    shows(page, "#health", "Готовий")
    speak(page, "Раз.")
    shows(page, "#state", HEARD)
    assert heard(page) == pytest.approx(SECONDS, abs=0.01)
