"""Servers and a browser for the speech page."""

from tests.browser.chromium import chromium, page, playwright  # noqa: F401
from tests.tts.conftest import _nothing_left, launch, serve  # noqa: F401
