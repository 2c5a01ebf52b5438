"""An HTTP server of files that misbehaves as the test says: real sockets, real threads."""

import re
import select
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import ClassVar
from urllib.parse import urlsplit

DEADLINE = 20.0


@dataclass(frozen=True, slots=True)
class Served:
    """One file, and how it is served."""

    body: bytes
    etag: str | None = '"one"'
    last_modified: str | None = None
    ranges: bool = True
    length: bool = True
    """Without it the body ends where the connection does."""
    kind: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Cut:
    """Serve the file, but break the connection after this many bytes of the body."""

    after: int


@dataclass(frozen=True, slots=True)
class Stall:
    """Serve this many bytes of the body, then nothing until the server is closed."""

    after: int


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer this instead of the file."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Short:
    """Serve at most this many bytes of the range that is asked for, as a server may."""

    most: int


Trick = Cut | Stall | Short | Answer


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked."""

    path: str
    range: str | None
    if_range: str | None
    host: str | None


class FileServer:
    """Serves `files` by path. Each request takes the next of `tricks`, if there is one."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.files: dict[str, Served] = {}
        self.tricks: list[Trick] = []
        self.requests: list[Request] = []
        self.tunnels: list[str] = []
        self.reached = threading.Event()
        """Set when a Stall has sent what it sends."""
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self.tunnel_to: tuple[str, int] | None = None
        handler = type("Bound", (_Handler,), {"owner": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._scheme = "https" if tls else "http"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        host = "localhost" if self._scheme == "https" else "127.0.0.1"
        return f"{self._scheme}://{host}:{self.port}"

    def serve(self, files: dict[str, bytes], below: str = "/v1") -> None:
        """Serve these files below a folder."""
        self.files |= {f"{below}/{name}": Served(body) for name, body in files.items()}

    def change(self, path: str, **fields: object) -> None:
        """Serve a file otherwise from now on."""
        current = self.files[path]
        given = {name: getattr(current, name) for name in Served.__slots__} | fields
        self.files[path] = Served(**given)

    def asked(self, name: str = "") -> list[Request]:
        """Return the requests for a file, in order."""
        return [request for request in self.requests if request.path.endswith(name)]

    def __enter__(self) -> "FileServer":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
    owner: FileServer
    protocol_version = "HTTP/1.1"
    timeout: ClassVar[float | None] = DEADLINE

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing."""

    def do_GET(self) -> None:
        owner = self.owner
        path = urlsplit(self.path).path  # a proxy is asked for a whole URL
        given = Request(
            path, self.headers["Range"], self.headers["If-Range"], urlsplit(self.path).hostname
        )
        with owner.lock:
            owner.requests.append(given)
            trick = owner.tricks.pop(0) if owner.tricks else None
        # One request a connection: a test that ends must not wait for a client's pool.
        self.close_connection = True
        match trick:
            case Answer(status=status, body=body, headers=headers):
                self._answer(status, body, headers)
            case _ if path not in owner.files:
                self._answer(404, b"no such file", {"Content-Type": "text/plain"})
            case Cut(after=after):
                self._file(owner.files[path], given, lambda body: self._send(body[:after]))
            case Stall(after=after):
                self._file(owner.files[path], given, lambda body: self._stall(body[:after]))
            case Short(most=most):
                self._file(owner.files[path], given, self._send, most)
            case None:
                self._file(owner.files[path], given, self._send)

    def _send(self, body: bytes) -> None:
        self.wfile.write(body)

    def _stall(self, body: bytes) -> None:
        self.wfile.write(body)
        self.owner.reached.set()
        self.owner.closing.wait(DEADLINE)

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _file(
        self,
        served: Served,
        given: Request,
        send: Callable[[bytes], None],
        most: int = sys.maxsize,
    ) -> None:
        body, total, start = served.body, len(served.body), None
        wanted = re.fullmatch(r"bytes=([0-9]+)-([0-9]*)", given.range or "")
        current = given.if_range in (None, served.etag, served.last_modified)
        if served.ranges and wanted and current:
            start = int(wanted[1])
            if start >= total:
                self._answer(416, b"", {"Content-Range": f"bytes */{total}"})
                return
            end = min(int(wanted[2] or total - 1), total - 1)
            body = body[start : end + 1][:most]
        self.send_response(200 if start is None else 206)
        if start is not None:
            self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{total}")
        if served.length:
            self.send_header("Content-Length", str(len(body)))
        if served.etag is not None:
            self.send_header("ETag", served.etag)
        if served.last_modified is not None:
            self.send_header("Last-Modified", served.last_modified)
        self.send_header("Content-Type", served.kind)
        self.send_header("Connection", "close")
        self.end_headers()
        send(body)

    def do_CONNECT(self) -> None:
        """Be a proxy: every name leads to `tunnel_to`."""
        owner = self.owner
        with owner.lock:
            owner.tunnels.append(self.path)
        self.close_connection = True
        if owner.tunnel_to is None:
            self._answer(403, b"", {})
            return
        with socket.create_connection(owner.tunnel_to, DEADLINE) as there:
            self.send_response(200)
            self.end_headers()
            here = self.connection
            while not owner.closing.is_set():
                ready, _, _ = select.select([here, there], [], [], 0.05)
                for end in ready:
                    data = end.recv(65536)
                    if not data:
                        return
                    (there if end is here else here).sendall(data)
