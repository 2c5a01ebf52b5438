"""A hundred random deaths, under speech requests and a flood of numbered lines.

`ATLAS_CHAOS_ROUNDS` shortens it, `ATLAS_CHAOS_SEED` repeats a run; the seed of each is printed.
"""

import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import CHECKOUT, DEADLINE, System, eventually, free_port
from tests.e2e.instances import Watch
from tests.e2e.lines import assert_lines_are_whole, writer
from tests.e2e.load import Clients, Ending, Outcome, closed_loop, speech

ROUNDS = int(os.environ.get("ATLAS_CHAOS_ROUNDS", "100"))
VICTIMS = {
    "daemon": 2,
    "sink": 4,
    "tts": 4,
    "writer": 5,
    "daemon sink": 2,
    "daemon tts": 1,
    "sink tts": 1,
    "daemon sink writer": 1,
}
"""Who dies together, and how often in twenty rounds: a new daemon takes a second to be there.

Not daemon, sink and voice at once: nobody is left then who could hold the socket.
"""
CLIENTS = 2
FAST = {"backoff": {"first": "10ms", "factor": 1, "jitter": 0}, "give_up": False}
WORDS_SHOWN = 10


@pytest.fixture
def chaos(tmp_path: Path) -> Iterator[tuple[System, int]]:
    """A voice and a writer, both up."""
    system, port = System(tmp_path), free_port()
    ready = {"http": {"path": "/health", "json": {"tts_ready": True}}, "every": "100ms"}
    system.write(
        {
            "tts": {
                "command": [sys.executable, "-m", "services.tts", "--engine", "espeak"],
                "cwd": str(CHECKOUT),
                "sockets": {"http": f"127.0.0.1:{port}"},
                "probes": {"readiness": ready},
                "restart": FAST,
            },
            "writer": writer(system),
        }
    )
    system.ctl("up")
    yield system, port
    system.close()


class Reaper:
    """Kills what it is told to, and remembers when a service was meant."""

    def __init__(self, system: System, port: int) -> None:
        self.system = system
        self.port = port
        self.kills: list[tuple[float, float]] = []
        """Before and after each kill of the voice."""

    def strike(self, victims: str) -> None:
        """Kill, and see to it that what must come back by itself or by a command does."""
        status = self.system.status()
        pids = {s["name"]: s["pid"] for s in status["services"]}
        about = status["daemon"]
        everyone = {**pids, "daemon": about["pid"], "sink": about["sink_pid"]}
        assert "supervisor.logs.sink" in psutil.Process(about["sink_pid"]).cmdline()
        doomed = victims.split()
        before = time.monotonic()
        # One after the other with nothing in between: as much at once as can be.
        for name in doomed:
            os.kill(everyone[name], signal.SIGKILL)
        for name in doomed:
            _wait_until_dead(everyone[name])
        if "tts" in doomed:
            self.kills.append((before, time.monotonic()))
        if "daemon" in doomed:
            self.system.ctl("up", "--no-wait")
        after = {s["name"]: s["pid"] for s in self.system.status()["services"]}
        for name in pids.keys() - doomed:
            assert after[name] == pids[name], f"{name} felt the death of {victims}"

    def calm(self) -> None:
        """Wait until both services have a process, and daemon and sink the voice's socket.

        Who dies before the dead of the last round are replaced dies together with them.
        """
        eventually("all are back", self._is_calm)

    def _is_calm(self) -> bool:
        status = self.system.status()
        sink = status["daemon"]["sink_pid"]
        pids = [service["pid"] for service in status["services"]]
        if not all(pid is not None and _lives(pid) for pid in [*pids, sink]):
            return False
        return all(_listens(pid, self.port) for pid in (status["daemon"]["pid"], sink))

    def excuses(self, outcome: Outcome) -> bool:
        """Tell whether a request broke off because its server was killed under it."""
        return outcome.ending is Ending.BROKEN and any(
            before <= outcome.ended and outcome.began <= after for before, after in self.kills
        )


def _wait_until_dead(pid: int) -> None:
    # A zombie is dead, and its number is nobody else's yet.
    eventually("it is dead", lambda: not _lives(pid))


def _lives(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def _listens(pid: int, port: int) -> bool:
    found = psutil.Process(pid).net_connections(kind="tcp")
    return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in found)


def in_random_order(chance: random.Random, rounds: int) -> list[str]:
    """Return who dies in each round; twenty rounds always have the same deaths among them."""
    chosen: list[str] = []
    while len(chosen) < rounds:
        block = [victims for victims, times in VICTIMS.items() for _ in range(times)]
        chance.shuffle(block)
        chosen += block
    return chosen[:rounds]


@pytest.mark.early
@pytest.mark.skipif(sys.platform != "linux", reason="the watch reads /proc")
def test_a_hundred_deaths(chaos: tuple[System, int]) -> None:
    system, port = chaos
    seed = int(os.environ.get("ATLAS_CHAOS_SEED") or random.randrange(1 << 32))
    print(f"ATLAS_CHAOS_SEED={seed} ATLAS_CHAOS_ROUNDS={ROUNDS}")
    chance = random.Random(seed)
    reaper = Reaper(system, port)
    victims: Counter[str] = Counter()
    began = time.monotonic()
    with Watch(system.state_dir) as watch, closed_loop(port, speech, CLIENTS) as clients:
        for number, chosen in enumerate(in_random_order(chance, ROUNDS)):
            reaper.calm()
            print(f"round {number}: {chosen}")
            victims[chosen] += 1
            reaper.strike(chosen)
        reaper.calm()
        clients.stop()
    print(f"{victims} in {time.monotonic() - began:.0f} s, {watch.looks} looks, {watch.most}")
    assert watch.crowds == []
    assert_lines_are_whole(system)
    assert_answers(clients, reaper)


def assert_answers(clients: Clients, reaper: Reaper) -> None:
    print(f"{clients.counts()}, slowest {clients.slowest():.2f} s")
    assert clients.counts()["right"] > 0
    inexcusable = [
        outcome
        for outcome in clients.outcomes
        if outcome.ending not in (Ending.RIGHT, Ending.BUSY) and not reaper.excuses(outcome)
    ]
    shown = [f"{outcome.ending}: {outcome.detail}" for outcome in inexcusable[:WORDS_SHOWN]]
    for outcome in inexcusable:
        print(f"{outcome.began:.3f} to {outcome.ended:.3f} {outcome.ending}: {outcome.detail}")
    print(f"kills of the voice: {[f'{a:.3f}' for a, _ in reaper.kills]}")
    assert not inexcusable, f"{len(inexcusable)} of {len(clients.outcomes)}: {shown}"
    assert clients.slowest() < DEADLINE
