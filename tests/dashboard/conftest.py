"""A dashboard that really serves, in this process, over a daemon that is written down by a test."""

import json
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from supervisor.control.client import ControlError, DaemonNotRunning
from supervisor.control.messages import FleetStatus, ServiceStatus
from supervisor.dashboard import listening, token_file
from supervisor.dashboard.application import Application
from supervisor.dashboard.server import Server
from supervisor.dashboard.story import Stories
from supervisor.dashboard.watch import Watch
from supervisor.journal import NAME
from tests.browser.chromium import chromium, page, playwright  # noqa: F401
from tests.cli.conftest import ctl, root  # noqa: F401
from tests.cli.fleets import chronicle, down, fleet, service
from tests.dashboard.systems import Running, dashboard
from tests.dashboard.visitor import Reply, ask
from tests.e2e.conftest import SLEEPER, System, free_port, system  # noqa: F401

if TYPE_CHECKING:
    from playwright.sync_api import Page

DEADLINE = 30.0
EVIL = "<script>document.title = 'hurt'</script><img src=x onerror=\"document.title = 'hurt'\">"


@dataclass
class FakeDaemon:
    """Answers what a test has written down, and remembers what it was asked."""

    services: list[ServiceStatus] = field(default_factory=list)
    trouble: Exception | None = None
    """What is raised instead of an answer."""
    looks: int = 0
    commands: list[tuple[str, object]] = field(default_factory=list)
    journal_seq: int = 0
    gate: threading.Event | None = None
    """Where there is one, a look waits for it, and tells then how it was before."""
    entered: threading.Event = field(default_factory=threading.Event)

    def get(self, path: str, **_query: str) -> object:
        assert path == "/v1/status"
        self.looks += 1
        answer: FleetStatus = fleet(*self.services)
        answer["daemon"]["journal_seq"] = self.journal_seq
        self.entered.set()
        if self.gate is not None:
            assert self.gate.wait(DEADLINE)
        if self.trouble is not None:
            raise self.trouble
        return answer

    def post(self, path: str, body: object) -> object:
        self.commands.append((path, body))
        if self.trouble is not None:
            raise self.trouble
        return {"services": ["tts"], "also": [], "seq": self.journal_seq}


NOBODY = DaemonNotRunning("/nowhere/control.sock")
REFUSES = ControlError(409, "two runs of tts cannot both bind its ports", "restart it plainly")


@dataclass
class Served:
    """A dashboard that serves."""

    daemon: FakeDaemon
    watch: Watch
    token: str
    port: int
    root: Path

    @property
    def address(self) -> str:
        """What `atlasctl dashboard` opens."""
        return f"http://127.0.0.1:{self.port}/#token={self.token}"

    def ask(
        self,
        path: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> Reply:
        """Ask as the page does; a header that is None is left out."""
        return ask(self.port, self.token, path, method, body, headers)

    def command(self, verb: str, value: object) -> Reply:
        return self.ask(f"/api/{verb}", "POST", json.dumps(value).encode())

    def state(self, **query: object) -> Any:
        """Return the state; the next one is asked for anew, however soon."""
        self.watch.expire()
        text = "&".join(f"{name}={value}" for name, value in query.items())
        reply = self.ask(f"/api/state?{text}")
        assert reply.status == 200, reply.body
        return reply.json


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A dashboard over a fake daemon; it ends with no thread and no descriptor left."""
    descriptors = len(os.listdir("/dev/fd"))
    threads = set(threading.enumerate())
    folder = tmp_path / ".atlas"
    folder.mkdir(mode=0o700)
    daemon = FakeDaemon()
    sockets = listening.bind(0)
    port = listening.port_of(sockets[0])
    watch = Watch(str(folder), daemon)
    token = token_file.obtain(str(folder))
    stories = Stories(str(tmp_path / "services.yaml"))
    application = Application(daemon, watch, stories, token, (port,), str(folder))
    server = Server(application, sockets)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield Served(daemon, watch, token, port, tmp_path)
    finally:
        server.stop()
        thread.join(DEADLINE)
        application.window.close()
    assert not thread.is_alive()
    left = [one for one in set(threading.enumerate()) - threads if one.is_alive()]
    assert not left, left
    assert len(os.listdir("/dev/fd")) <= descriptors


@pytest.fixture
def shown(served: Served, page: "Page") -> "Page":  # noqa: F811
    """The page of a system of three services."""
    log = served.root / "tts.log"
    log.write_text("".join(f"line {n}\n" for n in range(40)) + f"{EVIL}\n")
    served.daemon.services = [
        service("tts", description="Ukrainian text to speech", log=str(log), ports=[3001]),
        service("api", depends_on=["tts"], log=str(served.root / "api.log")),
        down("old", log=str(served.root / "old.log")),
    ]
    lines = [
        (1.8e9, "tts", "started", "run 1 started, pid 4321", 1),
        (1.8e9 + 1, "tts", "ready", "200 OK", 1),
        (1.8e9 + 2, "", "daemon", "a client asked the daemon", None),
    ]
    entries = chronicle(*lines)
    text = "".join(json.dumps(entry.message()) + "\n" for entry in entries)
    (served.root / ".atlas" / NAME).write_text(text)
    served.daemon.journal_seq = 3
    page.goto(served.address)
    page.wait_for_selector("#rows tr:nth-child(3)")
    return page


@pytest.fixture
def running(system: System) -> Running:  # noqa: F811
    port = free_port()
    system.write(
        {
            "tts": {
                "command": ["sh", "-c", "echo '<b>hello</b>'; exec sleep 1000"],
                "restart": {"backoff": {"first": "4s"}},
            },
            "web": {"command": SLEEPER, "depends_on": {"tts": "started"}},
            "page": dashboard(port),
        }
    )
    system.ctl("up")
    return Running(system, port)
