"""Restarts under load: 50 requests a second, none refused, none reset, all answered right.

The slowest waits are printed; one that hangs is a failure, with no answer within PATIENCE.
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import CHECKOUT, System, eventually, free_port
from tests.e2e.load import Clients, Ending, echo, open_loop, speech

RATE = 50.0
"""Requests a second."""
REQUESTS = 1000
"""For each of the two ways to restart: twenty seconds."""
SPEECH_RATE = 8.0
SPEECHES = 80
RESTARTS = 4

STAND_IN = str(Path(__file__).parent / "children" / "stand_in.py")

Record = Callable[[str, object], None]


def write_stand_in(system: System, port: int) -> None:
    system.write(
        {
            "a": {
                "command": [sys.executable, "-I", "-S", STAND_IN],
                "sockets": {"http": f"127.0.0.1:{port}"},
                "probes": {"readiness": {"http": {"path": "/health"}, "every": "100ms"}},
                "restart": {"backoff": {"first": "10ms"}},
            }
        }
    )


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[tuple[System, int]]:
    system, port = System(tmp_path), free_port()
    write_stand_in(system, port)
    system.ctl("up")
    yield system, port
    system.close()


@pytest.fixture
def speaking(tmp_path: Path) -> Iterator[tuple[System, int]]:
    system, port = System(tmp_path), free_port()
    ready = {"http": {"path": "/health", "json": {"tts_ready": True}}, "every": "100ms"}
    system.write(
        {
            "tts": {
                "command": [sys.executable, "-m", "services.tts", "--engine", "espeak"],
                "cwd": str(CHECKOUT),
                "sockets": {"http": f"127.0.0.1:{port}"},
                "probes": {"readiness": ready},
            }
        }
    )
    system.ctl("up")
    yield system, port
    system.close()


def restart_meanwhile(system: System, clients: Clients, seconds: float, *how: str) -> list[float]:
    """Restart `RESTARTS` times, evenly over the time of the load; return how long each took."""
    began = time.monotonic()
    took = []
    for number in range(RESTARTS):
        due = began + (number + 0.5) * seconds / RESTARTS
        clients.enough.wait(max(0.0, due - time.monotonic()))
        started = time.monotonic()
        system.ctl("restart", *how)
        took.append(time.monotonic() - started)
    return took


def report(record: Record, clients: Clients, took: list[float]) -> None:
    found = {
        **clients.counts(),
        "median_ms": round(clients.slowest(0.5) * 1000),
        "p99_ms": round(clients.slowest(0.99) * 1000),
        "slowest_ms": round(clients.slowest() * 1000),
        "restarts_s": [round(seconds, 2) for seconds in took],
    }
    for name, value in found.items():
        record(name, value)
    print(found)


def complaints(clients: Clients, *borne: Ending) -> list[str]:
    return [f"{o.ending}: {o.detail}" for o in clients.not_right() if o.ending not in borne]


@pytest.mark.parametrize("how", [(), ("--rolling",)], ids=["plain", "rolling"])
def test_no_request_is_lost_in_a_restart(
    serving: tuple[System, int], record_property: Record, how: tuple[str, ...]
) -> None:
    system, port = serving
    first = system.service("a")["run"]
    with open_loop(port, [echo(n) for n in range(REQUESTS)], RATE) as clients:
        took = restart_meanwhile(system, clients, REQUESTS / RATE, *how)
        clients.wait()
    report(record_property, clients, took)
    assert complaints(clients) == []
    assert len(clients.outcomes) == REQUESTS
    assert system.service("a")["run"] == first + RESTARTS


@pytest.mark.parametrize("how", [(), ("--rolling",)], ids=["plain", "rolling"])
def test_no_word_is_lost_in_a_restart(
    speaking: tuple[System, int], record_property: Record, how: tuple[str, ...]
) -> None:
    """While a new voice loads it may say so (503, Retry-After); a rolling restart spares that."""
    system, port = speaking
    with open_loop(port, [speech(n) for n in range(SPEECHES)], SPEECH_RATE) as clients:
        took = restart_meanwhile(system, clients, SPEECHES / SPEECH_RATE, *how)
        clients.wait()
    report(record_property, clients, took)
    assert complaints(clients, *(() if how else (Ending.BUSY,))) == []
    assert len(clients.outcomes) == SPEECHES


def test_a_restart_waits_for_requests_in_work(serving: tuple[System, int]) -> None:
    """A service that is stopped under load has answered all that it took, however often."""
    system, port = serving
    with open_loop(port, [echo(n) for n in range(400)], 4 * RATE) as clients:
        for _ in range(RESTARTS):
            system.ctl("restart")
        clients.wait()
    assert complaints(clients) == []


def test_who_asks_while_it_is_down_is_refused_at_once(serving: tuple[System, int]) -> None:
    """Held sockets are for restarts: nobody is to wait for what was stopped on purpose."""
    system, port = serving
    system.ctl("stop", "a")
    with open_loop(port, [echo(0)], RATE) as clients:
        clients.wait()
    assert [outcome.ending for outcome in clients.outcomes] == [Ending.REFUSED]
    system.ctl("start", "a")
    with open_loop(port, [echo(0)], RATE) as clients:
        clients.wait()
    assert complaints(clients) == []
    eventually("it is healthy", lambda: system.service("a")["state"] == "healthy")
