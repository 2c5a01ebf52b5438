"""The server under people who are slow or many, and the address that it tells."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from supervisor.dashboard import listening
from supervisor.dashboard.server import CONNECTIONS, Server
from tests.dashboard.conftest import DEADLINE, Served
from tests.late_wake import let_wake_late

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment


@contextlib.contextmanager
def lingering(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Connections on which a request begins and does not end."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port), DEADLINE))
            one.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
            found.append(one)
        yield found


def test_who_holds_connections_open_shuts_nobody_out(served: Served) -> None:
    with lingering(served.port, CONNECTIONS + 10) as held:
        assert served.ask("/healthz").status == 200
        # The oldest had to go.
        held[0].settimeout(DEADLINE)
        with contextlib.suppress(ConnectionResetError):
            assert held[0].recv(1) == b""
        held[-1].sendall(f"1\r\nHost: 127.0.0.1:{served.port}\r\n\r\n".encode())
        held[-1].settimeout(DEADLINE)
        assert held[-1].recv(12) == b"HTTP/1.1 200"


def test_a_request_that_is_being_answered_is_not_cut_off(served: Served) -> None:
    served.daemon.gate = threading.Event()
    replies: list[int] = []
    asking = threading.Thread(target=lambda: replies.append(served.ask("/api/state").status))
    asking.start()
    try:
        assert served.daemon.entered.wait(DEADLINE)
        with lingering(served.port, CONNECTIONS + 10):
            assert served.ask("/healthz").status == 200
    finally:
        served.daemon.gate.set()
        asking.join(DEADLINE)
    assert replies == [200]


def test_it_is_found_where_it_listens() -> None:
    # The same port of the other family may be another user's, who would be handed the token.
    with contextlib.ExitStack() as stack:
        try:
            six = stack.enter_context(socket.create_server(("::1", 0), family=socket.AF_INET6))
        except OSError:
            pytest.skip("no ::1 here")
        four = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = listening.port_of(six)
        assert listening.url_of((six,)) == f"http://[::1]:{port}"
        assert listening.url_of((six, four)) == f"http://127.0.0.1:{listening.port_of(four)}"


def test_a_thread_that_is_still_at_the_end_of_its_request_is_let_come_to_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The browser has its reply, and the thread that made it has yet to wake the server for it."""
    sockets = listening.bind(0)
    server = Server(_answers, sockets)
    listener = server._listeners[0]
    wake = listener.pull_trigger
    let_wake_late(listener, DEADLINE)
    thread = threading.Thread(target=server.run)
    thread.start()
    with socket.create_connection(sockets[0].getsockname(), timeout=DEADLINE) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        heard = b""
        while not heard.endswith(b"here\n"):
            data = client.recv(4096)
            assert data, heard
            heard += data
    server._stopping = True
    wake()  # as `stop` does, but at once
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_who_has_come_in_just_before_the_end_is_answered() -> None:
    """A connection that was accepted is nobody else's to answer, though its request is unread."""
    sockets = listening.bind(0)
    server = Server(_answers, sockets)
    listener = server._listeners[0]
    accept = listener.handle_accept

    def accept_and_end() -> None:
        accept()
        server._stopping = True

    listener.handle_accept = accept_and_end
    with socket.create_connection(sockets[0].getsockname(), timeout=DEADLINE) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        server.run()
        heard = b"".join(iter(lambda: client.recv(4096), b""))
    for other in sockets[1:]:
        other.close()
    assert heard.endswith(b"here\n"), heard


def _answers(environ: "WSGIEnvironment", start_response: "StartResponse") -> list[bytes]:
    del environ
    start_response("200 OK", [("Content-Length", "5")])
    return [b"here\n"]
