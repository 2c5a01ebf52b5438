"""An `Output` on a reaper of its own, daemons to kill, and the proof that nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from supervisor.core.spec import LogSpec
from supervisor.logs.rotation import reading_order
from supervisor.output import Output
from supervisor.posix.reaper import Reaper
from supervisor.posix.spawn import Command, seal_descriptors, spawn
from tests.remains import commands_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from supervisor.core.events import Exit
    from supervisor.watches import Match

DEADLINE = 20.0
PAUSE = 0.005
CHILDREN = Path(__file__).parent / "children"
NUMBERED = Path(__file__).parent.parent / "logs" / "children" / "numbered_lines.py"


async def until(holds: Callable[[], object], what: str) -> None:
    """Ask until it holds; for facts (a file, a foreign process) that nobody announces."""
    deadline = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < deadline, f"not within {DEADLINE} s: {what}"
        await asyncio.sleep(PAUSE)


def lives(pid: int) -> bool:
    """A zombie is dead: whoever inherited it has only not looked yet."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


class Daemon:
    """A process that has an `Output`, and what it said of itself."""

    def __init__(self, place: Place, scenario: dict[str, object]) -> None:
        script = str(CHILDREN / "daemon.py")
        self.process = subprocess.Popen(
            [sys.executable, script, str(place.state), str(place.logs), json.dumps(scenario)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )
        assert self.process.stdout is not None
        said = json.loads(self.process.stdout.readline())
        self.services: dict[str, int] = said["services"]
        self.ports: dict[str, list[int]] = said["ports"]
        self.sink: int = said["sink"]
        self.holders: list[int] = said["holders"]

    def kill(self, *others: int) -> None:
        """Kill it and others at once: none runs between the first signal and the last death."""
        pids = [self.process.pid, *others]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                os.kill(pid, number)
        self.process.communicate()
        deadline = time.monotonic() + DEADLINE
        while any(map(lives, others)):
            assert time.monotonic() < deadline
            os.sched_yield()


class Place:
    """The folders of one system, and what is found there."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.logs = folder / "logs"
        self.state.mkdir(mode=0o700)
        (self.state / "fifo").mkdir(mode=0o700)
        self.said: list[str] = []
        self.ended: dict[int, Exit] = {}
        self.matches: list[tuple[str, Match]] = []
        self._daemons: list[Daemon] = []

    def daemon(self, **scenario: object) -> Daemon:
        made = Daemon(self, scenario)
        self._daemons.append(made)
        return made

    @contextlib.asynccontextmanager
    async def output(
        self, *, quit_sink: bool = True, watch: tuple[str, ...] = ()
    ) -> AsyncIterator[Output]:
        """An `Output` that is started, and closed at the end; `watch` is for tts, from before."""

        def matched(name: str, match: Match) -> None:
            self.matches.append((name, match))

        output = Output(str(self.state), str(self.logs), self.said.append, os.environ, matched)

        def ended(pid: int, ending: Exit) -> None:
            self.ended[pid] = ending
            output.child_ended(pid, ending)

        reaper = Reaper(ended)
        reaper.start()
        if watch:
            output.watch("tts", watch)
        try:
            await output.start()
            yield output
        finally:
            await output.close(quit_sink=quit_sink)
            if quit_sink:
                await until(lambda: not psutil.Process().children(), "all children have ended")
                assert not self.processes()
            reaper.close()

    def write_lines(self, fd: int, count: int, seed: int, parts: int, gate: Path) -> int:
        """Start a writer of numbered lines in parts; its end comes into `ended`."""
        numbers = (str(count), str(seed), "120", str(parts))
        argv = (sys.executable, str(NUMBERED), *numbers, str(gate))
        return spawn(Command(argv, dict(os.environ), "/", fd))

    def content(self, name: str) -> bytes:
        """All that is in the log, oldest file first."""
        whole = b""
        names = os.listdir(self.logs) if self.logs.exists() else []
        for file in reading_order(names, f"{name}.log"):
            raw = (self.logs / file).read_bytes()
            whole += gzip.decompress(raw) if file.endswith(".gz") else raw
        return whole

    def commands(self) -> list[tuple[psutil.Process, list[str]]]:
        """Every sink, daemon and holder of this place that lives, and its command line."""
        return commands_of(str(self.state), lambda words: str(self.state) in words)

    def processes(self) -> list[psutil.Process]:
        return [process for process, _ in self.commands()]

    def holders(self) -> list[psutil.Process]:
        return [process for process, words in self.commands() if words[:1] == ["sleep"]]

    def close(self) -> None:
        for daemon in self._daemons:
            if daemon.process.returncode is None:
                daemon.process.kill()
                daemon.process.communicate()
            for pid in daemon.services.values():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        left = {process.pid: words for process, words in self.commands()}
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
                process.wait(DEADLINE)
        assert not left, f"left behind: {left}"


def open_descriptors() -> set[int]:
    found = set()
    for name in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError):
            os.fstat(int(name))
            found.add(int(name))
    return found


@pytest.fixture(autouse=True)
def _sink_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an answer of the sink take its time: `status` does without one after a moment."""
    monkeypatch.setattr("supervisor.output.STATS_TIMEOUT", DEADLINE)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    # The shell that runs the tests may have left descriptors open, as one may in the daemon.
    seal_descriptors()
    before = open_descriptors()
    made = Place(tmp_path)
    yield made
    made.close()
    assert open_descriptors() - before == set(), "descriptors left open"
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.fixture
def policy() -> LogSpec:
    return LogSpec(max_size=100_000, keep=1000, compress=True)
