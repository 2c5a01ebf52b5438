"""Commands that are run to their end: real ones, behind the daemon's reaper."""

import asyncio
import os
import signal
from pathlib import Path

import psutil
import pytest

from supervisor import launcher as launching
from supervisor.core.events import ExitCode, ExitSignal
from supervisor.launcher import Launcher
from supervisor.probes.exec import Ended, LaunchError
from tests.probes.test_exec_probe import ENVIRONMENT, reaping, until_gone

DEADLINE = 30.0
SHORT = 0.2
FIRST, LAST = slice(6), slice(-6, None)


async def run(
    launcher: Launcher, script: str, within: float = DEADLINE, kept: slice = LAST
) -> Ended:
    async with asyncio.timeout(DEADLINE):
        return await launcher.run(("sh", "-c", script), "/", ENVIRONMENT, within, kept)


async def ran(script: str, within: float = DEADLINE, kept: slice = LAST) -> Ended:
    with reaping() as launcher:
        return await run(launcher, script, within, kept)


@pytest.mark.parametrize(("kept", "printed"), [(FIRST, "first\n"), (LAST, " last\n")])
async def test_of_a_flood_one_end_is_kept(kept: slice, printed: str) -> None:
    ended = await ran("echo first; head -c 3000000 /dev/zero; echo ' last'; exit 3", kept=kept)
    assert (ended.ending, ended.printed) == (ExitCode(3), printed)


async def test_what_both_streams_say_stands_in_its_order() -> None:
    ended = await ran("echo a; echo b >&2; printf '\\377'; kill -9 $$")
    assert (ended.ending, ended.printed) == (ExitSignal(signal.SIGKILL), "a\nb\n\ufffd")


async def test_one_that_closes_its_output_and_lives_on_is_waited_for(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with reaping() as launcher:
        script = f"echo said; exec >&- 2>&-; read _ <{gate}; exit 4"
        running = asyncio.create_task(run(launcher, script))
        opened = await asyncio.to_thread(os.open, gate, os.O_WRONLY)
        assert not running.done()
        os.close(opened)
        ended = await running
    assert (ended.ending, ended.printed) == (ExitCode(4), "said\n")
    assert (await ran("exec >&- 2>&-; exec sleep 1000", SHORT)).ending is None


async def test_a_grandchild_that_keeps_the_pipe_holds_up_nobody(tmp_path: Path) -> None:
    """It has left the group, as what forks twice does, and is not ours to end."""
    told = tmp_path / "pid"
    script = f"(setsid sh -c 'echo $$ >{told}.new; mv {told}.new {told}; exec sleep 1000' &); "
    ended = await ran(f"{script} until test -e {told}; do :; done; echo said")
    assert (ended.ending, ended.printed) == (ExitCode(0), "said\n")
    pid = int(told.read_text())
    assert psutil.pid_exists(pid)
    os.kill(pid, signal.SIGKILL)
    await until_gone(pid)


async def test_cancelled_in_the_middle_it_leaves_nothing(tmp_path: Path) -> None:
    told = tmp_path / "pids"
    os.mkfifo(told)
    with reaping() as launcher:
        running = asyncio.create_task(
            run(launcher, f"sleep 1000 & echo $$ $! >{told}; wait", kept=FIRST)
        )
        pids = [int(pid) for pid in (await asyncio.to_thread(told.read_text)).split()]
        end = launcher.exited(pids[0])
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        async with asyncio.timeout(DEADLINE):
            assert await end == ExitSignal(signal.SIGKILL)
    for pid in pids:
        await until_gone(pid)


async def test_no_time_at_all_is_a_bound_too() -> None:
    ended = await ran("exec sleep 1000", 0)
    assert (ended.ending, ended.printed) == (None, "")


async def test_what_cannot_be_started_says_whose_fault_it_is(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    for command in ("no-such-command", str(plain)):
        with reaping() as launcher, pytest.raises(LaunchError, match=command) as refused:
            await launcher.run((command,), "/", ENVIRONMENT, DEADLINE, LAST)
        assert not refused.value.ours


async def test_one_that_may_not_be_killed_is_still_told_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has become another user, and the kernel says EPERM; so does macOS of a dead group."""
    monkeypatch.setattr(launching, "_REAPED_WITHIN", SHORT)
    kill = os.killpg
    refused: list[int] = []

    def refusing(pid: int, number: int) -> None:
        refused.append(pid)
        raise PermissionError

    with reaping() as launcher:
        with monkeypatch.context() as patch:
            patch.setattr(os, "killpg", refusing)
            ended = await run(launcher, "exec sleep 1000", SHORT)
        assert ended.ending is None
        end = launcher.exited(refused[0])
        kill(refused[0], signal.SIGKILL)
        async with asyncio.timeout(DEADLINE):
            await end
