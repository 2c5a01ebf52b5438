"""Waitress, with an end that drops nothing.

Waitress closes its channels when it is told to stop. Here a stop goes in steps: what the kernel has
already accepted is taken in, the listening sockets are closed (never shut down: a replacement may
share them), every request on an open connection is answered with `Connection: close`, and the loop
ends when the last reply has left or the time is over.
"""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Final

from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer, create_server
from waitress.task import ErrorTask, WSGITask

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from wsgiref.types import WSGIApplication

log = logging.getLogger("tts.server")

SPARE_THREADS: Final = 8
"""Threads beyond those that may wait for the engine, so that `/health` always finds one."""

MAX_BUFFERED_BODY: Final = 8 * 1024 * 1024
"""Bytes of a request body that are read in order to answer 413; a longer one is cut off."""

_MAX_CONNECTIONS: Final = 128  # macOS gives a process 256 descriptors
_IDLE_SECONDS: Final = 30
_MAX_HEADER: Final = 64 * 1024
_NEVER: Final = 1 << 40  # larger than any reply: waitress then keeps it in memory, not in a file

_QUIET_SECONDS: Final = 0.4
"""How long a connection with no request on it may stay open in a drain: a client that has just
connected, or is about to send its next request, is still served."""

_CLOSE_SECONDS: Final = 0.5
_TICK: Final = 0.05


class CutOffError(Exception):
    """Raised by the body of a reply that cannot go on: the client is to see that it is not whole.

    The message is logged.
    """


class _ClosingTask(WSGITask):  # type: ignore[misc]  # waitress has no types
    """Answers `Connection: close` in a drain: the client must not send another request here."""

    def execute(self) -> None:
        try:
            super().execute()
        except CutOffError as error:
            log.warning("a reply was cut off: %s", error)
            if not self.wrote_header:
                raise
            # Without its last chunk, which waitress would add, the body is recognisably broken.
            self.chunked_response = False
            self.set_close_on_finish()

    def build_response_header(self) -> bytes:
        if isinstance(self.channel, _Channel) and self.channel.draining():
            # A WSGI application may not set this header; waitress derives it from the request's.
            self.request.headers["CONNECTION"] = "close"
        header: bytes = super().build_response_header()
        return header


class _JsonErrorTask(ErrorTask):  # type: ignore[misc]
    """What waitress refuses by itself (bad HTTP, too large) has the contract's error body too."""

    def execute(self) -> None:
        error = self.request.error
        status, headers, _ = error.to_response(self.channel.server.adj.ident)
        body = json.dumps({"error": f"{error.reason}: {error.body}"}).encode()
        self.status = status
        self.response_headers.extend(
            (name, value) for name, value in headers if name.lower() != "content-type"
        )
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Channel(HTTPChannel):  # type: ignore[misc]
    task_class = _ClosingTask
    error_task_class = _JsonErrorTask

    def draining(self) -> bool:
        return bool(not self.server.accepting)

    def send_continue(self) -> None:
        # Waitress would take a finished request (an empty or refused body) for unfinished here and
        # wait for more until the client gives up.
        if self.request.completed:
            self.request.expect_continue = False
        else:
            super().send_continue()

    def is_quiet(self) -> bool:
        """No request in parts, in work or being answered."""
        return not (
            self.requests or self.request or self.total_outbufs_len or self.close_when_flushed
        )


class Server:
    """Serves a WSGI application on sockets that listen already; used from one thread."""

    def __init__(
        self,
        application: WSGIApplication,
        sockets: Sequence[socket.socket],
        *,
        waiting: int,
        later: Sequence[socket.socket] = (),
    ) -> None:
        """`waiting` is how many requests may wait for the engine at once, each in its thread.

        From the sockets of `later` nothing is accepted before `run` is told to.
        """
        self._map: dict[int, wasyncore.dispatcher] = {}
        create_server(
            application,
            map=self._map,
            sockets=[*sockets, *later],
            threads=waiting + SPARE_THREADS,
            ident="atlas-tts",
            connection_limit=_MAX_CONNECTIONS,
            channel_timeout=_IDLE_SECONDS,
            cleanup_interval=5,
            max_request_header_size=_MAX_HEADER,
            max_request_body_size=MAX_BUFFERED_BODY,
            # No temporary files, and no thread that waits for a client to read: a client that
            # reads nothing for `channel_timeout` is closed.
            inbuf_overflow=_NEVER,
            outbuf_overflow=_NEVER,
            outbuf_high_watermark=_NEVER,
            # One more request is read while one is in work: that is how waitress notices that the
            # client has gone.
            channel_request_lookahead=1,
            asyncore_use_poll=True,
        )
        self._listeners = [one for one in self._map.values() if isinstance(one, BaseWSGIServer)]
        for listener in self._listeners:
            listener.channel_class = _Channel
        shut = {sock.fileno() for sock in later}
        self._shut = [one for one in self._listeners if one.socket.fileno() in shut]
        for listener in self._shut:
            listener.accepting = False
        self._stopping = False
        self._closed = False

    def stop(self) -> None:
        """Makes `run` drain and return; safe in a signal handler."""
        self._stopping = True
        if not self._closed:
            for listener in self._listeners:
                listener.pull_trigger()

    def run(self, open_when: Callable[[], bool] = lambda: True) -> None:
        """Serves until `stop` is called, at all sockets once `open_when` has said so."""
        while not self._stopping:
            if self._shut and open_when():
                for listener in self._shut:
                    listener.accepting = True
                self._shut = []
            wasyncore.poll2(_TICK if self._shut else 1.0, self._map)

    def drain(self, *, timeout: float, take_backlog: bool) -> int:
        """Stops accepting and answers what was accepted.

        With `take_backlog` connections that wait in the kernel are taken in first: nobody else
        will, and closing the socket would reset them. Without it they are left to whoever shares
        the socket. Returns how many connections were cut off after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        for listener in self._listeners:
            if take_backlog:
                _accept_all(listener)
            listener.accepting = False
            listener.del_channel()
            if listener.socket is not None:
                listener.socket.close()
        while channels := self._channels():
            if time.monotonic() >= deadline:
                break
            quiet_since = time.time() - _QUIET_SECONDS
            for channel in channels:
                if channel.is_quiet() and channel.last_activity < quiet_since:
                    channel.will_close = True
            wasyncore.poll2(_TICK, self._map)
        return len(self._channels())

    def close(self) -> None:
        """Ends the threads that are in no request, and closes every connection at once."""
        self._closed = True
        # Threads first: one that has just answered wakes the loop, through what is closed next.
        self._listeners[0].task_dispatcher.shutdown(timeout=_CLOSE_SECONDS)
        wasyncore.close_all(self._map, ignore_all=True)

    def _channels(self) -> list[_Channel]:
        return [one for one in self._map.values() if isinstance(one, _Channel)]


def _accept_all(listener: BaseWSGIServer) -> None:
    for _ in range(_MAX_CONNECTIONS):
        before = len(listener.active_channels)
        listener.handle_accept()
        if len(listener.active_channels) == before:
            return
