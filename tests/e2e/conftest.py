"""A real system in a folder of its own: the command line, a daemon, a sink, real services.

Everything is driven through `python -m supervisor.cli`, as a user would. The fixture ends by
asserting that nothing of it is left: no process that carries its marks or names its folder.
"""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
import yaml

from supervisor import journal
from supervisor.control.client import ControlClient, ControlError, DaemonNotRunning
from tests.ports import free_port as free_port
from tests.remains import commands_of

T = TypeVar("T")

CHECKOUT = Path(__file__).parents[2]
DEADLINE = 30.0
"""Seconds that anything here may take on a busy machine; nothing takes as long if all is well."""

SLEEPER = ["sleep", "1000"]


class System:
    """One root folder, its YAML and its daemon; `code` is the checkout that is installed."""

    def __init__(self, root: Path, code: Path = CHECKOUT) -> None:
        self.root = root
        self.code = code
        self.state_dir = root / ".atlas"
        self.config = root / "services.yaml"

    def write(self, services: Mapping[str, Mapping[str, object]], **top: object) -> None:
        """Write the YAML of these services."""
        document = {"version": 1, **top, "services": services}
        self.config.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))

    def ctl(
        self, *arguments: str, check: int | None = 0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run atlasctl; `check` is the exit code that it must have, or None."""
        done = subprocess.run(
            [sys.executable, "-m", "supervisor.cli", "-c", str(self.config), *arguments],
            cwd=self.code,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=3 * DEADLINE,
            check=False,
        )
        if check is not None:
            told = f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
            assert done.returncode == check, told
        return done

    def client(self) -> ControlClient:
        """Return a client of the control socket."""
        return ControlClient(str(self.state_dir), timeout=DEADLINE)

    def status(self) -> dict[str, Any]:
        """Return the whole status."""
        status: dict[str, Any] = json.loads(json.dumps(self.client().get("/v1/status")))
        return status

    def service(self, name: str) -> dict[str, Any]:
        """Return the status of one service."""
        return next(s for s in self.status()["services"] if s["name"] == name)

    def daemon_pid(self) -> int:
        """Return the pid of the daemon."""
        return int(self.status()["daemon"]["pid"])

    def seq(self) -> int:
        """Return the number of the latest journal entry."""
        return int(self.status()["daemon"]["journal_seq"])

    def events(self, after: int) -> list[dict[str, Any]]:
        """Return what the daemon remembers of the journal after an entry."""
        found = []
        for event in self.client().stream("/v1/events", after=str(after)):
            assert isinstance(event, dict)
            found.append(event)
        return found

    def event(
        self, topic: str, service: str, *, after: int = 0, within: float = DEADLINE
    ) -> dict[str, Any]:
        """Return the first event of this topic, waiting for it.

        From disk: a daemon that was upgraded or killed meanwhile remembers nothing of before.
        """

        def look() -> dict[str, Any] | None:
            for entry in journal.read(str(self.state_dir)):
                if entry.seq > after and (entry.topic, entry.unit) == (topic, service):
                    return dataclasses.asdict(entry)
            return None

        return eventually(f"{topic} of {service}", look, within)

    def kill_daemon(self) -> int:
        """Kill the daemon as the kernel's OOM killer would, and wait until it is gone."""
        daemon = psutil.Process(self.daemon_pid())
        daemon.send_signal(signal.SIGKILL)
        with contextlib.suppress(psutil.NoSuchProcess):
            daemon.wait(DEADLINE)
        return int(daemon.pid)

    def commands(self) -> list[tuple[psutil.Process, list[str]]]:
        """Return every process of this system with the words of its command line.

        What has ended a moment later can still be told: holders and couriers come and go.
        """
        return commands_of(str(self.state_dir), lambda words: str(self.root) in " ".join(words))

    def processes(self) -> list[psutil.Process]:
        """Return every process of this system: daemon, sink, services and what they left."""
        return [process for process, _ in self.commands()]

    def running(self, word: str) -> list[psutil.Process]:
        """Return those of its processes that have this very word on their command line."""
        return [process for process, words in self.commands() if word in words]

    def close(self) -> None:
        """Take the system down, and assert that nothing of it is left."""
        try:
            self.ctl("down", check=None)
            left = [(process.pid, words) for process, words in self.commands()]
            assert not left, f"left behind: {left}"
        finally:
            for process in self.processes():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """A system with no services yet."""
    made = System(tmp_path)
    yield made
    made.close()


_PAUSE = threading.Event()
"""Never set: waiting for it gives the processor to those who are waited for."""


def eventually(what: str, look: Callable[[], T | None], within: float = DEADLINE) -> T:
    """Return the first value of `look` that is neither None nor False.

    For what announces itself by no event: a foreign process, a file, a port.
    """
    began = time.monotonic()
    while True:
        with contextlib.suppress(OSError, ControlError, DaemonNotRunning, psutil.Error):
            seen = look()
            if seen is not None and seen is not False:
                return seen
        waited = time.monotonic() - began
        assert waited < within, f"not within {within} s: {what}"
        # The longer, the rarer: a look takes a processor from those who are waited for.
        _PAUSE.wait(min(0.05, max(0.01, waited / 10)))
