"""The daemon stands still for a minute, as when a laptop is closed, and restarts nothing for it."""

import signal
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.conftest import System, eventually, free_port

SERVER = str(Path(__file__).parent / "children" / "slow_to_answer.py")
MINUTE = 60.0
SAME = ("pid", "run", "state", "restarts")


def asked(system: System, name: str) -> int:
    """Return how often the probes of a service have come to it."""
    return (system.root / f"asked-{name}").stat().st_size


def await_probes(system: System, name: str, more: int) -> None:
    """Return when so many more have come; the last of them is under way for a while yet."""
    wanted = asked(system, name) + more
    eventually("probes have come", lambda: asked(system, name) >= wanted)


def server(system: System, probe: str) -> dict[str, Any]:
    (system.root / f"asked-{probe}").touch()
    port = free_port()
    return {
        "command": [sys.executable, "-I", "-S", SERVER, port, str(system.root / f"asked-{probe}")],
        "ports": [port],
        "probes": {
            "startup": {"http": {}, "every": "50ms", "for": "20s"},
            # One failure would be enough: what is in flight when the daemon stands still would be
            # taken for one, since its time-out is over when the reply is looked at. A third of the
            # minute, so that no answer of a machine that has more to do takes as long.
            probe: {"http": {}, "every": "50ms", "timeout": "20s", "failures": 1},
        },
    }


@pytest.mark.early
def test_no_false_alarm_after_the_daemon_stood_still_for_a_minute(system: System) -> None:
    names = ("readiness", "liveness")
    system.write({name: server(system, name) for name in names})
    system.ctl("up")
    before = {name: system.service(name) for name in names}
    daemon, seq = psutil.Process(system.daemon_pid()), system.seq()
    for name in names:
        await_probes(system, name, 1)
    daemon.send_signal(signal.SIGSTOP)
    try:
        threading.Event().wait(MINUTE)
    finally:
        daemon.send_signal(signal.SIGCONT)
    words = eventually("it has noticed", lambda: _resumed(system, seq))
    assert words.startswith("the supervisor stood still for about ")
    for name in names:
        await_probes(system, name, 3)
        after = system.service(name)
        assert {k: after[k] for k in SAME} == {k: before[name][k] for k in SAME}
        assert (after["state"], after["restarts"]) == ("healthy", 0)
    assert [e["topic"] for e in system.events(after=seq)] == ["resumed"], "nothing else came of it"


def _resumed(system: System, seq: int) -> str | None:
    return next((str(e["text"]) for e in system.events(seq) if e["topic"] == "resumed"), None)
