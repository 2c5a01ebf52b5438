"""The daemon's end of the sink's control socket.

Kept true: replies are given to requests in the order in which they were sent, even when the asker
has given up; at most `MOST_OUTSTANDING` requests wait; every request has a deadline; when the sink
is gone `closed` is done at once and every waiting request fails. asyncio's own streams cannot
carry file descriptors, so this reads and writes the socket itself. It does not import the sink.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from supervisor.logs.address import short_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MOST_OUTSTANDING = 8192
"""What 2000 services can ask for in one turn of the loop: a new sink is told of all at once."""
MOST_DESCRIPTORS = 128
LONGEST_REPLY = 4 * 1024 * 1024
PIECE = 64 * 1024


class SinkError(Exception):
    """The sink answered with an error, in its words; `reply` holds the whole answer."""

    def __init__(self, message: str, reply: Mapping[str, object]) -> None:
        super().__init__(message)
        self.reply = reply


class SinkGoneError(Exception):
    """There is no sink at the other end, or not any more: start one, attach again."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of the sink; `descriptors` belong to the receiver, who closes them."""

    fields: Mapping[str, object]
    descriptors: tuple[int, ...] = ()


class SinkChannel:
    """One connection to the sink, used from one event loop."""

    def __init__(
        self, connection: socket.socket, told: Callable[[object], None] | None = None
    ) -> None:
        """Take over a connected, non-blocking socket; use `connect`."""
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[asyncio.Future[Reply]] = deque()
        self._output: deque[tuple[bytes, tuple[int, ...]]] = deque()
        self._input = bytearray()
        self._descriptors: list[int] = []
        self.closed: asyncio.Future[str] = self._loop.create_future()
        """Done, with the reason in words, as soon as the sink is gone or `close` was called."""
        self._told = told
        self._loop.add_reader(connection, self._read)

    @classmethod
    async def connect(
        cls, path: str, within: float, told: Callable[[object], None] | None = None
    ) -> SinkChannel:
        """Connect to the sink's socket at `path`; wait at most `within` seconds for it to listen.

        `told` gets what the sink says of matches after a `subscribe`. Raises SinkGoneError.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        pause = 0.005
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.setblocking(False)
            try:
                # It is there or not: a Unix socket does not wait for its other end.
                with short_name(path) as name:
                    connection.connect(name)
            except OSError as error:
                connection.close()
                if loop.time() + pause >= deadline:
                    raise SinkGoneError(f"no sink listens at {path}: {error}") from error
            else:
                return cls(connection, told)
            # A sink takes about 50 ms to start and nothing tells of it but its socket.
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.1)

    def send(
        self, op: str, fields: Mapping[str, object] | None = None, fds: Sequence[int] = ()
    ) -> asyncio.Future[Reply]:
        """Ask the sink, in the order of the calls, and return the future of its answer.

        Whoever cancels the future has given up; the order of answers is kept. `fds` travel as
        copies: the caller keeps and closes its own. The future raises SinkGoneError. This raises
        SinkGoneError, BlockingIOError when too many wait, and OSError when a copy cannot be made.
        """
        if self.closed.done():
            raise SinkGoneError(self.closed.result())
        if len(self._waiting) >= MOST_OUTSTANDING:
            raise BlockingIOError(f"{MOST_OUTSTANDING} requests to the sink wait already")
        line = json.dumps({**(fields or {}), "op": op}).encode() + b"\n"
        copies: list[int] = []
        try:
            copies.extend(os.dup(fd) for fd in fds)
        except OSError:
            _close_all(copies)
            raise
        answer: asyncio.Future[Reply] = self._loop.create_future()
        self._waiting.append(answer)
        self._output.append((line, tuple(copies)))
        self._write()
        return answer

    async def request(
        self,
        op: str,
        fields: Mapping[str, object] | None = None,
        fds: Sequence[int] = (),
        *,
        within: float = 10.0,
    ) -> Reply:
        """Ask the sink and return its answer within `within` seconds.

        Raises SinkError for an error in its answer, TimeoutError, and what `send` does.
        """
        return await answered(self.send(op, fields, fds), within)

    def close(self, reason: str = "closed by us") -> None:
        """Close the connection; every waiting request fails with SinkGoneError."""
        if self.closed.done():
            return
        self.closed.set_result(reason)
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        _close_all(self._descriptors)
        for _, copies in self._output:
            _close_all(copies)
        self._output.clear()
        for answer in self._waiting:
            if not answer.done():
                answer.set_exception(SinkGoneError(reason))
        self._waiting.clear()

    def _write(self) -> None:
        while self._output:
            data, copies = self._output[0]
            try:
                if copies:
                    sent = socket.send_fds(self._socket, [data], list(copies))
                else:
                    sent = self._socket.send(data)
            except BlockingIOError:
                self._loop.add_writer(self._socket, self._write)
                return
            except OSError as error:
                self.close(f"the sink is gone: {error}")
                return
            _close_all(copies)
            if sent == len(data):
                self._output.popleft()
            else:
                self._output[0] = (data[sent:], ())
        self._loop.remove_writer(self._socket)

    def _read(self) -> None:
        try:
            data, descriptors, flags, _ = socket.recv_fds(self._socket, PIECE, MOST_DESCRIPTORS)
        except BlockingIOError:
            return
        except OSError as error:
            self.close(f"the sink is gone: {error}")
            return
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        if flags & socket.MSG_CTRUNC:
            # RLIMIT_NOFILE of this process. The reply that they came with is said to be short.
            _close_all(descriptors)
        else:
            self._descriptors.extend(descriptors)
        if not data:
            self.close("the sink is gone: its end was closed")
        else:
            *lines, rest = (bytes(self._input) + data).split(b"\n")
            self._input = bytearray(rest)
            for line in lines:
                self._receive(line)
            if len(self._input) > LONGEST_REPLY:
                self.close(f"a reply of the sink is longer than {LONGEST_REPLY} bytes")

    def _receive(self, line: bytes) -> None:
        try:
            fields = json.loads(line)
            tells = self._told is not None and isinstance(fields, dict) and "match" in fields
            if not tells and (not isinstance(fields, dict) or not self._waiting):
                raise ValueError("not an answer to a request")
        except ValueError as error:
            self.close(f"the sink talks nonsense: {error}")
            return
        if self._told is not None and tells:
            self._told(fields["match"])
            return
        answer = self._waiting.popleft()
        names = fields.get("names")
        count = len(names) if isinstance(names, list) else 0
        claimed = tuple(self._descriptors[:count])
        del self._descriptors[:count]
        if len(claimed) < count:
            _close_all(claimed)
            claimed = ()
            fields = {"ok": False, "error": f"no room for {count} more open files (ulimit -n)"}
        if answer.done():  # the asker gave up
            _close_all(claimed)
        else:
            answer.set_result(Reply(fields, claimed))


async def answered(answer: asyncio.Future[Reply], within: float) -> Reply:
    """Return an answer that says yes; raises SinkError, SinkGoneError, TimeoutError."""
    async with asyncio.timeout(within):
        reply = await answer
    if reply.fields.get("ok") is not True:
        _close_all(reply.descriptors)
        raise SinkError(str(reply.fields.get("error", "no reason given")), reply.fields)
    return reply


def _close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
