"""The command line's end: what it says of a daemon that is absent, slow, broken or gone."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.control.client import ControlClient, ControlError, DaemonNotRunning
from supervisor.control.socket import socket_path
from tests.control.conftest import DEADLINE

Script = Callable[[socket.socket], None]
Listening = Callable[..., ControlClient]
SHORT = 0.2
"""Seconds of a client that is to run out of time."""
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Listening]:
    """Play a script to one client, in a thread, since the client blocks."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(socket_path(str(tmp_path)))
    server.listen()
    server.settimeout(DEADLINE)
    threads = []

    def start(script: Script, within: float = DEADLINE) -> ControlClient:
        def run() -> None:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(DEADLINE)
                got = b""
                while b"\r\n\r\n" not in got:
                    got += connection.recv(65_536)
                script(connection)

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return ControlClient(str(tmp_path), within)

    yield start
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()
    server.close()


def sending(*parts: bytes) -> Script:
    def script(connection: socket.socket) -> None:
        for part in parts:
            # It may have seen enough.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(part)

    return script


def until_gone(*parts: bytes) -> Script:
    """Send, and then wait for the client to go."""

    def script(connection: socket.socket) -> None:
        sending(*parts)(connection)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""

    return script


def test_no_socket(tmp_path: Path) -> None:
    with pytest.raises(DaemonNotRunning, match="atlasctl up"):
        ControlClient(str(tmp_path), 1.0).get("/")


def test_stale_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(socket_path(str(tmp_path)))
    with pytest.raises(DaemonNotRunning):
        ControlClient(str(tmp_path), 1.0).get("/")


def test_another_users_daemon(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may speak to everyone")
    with socket.socket(socket.AF_UNIX) as other:
        path = socket_path(str(tmp_path))
        other.bind(path)
        other.listen()
        os.chmod(path, 0)
        with pytest.raises(ControlError, match="belongs to uid"):
            ControlClient(str(tmp_path), 1.0).get("/")


def test_full_queue_is_no_answer_in_time(tmp_path: Path) -> None:
    """A daemon that is stopped (SIGSTOP) accepts nothing."""
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.bind(socket_path(str(tmp_path)))
        stuck.listen(0)
        waiting = []
        try:
            for _ in range(4):
                waiting.append(socket.socket(socket.AF_UNIX))
                waiting[-1].setblocking(False)
                waiting[-1].connect_ex(socket_path(str(tmp_path)))
            with pytest.raises((ControlError, DaemonNotRunning)) as caught:
                ControlClient(str(tmp_path), 0.1).get("/")
        finally:
            for each in waiting:
                each.close()
    if sys.platform == "linux":  # macOS refuses, as if nobody listened
        assert str(caught.value) == "the supervisor did not answer within 0.1 s"


def test_values_come_back(listening: Listening) -> None:
    client = listening(
        sending(b"HTTP/1.1 103 Hints\r\n\r\n" + HEAD + b"\r\n", b'{"a":', b' "\xd1\x97"}')
    )
    assert client.get("/", a="b c") == {"a": "ї"}


@pytest.mark.parametrize(
    ("script", "status", "message"),
    [
        pytest.param(
            sending(b'HTTP/1.1 404 No\r\n\r\n{"error":"no x","hint":"y"}'),
            404, "no x; y", id="refusal",
        ),
        pytest.param(
            sending(b"HTTP/1.1 502 Bad\r\nContent-Length: 2\r\n\r\n[]"),
            502,
            "HTTP 502",
            id="no words",
        ),
        pytest.param(sending(), 0, "ended before it answered", id="killed before"),
        pytest.param(sending(b"SSH-2.0\r\n\r\n"), 0, "ended before it answered", id="no HTTP"),
        pytest.param(
            sending(HEAD + b"Content-Length: 9\r\n\r\n[1,2]"),
            0,
            "in the middle",
            id="killed within",
        ),
        pytest.param(
            sending(HEAD + b"Content-Length: 1\r\n\r\n{"), 0, "not JSON", id="no JSON"
        ),
        pytest.param(until_gone(), 0, "did not answer within 0.2 s", id="silence"),
        pytest.param(
            until_gone(CHUNKED, b"1\r\n[\r\n"), 0, "did not answer within 0.2 s", id="no end"
        ),
    ],
)  # fmt: skip
def test_failures_in_words(listening: Listening, script: Script, status: int, message: str) -> None:
    within = SHORT if "within" in message else DEADLINE
    with pytest.raises(ControlError) as caught:
        listening(script, within).get("/")
    assert caught.value.status == status
    assert message in str(caught.value)


def test_deadline_holds_over_a_drip(listening: Listening) -> None:
    """One byte at a time, for ever: a time-out for each read would never end."""
    pause = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(CHUNKED)
        try:
            while True:
                connection.sendall(b"1\r\n \r\n")
                pause.wait(0.01)
        except OSError:
            pass

    with pytest.raises(ControlError, match=r"within 0\.2 s"):
        listening(drip, SHORT).get("/")


def test_stream_yields_as_values_come_and_outlasts_the_time_out(listening: Listening) -> None:
    seen = threading.Event()

    def script(connection: socket.socket) -> None:
        connection.sendall(CHUNKED + b"4\r\n[1]\n\r\n")
        assert seen.wait(DEADLINE)
        threading.Event().wait(0.3)  # longer than the client's time-out
        connection.sendall(b"2\r\n[2\r\n2\r\n]\n\r\n0\r\n\r\n")

    stream = listening(script, SHORT).stream("/")
    assert next(stream) == [1]
    seen.set()
    assert list(stream) == [[2]]


def test_stream_of_a_daemon_that_is_killed_ends(listening: Listening) -> None:
    assert list(listening(sending(CHUNKED, b"4\r\n[1]\n\r\n9\r\n[2")).stream("/")) == [[1]]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (sending(b'HTTP/1.1 400 No\r\n\r\n{"error": "no"}'), "no"),
        (sending(CHUNKED, b"4\r\n[1}\n\r\n"), "no JSON"),
        (until_gone(CHUNKED, b"110000\r\n" + b"a" * 0x110000), "line without end"),
    ],
)
def test_stream_failures(listening: Listening, script: Script, message: str) -> None:
    with pytest.raises(ControlError, match=message):
        list(listening(script).stream("/"))


def test_import_stays_light() -> None:
    """The command line pays for it at each call."""
    heavy = ("asyncio", "ssl", "email", "http.client", "logging", "tempfile", "subprocess")
    script = (
        f"import sys, supervisor.control.client; print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "[]\n"
