"""Who is let in: every request that must be refused, over HTTP, and that it changed nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from supervisor.dashboard.admission import own_hosts
from tests.dashboard.conftest import Served

RESTART = b'{"services": ["tts"]}'


@dataclass(frozen=True)
class Case:
    what: str
    status: int
    method: str = "POST"
    path: str = "/api/restart"
    headers: tuple[tuple[str, str | None], ...] = ()
    body: bytes | None = RESTART


def _get(what: str, status: int, path: str, **headers: str | None) -> Case:
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Case(what, status, "GET", path, named, None)


def _post(what: str, status: int, body: bytes = RESTART, **headers: str | None) -> Case:
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Case(what, status, headers=named, body=body)


# PORT stands for the port, TOKEN for the token.
CASES = (
    # The token.
    _get("no token", 401, "/api/state", Authorization=None),
    _get("an empty token", 401, "/api/state", Authorization="Bearer "),
    _get("a wrong token", 401, "/api/state", Authorization="Bearer " + "x" * 43),
    _get("half of the token", 401, "/api/state", Authorization="Bearer HALF"),
    _get("the token and more", 401, "/api/state", Authorization="Bearer TOKENx"),
    _get("the token in another scheme", 401, "/api/state", Authorization="Basic TOKEN"),
    _get("the token in the address", 401, "/api/state?token=TOKEN", Authorization=None),
    _get("the token in a cookie", 401, "/api/state", Authorization=None, Cookie="token=TOKEN"),
    _get("no ASCII", 401, "/api/state", Authorization="Bearer \u00fc"),
    _get("the log without a token", 401, "/api/search?service=tts&text=a", Authorization=None),
    _get("the story without a token", 401, "/api/why?service=tts", Authorization=None),
    _get("figures without a token", 401, "/metrics", Authorization=None),
    _get("what is not there, without a token", 401, "/api/secret", Authorization=None),
    _post("a command without a token", 401, Authorization=None),
    # The Host.
    _get("no Host", 421, "/api/state", Host=None),
    _get("a name of the web", 421, "/api/state", Host="evil.example:PORT"),
    _get("a name that begins like ours", 421, "/", Host="127.0.0.1.evil.example:PORT"),
    _get("another port", 421, "/api/state", Host="127.0.0.1:1"),
    _get("no port", 421, "/api/state", Host="127.0.0.1"),
    _get("another loopback address", 421, "/api/state", Host="127.0.0.2:PORT"),
    _get("all addresses", 421, "/api/state", Host="0.0.0.0:PORT"),
    _get("user and host", 421, "/api/state", Host="127.0.0.1:PORT@evil.example"),
    _get("the page by a foreign name", 421, "/", Host="evil.example:PORT"),
    _get("health by a foreign name", 421, "/healthz", Host="evil.example:PORT"),
    _post("a command by a foreign name", 421, Host="evil.example:PORT"),
    # The Origin, and where the browser says that the request comes from.
    _post("another page", 403, Origin="http://evil.example"),
    _post("a page of another port", 403, Origin="http://127.0.0.1:8080"),
    _post("our page by another of our names", 403, Origin="http://localhost:PORT"),
    _post("a page with TLS", 403, Origin="https://127.0.0.1:PORT"),
    _post("a page without an origin", 403, Origin="null"),
    _post("a page of the same site", 403, Sec_Fetch_Site="same-site"),
    _post("a page of another site", 403, Sec_Fetch_Site="cross-site"),
    _get("state for another page", 403, "/api/state", Origin="http://evil.example"),
    _get("state across sites", 403, "/api/state", Sec_Fetch_Site="cross-site"),
    # What a form of another page could send.
    _post("a form", 415, Content_Type="application/x-www-form-urlencoded"),
    _post("plain text", 415, Content_Type="text/plain"),
    _post("no type", 415, Content_Type=None),
    # No GET changes anything, and no other method does anything.
    _get("a command by GET", 405, "/api/restart"),
    _get("a command in a query", 405, "/api/stop?services=tts"),
    Case("a preflight", 401, "OPTIONS", headers=(("Authorization", None),), body=None),
    Case("a preflight with a token", 405, "OPTIONS", body=None),
    Case("state by POST", 405, path="/api/state"),
    Case("figures by POST", 405, path="/metrics"),
    Case("the page by POST", 405, path="/"),
    Case("delete", 405, "DELETE"),
    # Commands that are none.
    _post("no JSON", 400, b"tts"),
    _post("a list", 400, b'["tts"]'),
    _post("no services", 400, b"{}"),
    _post("all services", 400, b'{"services": []}'),
    _post("a service that is a number", 400, b'{"services": [1]}'),
    _post("something else too", 400, b'{"services": ["tts"], "spec": {}}'),
    _post("rolling that is no truth", 400, b'{"services": ["tts"], "rolling": 1}'),
    _post("depth", 400, b"[" * 40_000),
    Case("a rolling stop", 400, path="/api/stop", body=b'{"services": ["tts"], "rolling": true}'),
    _post("too much", 413, b" " * 70_000),
    # Paths.
    _get("nothing", 404, "/api/nothing"),
    _get("a file of ours", 404, "/../application.py"),
    _get("a file by an encoded path", 404, "/js/%2e%2e/%2e%2e/token_file.py"),
    _get("a file of the machine", 404, "//etc/passwd"),
    Case("a command of the daemon's own", 404, path="/api/shutdown"),
    Case("another", 404, path="/api/upgrade"),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_a_request_that_must_not_be_served_is_refused(served: Served, case: Case) -> None:
    def filled(text: str) -> str:
        text = text.replace("PORT", str(served.port)).replace("TOKEN", served.token)
        return text.replace("HALF", served.token[:21])

    headers = {n: None if v is None else filled(v) for n, v in case.headers}
    reply = served.ask(filled(case.path), case.method, case.body, headers)
    assert reply.status == case.status, (case.what, reply.body)
    assert served.daemon.commands == []
    assert served.token.encode() not in reply.body
    assert not [name for name in reply.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://127.0.0.1:PORT"},
        {"Origin": "http://127.0.0.1:PORT", "Sec-Fetch-Site": "same-origin"},
        {"Host": "localhost:PORT", "Origin": "http://localhost:PORT"},
        {"Host": "LOCALHOST:PORT"},
        {"Host": "[::1]:PORT", "Origin": "http://[::1]:PORT"},
        {"Content-Type": "application/json; charset=utf-8"},
        {"Authorization": "bearer TOKEN"},
    ],
    ids=str,
)
def test_our_own_page_is_served(served: Served, headers: Mapping[str, str]) -> None:
    sent = {
        name: value.replace("PORT", str(served.port)).replace("TOKEN", served.token)
        for name, value in headers.items()
    }
    reply = served.ask("/api/restart", "POST", RESTART, sent)
    assert reply.status == 202, reply.body
    assert served.daemon.commands == [("/v1/restart", {"services": ["tts"]})]


@pytest.mark.parametrize("path", ["/", "/js/main.js", "/dashboard.css", "/healthz", "/api/state"])
def test_every_answer_keeps_the_page_to_itself(served: Served, path: str) -> None:
    reply = served.ask(path)
    assert reply.status == 200
    policy = reply.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["X-Frame-Options"] == "DENY"
    assert reply.headers["Referrer-Policy"] == "no-referrer"
    kept = reply.headers.get("Cache-Control")
    assert kept == ("no-cache" if path in ("/", "/js/main.js", "/dashboard.css") else "no-store")


def test_health_is_told_without_a_token_and_says_no_more(served: Served) -> None:
    reply = served.ask("/healthz", headers={"Authorization": None})
    assert (reply.status, reply.json) == (200, {"status": "ok"})
    assert served.daemon.looks == 0


def test_a_refusal_says_what_to_do(served: Served) -> None:
    without = served.ask("/api/state", headers={"Authorization": None})
    assert without.json["hint"] == "open the page with: atlasctl dashboard"
    assert without.headers["WWW-Authenticate"].startswith("Bearer")
    tunnel = served.ask("/", headers={"Host": "localhost:8000"})
    assert "same port at both ends" in tunnel.json["hint"]


def test_hosts_have_a_port() -> None:
    assert own_hosts([3900]) == {"127.0.0.1:3900", "localhost:3900", "[::1]:3900"}
