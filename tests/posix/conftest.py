"""Real processes, and the proof at the end of each test that none of them is left."""

import asyncio
import contextlib
import ctypes
import fcntl
import os
import select
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from supervisor.core.events import Exit
from supervisor.posix.environment import Marker
from supervisor.posix.identity import ProcessIdentity, identify
from supervisor.posix.reaper import Reaper
from supervisor.posix.rows import Row
from supervisor.posix.spawn import Command, seal_descriptors, spawn
from supervisor.posix.tree import Tree, become_subreaper

if sys.platform == "linux":
    from supervisor.posix import linux as system
else:
    from supervisor.posix import darwin as system

DEADLINE = 10.0
"""Seconds after which a wait has failed. Nothing here should need a tenth of a second."""

CHILDREN = Path(__file__).parent / "children"
# Not that of a suite's other process, which may be in one of these tests at the same time: what
# carries the mark is of the run, whoever started it.
MARKER = Marker(f"{os.getpid():08x}", "svc", 1)


def descriptors() -> dict[str, str]:
    found = {}
    for fd in os.listdir("/dev/fd"):
        # The descriptor of the listing itself is closed by now.
        with contextlib.suppress(OSError):
            found[fd] = stat.filemode(os.fstat(int(fd)).st_mode)
    return found


def unreaped() -> list[int]:
    """Reap and return all children; a living one is killed so that later tests are clean."""
    left: list[int] = []
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return left
        if pid == 0:
            for child in psutil.Process().children():
                child.kill()
                os.waitpid(child.pid, 0)
                left.append(child.pid)
        else:
            left.append(pid)


def await_stop(pid: int) -> None:
    assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])


def await_continue(pid: int) -> None:
    assert os.WIFCONTINUED(os.waitpid(pid, os.WCONTINUED)[1])


def await_death(pid: int) -> None:
    """Wait until a child is dead, and leave it unreaped."""
    if sys.platform != "linux":
        pytest.skip("os.waitid came to macOS with Python 3.13")
    else:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def reap(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@dataclass
class Stage:
    """Starts processes with their output in one pipe, and waits for events about them."""

    tmp_path: Path
    reading: int
    writing: int
    exits: dict[int, Exit] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def command(
        self,
        *argv: str,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        sockets: tuple[tuple[str, int], ...] = (),
    ) -> Command:
        full = {"PATH": os.environ["PATH"], **MARKER.variables(), **(env or {})}
        return Command(argv, full, cwd or str(self.tmp_path), self.writing, sockets)

    def spawn(self, *argv: str, env: Mapping[str, str] | None = None) -> ProcessIdentity:
        identity = identify(spawn(self.command(*argv, env=env)))
        assert identity is not None
        return identity

    await_stop = staticmethod(await_stop)
    await_continue = staticmethod(await_continue)
    reap = staticmethod(reap)
    await_death = staticmethod(await_death)

    def script(self, name: str, *arguments: str) -> ProcessIdentity:
        return self.spawn(sys.executable, "-S", str(CHILDREN / name), *arguments)

    async def leave_an_heir(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> tuple[ProcessIdentity, list[ProcessIdentity]]:
        """Return a dead leader, and a list for what its one orphan leaves.

        That one forks and ends after our children were listed, before its row is read.
        """
        gate = self.tmp_path / "gate"
        os.mkfifo(gate)
        leader = self.script("handover.py", str(gate))
        orphan = self.words()["orphan"]
        await self.exit_of(leader.pid)
        look = system.read_trees
        heirs: list[ProcessIdentity] = []

        def read_late(roots: Iterable[int]) -> dict[int, Row]:
            if not heirs:
                gate.write_text("go")
                heir = identify(self.words()["heir"])
                assert heir is not None
                heirs.append(heir)
                self.await_death(orphan)
            return look(roots)

        monkeypatch.setattr(system, "read_trees", read_late)
        return leader, heirs

    def line(self) -> str:
        """Return the next line that a child writes."""
        got = b""
        while not got.endswith(b"\n"):
            ready, _, _ = select.select([self.reading], [], [], DEADLINE)
            assert ready, f"no line came, only {got!r}"
            got += os.read(self.reading, 1)
        return got.decode().strip()

    def words(self) -> dict[str, int]:
        """Return the next line, `name=pid name=pid …`."""
        return {k: int(v) for k, _, v in (word.partition("=") for word in self.line().split())}

    def on_exit(self, pid: int, ending: Exit) -> None:
        self.exits[pid] = ending
        self.changed.set()

    async def exit_of(self, pid: int) -> Exit:
        await self.until(lambda: pid in self.exits)
        return self.exits[pid]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for an exit after which `holds`."""
        async with asyncio.timeout(DEADLINE):
            while not holds():
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    # The shell that runs the tests may have left descriptors open, as one may in the daemon.
    seal_descriptors()
    before = descriptors()
    reading, writing = os.pipe()
    # A child that floods must fail a test, not hang it.
    fcntl.fcntl(reading, fcntl.F_SETFL, 0)
    yield Stage(tmp_path, reading, writing)
    os.close(reading)
    os.close(writing)
    assert unreaped() == []
    # What a test before this one left to the collector may be gone now.
    assert descriptors().items() <= before.items()


@pytest.fixture
def canary() -> Iterator[ProcessIdentity]:
    """A process that is nobody's business, and must live through all that a test does."""
    foreign = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        identity = identify(foreign.pid)
        assert identity is not None
        yield identity
        assert foreign.poll() is None, "a foreign process was signalled"
    finally:
        foreign.kill()
        foreign.wait()


@pytest.fixture
def nobody_alone() -> Iterator[None]:
    """The kernel counts all that nobody has, so no other process of the suite starts much as him.

    Whoever comes second waits for the first.
    """
    path = Path(tempfile.gettempdir()) / f"atlas-tests-of-nobody.{os.geteuid()}"
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def reaping(stage: Stage) -> Iterator[Reaper]:
    """Reap into `stage.exits`, as the daemon does: orphans come to us."""
    assert become_subreaper() == (sys.platform == "linux")
    reaper = Reaper(stage.on_exit)
    reaper.start()
    try:
        yield reaper
    finally:
        reaper.close()
        if sys.platform == "linux":
            # Or other tests of this process would find orphans of theirs among its children.
            set_child_subreaper, no = 36, 0  # prctl(2)
            assert ctypes.CDLL(None, use_errno=True).prctl(set_child_subreaper, no, 0, 0, 0) == 0


def tree_of(leader: ProcessIdentity, *, ours: bool = True) -> Tree:
    return Tree(MARKER, leader, ours)


@pytest.fixture
def reaps() -> Callable[[Stage], contextlib.AbstractContextManager[Reaper]]:
    return reaping


@pytest.fixture
def make_tree() -> Callable[..., Tree]:
    return tree_of
