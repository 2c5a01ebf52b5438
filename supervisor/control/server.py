"""The daemon's end of the control socket: HTTP/1.1 and JSON, so that `curl --unix-socket` works.

Everything a client can make grow or last is bounded: connections, header, body, the time to send
a request, the time to take a reply. A handler's exception is the client's 500 and a line for
`on_error`, never the daemon's end.
"""

import asyncio
import contextlib
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import h11

from supervisor.control.socket import peer_uid, socket_path

MAX_CONNECTIONS = 64
MAX_HEADER = 16 * 1024
MAX_BODY = 1024 * 1024
REQUEST_TIMEOUT = 10.0
"""Seconds that a request may take to arrive; an idle connection is closed after as long."""
WRITE_TIMEOUT = 10.0
"""Seconds that a client may leave a reply unread once the socket's buffer is full."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a handler needs of a request; `json` is None where there was no body."""

    query: Mapping[str, str]
    json: object = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A status code and a JSON value."""

    status: int
    value: object


@dataclass(frozen=True, slots=True)
class Stream:
    """JSON values, one a line, for as long as there are any and the client listens."""

    values: AsyncIterator[object]


Handler = Callable[[Request], Awaitable[Reply | Stream]]
Routes = Mapping[tuple[str, str], Handler]
"""By method and path."""


class BindError(Exception):
    """The control socket cannot be bound; the message says why and what to do."""


class ControlServer:
    """Serves `routes` to this user, and to root."""

    def __init__(
        self,
        state_dir: str,
        routes: Routes,
        *,
        on_error: Callable[[str], None],
        peer: Callable[[socket.socket], int] = peer_uid,
    ) -> None:
        self._path = socket_path(state_dir)
        self._routes = routes
        self._on_error = on_error
        self._peer = peer
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._replying: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. Raises BindError."""
        self._server = await asyncio.start_unix_server(
            self._accepted, sock=_bind(self._path), limit=MAX_HEADER
        )

    async def close(self, grace: float = 1.0) -> None:
        """Listen no more; replies under way get `grace` seconds, all else is cut off."""
        if self._server is None:
            return
        self._server.close()
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        if self._replying:
            await asyncio.wait(self._replying, timeout=grace)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "asyncio runs this as a task"  # noqa: S101
        self._tasks.add(task)
        try:
            await _Connection(self, reader, writer).serve()
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass  # the client is gone, too slow, or we are closing: nobody is left to tell
        finally:
            self._tasks.discard(task)
            self._replying.discard(task)
            # What is still unsent is for a client that does not read; waiting for it has no end.
            writer.transport.abort()

    def refuses(self, connection: socket.socket) -> Reply | None:
        """Return the reply to a client that is not served at all."""
        if len(self._tasks) > MAX_CONNECTIONS:
            return problem(503, "too many connections", "try again in a moment")
        try:
            uid = self._peer(connection)
        except OSError as error:
            return problem(403, f"the system does not say who you are: {error}", "")
        if uid not in (os.geteuid(), 0):
            return problem(403, f"this supervisor belongs to uid {os.geteuid()}", "use your own")
        return None

    async def answer(self, method: str, target: str, body: bytes) -> Reply | Stream:
        """Return what the route says; every failure is a reply as well."""
        url = urlsplit(target)
        handler = self._routes.get((method, url.path))
        if handler is None:
            allowed = [its for its, path in self._routes if path == url.path]
            if not allowed:
                return problem(404, f"there is no {url.path}", "GET /v1/status")
            return problem(405, f"{url.path} takes {' or '.join(allowed)}", "use that method")
        try:
            value = json.loads(body) if body.strip() else None
        except ValueError as error:
            return problem(400, f"the body is not JSON: {error}", "send JSON or no body")
        try:
            return await handler(Request(dict(parse_qsl(url.query)), value))
        except Exception as error:  # noqa: BLE001 - a bug in one route must not end supervision
            self._on_error(f"{method} {url.path}: {type(error).__name__}: {error}")
            return problem(500, f"{type(error).__name__}: {error}", "see: atlasctl events")

    def replying(self, task: asyncio.Task[None] | None, *, now: bool) -> None:
        """Keep track of who would be cut off in the middle of a reply."""
        if task is not None:
            (self._replying.add if now else self._replying.discard)(task)


class _Connection:
    """One client, for as many requests as it likes to make."""

    def __init__(
        self, server: ControlServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER)

    async def serve(self) -> None:
        refusal = self._server.refuses(self._writer.get_extra_info("socket"))
        task = asyncio.current_task()
        while True:
            try:
                async with asyncio.timeout(REQUEST_TIMEOUT):
                    request, body = await self._request()
            except h11.RemoteProtocolError as error:
                await self._reply(problem(error.error_status_hint, str(error), "speak HTTP/1.1"))
                return
            if request is None:
                return
            self._server.replying(task, now=True)
            if refusal is not None:
                reply: Reply | Stream = refusal
            elif len(body) > MAX_BODY:
                reply = problem(413, f"the body is over {MAX_BODY} bytes", "send less")
            else:
                method, target = request.method.decode("ascii"), request.target.decode("ascii")
                reply = await self._server.answer(method, target, body)
            if isinstance(reply, Stream):
                self._server.replying(task, now=False)
                await self._stream(reply.values)
            else:
                await self._reply(reply)
            self._server.replying(task, now=False)
            if self._http.our_state is h11.MUST_CLOSE or self._http.their_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    async def _request(self) -> tuple[h11.Request | None, bytes]:
        """Return the next request whole, or None if the client has no more."""
        request: h11.Request | None = None
        body = bytearray()
        while True:
            event = self._http.next_event()
            match event:
                case h11.NEED_DATA:
                    if self._http.they_are_waiting_for_100_continue:
                        go_on = h11.InformationalResponse(status_code=100, headers=[])
                        await self._send(go_on)
                    self._http.receive_data(await self._reader.read(MAX_HEADER))
                case h11.Request():
                    request = event
                case h11.Data(data=data):
                    body += data
                    if len(body) > MAX_BODY:
                        return request, bytes(body)
                case h11.EndOfMessage():
                    return request, bytes(body)
                case _:
                    return None, b""

    async def _reply(self, reply: Reply) -> None:
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = _line(reply.value)
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        await self._send(h11.Response(status_code=reply.status, headers=headers))
        await self._send(h11.Data(data=body))
        await self._send(h11.EndOfMessage())

    async def _stream(self, values: AsyncIterator[object]) -> None:
        headers = [("Content-Type", "application/x-ndjson"), ("Transfer-Encoding", "chunked")]
        await self._send(h11.Response(status_code=200, headers=headers))
        gone = asyncio.ensure_future(self._reader.read(1))
        following: asyncio.Task[object] | None = None
        try:
            while True:
                following = asyncio.ensure_future(_next(values))
                await asyncio.wait((following, gone), return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    return  # it left, or has something to say that it should have said before
                value = following.result()
                if value is _END:
                    break
                await self._send(h11.Data(data=_line(value)))
            await self._send(h11.EndOfMessage())
        finally:
            for pending in (gone, following):
                if pending is not None and not pending.done():
                    pending.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await pending
            close = getattr(values, "aclose", None)
            if close is not None:
                await close()

    async def _send(
        self, event: h11.InformationalResponse | h11.Response | h11.Data | h11.EndOfMessage
    ) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)
            async with asyncio.timeout(WRITE_TIMEOUT):
                await self._writer.drain()


_END = object()


async def _next(values: AsyncIterator[object]) -> object:
    return await anext(values, _END)


def problem(status: int, error: str, hint: str) -> Reply:
    """Return a reply that says what is wrong and what to do."""
    return Reply(status, {"error": error, "hint": hint})


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _bind(path: str) -> socket.socket:
    """Bind at a temporary name with the right mode, then move it into place.

    So there is no moment at which the socket is there and others may connect, and a stale one is
    replaced. The caller holds the daemon's lock: no living daemon has the name.
    """
    folder = os.path.dirname(path)
    # As long as the name itself: it may be of the greatest length that a socket can have.
    temporary = f"{path[:-1]}~"
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        found = os.stat(folder)
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise BindError(f"{folder} must be yours alone: chmod 700 {folder}")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        before = os.umask(0o177)
        try:
            listening.bind(temporary)
        finally:
            os.umask(before)
        listening.listen(MAX_CONNECTIONS)
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISDIR(os.lstat(path).st_mode):
                raise BindError(f"{path} is a directory: remove it")
        os.rename(temporary, path)
    except OSError as error:
        listening.close()
        raise BindError(f"cannot listen at {path}: {error.strerror or error}") from error
    except BindError:
        listening.close()
        raise
    return listening
