"""Real commands, ports and files, as a remedy runs them and waits for them."""

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

from supervisor.core.spec import FileExists, PortFree, RemedyCommand, RemedyStep, Succeeds, WaitFor
from supervisor.posix.spawn import SpawnError
from supervisor.remedy_steps import Ground, take
from tests.probes.test_exec_probe import reaping

DEADLINE = 30.0
OFTEN = 0.01
"""Seconds between two looks, so that no test waits for a second one."""


async def taken(step: RemedyStep, cwd: str = "/", **env: str) -> tuple[bool, str]:
    async with asyncio.timeout(DEADLINE):
        with reaping() as launcher:
            environment = {"PATH": os.environ["PATH"], **env}
            return await take(step, Ground(cwd, lambda: environment, launcher.run), every=OFTEN)


async def test_a_command_runs_where_the_service_does(tmp_path: Path) -> None:
    step = RemedyCommand(("sh", "-c", 'echo "$NAME" >made'))
    assert await taken(step, str(tmp_path), NAME="x") == (True, "sh exited with code 0")
    assert (tmp_path / "made").read_text() == "x\n"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("sh", "-c", "echo no; exit 3"), "sh exited with code 3: no"),
        (("no-such-command-here",), "no-such-command-here"),
    ],
)
async def test_a_command_that_fails_says_how(command: tuple[str, ...], said: str) -> None:
    ok, detail = await taken(RemedyCommand(command))
    assert not ok
    assert said in detail


async def test_a_command_that_takes_too_long_is_killed() -> None:
    ok, detail = await taken(RemedyCommand(("sleep", "1000"), timeout=0.05))
    assert (ok, detail) == (False, "sleep did not end within 0.05 s")


async def test_an_env_file_that_cannot_be_read_is_a_failure() -> None:
    def environment() -> dict[str, str]:
        raise SpawnError("x.env is missing", retry=True)

    with reaping() as launcher:
        ground = Ground("/", environment, launcher.run)
        assert await take(RemedyCommand(("true",)), ground) == (False, "x.env is missing")


async def test_a_port_is_waited_for_until_it_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        waiting = asyncio.create_task(taken(WaitFor(PortFree(port))))
        ok, detail = await taken(WaitFor(PortFree(port), timeout=0.05))
        assert not ok
        assert detail.startswith(f"it did not come true within 0.05 s that port {port} is free")
        assert f"taken by pid {os.getpid()}" in detail
    ok, detail = await waiting
    assert ok
    assert detail.startswith(f"port {port} is free after ")


async def test_a_file_is_waited_for_until_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    waiting = asyncio.create_task(taken(WaitFor(FileExists(str(path)))))
    ok, detail = await taken(WaitFor(FileExists(str(path)), timeout=0.05))
    assert (ok, detail.endswith(f"{path} is not there")) == (False, True)
    path.touch()
    assert (await waiting)[0]


async def test_a_command_is_asked_again_until_it_succeeds(tmp_path: Path) -> None:
    count = 'echo x >>asked; test "$(wc -l <asked)" -ge 3'
    step = WaitFor(Succeeds(("sh", "-c", count)))
    ok, detail = await taken(step, str(tmp_path))
    assert ok
    assert detail.startswith("sh exited with code 0 after ")
    assert (tmp_path / "asked").read_text() == "x\n" * 3


async def test_what_is_cancelled_leaves_no_process(tmp_path: Path) -> None:
    script = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(1000)"
    step = RemedyCommand((sys.executable, "-c", script), timeout=1000.0)
    with reaping() as launcher:
        ground = Ground(str(tmp_path), lambda: {"PATH": os.environ["PATH"]}, launcher.run)
        task = asyncio.create_task(take(step, ground))
        async with asyncio.timeout(DEADLINE):
            while not _text(tmp_path / "pid"):  # noqa: ASYNC110 - a file tells nobody
                await asyncio.sleep(OFTEN)
            pid = int(_text(tmp_path / "pid"))
            end = launcher.exited(pid)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await end


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
