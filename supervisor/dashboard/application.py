"""The paths of the dashboard, as a WSGI application: ten of them, which need no framework.

Every request is admitted before it is read (`admission`), every answer has the headers that keep a
page to itself, and nothing is changed by a GET.
"""

import json
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast
from urllib.parse import parse_qsl

from supervisor.control.client import ControlError, DaemonNotRunning
from supervisor.dashboard import admission
from supervisor.dashboard.admission import Refusal
from supervisor.dashboard.log_window import Lines, LogWindow, search
from supervisor.dashboard.story import Stories, StoryError
from supervisor.dashboard.watch import Watch

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from supervisor.control.messages import Accepted, Metrics

STATIC: Final = Path(__file__).parent / "static"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
LARGEST_BODY: Final = 64 * 1024
LONGEST_SEARCH: Final = 200
"""Characters."""
VERBS: Final = ("start", "stop", "restart")
_COMMANDING: Final = 2
"""Commands that may wait for the daemon at once; other threads stay free for who looks."""

# Nothing from elsewhere and nothing inline; scripts can make no HTML of text (Trusted Types).
SECURITY: Final = (
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
_REASONS: Final = {
    200: "OK",
    202: "Accepted",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    421: "Misdirected Request",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
}


class Daemon(Protocol):
    """What is asked of the daemon: `supervisor.control.client.ControlClient`."""

    def get(self, path: str, **query: str) -> object:
        """Return the JSON value of a reply. Raises DaemonNotRunning or ControlError."""

    def post(self, path: str, body: object) -> object:
        """Send a JSON value and return that of the reply. Raises like `get`."""


class RefusedError(Exception):
    """A request that is not served."""

    def __init__(self, status: int, why: str, hint: str = "") -> None:
        super().__init__(why)
        self.refusal = Refusal(status, why, hint)


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply: status code, kind and bytes."""

    status: int
    kind: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was admitted."""

    environ: Mapping[str, object]
    query: Mapping[str, str]

    def number(self, name: str) -> int:
        """Return a parameter that is a number; 0 where there is none."""
        text = self.query.get(name, "0")
        if not (text.isascii() and text.isdecimal() and len(text) <= 15):
            raise RefusedError(400, f"{name} is no number")
        return int(text)


@dataclass(slots=True)
class Application:
    """Answers for one system, in any number of threads."""

    daemon: Daemon
    watch: Watch
    stories: Stories
    token: str
    ports: tuple[int, ...]
    state_dir: str
    window: LogWindow = field(default_factory=LogWindow)
    _files: Mapping[str, Answer] = field(default_factory=lambda: _static_files())
    _searching: threading.Lock = field(default_factory=threading.Lock)
    _commanding: threading.Semaphore = field(
        default_factory=lambda: threading.Semaphore(_COMMANDING)
    )

    def __call__(self, environ: "WSGIEnvironment", respond: "StartResponse") -> Iterable[bytes]:
        """Answer one request."""
        try:
            answer = self._answer(environ)
        except RefusedError as error:
            answer = _refused(error.refusal)
        except Exception:  # noqa: BLE001 - the page is told, and the log has the rest
            traceback.print_exc(file=sys.stderr)
            answer = _refused(Refusal(500, "the dashboard has a fault; its log says more"))
        headers = [
            ("Content-Type", answer.kind),
            ("Content-Length", str(len(answer.body))),
            *SECURITY,
            *answer.headers,
        ]
        respond(f"{answer.status} {_REASONS.get(answer.status, 'Error')}", headers)
        return [answer.body]

    def _answer(self, environ: Mapping[str, object]) -> Answer:
        hosts = admission.own_hosts(self.ports)
        _admit(admission.wrong_host(environ, hosts))
        method, path = str(environ["REQUEST_METHOD"]), str(environ["PATH_INFO"])
        if path == "/healthz":
            _allow(method, "GET")
            return _json(200, {"status": "ok"})
        if path in self._files:
            _allow(method, "GET")
            return self._files[path]
        _admit(admission.foreign_page(environ, hosts))
        _admit(admission.no_token(environ, self.token))
        asked = Asked(environ, _query(environ))
        if (verb := path.removeprefix("/api/")) in VERBS:
            _allow(method, "POST")
            _admit(admission.no_json(environ))
            return self._command(verb, _body(environ))
        look = self._looks().get(path)
        if look is None:
            raise RefusedError(404, "there is nothing here")
        _allow(method, "GET")
        return look(asked)

    def _looks(self) -> Mapping[str, Callable[[Asked], Answer]]:
        return {
            "/api/state": self._state,
            "/api/search": self._search,
            "/api/why": self._why,
            "/metrics": self._metrics,
        }

    def _state(self, asked: Asked) -> Answer:
        self.watch.look()
        service = asked.query.get("service")
        changes = self.watch.changes(
            asked.query.get("epoch", ""),
            asked.number("after"),
            asked.number("event"),
            service,
            asked.number("sample"),
        )
        log = None if service is None else self.watch.log_of(service)
        lines: Lines | None = None
        if log is not None and "line" in asked.query:
            try:
                lines = self.window.lines(log, asked.number("reader"), asked.number("line"))
            except OSError as error:
                raise RefusedError(503, f"cannot read {log}: {error.strerror}") from None
        return _json(200, {**changes, "log": lines})

    def _search(self, asked: Asked) -> Answer:
        text = asked.query.get("text", "")
        if not text or len(text) > LONGEST_SEARCH:
            raise RefusedError(400, f"look for a text of 1 to {LONGEST_SEARCH} characters")
        log = self._log(asked)
        if not self._searching.acquire(blocking=False):
            raise RefusedError(429, "another search is under way", "try again in a moment")
        try:
            return _json(200, search(log, text))
        except OSError as error:
            raise RefusedError(503, f"cannot read {log}: {error.strerror}") from None
        finally:
            self._searching.release()

    def _why(self, asked: Asked) -> Answer:
        self._log(asked)
        try:
            name, columns = asked.query["service"], asked.number("columns")
            text = self.stories.tell(name, columns, self.watch.latest_event)
        except StoryError as error:
            raise RefusedError(503, str(error)) from None
        return _json(200, {"text": text})

    def _log(self, asked: Asked) -> str:
        self.watch.look()
        name = asked.query.get("service", "")
        if (log := self.watch.log_of(name)) is None:
            raise RefusedError(404, f"no service is called {name}")
        return log

    def _metrics(self, _asked: Asked) -> Answer:
        # Only here: a dashboard that nobody scrapes need not have prometheus-client in memory.
        from supervisor.exposition import exposition
        from supervisor.notify.errand import recall

        with _daemon_speaks():
            found = cast("Metrics", self.daemon.get("/v1/metrics"))
        memory = recall(self.state_dir)
        text = exposition(found, None if memory is None else memory.targets)
        return Answer(200, "text/plain; version=0.0.4; charset=utf-8", text.encode(), _NO_STORE)

    def _command(self, verb: str, body: object) -> Answer:
        if not isinstance(body, dict) or not set(body) <= {"services", "rolling"}:
            raise RefusedError(400, 'a command is like {"services": ["tts"]}')
        names, rolling = body.get("services"), body.get("rolling", False)
        # Without names the daemon would take all of them, which nobody should do by a slip.
        if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
            raise RefusedError(400, "say which services", 'like {"services": ["tts"]}')
        if not isinstance(rolling, bool) or (rolling and verb != "restart"):
            raise RefusedError(400, "only a restart can be rolling")
        if not self._commanding.acquire(timeout=1.0):
            raise RefusedError(503, "the supervisor is slow to answer", "try again in a moment")
        try:
            with _daemon_speaks():
                asked = {"services": names, **({"rolling": True} if rolling else {})}
                reply = self.daemon.post(f"/v1/{verb}", asked)
        finally:
            self._commanding.release()
            look = self.watch.expire()
        return _json(202, {**cast("Accepted", reply), "look": look})


class _daemon_speaks:  # noqa: N801 - it is used as a statement
    """Turn what the client raises into a refusal of ours."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: object, _trace: object) -> None:
        if isinstance(error, DaemonNotRunning):
            raise RefusedError(503, "no supervisor runs", "start it: atlasctl up") from None
        if isinstance(error, ControlError):
            # 4xx is what the daemon says of the command; the rest is its own trouble.
            status = error.status if 400 <= error.status < 500 else 502
            raise RefusedError(status, error.message, error.hint) from None


_NO_STORE: Final = (("Cache-Control", "no-store"),)


def _json(status: int, value: object) -> Answer:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # A path that is no UTF-8 has lone surrogates in it, which JSON can escape.
    data = text.encode("utf-8", "backslashreplace")
    return Answer(status, "application/json; charset=utf-8", data, _NO_STORE)


def _refused(refusal: Refusal) -> Answer:
    said = {"error": refusal.why, **({"hint": refusal.hint} if refusal.hint else {})}
    answer = _json(refusal.status, said)
    if refusal.status == 401:
        challenge = ("WWW-Authenticate", 'Bearer realm="atlasctl dashboard"')
        return Answer(401, answer.kind, answer.body, (*answer.headers, challenge))
    return answer


def _admit(refusal: Refusal | None) -> None:
    if refusal is not None:
        raise RefusedError(refusal.status, refusal.why, refusal.hint)


def _allow(method: str, only: str) -> None:
    if method != only:
        raise RefusedError(405, f"only {only} is served here")


def _query(environ: Mapping[str, object]) -> dict[str, str]:
    try:
        return dict(parse_qsl(str(environ.get("QUERY_STRING", "")), max_num_fields=16))
    except ValueError:
        raise RefusedError(400, "too many parameters") from None


def _body(environ: Mapping[str, object]) -> object:
    stream = environ["wsgi.input"]
    data = stream.read(LARGEST_BODY + 1)  # type: ignore[attr-defined]
    if len(data) > LARGEST_BODY:
        raise RefusedError(413, f"a command has {LARGEST_BODY} bytes at most")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise RefusedError(400, "this is no JSON") from None


def _static_files() -> dict[str, Answer]:
    """Return what the page is made of, by path; a path of a request never reaches the disk."""
    files = {}
    for file in sorted(STATIC.rglob("*")):
        if file.suffix in _TYPES:
            path = f"/{file.relative_to(STATIC).as_posix()}"
            headers = (("Cache-Control", "no-cache"),)
            files[path] = Answer(200, _TYPES[file.suffix], file.read_bytes(), headers)
    files["/"] = files.pop("/index.html")
    return files
