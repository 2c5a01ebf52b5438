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
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import h11

from supervisor.control.socket import BindError as BindError
from supervisor.control.socket import bind, peer_uid, socket_path

_LET_IN = 0.3
"""Seconds that connections may take to come to their end before other code takes over: those that
follow a stream, or keep a connection for later, are cut off then."""
_UNHEARD = 3.0
"""Seconds that those get who were let in and have had no answer at all: on a machine that has other
things to do, a client may not have come to send its request in `_LET_IN`."""
_ACCEPT_AGAIN = 0.1
"""Seconds until the next try after an accept that failed, for lack of descriptors mostly."""
_ACCEPTED_AT_ONCE = 64
"""Connections accepted before the loop may do something else."""
_UNWIND = 1.0
"""Seconds that a stream may take to end once nobody listens to it any more."""
_LINGER = 1.0
"""Seconds that a refused client may go on sending, so that it comes to read the refusal."""
_LINGER_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client, and all together, may take."""

    connections: int = 64
    """Served at once. As many again are told to come back, and those beyond are cut off."""
    header: int = 16 * 1024
    """Bytes."""
    body: int = 16 * 1024 * 1024
    """Bytes. The largest is a whole configuration, compiled: about 2 KiB a service."""
    request: float = 10.0
    """Seconds that a request may take to arrive; an idle connection is closed after as long."""
    write: float = 10.0
    """Seconds that a client may leave a reply, or one value of a stream, unread."""


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
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Stream:
    """JSON values, one a line, for as long as there are any and the client listens."""

    values: AsyncIterator[object]


Handler = Callable[[Request], Awaitable[Reply | Stream]]
Routes = Mapping[tuple[str, str], Handler]
"""By method and path."""


class ControlServer:
    """Serves `routes` to this user, and to root."""

    def __init__(
        self,
        state_dir: str,
        routes: Routes,
        *,
        on_error: Callable[[str], None],
        peer: Callable[[socket.socket], int] = peer_uid,
        limits: Limits = Limits(),
        listening: socket.socket | None = None,
    ) -> None:
        self.limits = limits
        self.closing = False
        self._path = socket_path(state_dir)
        self._routes = routes
        self._on_error = on_error
        self._peer = peer
        self._serving = False
        self._listening = listening
        """Listens at our path, perhaps since an earlier code."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._unheard: set[asyncio.Task[None]] = set()
        """Of clients that were let in and have not been answered yet."""
        self._replying: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. Raises BindError."""
        if self._listening is None:
            self._listening = bind(self._path, self.limits.connections)
        self._listening.setblocking(False)
        self.closing = False
        self._serving = True
        # Not asyncio's own server: between its accept and our task lie turns of the loop in which
        # nobody knows of the client, who would be cut off unheard if other code took over then.
        asyncio.get_running_loop().add_reader(self._listening, self._accept)

    async def pause(self, grace: float = 1.0) -> int:
        """Serve nobody any more, while who connects waits; return the descriptor they wait at.

        It is ours until `start` takes it up again, or is handed on to other code. Replies under
        way get `grace` seconds.
        """
        assert self._listening is not None, "only what has started can pause"  # noqa: S101
        self._stop_accepting()
        # Whoever was let in has asked, or is about to: to be cut off would be to be turned away.
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_LET_IN)
        if self._unheard:
            await asyncio.wait(self._unheard, timeout=_UNHEARD)
        self.closing = True
        await self._finish(grace)
        return self._listening.fileno()

    async def close(self, grace: float = 1.0) -> None:
        """Listen no more; replies under way get `grace` seconds, all else is cut off."""
        if not self._serving:
            return
        self.closing = True
        self._stop_accepting()
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        await self._finish(grace)

    def _stop_accepting(self) -> None:
        if self._serving and self._listening is not None:
            asyncio.get_running_loop().remove_reader(self._listening)
        self._serving = False

    async def _finish(self, grace: float) -> None:
        if self._replying:
            await asyncio.wait(self._replying, timeout=grace)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)

    def _accept(self) -> None:
        """Let in whoever waits; each is known from here on."""
        assert self._listening is not None, "it is what has become readable"  # noqa: S101
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connection, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._on_error(f"a connection cannot be accepted: {error.strerror}")
                self._accept_later()
                return
            if len(self._tasks) >= 2 * self.limits.connections:
                connection.close()
                continue
            task = asyncio.get_running_loop().create_task(self._serve(connection))
            self._tasks.add(task)
            self._unheard.add(task)
            task.add_done_callback(self._forget)

    def _accept_later(self) -> None:
        """Leave who waits waiting for a while: out of descriptors, each try would fail at once."""
        loop = asyncio.get_running_loop()
        self._stop_accepting()
        self._serving = True
        loop.call_later(_ACCEPT_AGAIN, self._accept_again)

    def _accept_again(self) -> None:
        if self._serving and self._listening is not None and not self.closing:
            asyncio.get_running_loop().add_reader(self._listening, self._accept)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._unheard.discard(task)
        self._replying.discard(task)

    async def _serve(self, connection: socket.socket) -> None:
        try:
            reader, writer = await asyncio.open_unix_connection(
                sock=connection, limit=self.limits.header
            )
        except (OSError, asyncio.CancelledError):
            connection.close()
            return
        try:
            await _Connection(self, reader, writer).serve()
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass  # the client is gone, too slow, or we are closing: nobody is left to tell
        except Exception as error:  # noqa: BLE001 - a bug here is one client's loss
            self.failed("a connection", error)
        finally:
            # What is still unsent is for a client that does not read; waiting for it has no end.
            writer.transport.abort()

    def refuses(self, connection: socket.socket) -> Reply | None:
        """Return the reply to a client that is not served at all."""
        if len(self._tasks) > self.limits.connections:
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
        try:
            url = urlsplit(target)
        except ValueError as error:
            return problem(400, f"{target} is no address: {error}", "GET /v1/status")
        handler = self._routes.get(("GET" if method == "HEAD" else method, url.path))
        if handler is None:
            allowed = [its for its, path in self._routes if path == url.path]
            if not allowed:
                return problem(404, f"there is no {url.path}", "GET /v1/status")
            refusal = problem(405, f"{url.path} takes {' or '.join(allowed)}", "use that method")
            allow = ", ".join([*allowed, *(["HEAD"] if "GET" in allowed else [])])
            return replace(refusal, headers=(("Allow", allow),))
        try:
            value = json.loads(body) if body.strip() else None
        except (ValueError, RecursionError) as error:
            return problem(400, f"the body is not JSON: {error}", "send JSON or no body")
        try:
            return await handler(Request(dict(parse_qsl(url.query)), value))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # we are closing; else something that the handler waited for was cancelled
            return self.failed(f"{method} {url.path}", error)
        except Exception as error:  # noqa: BLE001 - a bug in one route must not end supervision
            return self.failed(f"{method} {url.path}", error)

    def failed(self, what: str, error: BaseException) -> Reply:
        """Report a bug of ours, and return the reply to whoever met it."""
        text = f"{type(error).__name__}: {error}"
        self._on_error(f"{what}: {text}")
        return problem(500, text, "see: atlasctl events")

    def replying(self, task: asyncio.Task[None] | None, *, now: bool) -> None:
        """Keep track of who would be cut off in the middle of a reply."""
        if task is not None:
            (self._replying.add if now else self._replying.discard)(task)
            if not now:
                self._unheard.discard(task)


class _Connection:
    """One client, for as many requests as it likes to make."""

    def __init__(
        self, server: ControlServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._limits = server.limits
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=server.limits.header)
        self._head = False
        # Or `drain` would return, and the connection be cut, with the rest of a reply unsent.
        writer.transport.set_write_buffer_limits(high=0)

    async def serve(self) -> None:
        refusal = self._server.refuses(self._writer.get_extra_info("socket"))
        task = asyncio.current_task()
        while not self._server.closing:
            try:
                async with asyncio.timeout(self._limits.request):
                    request, body = await self._request()
            except h11.RemoteProtocolError as error:
                await self._reply(problem(error.error_status_hint, str(error), "speak HTTP/1.1"))
                await self._linger()
                return
            if request is None:
                return
            self._head = request.method == b"HEAD"
            self._server.replying(task, now=True)
            if refusal is not None:
                reply: Reply | Stream = refusal
            elif len(body) > self._limits.body:
                reply = problem(413, f"the body is over {self._limits.body} bytes", "send less")
            else:
                method, target = request.method.decode("ascii"), request.target.decode("ascii")
                reply = await self._server.answer(method, target, body)
            if isinstance(reply, Stream):
                self._server.replying(task, now=False)
                await self._stream(reply.values)
            else:
                await self._reply(reply)
            self._server.replying(task, now=False)
            if self._http.our_state is h11.DONE is self._http.their_state:
                self._http.start_next_cycle()
                continue
            if self._http.their_state is h11.SEND_BODY:
                await self._linger()
            return

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
                    self._http.receive_data(await self._reader.read(self._limits.header))
                case h11.Request():
                    request = event
                case h11.Data(data=data):
                    body += data
                    if len(body) > self._limits.body:
                        return request, bytes(body)
                case h11.EndOfMessage():
                    return request, bytes(body)
                case _:
                    return None, b""

    async def _reply(self, reply: Reply) -> None:
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        try:
            body = _line(reply.value)
        except (TypeError, ValueError, RecursionError) as error:
            reply = self._server.failed("a reply", error)
            body = _line(reply.value)
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        headers += reply.headers
        await self._send(h11.Response(status_code=reply.status, headers=headers))
        if not self._head:
            await self._send(h11.Data(data=body))
        await self._send(h11.EndOfMessage())

    async def _linger(self) -> None:
        """Take some of what a refused client still sends, and drop it.

        A socket that is closed with bytes unread resets the connection (RFC 9112, 9.6): the
        client's own sending would fail before it had read why.
        """
        self._writer.write_eof()
        left = _LINGER_BYTES
        async with asyncio.timeout(_LINGER):
            while left > 0 and (data := await self._reader.read(self._limits.header)):
                left -= len(data)

    async def _stream(self, values: AsyncIterator[object]) -> None:
        headers = [("Content-Type", "application/x-ndjson"), ("Transfer-Encoding", "chunked")]
        gone: asyncio.Task[Any] = asyncio.ensure_future(self._reader.read(1))
        following: asyncio.Task[Any] | None = None
        try:
            await self._send(h11.Response(status_code=200, headers=headers))
            while not self._head:
                following = asyncio.ensure_future(_next(values))
                await asyncio.wait((following, gone), return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    return  # it left, or has something to say that it should have said before
                try:
                    value = following.result()
                    line = b"" if value is _END else _line(value)
                except Exception as error:  # noqa: BLE001 - a bug in one route, as in `answer`
                    # Cut off in the middle, so that nobody takes the stream for complete.
                    self._server.failed("a stream", error)
                    return
                if not line:
                    break
                await self._send(h11.Data(data=line))
            await self._send(h11.EndOfMessage())
        finally:
            pending = [task for task in (gone, following) if task is not None]
            for task in pending:
                task.cancel()
            ended, _ = await asyncio.wait(pending, timeout=_UNWIND)
            for task in ended:
                if not task.cancelled():
                    task.exception()  # nobody is left to tell
            close = getattr(values, "aclose", None)
            if close is not None:
                await close()

    async def _send(
        self, event: h11.InformationalResponse | h11.Response | h11.Data | h11.EndOfMessage
    ) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)
            async with asyncio.timeout(self._limits.write):
                await self._writer.drain()


_END = object()


async def _next(values: AsyncIterator[object]) -> object:
    return await anext(values, _END)


def problem(status: int, error: str, hint: str) -> Reply:
    """Return a reply that says what is wrong and what to do."""
    return Reply(status, {"error": error, "hint": hint})


def _line(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # A lone surrogate (a file name that is no UTF-8) becomes the escape that JSON has for it.
    return text.encode("utf-8", "backslashreplace") + b"\n"
