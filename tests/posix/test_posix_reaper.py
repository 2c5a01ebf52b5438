"""Reaper: every child's end, once, soon, and before the pid is free."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import pytest

from supervisor.core.events import Exit, ExitCode, ExitSignal, ExitUnknown
from supervisor.posix.reaper import PER_PASS, Reaper, exit_of, exit_of_status
from supervisor.posix.rows import DeadChild
from supervisor.posix.spawn import spawn

if TYPE_CHECKING:
    from .conftest import Stage

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and a subreaper")

Reaps = Callable[["Stage"], AbstractContextManager[Reaper]]


def test_codes_and_signals_are_told_apart(stage: "Stage", reaps: Reaps) -> None:
    async def main() -> None:
        with reaps(stage):
            seven = spawn(stage.command("sh", "-c", "exit 7"))
            killed = spawn(stage.command("sleep", "60"))
            os.kill(killed, signal.SIGKILL)
            aborted = spawn(stage.command("sh", "-c", "ulimit -c 0; kill -ABRT $$"))
            assert await stage.exit_of(seven) == ExitCode(7)
            assert await stage.exit_of(killed) == ExitSignal(9)
            ending = await stage.exit_of(aborted)
            assert isinstance(ending, ExitSignal)
            assert ending.signal == signal.SIGABRT

    asyncio.run(main())


@pytest.mark.parametrize(
    ("code", "status", "ending"),
    [
        (os.CLD_EXITED, 3, ExitCode(3)),
        (os.CLD_KILLED, 9, ExitSignal(9)),
        (os.CLD_DUMPED, 11, ExitSignal(11, core_dumped=True)),
        (os.CLD_STOPPED, 19, ExitUnknown()),
    ],
)
def test_translation_of_siginfo(code: int, status: int, ending: Exit) -> None:
    assert exit_of(code, status) == ending


@pytest.mark.parametrize(
    ("status", "ending"),
    [
        (3 << 8, ExitCode(3)),
        (9, ExitSignal(9)),
        (11 | 0x80, ExitSignal(11, core_dumped=True)),
        (0x7F | 19 << 8, ExitUnknown()),
    ],
)
def test_translation_of_a_status_word(status: int, ending: Exit) -> None:
    assert exit_of_status(status) == ending


def test_two_hundred_deaths_at_once_are_all_reported(stage: "Stage", reaps: Reaps) -> None:
    async def main() -> None:
        with reaps(stage):
            gate_out, gate_in = os.pipe()
            os.set_inheritable(gate_out, False)
            hold = stage.command("cat")
            # All read the same pipe as their "output" and end together when it is closed.
            pids = [
                spawn(type(hold)(("sh", "-c", "read x <&1; exit 5"), hold.env, "/", gate_out))
                for _ in range(200)
            ]
            os.close(gate_out)
            os.close(gate_in)
            await stage.until(lambda: stage.exits.keys() >= set(pids))
            assert {stage.exits[pid] for pid in pids} == {ExitCode(5)}

    asyncio.run(main())


def test_a_storm_leaves_room_for_other_events(stage: "Stage") -> None:
    async def main() -> None:
        between: list[int] = []
        reaper = Reaper(stage.on_exit)
        pids = [spawn(stage.command("true")) for _ in range(PER_PASS + 50)]
        for pid in pids:
            stage.await_death(pid)
        reaper.start()
        try:
            asyncio.get_running_loop().call_soon(lambda: between.append(len(stage.exits)))
            await stage.until(lambda: len(stage.exits) == len(pids))
        finally:
            reaper.close()
        assert between == [PER_PASS]

    asyncio.run(main())


@linux_only
def test_pid_and_group_are_held_while_the_end_is_reported(stage: "Stage") -> None:
    async def main() -> None:
        held: list[str] = []

        def on_exit(pid: int, ending: Exit) -> None:
            with open(f"/proc/{pid}/stat") as stat:
                held.append(stat.read().rpartition(") ")[2][0])
            os.killpg(pid, signal.SIGKILL)  # would raise if the number were free
            stage.on_exit(pid, ending)

        reaper = Reaper(on_exit)
        reaper.start()
        try:
            await stage.exit_of(spawn(stage.command("true")))
        finally:
            reaper.close()
        assert held == ["Z"]

    asyncio.run(main())


@linux_only
def test_grandchild_that_holds_the_output_does_not_delay_the_notice(
    stage: "Stage", reaps: Reaps
) -> None:
    async def main() -> None:
        with reaps(stage):
            pid = spawn(stage.command("sh", "-c", "sleep 60 & echo $!; exit 3"))
            grandchild = int(stage.line())
            assert await stage.exit_of(pid) == ExitCode(3)
            os.kill(grandchild, 0)  # it lives, and the output is open still
            os.kill(grandchild, signal.SIGKILL)
            # Its end is reported as well: it was left to us.
            assert await stage.exit_of(grandchild) == ExitSignal(9)

    asyncio.run(main())


def test_stopped_and_continued_children_are_no_news(stage: "Stage", reaps: Reaps) -> None:
    async def main() -> None:
        with reaps(stage):
            pid = spawn(stage.command("sleep", "60"))
            os.kill(pid, signal.SIGSTOP)
            stage.await_stop(pid)
            os.kill(pid, signal.SIGCONT)
            stage.await_continue(pid)
            other = spawn(stage.command("true"))
            assert await stage.exit_of(other) == ExitCode(0)
            assert pid not in stage.exits
            os.kill(pid, signal.SIGKILL)
            assert await stage.exit_of(pid) == ExitSignal(9)

    asyncio.run(main())


def test_failing_callback_leaves_no_zombie_and_is_reported(stage: "Stage") -> None:
    async def main() -> None:
        raised: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: raised.append(context["message"]))
        ended = asyncio.Event()

        def on_exit(pid: int, ending: Exit) -> None:
            ended.set()
            raise ValueError(pid)

        reaper = Reaper(on_exit)
        reaper.start()
        try:
            pid = spawn(stage.command("true"))
            async with asyncio.timeout(10):
                await ended.wait()
        finally:
            reaper.close()
        assert raised == [f"on_exit failed for pid {pid}"]

    asyncio.run(main())


def test_a_child_that_died_before_the_start_is_reported(stage: "Stage", reaps: Reaps) -> None:
    async def main() -> None:
        pid = spawn(stage.command("true"))
        stage.await_death(pid)
        with reaps(stage):
            assert await stage.exit_of(pid) == ExitCode(0)

    asyncio.run(main())


def test_siginfo_of_macos_is_read_as_its_header_lays_it_out() -> None:
    import struct

    from supervisor.posix.darwin import parse_siginfo

    head = struct.pack("=6i", 20, 0, os.CLD_KILLED, 4711, 501, 9)
    assert parse_siginfo(head.ljust(104, b"\0")) == DeadChild(4711, os.CLD_KILLED, 9)
    assert parse_siginfo(bytes(104)) is None
    # exit(-1), at the first look and at the next: si_status has more than the code there.
    for status in (-1, 0x00FF_FFFF):
        head = struct.pack("=6i", 20, 0, os.CLD_EXITED, 4711, 0, status)
        assert parse_siginfo(head.ljust(104, b"\0")) == DeadChild(4711, os.CLD_EXITED, 255)


def test_full_pipe_of_signals_is_not_reported_for_each_signal(
    stage: "Stage", reaps: Reaps, capfd: pytest.CaptureFixture[str]
) -> None:
    async def main() -> None:
        with reaps(stage):
            for _ in range(3000):  # more than the loop's pipe holds, and the loop reads none
                os.kill(os.getpid(), signal.SIGCHLD)
            assert await stage.exit_of(spawn(stage.command("true"))) == ExitCode(0)

    asyncio.run(main())
    assert "wakeup" not in capfd.readouterr().err
