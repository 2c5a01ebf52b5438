"""One POST to a real server: what is sent, and what each answer means."""

import socket
import threading
from collections.abc import Callable

import pytest

from supervisor.core.notify import Desktop, Target, Webhook
from supervisor.notify.delivery import Delivery, try_within_its_limit
from supervisor.notify.outcome import Delivered, Missed, Outcome
from supervisor.notify.webhook import post
from tests.notify.hook_server import Answer, Hang, HookServer
from tests.notify.letters import letter

SECRET = "/services/T000/hunter2"


def send(hooks: HookServer, *, timeout: float = 10.0, **headers: str) -> Outcome:
    return post(Webhook(hooks.url + SECRET, headers, timeout), letter(), "mac")


def test_what_is_sent(hooks: HookServer) -> None:
    outcome = send(hooks, Authorization="Bearer x")
    assert outcome == Delivered("127.0.0.1 answered 200 OK")
    (got,) = hooks.got
    assert got.path == SECRET
    assert got.json["summary"] == "tts failed: why"
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["Authorization"] == "Bearer x"
    assert got.headers["User-Agent"].startswith("atlasctl/")
    assert got.headers["Idempotency-Key"] == "mac-1-failed"


def test_no_login_of_netrc_takes_the_place_of_the_header(
    hooks: HookServer, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = f"{tmp_path}/netrc"
    with open(netrc, "w") as file:
        file.write("machine 127.0.0.1 login me password hunter2\n")
    monkeypatch.setenv("NETRC", netrc)
    send(hooks, Authorization="Bearer x")
    assert hooks.got[0].headers["Authorization"] == "Bearer x"


@pytest.mark.parametrize(
    ("answer", "again", "after", "words"),
    [
        (Answer(500), True, None, "500 Internal Server Error"),
        (Answer(503, {"Retry-After": "7"}), True, 7.0, "503 Service Unavailable"),
        (Answer(429, {"Retry-After": "120"}), True, 120.0, "429 Too Many Requests"),
        (Answer(429, {"Retry-After": "soon"}), True, None, "429"),
        (Answer(429, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}), True, 0.0, "429"),
        (Answer(408), True, None, "408"),
        (Answer(400), False, None, "400 Bad Request"),
        (Answer(401), False, None, "401"),
        (Answer(404), False, None, "404"),
        (Answer(302, {"Location": "http://elsewhere.example/x"}), False, None, "elsewhere.example"),
        (Answer(308, {"Location": "/other"}), False, None, "308"),
    ],
)
def test_answers(
    hooks: HookServer, answer: Answer, again: bool, after: float | None, words: str
) -> None:
    hooks.answers = [answer]
    outcome = send(hooks)
    assert isinstance(outcome, Missed)
    assert (outcome.again, outcome.after) == (again, after)
    assert words in outcome.words
    assert "hunter2" not in outcome.words
    assert len(hooks.got) == 1, "no redirect is followed"


def test_a_hang_ends_with_the_timeout(hooks: HookServer) -> None:
    hooks.answers = [Hang()]
    outcome = send(hooks, timeout=0.2)
    assert outcome == Missed("127.0.0.1 did not answer within 0.2 s", again=True)


def refusing() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (refusing, "127.0.0.1 cannot be reached: Connection refused"),
        (lambda: "http://name.invalid", "name.invalid has no address"),
    ],
    ids=["refused", "no address"],
)
def test_nobody_there(where: Callable[[], str], words: str) -> None:
    url = where()
    outcome = post(Webhook(url + SECRET, timeout=5.0), letter(), "mac")
    assert outcome == Missed(words, again=True)


def test_who_speaks_no_tls_is_not_trusted(hooks: HookServer) -> None:
    url = hooks.url.replace("http:", "https:") + SECRET
    outcome = post(Webhook(url, timeout=5.0), letter(), "mac")
    assert isinstance(outcome, Missed)
    assert outcome.again
    assert outcome.words.startswith("127.0.0.1 is not trusted")
    assert "hunter2" not in outcome.words


def test_who_breaks_off() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}{SECRET}"

        def serve() -> None:
            connection, _ = listening.accept()
            connection.recv(10)
            connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        outcome = post(Webhook(url, timeout=5.0), letter(), "mac")
        thread.join(5.0)
    assert isinstance(outcome, Missed)
    assert outcome.again
    assert "hunter2" not in outcome.words


def test_a_proxy_of_the_environment_is_used_but_not_for_this_machine(
    hooks: HookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, refusing())
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    assert isinstance(send(hooks), Delivered)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, hooks.url)
    outcome = post(Webhook("http://hooks.example/x"), letter(), "mac")
    assert isinstance(outcome, Delivered)
    assert hooks.got[1].path == "http://hooks.example/x"


def test_a_try_that_does_not_come_back_is_left_to_itself() -> None:
    """A server that sends a byte now and then keeps every single read in time."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        over = threading.Event()

        def drip() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                while not over.wait(0.05):
                    connection.sendall(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        outcome = try_within_its_limit(
            Delivery(Target("t", Webhook(url, timeout=0.5)), letter(), "mac")
        )
        over.set()
        thread.join(5.0)
    assert outcome == Missed("no answer within 0.5 s", again=True)


def test_a_bug_is_one_tries_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Outcome:
        raise KeyError("hunter2")

    monkeypatch.setattr("supervisor.notify.delivery.show", broken)
    outcome = Delivery(Target("t", Desktop()), letter(), "mac").carry_out()
    assert outcome == Missed("KeyError within atlasctl", again=True)
