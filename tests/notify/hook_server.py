"""A webhook's other end: a real HTTP server that answers as the test says and keeps all it got."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self

DEADLINE = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer so."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hang:
    """Take the request, and answer nothing until the server is closed."""


@dataclass(frozen=True, slots=True)
class Got:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class HookServer:
    """Each request takes the next of `answers`, if there is one, and else gets 200."""

    def __init__(self) -> None:
        self.answers: list[Answer | Hang] = []
        self.got: list[Got] = []
        self.closing = threading.Event()
        self._news = threading.Condition()
        handler = type("Bound", (_Handler,), {"owner": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def summaries(self, path: str = "/hook") -> list[str]:
        """Return what has come as JSON, in order."""
        with self._news:
            return [got.json["summary"] for got in self.got if got.path == path]

    def wait(self, what: str, look: Callable[[list[Got]], bool]) -> list[Got]:
        """Return all that has come once it is as `look` wants it."""
        with self._news:
            reached = self._news.wait_for(lambda: look(self.got), DEADLINE)
            assert reached, f"{what}; came: {[(g.path, g.body) for g in self.got]}"
            return list(self.got)

    def take(self, got: Got) -> Answer | Hang:
        """Keep a request, and say how to answer it."""
        with self._news:
            self.got.append(got)
            self._news.notify_all()
            return self.answers.pop(0) if self.answers else Answer()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients leave in the middle here, on purpose."""


class _Handler(BaseHTTPRequestHandler):
    owner: HookServer
    timeout: ClassVar[float | None] = DEADLINE

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.owner.take(Got(self.path, dict(self.headers), body))
        if isinstance(answer, Hang):
            self.owner.closing.wait(DEADLINE)
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()

    def do_GET(self) -> None:
        """Who follows a redirect comes this way."""
        self.owner.take(Got(self.path, dict(self.headers), b"{}"))
        self.send_response(200)
        self.end_headers()
