"""Servers and a browser for the speech page."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.browser.chromium import chromium, opened, playwright  # noqa: F401
from tests.tts.conftest import launch, serve  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

LISTEN = """
    window.heard = [];
    const Plain = window.Audio;
    window.Audio = function () {
        const audio = new Plain();
        audio.addEventListener("ended", () => window.heard.push(audio.duration));
        return audio;
    };
    window.told = [];
    addEventListener("DOMContentLoaded", () => {
        const state = document.getElementById("state");
        if (!state) return;
        const note = () => window.told.push(state.textContent);
        new MutationObserver(note).observe(state, { childList: true });
    });
"""
"""Notes the seconds of every file that an audio element has played to its end, and every state that
the page has told, however short it was."""


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """Fails a test that leaves a thread of the service, or a child that is not of the browser."""
    children = {child.pid for child in psutil.Process().children()}
    yield
    left = [child for child in psutil.Process().children() if child.pid not in children]
    assert not left, f"left running: {left}"
    threads = [one.name for one in threading.enumerate() if one.name.startswith("tts-")]
    assert not threads, f"left running: {threads}"


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:  # noqa: F811
    """A page of somebody who reads Ukrainian, in a browser that plays without a click."""
    with opened(
        chromium, locale="uk-UA", permissions=["clipboard-read", "clipboard-write"]
    ) as page:
        page.add_init_script(LISTEN)
        yield page
