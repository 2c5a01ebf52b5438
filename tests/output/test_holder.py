"""The process that holds every FIFO: one, replaced in time, found again, never another's."""

import asyncio
import contextlib
import os
import signal
import stat
import sys
import time

import psutil
import pytest

from supervisor.core.spec import LogSpec
from supervisor.holder import COMMAND, QUIET
from supervisor.output import Output
from supervisor.posix.environment import FLEET_MARK, UNIT_MARK, fleet_mark
from supervisor.posix.identity import identify
from supervisor.posix.spawn import Command, spawn
from tests.output.conftest import Place, lives, until


def fifos_of(pid: int) -> set[int]:
    """The inodes of the FIFOs that a process holds."""
    if sys.platform != "linux":
        pytest.skip("what others have open is asked of /proc")
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        # One that has only just been started opens and closes its libraries.
        with contextlib.suppress(FileNotFoundError):
            entry = os.stat(f"/proc/{pid}/fd/{name}")
            if stat.S_ISFIFO(entry.st_mode):
                found.add(entry.st_ino)
    return found


def names_of(place: Place) -> set[int]:
    return {os.stat(each).st_ino for each in (place.state / "fifo").iterdir()}


async def holder(place: Place, output: Output, *, other_than: int = 0) -> psutil.Process:
    seen: list[psutil.Process] = []

    def one() -> bool:
        seen[:] = place.holders()
        return len(seen) == 1 and seen[0].pid != other_than and seen[0].pid in output.pids

    await until(one, "there is one holder")
    return seen[0]


async def test_one_holder_holds_every_fifo_and_marks_itself(place: Place) -> None:
    started = set[int]()
    async with place.output() as output:
        began = time.monotonic()
        for at in range(50):
            output.open(f"s{at}", LogSpec())
            await asyncio.sleep(0)
            started |= {pid for pid in output.pids if pid != output.sink_pid}
        # Not one for each: none at all, unless it took a busy machine so long.
        assert len(started) <= (time.monotonic() - began) / QUIET
        one = await holder(place, output)
        assert fifos_of(one.pid) == names_of(place)
        assert len(fifos_of(one.pid)) == 50
        environment = one.environ()
        assert environment[FLEET_MARK] == fleet_mark(str(place.state))
        assert UNIT_MARK not in environment
        assert os.getsid(one.pid) == one.pid
        output.open("late", LogSpec())
        two = await holder(place, output, other_than=one.pid)
        assert fifos_of(two.pid) == names_of(place)
        assert len(fifos_of(two.pid)) == 51
    assert not lives(two.pid)
    assert not (place.state / "holder").exists()
    assert place.said == []


async def test_without_a_fifo_there_is_none(place: Place) -> None:
    async with place.output() as output:
        await asyncio.sleep(0.3)
        assert output.pids == {output.sink_pid}
        assert place.holders() == []


async def test_one_that_is_killed_is_replaced_and_that_is_said(place: Place) -> None:
    async with place.output() as output:
        output.open("a", LogSpec())
        one = await holder(place, output)
        one.kill()
        two = await holder(place, output, other_than=one.pid)
        assert fifos_of(two.pid) == names_of(place)
    assert len(place.said) == 1
    assert "holds the FIFOs was killed by signal 9 (SIGKILL); starting another" in place.said[0]


async def test_a_fifo_deleted_by_hand_is_held_all_the_same(place: Place) -> None:
    async with place.output() as output:
        fd = output.open("a", LogSpec())
        (place.state / "fifo" / "a").unlink()
        output.open("b", LogSpec())
        one = await holder(place, output)
        assert os.fstat(fd).st_ino in fifos_of(one.pid)
        assert not os.get_inheritable(fd)


async def test_a_holder_that_cannot_start_is_said_once_and_nothing_else_suffers(
    place: Place,
) -> None:
    path = os.environ["PATH"]
    os.environ["PATH"] = str(place.state)
    try:
        async with place.output() as output:
            fd = output.open("a", LogSpec())
            await until(lambda: place.said, "it is said")
            output.open("b", LogSpec())
            await asyncio.sleep(0.5)  # it was tried again
            assert len(place.said) == 1
            assert "cannot be started" in place.said[0]
            os.write(fd, b"written\n")
            assert await output.flush("a")
            assert place.content("a") == b"written\n"
    finally:
        os.environ["PATH"] = path


async def test_a_successor_ends_what_a_killed_daemon_left(place: Place) -> None:
    daemon = place.daemon(services={"a": ["sleep", "60"]})
    daemon.kill()
    (old,) = place.holders()
    async with place.output() as output:
        assert old.pid in output.pids
        output.open("a", LogSpec())
        new = await holder(place, output, other_than=old.pid)
        assert old.pid not in output.pids
        assert new.pid in output.pids


async def test_one_that_was_started_and_not_written_down_is_found_by_its_marks(
    place: Place,
) -> None:
    """The daemon was killed between the start and the record."""
    daemon = place.daemon(services={"a": ["sleep", "60"]})
    daemon.kill()
    (old,) = place.holders()
    (place.state / "holder").write_text("starting\n")
    async with place.output() as output:
        assert old.pid in output.pids
        await until(lambda: not lives(old.pid), "it is ended")


async def test_nobody_else_is_ever_signalled(place: Place) -> None:
    """A recycled pid, a record of another boot, and a namesake that is not of this fleet."""
    null = os.open(os.devnull, os.O_RDWR)
    other = spawn(Command(COMMAND, {"PATH": os.environ["PATH"]}, "/", null))
    os.close(null)
    me = identify(other)
    assert me is not None
    lines = [
        "starting",
        f"{me.pid} {me.started - 1} {me.boot} {me.uid}",
        f"{me.pid} {me.started} another-boot {me.uid}",
        "nonsense",
        "1 2 3",
    ]
    (place.state / "holder").write_text("\n".join(lines))
    async with place.output() as output:
        assert output.pids == {output.sink_pid}
        output.open("a", LogSpec())
        await holder(place, output)
        assert other not in output.pids
        assert lives(other)
        os.kill(other, signal.SIGTERM)


async def test_it_is_left_when_services_are(place: Place) -> None:
    async with place.output(quit_sink=False) as output:
        output.open("a", LogSpec())
    # Closed before the debounce was over: it holds the newest FIFO all the same.
    (left,) = place.holders()
    assert fifos_of(left.pid) == names_of(place)
    async with place.output():
        await until(lambda: not lives(left.pid), "the next daemon ends it")
