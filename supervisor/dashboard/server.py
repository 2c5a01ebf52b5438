"""waitress on sockets that listen already, and an end in which nobody is cut off in mid-reply."""

import contextlib
import logging
import socket
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer, create_server

from supervisor.dashboard.application import LARGEST_BODY

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

THREADS: Final = 8
"""At most two wait for the daemon with a command, and one each with a look, a search and a story:
so `/healthz` finds one."""
CONNECTIONS: Final = 64
"""Where there are more, the oldest ones that wait for nothing are closed."""
_IDLE_SECONDS: Final = 30
_DRAIN_SECONDS: Final = 3.0
_NEW_SECONDS: Final = 0.1
"""Who came less than so long ago may have sent a request that nobody has read yet: closed now, that
connection would be reset, and whoever listens next was never asked."""
_NEVER: Final = 1 << 40
"""Larger than any reply: waitress keeps them in memory, not in a file."""


class Server:
    """Serves until it is told to stop; used from one thread."""

    def __init__(self, application: "WSGIApplication", sockets: Sequence[socket.socket]) -> None:
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        self._map: dict[int, wasyncore.dispatcher] = {}
        create_server(
            application,
            map=self._map,
            sockets=list(sockets),
            threads=THREADS,
            ident=None,
            connection_limit=2 * CONNECTIONS,
            channel_timeout=_IDLE_SECONDS,
            max_request_header_size=16 * 1024,
            max_request_body_size=LARGEST_BODY,
            inbuf_overflow=_NEVER,
            outbuf_overflow=_NEVER,
            outbuf_high_watermark=_NEVER,
            asyncore_use_poll=True,
        )
        self._listeners = [one for one in self._map.values() if isinstance(one, BaseWSGIServer)]
        self._stopping = False

    def stop(self) -> None:
        """Make `run` return; safe in a signal handler and from another thread."""
        self._stopping = True
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                # It has seen that it is to stop, and is gone already.
                listener.pull_trigger()

    def run(self) -> None:
        """Serve until `stop` is called, then finish the replies under way."""
        while not self._stopping:
            self._make_room()
            # As long as it takes: whoever stops this wakes it, and idle it shall not wake by
            # itself more often than idle connections are looked at.
            wasyncore.poll2(_IDLE_SECONDS, self._map)
        deadline = time.monotonic() + _DRAIN_SECONDS
        for listener in self._listeners:
            listener.accepting = False
            listener.del_channel()
            listener.socket.close()
        while self._busy() and time.monotonic() < deadline:
            wasyncore.poll2(0.05, self._map)
        # Threads first: one that has just answered wakes the loop, through what is closed next.
        self._listeners[0].task_dispatcher.shutdown(timeout=1.0)
        wasyncore.close_all(self._map, ignore_all=True)

    def _make_room(self) -> None:
        # waitress by itself takes no more connections when it has too many, so that whoever holds
        # them open, by intent or not, would shut out everybody else.
        channels = self._channels()
        surplus = len(channels) - CONNECTIONS
        if surplus > 0:
            waiting = [one for one in channels if not one.requests]
            for one in sorted(waiting, key=lambda one: one.creation_time)[:surplus]:
                one.will_close = True

    def _busy(self) -> bool:
        new = time.time() - _NEW_SECONDS
        return any(
            one.requests or one.request or one.total_outbufs_len or one.creation_time > new
            for one in self._channels()
        )

    def _channels(self) -> list[HTTPChannel]:
        return [one for one in self._map.values() if isinstance(one, HTTPChannel)]
