"""A real server process, started and stopped as a supervisor would do it."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from tests.tts.doubles import PATIENCE

if TYPE_CHECKING:
    import signal
    import socket
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]

# The pid of LISTEN_PID is known only in the child: this stands where a supervisor's spawn would.
_HAND_OVER = """
import os, sys
fds = [int(fd) for fd in sys.argv[1].split(",")]
spare = [os.dup(fd) for fd in fds]
spare = [os.dup2(fd, 100 + at) for at, fd in enumerate(spare)]
for at, fd in enumerate(spare):
    os.dup2(fd, 3 + at)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = str(len(fds))
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


class ServerProcess:
    """`python -m services.tts`; its output is read as it comes, so that it never blocks."""

    def __init__(
        self,
        *arguments: str,
        engine: str = "espeak",
        module: Sequence[str] = ("services.tts",),
        environ: Mapping[str, str] | None = None,
        hand_over: Sequence[socket.socket] = (),
    ) -> None:
        # Named, because the default depends on what model files this checkout has.
        command = ["-m", *module, "--engine", engine, *arguments]
        fds = [sock.fileno() for sock in hand_over]
        if fds:
            command = ["-c", _HAND_OVER, ",".join(map(str, fds)), *command]
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TTS_", "LISTEN_"))
        }
        self._process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env={**kept, "PYTHONUNBUFFERED": "1", **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=fds,
        )
        self.output = ""

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for_line(self, pattern: str) -> re.Match[str]:
        """Reads output until `pattern` is in it."""
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.output)):
            assert self._read(deadline), f"no {pattern!r} in:\n{self.output}"
        return found

    def wait_until_ready(self) -> str:
        """The base URL of its first socket, once it has spoken its warm-up word."""
        url = self.wait_for_line(r"listening on (http://[^\s,]+)").group(1)
        self.wait_for_line(r"ready: ")
        return url

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """The exit code; reads the output to its end meanwhile."""
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline):
            pass
        return self._process.wait(PATIENCE)

    def close(self) -> None:
        """Ends the process whatever it does; nothing of it is left afterwards."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self, deadline: float) -> bool:
        """Appends what comes next; False at the end of output, an assertion at the deadline."""
        assert self._process.stdout is not None
        left = deadline - time.monotonic()
        assert left > 0, f"nothing more came in {PATIENCE:g} s; so far:\n{self.output}"
        readable, _, _ = select.select([self._process.stdout], [], [], left)
        if not readable:
            return self._read(deadline)
        read = os.read(self._process.stdout.fileno(), 65_536)
        self.output += read.decode("utf-8", "replace")
        return bool(read)


def say(url: str, text: str, *, timeout: float = PATIENCE, **fields: object) -> requests.Response:
    """One `POST /tts` on a connection of its own."""
    return requests.post(
        f"{url}/tts",
        json={"text": text, **fields},
        headers={"Connection": "close"},
        timeout=timeout,
    )


def health(url: str) -> dict[str, object]:
    """The body of `GET /health`, which must answer whatever else is in work."""
    answer = requests.get(f"{url}/health", headers={"Connection": "close"}, timeout=PATIENCE)
    assert answer.status_code == 200
    body: dict[str, object] = answer.json()
    return body
