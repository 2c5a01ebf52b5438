"""Takes the picture of the dashboard for docs/dashboard.md: a real system, in a real browser.

    .venv/bin/python scripts/dashboard_picture.py

Writes docs/pictures/dashboard.png. It needs `make test`'s environment and Chromium ($CHROMIUM, or
`chromium` on PATH), takes about a minute, and ends all that it has started.
"""

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final
from zlib import compress, crc32

import av
import numpy
from playwright.sync_api import Page, expect, sync_playwright

CHECKOUT: Final = Path(__file__).resolve().parent.parent
PICTURE: Final = CHECKOUT / "docs" / "pictures" / "dashboard.png"
MOST_BYTES: Final = 100_000
TIMEOUT: Final = 60.0
LOOKED_AT: Final = 40_000
"""Milliseconds that the page is open, so that the charts have something to show."""

SYSTEM: Final = """\
version: 1
services:
  tts:
    description: Ukrainian text to speech
    command: [{python}, -m, services.tts, --engine, espeak]
    env: {{PYTHONPATH: {checkout}}}
    sockets: {{http: "localhost:{tts}"}}
    probes:
      startup:
        http: {{method: POST, path: /tts, body: {{text: тест, return_audio: true}}}}
        every: 250ms
        for: 60s
      readiness: {{http: {{path: /health, json: {{tts_ready: true}}}}, every: 2s}}
    restart: {{backoff: {{first: 2s}}}}
  whisper:
    description: speech to text
    command: [sh, -c, "echo loading the model; sleep 2; echo no space left on device; exit 1"]
    restart: {{backoff: {{first: 60s, max: 60s}}}}
  orchestrator:
    description: turns speech into answers, and answers into speech
    command: [{python}, -m, http.server, --bind, 127.0.0.1, "{api}"]
    ports: [{api}]
    depends_on: {{tts: ready, whisper: started}}
    probes:
      startup: {{tcp: {{}}, every: 250ms, for: 60s}}
      readiness: {{http: {{path: /}}, every: 2s}}
  frontend:
    description: web front end
    command: [sleep, "1000"]
    depends_on: {{orchestrator: ready}}
  dashboard:
    description: web page of this system
    command: [{python}, -m, supervisor.dashboard]
    env: {{PYTHONPATH: {checkout}}}
    sockets: {{http: "localhost:{page}"}}
    probes:
      startup: {{http: {{path: /healthz}}, every: 250ms, for: 60s}}
"""


def main() -> int:
    """Take the picture."""
    with tempfile.TemporaryDirectory(prefix="atlas-") as folder:
        root = Path(folder)
        ports = {name: free_port() for name in ("tts", "api", "page")}
        text = SYSTEM.format(python=sys.executable, checkout=CHECKOUT, **ports)
        (root / "services.yaml").write_text(text, encoding="utf-8")
        try:
            # whisper fails on purpose, and `up` says so.
            ctl(root, "up", "--timeout", "20s", check=False)
            take(root, ctl(root, "dashboard", "--print").strip())
        finally:
            ctl(root, "down")
    pack(PICTURE)
    size = PICTURE.stat().st_size
    print(f"{PICTURE.relative_to(CHECKOUT)}: {size} bytes")
    return 0 if size < MOST_BYTES else 1


def free_port() -> int:
    """Return a port that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ctl(root: Path, *arguments: str, check: bool = True) -> str:
    """Run atlasctl for the system and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "supervisor.cli", "-c", root / "services.yaml", *arguments],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=2 * TIMEOUT,
        check=check,
    )
    return done.stdout


def take(root: Path, address: str) -> None:
    """Look at the speech server while it is killed and comes back, and take the picture."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        page = browser.new_page(locale="en-GB", viewport={"width": 1240, "height": 820})
        page.goto(address)
        page.click("#rows >> text=tts")
        page.wait_for_timeout(LOOKED_AT / 2)
        os.kill(int((root / "logs" / "tts.pid").read_text().split()[0]), signal.SIGKILL)
        becomes(page, "backoff")
        becomes(page, "healthy")
        page.wait_for_timeout(LOOKED_AT / 2)
        page.screenshot(path=PICTURE)
        browser.close()


def pack(picture: Path) -> None:
    """Write a PNG anew with 256 colours: a browser's is three times as large."""
    with av.open(str(picture)) as file:
        pixels = next(file.decode(video=0)).to_ndarray(format="rgb24")
    height, width, _ = pixels.shape
    colours, which, counts = numpy.unique(
        pixels.reshape(-1, 3).astype(numpy.int32), axis=0, return_inverse=True, return_counts=True
    )
    palette = colours[numpy.argsort(counts)[::-1][:256]]
    nearest = [int(((palette - colour) ** 2).sum(axis=1).argmin()) for colour in colours]
    rows = numpy.array(nearest, numpy.uint8)[which.reshape(-1)].reshape(height, width)
    lines = numpy.hstack([numpy.zeros((height, 1), numpy.uint8), rows])  # no filter

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc32(kind + data))

    picture.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
        + chunk(b"PLTE", palette.astype(numpy.uint8).tobytes())
        + chunk(b"IDAT", compress(lines.tobytes(), 9))
        + chunk(b"IEND", b"")
    )


def becomes(page: Page, state: str) -> None:
    """Wait until the service that is looked at is in a state."""
    expect(page.locator("#detail-state")).to_have_text(state, timeout=TIMEOUT * 1000)


if __name__ == "__main__":
    sys.exit(main())
