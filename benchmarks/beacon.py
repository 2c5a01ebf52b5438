"""The service that announces itself, and the FIFO that it is heard through."""

import contextlib
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parent / "children" / "beacon.c"


class BenchmarkError(Exception):
    """A peer did not do what it was asked, or something that is needed is missing."""


def build(folder: str) -> str:
    """Compile the service into a folder and return its path. Raises BenchmarkError."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise BenchmarkError("no C compiler: apt-get install gcc libc6-dev")
    program = f"{folder}/beacon"
    trouble = ""
    for static in (["-static"], []):
        done = subprocess.run(
            [compiler, "-O2", *static, "-o", program, str(SOURCE)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return program
        trouble = done.stderr.strip()
    raise BenchmarkError(f"{compiler} cannot compile {SOURCE}: {trouble}")


@dataclass(frozen=True, slots=True)
class Announcement:
    """A service has begun, or has written all its lines."""

    name: str
    pid: int
    at: float
    """Seconds on CLOCK_MONOTONIC, taken by the service itself."""


class Announcements:
    """The reader's end of the FIFO of one peer's services."""

    def __init__(self, path: str) -> None:
        os.mkfifo(path, 0o600)
        # For writing as well: it never has no writer, and a writer never waits for a reader.
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._rest = b""
        self.path = path
        self.latest: dict[str, Announcement] = {}

    def close(self) -> None:
        """Let go of the FIFO."""
        os.close(self._fd)

    def wait(self, until: Callable[[], bool], within: float, also: Sequence[int] = ()) -> bool:
        """Read until something is so; False if it is not in `within` seconds.

        Looks again whenever something is announced, or can be read from the descriptors `also`.
        """
        deadline = time.monotonic() + within
        while True:
            self.read()
            if until():
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            select.select([self._fd, *also], [], [], left)

    def read(self) -> None:
        """Take note of all that has been announced so far."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._fd, 65536):
                lines = (self._rest + data).split(b"\n")
                self._rest = lines.pop()
                for line in lines:
                    name, pid, nanoseconds = line.decode().split()
                    self.latest[name] = Announcement(name, int(pid), int(nanoseconds) / 1e9)
