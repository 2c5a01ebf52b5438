"""Questions as files, and the program that asks them where a supervisor would."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from supervisor.config.codec import CodecError
from supervisor.core.spec import ExecCheck, Expectations, HttpCheck, TcpCheck, Wav
from supervisor.export.check import main
from supervisor.export.questions import Idle, Question, read, written
from tests.e2e.conftest import free_port

FLOATS = st.floats(0.01, 1e6)
CHECK = st.one_of(
    st.builds(TcpCheck, st.text(max_size=9), st.integers(1, 65535)),
    st.builds(ExecCheck, st.lists(st.text(max_size=9)).map(tuple)),
    st.builds(
        HttpCheck,
        st.just("127.0.0.1"),
        st.integers(1, 65535),
        st.text(max_size=9),
        st.sampled_from(["GET", "POST"]),
        st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9))).map(tuple),
        st.none() | st.binary(max_size=9) | st.text(max_size=9).map(str.encode),
        st.builds(
            Expectations,
            st.lists(st.tuples(st.integers(100, 599), st.integers(100, 599))).map(tuple),
            st.none() | st.text(max_size=9),
            st.lists(
                st.tuples(st.text(max_size=9), st.none() | st.booleans() | st.integers() | FLOATS)
            ).map(tuple),
            body_prefix=st.none() | st.binary(max_size=9),
            latency=st.none() | FLOATS,
            wav=st.none() | st.builds(Wav, FLOATS),
        ),
    ),
)


IDLE = st.builds(Idle, st.just(HttpCheck("127.0.0.1", 1, busy="busy")), FLOATS, FLOATS)
QUESTION = st.builds(
    Question, CHECK, FLOATS, st.none() | FLOATS, st.none() | IDLE, st.none() | FLOATS
)


@given(st.lists(QUESTION, max_size=3).map(tuple))
@example((Question(HttpCheck("127.0.0.1", 1, body=b"\xff"), 2.0),))
def test_questions_come_back_as_they_were(questions: tuple[Question, ...]) -> None:
    assert read(written(questions)) == questions


def test_a_person_can_read_them() -> None:
    body = '{"text": "тест"}'.encode()
    text = written((Question(HttpCheck("127.0.0.1", 3001, body=body), 2.0),))
    check = {"$": "HttpCheck", "host": "127.0.0.1", "port": 3001}
    told = {"$": "bytes", "text": body.decode()}
    assert json.loads(text) == [{"check": {**check, "body": told}, "timeout": 2.0}]
    assert "тест" in text


@pytest.mark.parametrize(
    "text",
    [
        '[{"check": {"$": "Path", "a": 1}, "timeout": 2}]',
        '[{"check": {"$": "TcpCheck", "host": "a", "port": "b"}, "timeout": 2}]',
        '[{"check": {"$": "TcpCheck", "host": "a", "port": 1, "more": 2}, "timeout": 2}]',
        '[{"timeout": 2}]',
        "{}",
        "[[]]",
    ],
)
def test_what_is_no_question_is_refused(text: str) -> None:
    with pytest.raises(CodecError):
        read(text)


class _Speech(BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []
    busy: ClassVar[bool] = False
    ready_from: ClassVar[float] = float("inf")
    """The number of the request from which on it says that it is ready."""

    def do_GET(self) -> None:
        self.asked.append(self.path)
        ready = len(self.asked) >= self.ready_from
        body = json.dumps({"tts_ready": ready, "busy": self.busy}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    """Serve, and leave no thread behind."""
    _Speech.asked.clear()
    _Speech.busy = False
    _Speech.ready_from = float("inf")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Speech) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join(30)
        assert not thread.is_alive()


def ask(tmp_path: Path, *checks: HttpCheck | TcpCheck | ExecCheck, within: float = 30.0) -> int:
    file = tmp_path / "q.json"
    file.write_text(written(tuple(Question(check, within) for check in checks)))
    return main([str(file)])


def test_answers(port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    works = HttpCheck("127.0.0.1", port)
    assert ask(tmp_path, works, TcpCheck("127.0.0.1", port)) == 0
    ready = HttpCheck("127.0.0.1", port, expect=Expectations(json=(("tts_ready", True),)))
    assert ask(tmp_path, ready, works) == 1
    # The last line is what a kubelet shows.
    assert capsys.readouterr().out.splitlines()[-1] == "JSON tts_ready is false; true was expected"
    assert ask(tmp_path, TcpCheck("127.0.0.1", free_port())) == 1


READY = Expectations(json=(("tts_ready", True),))


def test_a_start_is_asked_again_for_as_long_as_it_may_take(port: int, tmp_path: Path) -> None:
    file = tmp_path / "q.json"
    question = Question(HttpCheck("127.0.0.1", port, expect=READY), 30.0, again=0.01)
    file.write_text(written((question,)))
    _Speech.ready_from = 3
    assert main([str(file)]) == 0
    assert len(_Speech.asked) == 3
    _Speech.ready_from = float("inf")
    file.write_text(written((replace(question, timeout=0.3),)))
    assert main([str(file)]) == 1
    assert len(_Speech.asked) > 3  # that it is asked again was seen above, and here is no time
    # Nobody there is no sooner over than nobody who answers.
    started = time.monotonic()
    nobody = replace(question, check=TcpCheck("127.0.0.1", free_port()), timeout=0.2)
    file.write_text(written((nobody,)))
    assert main([str(file)]) == 1
    assert time.monotonic() - started > 0.15


WORD = Question(HttpCheck("127.0.0.1", 0, "/word"), 30.0, every=300.0)
"""A costly question; its port is set by the test."""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Note successes in a folder of the test's own, and return a place for questions."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / "q.json"


def aged(file: Path, seconds: float) -> None:
    """Let the last success be so long ago."""
    (stamp,) = file.parent.glob("*.asked")
    then = time.time() - seconds
    os.utime(stamp, (then, then))


def test_a_costly_question_is_asked_when_its_time_has_come(port: int, file: Path) -> None:
    cheap = Question(HttpCheck("127.0.0.1", port, "/cheap"), 30.0)
    costly = replace(WORD, check=HttpCheck("127.0.0.1", port, "/word"))
    file.write_text(written((cheap, costly)))
    assert [main([str(file)]) for _ in range(3)] == [0, 0, 0]
    assert _Speech.asked == ["/cheap", "/word", "/cheap", "/cheap"]
    aged(file, 270)  # half a minute for a machine that has much else to do
    main([str(file)])
    assert _Speech.asked[4:] == ["/cheap"]
    aged(file, 301)
    main([str(file)])
    assert _Speech.asked[5:] == ["/cheap", "/word"]
    # A clock that was set back: nobody knows how long ago it was.
    aged(file, -1000)
    main([str(file)])
    assert _Speech.asked[7:] == ["/cheap", "/word"]


def test_one_that_failed_is_asked_again_at_once(port: int, file: Path) -> None:
    wrong = HttpCheck("127.0.0.1", port, "/word", expect=Expectations(json=(("tts_ready", True),)))
    file.write_text(written((replace(WORD, check=wrong),)))
    assert [main([str(file)]) for _ in range(2)] == [1, 1]
    assert _Speech.asked == ["/word", "/word"]


def test_it_is_put_off_while_the_service_works_and_not_for_ever(
    port: int, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    look = HttpCheck("127.0.0.1", port, "/look", busy="busy")
    costly = HttpCheck("127.0.0.1", port, "/word")
    file.write_text(written((replace(WORD, check=costly, idle=Idle(look, 30.0, 60.0)),)))
    _Speech.busy = True
    # Of one that was never asked nothing is known: it may have been hanging since its start.
    assert main([str(file)]) == 0
    assert _Speech.asked == ["/word"]
    aged(file, 330)
    assert main([str(file)]) == 0
    assert _Speech.asked[1:] == ["/look"]
    assert capsys.readouterr().out.splitlines()[-1] == "put off: it is busy"
    _Speech.busy = False
    main([str(file)])
    assert _Speech.asked[2:] == ["/look", "/word"]
    _Speech.busy = True
    aged(file, 361)
    main([str(file)])
    assert _Speech.asked[4:] == ["/word"]


def test_where_nothing_can_be_noted_it_says_so(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    file = tmp_path / "q.json"
    file.write_text(written((replace(WORD, check=HttpCheck("127.0.0.1", port)),)))
    assert main([str(file)]) == 0
    assert "so it will be asked each time" in capsys.readouterr().out


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(tmp_path, ExecCheck(("true",))) == 0
    assert ask(tmp_path, ExecCheck(("false",))) == 1
    assert ask(tmp_path, ExecCheck(("/nonexistent",))) == 1
    assert ask(tmp_path, ExecCheck(("sleep", "1000")), within=0.1) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "sleep did not end within 0.1 s"


def test_a_command_that_the_asker_cannot_run_says_nothing_of_the_service() -> None:
    script = (
        "import resource; from supervisor.core.spec import ExecCheck; "
        "from supervisor.export.check import ask; "
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3)); "
        "print(ask(ExecCheck(('true',)), 30))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("ProbeResult(ok=None, detail='true: Too many open files'")


@pytest.mark.parametrize("text", [None, "", "[{", '{"a": 1}', "\udcff"])
def test_a_fault_of_the_asker_ends_no_service(
    text: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "q.json"
    if text is not None:
        file.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert main([str(file)]) == 0
    assert capsys.readouterr().out.startswith(f"not asked: {file}: ")


def test_as_a_program(port: int, tmp_path: Path) -> None:
    file = tmp_path / "q.json"
    file.write_text(written((Question(HttpCheck("127.0.0.1", port), 30.0),)))
    command = [sys.executable, "-m", "supervisor.export.check", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("200 OK in ")


def test_it_starts_without_what_it_does_not_need() -> None:
    # A kubelet starts it every few seconds.
    heavy = "yaml pydantic requests psutil http.client supervisor.cli"
    script = (
        "import sys, supervisor.export.check, supervisor.probes.http\n"
        f"print([name for name in {heavy.split()!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
