"""One file over HTTP: resumed, retried, refused; against a real server that misbehaves."""

import json
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace

import pytest

from supervisor.models import download as downloading
from supervisor.models.download import ATTEMPTS, PIECE, download
from supervisor.models.events import Event, Progress, Retrying
from supervisor.models.failures import ChangedError, ModelError, UnreachableError
from supervisor.models.manifest import Wanted
from supervisor.models.part import Part
from supervisor.models.transport import Transport
from tests.models.file_server import Answer, Cut, FileServer, Short, Stall
from tests.models.specimens import PAGE, torch_zip

BODY = torch_zip(3 * PIECE)
PATH = "/v1/model.pth"
NEW = torch_zip(3 * PIECE, seed=2)


@dataclass(slots=True)
class Fetch:
    """One fetch of model.pth, and what came of it."""

    wanted: Wanted
    events: list[Event] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    read_timeout: float = 20.0

    @property
    def part(self) -> Part:
        return Part(self.wanted.path)

    def __call__(self) -> bytes:
        transport = Transport(connect_timeout=20.0, read_timeout=self.read_timeout)
        try:
            download(self.wanted, self.part, transport, self.events.append, self.pauses.append)
        finally:
            transport.close()
        return Path(self.part.path).read_bytes()

    def refused(self) -> ModelError:
        with pytest.raises(ModelError) as raised:
            self()
        return raised.value

    def retries(self) -> list[str]:
        return [event.why for event in self.events if isinstance(event, Retrying)]


@pytest.fixture
def fetch(server: FileServer, tmp_path: Path) -> Fetch:
    server.serve({"model.pth": BODY})
    return Fetch(
        Wanted(
            model="voice",
            name="model.pth",
            url=f"{server.url}{PATH}",
            path=str(tmp_path / "model.pth"),
            size=None,
            sha256=None,
            source="",
            moved=False,
            recorded=False,
        )
    )


def test_the_whole_at_once(server: FileServer, fetch: Fetch) -> None:
    assert fetch() == BODY
    assert [(request.range, request.if_range) for request in server.requests] == [(None, None)]
    progress = [event for event in fetch.events if isinstance(event, Progress)]
    assert [event for event in fetch.events if not isinstance(event, Progress)] == []
    assert (progress[0].done, progress[-1].done) == (0, len(BODY))
    assert {event.total for event in progress} == {len(BODY)}


def test_a_connection_that_breaks_is_gone_on_with(server: FileServer, fetch: Fetch) -> None:
    server.tricks = [Cut(2 * PIECE), Cut(100)]
    assert fetch() == BODY
    assert [request.range for request in server.requests] == [
        None,
        f"bytes={2 * PIECE}-",
        f"bytes={2 * PIECE + 100}-",
    ]
    assert [request.if_range for request in server.requests] == [None, '"one"', '"one"']
    assert fetch.pauses == [0.5, 1.5]
    assert fetch.retries() == [
        "127.0.0.1 ended the connection",
        "127.0.0.1 ended the connection",
    ]


def test_a_later_fetch_goes_on_where_an_earlier_one_ended(server: FileServer, fetch: Fetch) -> None:
    server.tricks = [Cut(PIECE), *[Cut(0)] * (ATTEMPTS + 1)]
    error = fetch.refused()
    assert "what has come is kept" in error.hint
    assert fetch.part.length() == PIECE
    server.tricks, server.requests = [], []
    assert fetch() == BODY
    assert [request.range for request in server.requests] == [f"bytes={PIECE}-"]
    progress = [event for event in fetch.events if isinstance(event, Progress)]
    assert progress[-1].resumed == PIECE


def test_a_server_may_send_less_than_it_was_asked_for(server: FileServer, fetch: Fetch) -> None:
    server.tricks = [Cut(PIECE), Short(1000)]
    assert fetch() == BODY
    assert [request.range for request in server.requests[1:]] == [
        f"bytes={PIECE}-",
        f"bytes={PIECE + 1000}-",
    ]
    ended = f"the connection ended after {PIECE + 1000} of {len(BODY)} bytes"
    assert fetch.retries()[1] == ended


def test_a_date_will_do_where_there_is_no_etag(server: FileServer, fetch: Fetch) -> None:
    date = "Mon, 02 Mar 2026 10:00:00 GMT"
    for etag in (None, 'W/"weak"'):
        server.change(PATH, etag=etag, last_modified=date)
        server.tricks, server.requests = [Cut(PIECE)], []
        assert fetch() == BODY
        assert server.requests[1].if_range == date
        fetch.part.discard()


def test_with_neither_it_is_begun_anew(server: FileServer, fetch: Fetch) -> None:
    server.change(PATH, etag=None)
    server.tricks = [Cut(PIECE)]
    assert fetch() == BODY
    assert [request.range for request in server.requests] == [None, None]


def test_a_server_without_ranges_is_asked_for_the_whole(server: FileServer, fetch: Fetch) -> None:
    server.change(PATH, ranges=False)
    server.tricks = [Cut(PIECE)]
    assert fetch() == BODY
    assert [request.range for request in server.requests] == [None, f"bytes={PIECE}-"]


def test_a_file_that_changes_in_between_is_begun_anew(server: FileServer, fetch: Fetch) -> None:
    server.tricks = [Cut(PIECE)]

    def change(_: float) -> None:
        server.change(PATH, body=NEW, etag='"two"')

    transport = Transport()
    try:
        download(fetch.wanted, fetch.part, transport, fetch.events.append, change)
    finally:
        transport.close()
    assert Path(fetch.part.path).read_bytes() == NEW
    assert [request.if_range for request in server.requests] == [None, '"one"']


def test_a_range_of_another_size_is_not_trusted(server: FileServer, fetch: Fetch) -> None:
    server.tricks = [Cut(PIECE)]

    def grow(_: float) -> None:  # under the same ETag
        server.change(PATH, body=NEW + b"more")

    transport = Transport()
    try:
        download(fetch.wanted, fetch.part, transport, fetch.events.append, grow)
    finally:
        transport.close()
    assert Path(fetch.part.path).read_bytes() == NEW + b"more"
    assert fetch.retries()[1] == "what was fetched earlier does not fit (206)"


def test_a_part_beyond_the_end_is_begun_anew(server: FileServer, fetch: Fetch) -> None:
    server.tricks = [Cut(PIECE), *[Cut(0)] * ATTEMPTS]
    fetch.refused()
    server.tricks = []
    server.change(PATH, body=BODY[:1000])  # the ETag lies
    assert fetch() == BODY[:1000]
    assert fetch.retries()[-1] == "what was fetched earlier does not fit (416)"


@pytest.mark.parametrize(
    "state",
    [
        "",
        "{}",
        "[1]",
        '{"url": 1, "etag": null, "last_modified": null, "size": null}',
        '{"url": "http://elsewhere/x", "etag": null, "last_modified": "Mon", "size": 900}',
    ],
)
def test_a_part_of_unknown_origin_is_begun_anew(
    server: FileServer, fetch: Fetch, state: str
) -> None:
    Path(fetch.part.path).write_bytes(b"x" * 100)
    Path(f"{fetch.part.path}.json").write_text(state)
    assert fetch() == BODY
    assert server.requests[0].range is None


def test_a_part_that_is_whole_needs_no_network(server: FileServer, fetch: Fetch) -> None:
    fetch()
    assert json.loads(Path(f"{fetch.part.path}.json").read_text())["size"] == len(BODY)
    server.requests = []
    assert fetch() == BODY
    assert server.requests == []


def test_trouble_that_passes(server: FileServer, fetch: Fetch) -> None:
    server.tricks = [Answer(500), Answer(503, headers={"Retry-After": "7"}), Answer(429)]
    assert fetch() == BODY
    assert fetch.pauses == [0.5, 7.0, 4.5]
    assert fetch.retries()[0] == "127.0.0.1 answered 500 Internal Server Error"


def test_retry_after_is_heeded_within_reason(server: FileServer, fetch: Fetch) -> None:
    soon = formatdate(time.time() + 30, usegmt=True)
    long_ago = "Mon, 02 Mar 2020 10:00:00 GMT"
    server.tricks = [
        Answer(503, headers={"Retry-After": value}) for value in ("86400", "soon, perhaps", soon)
    ]
    assert fetch() == BODY
    assert fetch.pauses[:2] == [60.0, 1.5]
    assert 0 < fetch.pauses[2] <= 60
    fetch.part.discard()
    server.tricks = [Answer(503, headers={"Retry-After": long_ago})]
    assert fetch() == BODY
    assert fetch.pauses[3:] == [0.0]


def test_trouble_that_does_not_pass(server: FileServer, fetch: Fetch) -> None:
    server.tricks = [Answer(502)] * 20
    error = fetch.refused()
    assert error.message == "127.0.0.1 answered 502 Bad Gateway, 4 times in a row"
    assert error.hint.startswith("nothing has come; try again later")
    assert len(server.requests) == ATTEMPTS == len(fetch.pauses) + 1


def test_a_server_that_brings_something_each_time_is_not_given_up(
    server: FileServer, fetch: Fetch
) -> None:
    body = torch_zip((ATTEMPTS + 3) * PIECE)
    server.change(PATH, body=body)
    server.tricks = [Cut(PIECE)] * (ATTEMPTS + 2)
    assert fetch() == body
    assert fetch.pauses == [0.5] * (ATTEMPTS + 2)


def test_silence_has_an_end(server: FileServer, fetch: Fetch) -> None:
    fetch.read_timeout = 0.2
    server.tricks = [Stall(PIECE)]
    assert fetch() == BODY
    # A machine that has much else to do may be silent once more.
    assert fetch.retries()[0] == "127.0.0.1 sends nothing any more"
    assert server.requests[1].range == f"bytes={PIECE}-"


def test_a_trickle_has_an_end(
    server: FileServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "SLOW_FOR", 0.0)
    monkeypatch.setattr(downloading, "SLOW_BYTES", len(BODY) + 1)
    error = fetch.refused()
    assert "came to a stop" in error.message


@pytest.mark.parametrize(
    ("trick", "words"),
    [
        (Answer(404), "answered 404 Not Found for http://127.0.0.1"),
        (Answer(401), "answered 401"),
        (Answer(403), "answered 403"),
        (Answer(407), "the proxy wants a password"),
        (Answer(451), "answered 451"),
        (Answer(204), "answered 204"),
        (Answer(200, PAGE, {"Content-Type": "text/html; charset=utf-8"}), "is a web page"),
        (Answer(200, BODY, {"Content-Encoding": "gzip"}), "is sent compressed"),
        (Answer(200, b""), "is empty"),
        (Answer(302, headers={"Location": PATH}), ""),
    ],
)
def test_answers_that_are_final(
    server: FileServer, fetch: Fetch, trick: Answer, words: str
) -> None:
    server.tricks = [trick] * 20
    error = fetch.refused()
    assert words in error.message
    assert error.hint
    assert fetch.pauses == []
    assert fetch.part.length() == 0


def test_redirections_are_followed_with_the_range(server: FileServer, fetch: Fetch) -> None:
    moved = Answer(302, headers={"Location": f"http://localhost:{server.port}{PATH}?signed=1"})
    server.tricks = [moved, Cut(PIECE), moved]
    assert fetch() == BODY
    assert [(request.path, request.range) for request in server.requests] == [
        (PATH, None),
        (PATH, None),
        (PATH, f"bytes={PIECE}-"),
        (PATH, f"bytes={PIECE}-"),
    ]


def test_without_a_length_the_end_of_the_connection_is_the_end(
    server: FileServer, fetch: Fetch
) -> None:
    server.change(PATH, length=False)
    assert fetch() == BODY
    assert {e.total for e in fetch.events if isinstance(e, Progress)} == {None}


def test_a_body_that_never_ends_is_left(server: FileServer, fetch: Fetch) -> None:
    server.change(PATH, length=False)
    fetch.wanted = replace(fetch.wanted, size=1000, sha256="0" * 64, source="models.lock")
    assert "does not end after 1000 bytes" in fetch.refused().message


def test_another_size_than_recorded_is_refused_before_it_is_fetched(
    server: FileServer, fetch: Fetch
) -> None:
    fetch.wanted = replace(
        fetch.wanted, size=7, sha256="0" * 64, source="models.lock", recorded=True
    )
    error = fetch.refused()
    assert isinstance(error, ChangedError)
    assert f"models.lock says: 7 bytes there, {len(BODY)} bytes here" in error.message
    assert "atlasctl models fetch --accept-changed voice" in error.hint
    fetch.wanted = replace(fetch.wanted, source="services.yaml", recorded=False)
    assert fetch.refused().hint == "if that is meant, mend size and sha256 in services.yaml"
    assert fetch.part.length() == 0


def test_the_disk_is_looked_at_first(
    server: FileServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = SimpleNamespace(total=2**40, used=0, free=20 * 1024**2)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: small)
    error = fetch.refused()
    assert "has 20 MiB free, and 33 MiB are needed" in error.message
    assert fetch.part.length() == 0


def test_nothing_listens(server: FileServer, fetch: Fetch, free_port: Callable[[], int]) -> None:
    fetch.wanted = replace(fetch.wanted, url=f"http://127.0.0.1:{free_port()}/model.pth")
    error = fetch.refused()
    assert isinstance(error, UnreachableError)
    assert error.message == "127.0.0.1 cannot be reached: connection refused"
    assert "is this machine offline?" in error.hint
    assert len(fetch.pauses) == ATTEMPTS - 1


def test_a_name_that_is_not_known(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    # Not the resolver of this machine: an offline one may take ten seconds to say so.
    monkeypatch.setattr(socket, "getaddrinfo", offline)
    fetch.wanted = replace(fetch.wanted, url="http://models.invalid/model.pth")
    error = fetch.refused()
    assert isinstance(error, UnreachableError)
    assert error.message == "models.invalid cannot be reached: its name is not known here"
