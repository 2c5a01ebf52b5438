"""One control connection of the sink: lines in, lines out, and the file descriptors beside them.

Kept true: whatever a peer sends or fails to read costs it at most this connection; input, output
and descriptors in waiting are bounded, and no descriptor is left open that nobody asked for.
Descriptors come in sets, one beside each request that has some: the system never joins two.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket

PIECE = 64 * 1024
LONGEST_LINE = 256 * 1024
"""An attach with as many and as long patterns as may be, written in JSON's escapes."""
MOST_DESCRIPTORS = 128
LARGEST_BACKLOG = 256 * 1024
_SPACE = socket.CMSG_SPACE(MOST_DESCRIPTORS * array.array("i").itemsize)


class PeerError(Exception):
    """The connection cannot go on: the peer left, or broke a bound."""


class Conversation:
    """Framing and bounds; what a line means is the sink's affair."""

    def __init__(self, connection: socket.socket) -> None:
        """Take over a connected Unix stream socket."""
        connection.setblocking(False)
        self._socket = connection
        self._input = bytearray()
        self._sets: list[tuple[int, ...] | None] = []  # None: it did not fit into this process
        self._output: list[tuple[bytes, tuple[int, ...]]] = []

    def fileno(self) -> int:
        """Return the descriptor to select on."""
        return self._socket.fileno()

    @property
    def has_output(self) -> bool:
        """True while replies wait for the peer to read."""
        return bool(self._output)

    def close(self) -> None:
        """Close the socket and every descriptor that came and was not claimed."""
        for descriptors in self._sets:
            for descriptor in descriptors or ():
                os.close(descriptor)
        self._sets.clear()
        for _, descriptors in self._output:
            for descriptor in descriptors:
                os.close(descriptor)
        self._output.clear()
        self._socket.close()

    def receive(self) -> list[bytes]:
        """Return the complete lines that came, without their newline; PeerError at the end."""
        try:
            data, ancillary, flags, _ = self._socket.recvmsg(PIECE, _SPACE)
        except BlockingIOError:
            return []
        except OSError as error:
            raise PeerError(str(error)) from error
        received = array.array("i")
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received.frombytes(content[: len(content) - len(content) % received.itemsize])
        for descriptor in received:
            os.set_inheritable(descriptor, False)
        if flags & socket.MSG_CTRUNC:
            for descriptor in received:
                os.close(descriptor)
            if len(received) >= MOST_DESCRIPTORS:
                raise PeerError(f"more than {MOST_DESCRIPTORS} file descriptors at once")
            # Out of descriptors (RLIMIT_NOFILE). Only the request that came with them fails: a
            # peer that was cut off would come back and send them all again.
            self._sets.append(None)
        elif received:
            self._sets.append(tuple(received))
            if sum(len(each or ()) for each in self._sets) > MOST_DESCRIPTORS:
                raise PeerError(f"more than {MOST_DESCRIPTORS} file descriptors in waiting")
        if not data:
            raise PeerError("closed")
        *lines, rest = (bytes(self._input) + data).split(b"\n")
        if len(rest) > LONGEST_LINE:
            raise PeerError(f"a request is longer than {LONGEST_LINE} bytes")
        self._input = bytearray(rest)
        return lines

    def claim(self, count: int) -> tuple[int, ...]:
        """Return the `count` descriptors that came with a request, now the caller's.

        Raises ValueError if others came; those are closed.
        """
        claimed = self._sets.pop(0) if self._sets else ()
        if claimed is None:
            raise ValueError(
                f"{count} file descriptors came and not all fit: raise the limit of open files "
                "(ulimit -n) for the daemon"
            )
        if len(claimed) != count:
            for descriptor in claimed:
                os.close(descriptor)
            raise ValueError(f"{count} file descriptors named, {len(claimed)} came")
        return claimed

    def send(self, line: bytes, descriptors: tuple[int, ...] = ()) -> None:
        """Send one line with copies of `descriptors`, now or when the peer reads; PeerError."""
        # What waits already is judged: one reply may be larger, that of 2000 services is.
        if sum(len(waiting) for waiting, _ in self._output) > LARGEST_BACKLOG:
            raise PeerError("the peer does not read its replies")
        copies: list[int] = []
        try:
            copies.extend(os.dup(one) for one in descriptors)
        except OSError as error:
            for copy in copies:
                os.close(copy)
            raise PeerError(f"descriptors cannot be sent: {error}") from error
        self._output.append((line + b"\n", tuple(copies)))
        self.flush()

    def flush(self) -> None:
        """Send what the peer has room for; PeerError when it is gone."""
        while self._output:
            data, descriptors = self._output[0]
            try:
                if descriptors:
                    sent = socket.send_fds(self._socket, [data], list(descriptors))
                else:
                    sent = self._socket.send(data)
            except BlockingIOError:
                return
            except OSError as error:
                raise PeerError(str(error)) from error
            for descriptor in descriptors:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
            # The descriptors travel with the first byte; the rest of the line goes without.
            self._output[0] = (data[sent:], ())
            if sent == len(data):
                del self._output[0]
