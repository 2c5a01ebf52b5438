"""A client's end of the control socket: blocking, small, quick to import."""

import json
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlencode

import h11

from supervisor.control.socket import socket_path

MAX_REPLY = 64 * 1024 * 1024
"""Bytes; the status of 1000 services is under one million."""
MAX_LINE = 1024 * 1024
"""Bytes of one value in a stream."""
_RETRY = 0.02
"""Seconds between attempts to connect while the daemon's queue of connections is full."""
_CHUNK = 64 * 1024


class DaemonNotRunning(Exception):  # noqa: N818 - a state of the world that callers ask about
    """Nobody listens at the control socket."""

    def __init__(self, path: str) -> None:
        super().__init__(f"no supervisor listens at {path}: start it with atlasctl up")
        self.path = path


class ControlError(Exception):
    """The daemon refused, broke off, or did not answer in time. `status` is 0 if none came."""

    def __init__(self, status: int, message: str, hint: str = "") -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.status = status
        self.message = message
        self.hint = hint


class BrokenOffError(ControlError):
    """The daemon took the request and was gone before all of its reply had come."""

    def __init__(self, when: str) -> None:
        super().__init__(0, f"the supervisor ended {when}")


class ControlClient:
    """Speaks to the daemon of one system; one connection a request."""

    def __init__(self, state_dir: str, timeout: float) -> None:
        self.path = socket_path(state_dir)
        self._timeout = timeout

    def get(self, path: str, **query: str) -> object:
        """Return the JSON value of a reply. Raises DaemonNotRunning or ControlError."""
        return self._whole("GET", _target(path, query), None)

    def post(self, path: str, body: object) -> object:
        """Send a JSON value and return that of the reply. Raises like `get`."""
        return self._whole("POST", path, body)

    def stream(
        self, path: str, accepted: Callable[[], None] = lambda: None, /, **query: str
    ) -> Iterator[object]:
        """Yield the JSON values of a stream as they come, until the daemon ends it.

        A daemon that is killed ends it as well. The time-out is only for the first answer, upon
        which `accepted` is called: an event may be long in coming.
        """
        with self._connect() as connection:
            exchange = _Exchange(connection, "GET", _target(path, query), None, self._timeout)
            events = exchange.events()
            response = next(events, None)
            if not isinstance(response, h11.Response) or response.status_code >= 400:
                raise _refusal(response, _whole_body(events))
            accepted()
            exchange.wait_for_ever()
            rest = b""
            for data in _data(events):
                *lines, rest = (rest + data).split(b"\n")
                if len(rest) > MAX_LINE:
                    raise ControlError(0, "the daemon sends a line without end")
                try:
                    values = [json.loads(line) for line in lines]
                except ValueError as error:
                    raise ControlError(0, f"the daemon sends no JSON: {error}") from None
                yield from values

    def _whole(self, method: str, target: str, body: object) -> object:
        with self._connect() as connection:
            exchange = _Exchange(connection, method, target, body, self._timeout)
            events = exchange.events()
            response = next(events, None)
            data = _whole_body(events)
            if not isinstance(response, h11.Response) or response.status_code >= 400:
                raise _refusal(response, data)
            if not exchange.whole:
                raise BrokenOffError("in the middle of its answer")
            try:
                return json.loads(data)
            except ValueError as error:
                raise ControlError(0, f"the daemon's reply is not JSON: {error}") from None

    def _connect(self) -> socket.socket:
        deadline = time.monotonic() + self._timeout
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(self._timeout)
            try:
                connection.connect(self.path)
            except OSError as error:
                connection.close()
                # Linux says at once that the queue is full, whatever the time-out.
                if isinstance(error, BlockingIOError) and time.monotonic() < deadline:
                    time.sleep(_RETRY)
                    continue
                raise self._unreachable(error) from None
            return connection

    def _unreachable(self, error: OSError) -> DaemonNotRunning | ControlError:
        match error:
            case FileNotFoundError() | ConnectionRefusedError():
                return DaemonNotRunning(self.path)
            case BlockingIOError() | TimeoutError():
                return ControlError(0, _silence(self._timeout))
            case PermissionError():
                owner = _owner(self.path)
                whose = "is not yours" if owner is None else f"belongs to uid {owner}"
                return ControlError(0, f"{self.path} {whose}", "start your own: atlasctl up")
            case _:
                return ControlError(0, f"cannot connect to {self.path}: {error}")


class _Exchange:
    """One request, and the events of its reply, within one deadline for all of it."""

    def __init__(
        self, connection: socket.socket, method: str, target: str, body: object, timeout: float
    ) -> None:
        self.whole = False
        self._connection = connection
        self._timeout = timeout
        self._deadline: float | None = time.monotonic() + timeout
        self._http = h11.Connection(h11.CLIENT)
        text = "" if body is None else json.dumps(body, ensure_ascii=False)
        # A path that is no UTF-8 has lone surrogates in it, which JSON can escape.
        data = text.encode("utf-8", "backslashreplace")
        headers = [("Host", "atlasctl"), ("Connection", "close")]
        if body is not None:
            headers += [("Content-Type", "application/json"), ("Content-Length", str(len(data)))]
        request = h11.Request(method=method, target=target, headers=headers)
        out = self._http.send(request) or b""
        if data:
            out += self._http.send(h11.Data(data=data)) or b""
        out += self._http.send(h11.EndOfMessage()) or b""
        try:
            connection.sendall(out)
        except TimeoutError:
            raise ControlError(0, _silence(timeout)) from None
        except OSError:
            # It may have refused before it read all of the request: its reply says more.
            pass

    def wait_for_ever(self) -> None:
        """Bound what follows no more: the next event of a stream may be long in coming."""
        self._deadline = None

    def events(self) -> Iterator[h11.Event]:
        """Yield response, data and end; nothing more once the daemon is gone."""
        while True:
            try:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    self._http.receive_data(self._received())
                    continue
            except TimeoutError:
                raise ControlError(0, _silence(self._timeout)) from None
            except (OSError, h11.RemoteProtocolError):
                # The daemon was killed, or ended, in the middle of its reply.
                return
            if isinstance(event, h11.InformationalResponse):
                continue
            if isinstance(event, h11.EndOfMessage):
                self.whole = True
            if not isinstance(event, h11.Event) or isinstance(event, h11.ConnectionClosed):
                return
            yield event

    def _received(self) -> bytes:
        if self._deadline is None:
            self._connection.settimeout(None)
        else:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._connection.settimeout(left)
        return self._connection.recv(_CHUNK)


def _silence(timeout: float) -> str:
    return f"the supervisor did not answer within {timeout:g} s"


def _whole_body(events: Iterator[h11.Event]) -> bytes:
    body = bytearray()
    for data in _data(events):
        body += data
        if len(body) > MAX_REPLY:
            raise ControlError(0, f"the daemon's reply is over {MAX_REPLY} bytes")
    return bytes(body)


def _target(path: str, query: dict[str, str]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _data(events: Iterator[h11.Event]) -> Iterator[bytes]:
    for event in events:
        if isinstance(event, h11.Data):
            yield bytes(event.data)


def _refusal(response: object, body: bytes) -> ControlError:
    if not isinstance(response, h11.Response):
        return BrokenOffError("before it answered")
    try:
        said = json.loads(body)
        return ControlError(response.status_code, str(said["error"]), str(said.get("hint", "")))
    except (ValueError, TypeError, KeyError):
        return ControlError(response.status_code, f"HTTP {response.status_code}")


def _owner(path: str) -> int | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_uid if stat.S_ISSOCK(found.st_mode) else None
