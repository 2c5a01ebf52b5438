"""Takes the picture of the speech page for docs/voice.md: the real page, in a real browser.

    .venv/bin/python scripts/speech_picture.py

Writes docs/pictures/speech.png. It needs `make test`'s environment and Chromium ($CHROMIUM, or
`chromium` on PATH), takes some seconds, and ends all that it has started.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import requests
from playwright.sync_api import expect, sync_playwright

CHECKOUT: Final = Path(__file__).resolve().parent.parent
PICTURE: Final = CHECKOUT / "docs" / "pictures" / "speech.png"
MOST_BYTES: Final = 100_000
TIMEOUT: Final = 60.0
TEXT: Final = "**Добрий день!** О 14:30 прийде 5 друзів: замок відчинено, квиток коштує 120 грн."


def main() -> int:
    """Take the picture."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://localhost:{port}"
    service = subprocess.Popen(
        [sys.executable, "-m", "services.tts", "--engine", "espeak", "--port", str(port)],
        cwd=CHECKOUT,
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_until_ready(url)
        take(url)
    finally:
        service.terminate()
        service.wait(TIMEOUT)
    size = PICTURE.stat().st_size
    print(f"{PICTURE.relative_to(CHECKOUT)}: {size} bytes")
    return 0 if size < MOST_BYTES else 1


def wait_until_ready(url: str) -> None:
    """Return when the service speaks. Raises TimeoutError."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        try:
            if requests.get(f"{url}/health", timeout=TIMEOUT).json()["tts_ready"]:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.1)
    raise TimeoutError(f"no speech at {url} after {TIMEOUT:g} s")


def take(url: str) -> None:
    """Type, speak, and take the picture while it sounds."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--autoplay-policy=no-user-gesture-required"]
        )
        page = browser.new_page(
            locale="en-GB", color_scheme="dark", viewport={"width": 760, "height": 700}
        )
        page.goto(url)
        page.get_by_label("Lada", exact=True).check()
        page.fill("#text", TEXT)
        expect(page.locator("#reading")).to_contain_text("відчи\u0301нено")
        page.click("#speak")
        expect(page.locator("#state")).to_have_text("Speaking.")
        expect(page.locator("#download")).to_be_visible()
        page.screenshot(path=PICTURE)
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
