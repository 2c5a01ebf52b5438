"""A real browser for tests of pages: whichever Chromium this machine has, driven by Playwright.

A conftest takes the fixtures in by importing them:

    from tests.browser.chromium import chromium, page, playwright  # noqa: F401

Where a browser is missing these tests are skipped, unless ATLAS_BROWSER=required says that none may
be. The browser lives as long as a module: Playwright keeps an event loop in the test's thread while
it runs, in which no test that is a coroutine could run.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page, Playwright

DEADLINE = 30.0
"""Seconds that anything in a page may take on a busy machine."""

ANY_AUTOPLAY = "--autoplay-policy=no-user-gesture-required"
CLICK_FIRST = "--autoplay-policy=document-user-activation-required"
"""What a browser does that a person uses; a headless one has to be told."""


def no_browser(reason: str) -> NoReturn:
    """Skips the test, or fails it where a browser must be there."""
    if os.environ.get("ATLAS_BROWSER") == "required":
        pytest.fail(f"{reason}, and ATLAS_BROWSER=required", pytrace=False)
    pytest.skip(reason)


def executable() -> str:
    """Where Chromium is; $CHROMIUM names it."""
    for name in (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"):
        if name and (found := shutil.which(name)):
            return found
    no_browser("no Chromium here: install chromium, or name it with CHROMIUM=/path")


@contextmanager
def launched(playwright: Playwright, *flags: str) -> Iterator[Browser]:
    """A headless Chromium with these command line flags."""
    browser = playwright.chromium.launch(executable_path=executable(), args=flags)
    try:
        yield browser
    finally:
        browser.close()


@contextmanager
def opened(browser: Browser, **options: object) -> Iterator[Page]:
    """A page in a profile of its own; `options` are those of Playwright's `new_context`.

    At its end it asserts that no script failed in it and that nothing broke its security policy.
    """
    context = browser.new_context(**options)  # type: ignore[arg-type]
    context.set_default_timeout(DEADLINE * 1000)
    faults: list[str] = []
    try:
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(f"{error.name}: {error.message}"))
        page.on(
            "console",
            lambda message: (
                faults.append(message.text) if "Content Security Policy" in message.text else None
            ),
        )
        yield page
    finally:
        context.close()
    assert not faults, faults


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """The driver; there can be one at a time."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        no_browser("Playwright is not installed: pip install playwright")
    executable()
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="module")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """A browser that plays sound without a click."""
    with launched(playwright, ANY_AUTOPLAY) as browser:
        yield browser


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page in that browser."""
    with opened(chromium) as page:
        yield page
