"""A real system that has a dashboard among its services."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from supervisor.dashboard import token_file
from tests.dashboard.visitor import Reply, ask
from tests.e2e.conftest import System, eventually


class Running:
    """A system with a dashboard that serves."""

    def __init__(self, system: System, port: int) -> None:
        self.system = system
        self.port = port

    @property
    def token(self) -> str:
        """The token of the dashboard."""
        return token_file.read(str(self.system.state_dir))

    @property
    def address(self) -> str:
        """What `atlasctl dashboard` opens."""
        return f"http://127.0.0.1:{self.port}/#token={self.token}"

    def ask(self, path: str, method: str = "GET", body: bytes | None = None) -> Reply:
        return ask(self.port, self.token, path, method, body)

    def state(self, query: str = "") -> Any:
        reply = self.ask(f"/api/state?{query}")
        assert reply.status == 200
        return reply.json

    def service(self, name: str) -> dict[str, Any]:
        return next(s for s in self.state()["services"] if s["name"] == name)

    def until(self, what: str, name: str, holds: Callable[[dict[str, Any]], bool]) -> Any:
        def look() -> dict[str, Any] | None:
            found = self.service(name)
            return found if holds(found) else None

        return eventually(what, look)


def dashboard(port: int) -> dict[str, object]:
    """Return the service as config/services.yaml has it, run from this checkout's code."""
    return {
        "command": [sys.executable, "-m", "supervisor.dashboard"],
        "env": {"PYTHONPATH": str(Path(__file__).parents[2])},
        "sockets": {"http": f"localhost:{port}"},
        "probes": {
            "startup": {
                "http": {"path": "/healthz", "json": {"status": "ok"}},
                "every": "100ms",
                "for": "60s",
            }
        },
    }
