"""The daemon stands still for a minute, as when a laptop is closed, and restarts nothing for it."""

import signal
import sys
import threading
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import System, eventually, free_port

SERVER = str(Path(__file__).parent / "children" / "slow_to_answer.py")
MINUTE = 60.0


@pytest.mark.parametrize("probe", ["liveness", "readiness"])
def test_no_false_alarm_after_the_daemon_stood_still_for_a_minute(
    system: System, probe: str
) -> None:
    port, asked = free_port(), system.root / "asked"
    asked.touch()
    system.write(
        {
            "a": {
                "command": [sys.executable, "-I", "-S", SERVER, port, str(asked)],
                "ports": [port],
                "probes": {
                    # One failure would be enough: what was in flight when it stood still would be
                    # taken for one, since its time-out is over when the reply is looked at.
                    probe: {"http": {}, "every": "50ms", "timeout": "2s", "failures": 1},
                    "startup": {"http": {}, "every": "50ms", "for": "20s"},
                },
            }
        }
    )
    system.ctl("up")
    before = system.service("a")
    daemon = psutil.Process(system.daemon_pid())
    seq, times = system.seq(), asked.stat().st_size
    eventually("a probe is under way", lambda: asked.stat().st_size > times)
    daemon.send_signal(signal.SIGSTOP)
    try:
        threading.Event().wait(MINUTE)
    finally:
        daemon.send_signal(signal.SIGCONT)
    event = eventually("it has noticed", lambda: _resumed(system, seq))
    assert event.startswith("the supervisor stood still for about ")
    times = asked.stat().st_size
    eventually("probes go on", lambda: asked.stat().st_size > times + 2)
    after = system.service("a")
    assert {k: after[k] for k in ("pid", "run", "state", "restarts")} == {
        "pid": before["pid"],
        "run": before["run"],
        "state": "healthy",
        "restarts": 0,
    }
    topics = [e["topic"] for e in system.events(after=seq)]
    assert topics == ["resumed"], "nothing else has come of it"


def _resumed(system: System, seq: int) -> str | None:
    return next((str(e["text"]) for e in system.events(seq) if e["topic"] == "resumed"), None)
