"""Works, not runs: five servers that say at /health that all is well, and one of them is right."""

import http.client
import json
import re
import stat
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.conftest import DEADLINE, System, eventually, free_port
from tests.tracing import may_trace

ACTING = str(Path(__file__).parent / "children" / "acting.py")
TIMEOUT = 1
"""Seconds that each probe waits for its answer where silence is what a test is about."""
PATIENT = 20
"""Where it is a wrong answer: none may come late on a machine that has more to do."""


@dataclass(frozen=True, slots=True)
class Acting:
    """The service, and the file of what it does."""

    system: System
    port: int = field(default_factory=free_port)

    @property
    def file(self) -> Path:
        return self.system.root / "act"

    def does(self, act: str) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_text(act)
        fresh.replace(self.file)

    def write(self, *, failures: int = 2, timeout: int = TIMEOUT) -> None:
        speak: dict[str, object] = {
            "http": {
                "method": "POST",
                "path": "/tts",
                "body": {"text": "тест", "return_audio": True},
                "content_type": "audio/wav",
                "wav": {"min_seconds": 0.2},
            },
        }
        health = {"http": {"path": "/health", "json": {"tts_ready": True}}}
        service = {
            "command": [sys.executable, ACTING, str(self.file)],
            "sockets": {"http": f"127.0.0.1:{self.port}"},
            "probes": {
                "startup": {**speak, "every": "100ms", "timeout": "20s"},
                "readiness": {**health, "every": "200ms", "timeout": f"{timeout}s"},
                "liveness": {**health, "every": "1s", "timeout": f"{timeout}s"},
                "transaction": {
                    **speak,
                    "every": "2s",
                    "timeout": f"{timeout}s",
                    "failures": failures,
                },
            },
            "stop": {"timeout": "3s"},
        }
        self.system.write({"tts": service})

    def status(self) -> dict[str, Any]:
        return self.system.service("tts")

    def why(self) -> str:
        """Return the story, with its lines unfolded."""
        return " ".join(self.system.ctl("why", "tts").stdout.split())

    def ask(self, text: str) -> tuple[int, bytes]:
        """Say a text as a real client does."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        try:
            connection.request("POST", "/tts", body=json.dumps({"text": text}))
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()


@pytest.fixture
def acting(system: System) -> Acting:
    """A service that is up and works."""
    made = Acting(system)
    made.does("well")
    made.write()
    system.ctl("up")
    assert made.status()["state"] == "healthy"
    return made


@pytest.mark.parametrize(
    ("act", "words"),
    [
        ("500", "500 Internal Server Error: the operator is not implemented"),
        ("empty", "no playable WAV"),
        ("json", "application/json where audio/wav was expected"),
    ],
)
def test_a_wrong_answer_is_broken_and_is_restarted(
    system: System, acting: Acting, act: str, words: str
) -> None:
    acting.write(timeout=PATIENT)
    system.ctl("reload")
    seq, pid = system.seq(), acting.status()["pid"]
    acting.does(act)
    unready = system.event("unready", "tts", after=seq)
    assert unready["text"].startswith(f"transaction probe failed once: {words}")
    stopping = system.event("stopping", "tts", after=seq)
    assert stopping["text"].startswith(f"failed its transaction probe 2 times in a row: {words}")
    # One period, and the time of a machine that has more to do.
    acting.does("well")
    system.event("ready", "tts", after=stopping["seq"])
    status = acting.status()
    assert status["state"] == "healthy"
    assert status["pid"] != pid
    why = acting.why()
    assert words in why
    assert "failed its transaction probe 2 times in a row" in why


def test_between_its_failures_it_is_broken_and_nothing_depends_on_it(
    system: System, acting: Acting
) -> None:
    acting.write(failures=1000, timeout=PATIENT)
    system.ctl("reload")
    acting.does("500")
    broken = eventually(
        "it is broken", lambda: acting.status()["state"] == "broken" and acting.status()
    )
    assert broken["state"] == "broken"
    assert not broken["ready"]


def test_what_hangs_tells_where_before_it_is_ended(system: System, acting: Acting) -> None:
    seq, pid, run = system.seq(), acting.status()["pid"], acting.status()["run"]
    acting.does("stuck")
    dumped = system.event("dumped", "tts", after=seq)
    name = f"tts.dump-{run}.txt"
    assert f" in logs/{name}: pid {pid}" in dumped["text"]
    file = system.root / "logs" / name
    assert str(pid) in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    acting.does("well")
    system.event("ready", "tts", after=dumped["seq"])
    assert acting.status()["pid"] != pid
    why = acting.why()
    assert "no reply within" in why
    assert "hung in " in why
    if may_trace():
        assert re.match(r"hung in stuck_in_the_engine \(acting\.py:\d+\); ", dumped["text"])
        assert "stuck_in_the_engine" in file.read_text()
        assert "hung in stuck_in_the_engine" in why


def test_what_works_on_a_long_text_is_left_alone(system: System, acting: Acting) -> None:
    pid, seq = acting.status()["pid"], system.seq()
    answers: list[tuple[int, bytes]] = []
    client = threading.Thread(target=lambda: answers.append(acting.ask("long")))
    client.start()
    try:
        busy = eventually(
            "it is busy", lambda: acting.status()["state"] == "busy" and acting.status()
        )
        assert busy["ready"]
        assert "1 request is in flight" in busy["reason"]
        assert system.event("busy", "tts", after=seq)["text"].endswith(": busy, not hung")
        assert "busy" in system.ctl("status").stdout
        begun = busy["uptime"]
        eventually(
            "every probe could have timed out more often than it may fail",
            lambda: acting.status()["uptime"] > begun + 8 * TIMEOUT,
        )
        status = acting.status()
        assert (status["state"], status["pid"], status["restarts"]) == ("busy", pid, 0)
    finally:
        acting.file.with_suffix(".go").touch()
        client.join(DEADLINE)
    assert not client.is_alive()
    ((code, sound),) = answers
    assert code == 200
    assert sound.startswith(b"RIFF")
    eventually("it is healthy again", lambda: acting.status()["state"] == "healthy")
    lines = system.ctl("events", "--json", "tts").stdout.splitlines()
    events = [e["topic"] for e in map(json.loads, lines) if e["seq"] > seq]
    assert events.count("busy") == 1, "one line for all of it"
    assert not {"unready", "stopping", "dumped", "exited"} & set(events)
    assert acting.status()["pid"] == pid
    assert psutil.pid_exists(pid)
