"""A client's end of the control socket: blocking, small, quick to import."""

import json
import os
import socket
import stat
from collections.abc import Iterator
from urllib.parse import urlencode

import h11

from supervisor.control.socket import socket_path

MAX_REPLY = 64 * 1024 * 1024
"""Bytes; the status of 1000 services is under one million."""
MAX_LINE = 1024 * 1024
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


class ControlClient:
    """Speaks to the daemon of one system; one connection a request."""

    def __init__(self, state_dir: str, timeout: float) -> None:
        self._path = socket_path(state_dir)
        self._timeout = timeout

    def get(self, path: str, **query: str) -> object:
        """Return the JSON value of a reply. Raises DaemonNotRunning or ControlError."""
        return self._whole("GET", _target(path, query), None)

    def post(self, path: str, body: object) -> object:
        """Send a JSON value and return that of the reply. Raises like `get`."""
        return self._whole("POST", path, body)

    def stream(self, path: str, **query: str) -> Iterator[object]:
        """Yield the JSON values of a stream as they come, until the daemon ends it.

        A daemon that is killed ends it as well. The time-out is only for the first answer: an
        event may be long in coming.
        """
        with self._connect() as connection:
            events = self._exchange(connection, "GET", _target(path, query), None)
            response = next(events, None)
            if not isinstance(response, h11.Response) or response.status_code >= 400:
                raise _refusal(response, b"".join(_data(events)))
            connection.settimeout(None)
            rest = b""
            for data in _data(events):
                *lines, rest = (rest + data).split(b"\n")
                if len(rest) > MAX_LINE:
                    raise ControlError(0, "the daemon sends a line without end")
                yield from map(json.loads, lines)

    def _whole(self, method: str, target: str, body: object) -> object:
        with self._connect() as connection:
            events = self._exchange(connection, method, target, body)
            response = next(events, None)
            data = bytearray()
            for chunk in _data(events):
                data += chunk
                if len(data) > MAX_REPLY:
                    raise ControlError(0, f"the daemon's reply is over {MAX_REPLY} bytes")
            if not isinstance(response, h11.Response) or response.status_code >= 400:
                raise _refusal(response, bytes(data))
            try:
                return json.loads(data)
            except ValueError as error:
                raise ControlError(0, f"the daemon's reply is not JSON: {error}") from None

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self._timeout)
        try:
            connection.connect(self._path)
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            raise DaemonNotRunning(self._path) from None
        except PermissionError:
            connection.close()
            owner = _owner(self._path)
            hint = "start your own: atlasctl up" if owner is not None else ""
            raise ControlError(0, f"{self._path} belongs to uid {owner}", hint) from None
        except OSError as error:
            connection.close()
            raise ControlError(0, f"cannot connect to {self._path}: {error}") from None
        return connection

    def _exchange(
        self, connection: socket.socket, method: str, target: str, body: object
    ) -> Iterator[h11.Event]:
        http = h11.Connection(h11.CLIENT)
        data = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
        headers = [("Host", "atlasctl"), ("Connection", "close")]
        if body is not None:
            headers += [("Content-Type", "application/json"), ("Content-Length", str(len(data)))]
        out = http.send(h11.Request(method=method, target=target, headers=headers)) or b""
        if data:
            out += http.send(h11.Data(data=data)) or b""
        out += http.send(h11.EndOfMessage()) or b""
        try:
            connection.sendall(out)
        except TimeoutError:
            raise ControlError(0, self._silence()) from None
        except OSError:
            # It may have refused before it read all of the request: its reply says more.
            pass
        return self._events(connection, http)

    def _events(self, connection: socket.socket, http: h11.Connection) -> Iterator[h11.Event]:
        while True:
            try:
                event = http.next_event()
                if event is h11.NEED_DATA:
                    http.receive_data(connection.recv(_CHUNK))
                    continue
            except TimeoutError:
                raise ControlError(0, self._silence()) from None
            except (OSError, h11.RemoteProtocolError):
                # The daemon was killed, or ended, in the middle of its reply.
                return
            if not isinstance(event, h11.Event) or isinstance(event, h11.ConnectionClosed):
                return
            yield event

    def _silence(self) -> str:
        return f"the supervisor did not answer within {self._timeout:g} s"


def _target(path: str, query: dict[str, str]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _data(events: Iterator[h11.Event]) -> Iterator[bytes]:
    for event in events:
        if isinstance(event, h11.Data):
            yield bytes(event.data)


def _refusal(response: object, body: bytes) -> ControlError:
    if not isinstance(response, h11.Response):
        return ControlError(0, "the supervisor ended before it answered")
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
