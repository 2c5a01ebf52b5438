"""Real commands as probes, behind the daemon's own launcher and reaper."""

import asyncio
import contextlib
import os
import resource
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from supervisor.core.events import Exit, ProbeResult
from supervisor.core.spec import ExecCheck, ProbeSpec
from supervisor.launcher import Launcher
from supervisor.posix.reaper import Reaper
from supervisor.probes import Context, Prober
from tests.probes.conftest import DEADLINE, turn

ENVIRONMENT = {"PATH": os.environ["PATH"]}
LONG = "1000"
"""Seconds for which a command sleeps that is to be killed."""


@contextlib.contextmanager
def reaping() -> Iterator[Launcher]:
    """A launcher whose children are reaped as the daemon's are; none may be left at the end."""
    launcher = Launcher()

    def ended(pid: int, ending: Exit) -> None:
        launcher.child_ended(pid, ending)

    reaper = Reaper(ended)
    reaper.start()
    try:
        yield launcher
    finally:
        reaper.close()
    assert launcher.pids == frozenset()


async def ask(
    *command: str,
    within: float = DEADLINE,
    cwd: str = "/",
    env: Mapping[str, str] = ENVIRONMENT,
) -> ProbeResult:
    async with asyncio.timeout(DEADLINE):
        with reaping() as launcher:
            return await Prober().ask(
                ProbeSpec(ExecCheck(command), timeout=within),
                Context(cwd, lambda: env, launcher.run),
            )


async def until_gone(pid: int) -> None:
    """Return when a process is dead, reaped by whoever is its parent."""
    async with asyncio.timeout(DEADLINE):
        while _lives(pid):  # noqa: ASYNC110 - a process that is not our child tells nobody
            await asyncio.sleep(0.005)


def _lives(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


# How a command ends -------------------------------------------------------------------------


async def test_exit_0_is_success() -> None:
    result = await ask("true")
    assert (result.ok, result.detail) == (True, "true exited with code 0")
    assert 0 < result.latency < DEADLINE


async def test_what_a_successful_command_prints_is_not_shown() -> None:
    assert (await ask("echo", "fine")).detail == "echo exited with code 0"


async def test_exit_3_fails_with_the_last_words() -> None:
    result = await ask("sh", "-c", "echo first; echo no model loaded >&2; exit 3")
    assert result.ok is False
    assert result.detail == "sh exited with code 3: first no model loaded"


async def test_a_command_killed_by_a_signal_fails() -> None:
    result = await ask("sh", "-c", "kill -SEGV $$")
    assert result.ok is False
    assert "was killed by signal 11 (SIGSEGV)" in result.detail


async def test_a_command_that_ignores_every_signal_is_killed_with_its_group() -> None:
    script = (
        f"trap '' TERM INT HUP; (trap '' TERM; sleep {LONG}) & echo child $!; "
        f"echo hanging; while :; do sleep {LONG}; done"
    )
    result = await ask("sh", "-c", script, within=3.0)
    assert result.ok is False
    assert result.detail.startswith("sh did not end within 3 s: child ")
    assert result.detail.endswith(" hanging")
    assert result.latency >= 3.0
    await until_gone(int(result.detail.split("child ")[1].split()[0]))


async def test_a_stopped_command_is_killed_all_the_same() -> None:
    result = await ask("sh", "-c", "kill -STOP $$", within=0.2)
    assert (result.ok, result.detail) == (False, "sh did not end within 0.2 s")


async def test_a_child_that_goes_on_writing_delays_no_verdict(tmp_path: Path) -> None:
    """It holds the pipe open and outlives the command; it meets a closed pipe and ends."""
    os.mkfifo(tmp_path / "go")
    script = "setsid sh -c 'echo $$ > pid; echo > go; exec yes' & read _ < go; exit 3"
    result = await ask("sh", "-c", script, cwd=str(tmp_path), within=DEADLINE / 2)
    assert result.ok is False
    assert "exited with code 3" in result.detail
    assert result.latency < DEADLINE / 2
    await until_gone(int((tmp_path / "pid").read_text()))


async def test_what_a_command_leaves_in_its_group_is_ended(tmp_path: Path) -> None:
    """A probe every 5 s that leaves a child would fill the machine in a day."""
    script = f"sleep {LONG} & echo $! > pid"
    assert (await ask("sh", "-c", script, cwd=str(tmp_path))).ok is True
    await until_gone(int((tmp_path / "pid").read_text()))


async def test_a_cancelled_probe_leaves_nothing(tmp_path: Path) -> None:
    started = tmp_path / "started"
    os.mkfifo(started)
    with reaping() as launcher:
        spec = ProbeSpec(ExecCheck(("sh", "-c", f"echo $$ > {started}; sleep {LONG} & wait")))
        context = Context("/", lambda: ENVIRONMENT, launcher.run)
        asking = asyncio.create_task(Prober().ask(spec, context))
        with held_open(started) as told:
            pid = int(await _line(told))
        end = launcher.exited(pid)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        async with asyncio.timeout(DEADLINE):
            await end
        await until_gone(pid)
    # SIGKILL has been sent to each of the group, and none takes effect at once.
    async with asyncio.timeout(DEADLINE):
        while _group(pid):  # noqa: ASYNC110 - a process that is not our child tells nobody
            await asyncio.sleep(0.005)


def _group(pgid: int) -> list[int]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.Error):
            if os.getpgid(process.pid) == pgid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


# What cannot be started ----------------------------------------------------------------------


async def test_a_missing_command_is_the_specs_fault() -> None:
    result = await ask("no-such-command", "--now")
    assert result.ok is False
    assert "no-such-command" in result.detail


async def test_a_command_that_is_not_executable_is_the_specs_fault(tmp_path: Path) -> None:
    (tmp_path / "check").write_text("#!/bin/sh\n")
    result = await ask("./check", cwd=str(tmp_path))
    assert result.ok is False
    assert "check" in result.detail


async def test_a_missing_folder_is_the_specs_fault(tmp_path: Path) -> None:
    result = await ask("true", cwd=str(tmp_path / "gone"))
    assert result.ok is False
    assert str(tmp_path / "gone") in result.detail


@pytest.mark.skipif(sys.platform != "linux", reason="macOS runs a file that is being written")
async def test_what_passes_by_itself_does_not_count_against_the_service(tmp_path: Path) -> None:
    """The kernel says "text file busy" while somebody writes the program: an update, say."""
    program = tmp_path / "check"
    shutil.copyfile("/bin/true", program)
    program.chmod(0o755)
    with program.open("ab"):
        assert (await ask(str(program))).ok is None
    assert (await ask(str(program))).ok is True


async def test_no_descriptor_left_is_the_probers_own_trouble() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spec = ProbeSpec(ExecCheck(("true",)))
    with reaping() as launcher:
        # The first free number, so that the next descriptor is one too many.
        free = os.dup(0)
        os.close(free)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
            result = await Prober().ask(spec, Context("/", lambda: ENVIRONMENT, launcher.run))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (result.ok, result.detail) == (
        None,
        "there is no pipe for its output: Too many open files",
    )


async def test_an_environment_that_cannot_be_read_is_the_probers_own_trouble() -> None:
    def broken() -> Mapping[str, str]:
        raise OSError("secrets.env: permission denied")

    with reaping() as launcher:
        result = await Prober().ask(
            ProbeSpec(ExecCheck(("true",))), Context("/", broken, launcher.run)
        )
    assert result.ok is None
    assert "secrets.env: permission denied" in result.detail


# What it gets and what it says ---------------------------------------------------------------


async def test_environment_and_folder_are_the_services(tmp_path: Path) -> None:
    """And nothing else: what the daemon has in its environment is not the service's."""
    script = "pwd -P > seen; env | sort >> seen"
    env = {**ENVIRONMENT, "VOICE": "олена", "ATLAS_RUN": "7"}
    os.environ["OF_THE_DAEMON"] = "1"
    try:
        result = await ask("sh", "-c", script, cwd=str(tmp_path), env=env)
    finally:
        del os.environ["OF_THE_DAEMON"]
    assert result.ok is True
    folder, *variables = (tmp_path / "seen").read_text().splitlines()
    assert os.path.samefile(folder, tmp_path)  # noqa: ASYNC240
    names = {"PWD", "OLDPWD", "SHLVL", "_"}  # the shell's own
    seen = dict(line.split("=", 1) for line in variables)
    assert {n: v for n, v in seen.items() if n not in names} == env


async def test_stdin_is_empty_and_no_terminal() -> None:
    assert (await ask("sh", "-c", 'test ! -t 0 && test -z "$(cat)"')).ok is True


async def test_only_the_end_of_much_output_is_shown() -> None:
    script = "print('x' * 5_000_000); print('the last words'); raise SystemExit(1)"
    result = await ask(sys.executable, "-I", "-S", "-c", script)
    assert result.detail.endswith("xxx the last words")
    said = result.detail.split("exited with code 1: ")[1]
    assert len(said) == 200


async def test_control_characters_and_bad_utf_8_are_made_harmless() -> None:
    result = await ask("printf", r"\033[31mred\007\000 \377\ntwo\n")
    assert result.ok is True
    result = await ask("sh", "-c", r"printf '\033[31mred\007 \377\ntwo\n'; exit 1")
    assert result.detail == "sh exited with code 1: [31mred \ufffd two"


async def test_one_that_prints_for_ever_is_killed_in_time_and_bounded() -> None:
    result = await ask("yes", "again", within=0.5)
    assert result.ok is False
    assert result.detail.startswith("yes did not end within 0.5 s: ")
    assert len(result.detail) <= 200 + len("yes did not end within 0.5 s: ")


# Many ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def held_open(fifo: Path) -> Iterator[int]:
    """Both ends of a FIFO in one descriptor, so that the end of one writer is not its end."""
    fd = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    try:
        yield fd
    finally:
        os.close(fd)


async def _line(fd: int) -> bytes:
    """Return the next line of a FIFO."""
    loop = asyncio.get_running_loop()
    line = b""
    while not line.endswith(b"\n"):
        readable = asyncio.Event()
        loop.add_reader(fd, readable.set)
        try:
            async with asyncio.timeout(DEADLINE):
                await readable.wait()
        finally:
            loop.remove_reader(fd)
        line += os.read(fd, 1)
    return line


async def test_many_at_once_take_turns(tmp_path: Path) -> None:
    """Three of eight run; each waits at a gate, and the next comes when one has gone."""
    at_once, count = 3, 8
    started, gate = tmp_path / "started", tmp_path / "gate"
    os.mkfifo(started)
    os.mkfifo(gate)
    spec = ProbeSpec(
        ExecCheck(("sh", "-c", f"echo $$ > {started}; read go < {gate}")), timeout=DEADLINE
    )
    prober = Prober(at_once)
    with (
        reaping() as launcher,
        held_open(started) as told,
        held_open(gate) as opened,
    ):
        context = Context("/", lambda: ENVIRONMENT, launcher.run)
        asking = [asyncio.create_task(prober.ask(spec, context)) for _ in range(count)]
        at_gate = [int(await _line(told)) for _ in range(at_once)]
        for done in range(count):
            await turn()
            assert launcher.pids == set(at_gate)
            ends = [launcher.exited(pid) for pid in at_gate]
            # A shell reads byte by byte, so one line lets one through.
            os.write(opened, b"\n")
            ended, _ = await asyncio.wait(
                ends, timeout=DEADLINE, return_when=asyncio.FIRST_COMPLETED
            )
            assert len(ended) == 1
            at_gate = [pid for pid in at_gate if pid in launcher.pids]
            if done + at_once < count:
                at_gate.append(int(await _line(told)))
        results = await asyncio.gather(*asking)
    assert [result.ok for result in results] == [True] * count


async def test_waiting_for_a_turn_does_not_use_up_the_time_out(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    prober, patience = Prober(1), 3.0
    long = ProbeSpec(ExecCheck(("sh", "-c", f"read go < {gate}")), timeout=DEADLINE)
    short = ProbeSpec(ExecCheck(("true",)), timeout=patience)
    with reaping() as launcher, held_open(gate) as opened:
        context = Context("/", lambda: ENVIRONMENT, launcher.run)
        first = asyncio.create_task(prober.ask(long, context))
        second = asyncio.create_task(prober.ask(short, context))
        done, _ = await asyncio.wait((first, second), timeout=patience + 0.1)
        assert done == set()
        os.write(opened, b"\n")
        assert [(await first).ok, (await second).ok] == [True, True]
    assert second.result().latency < patience


async def test_one_that_is_cancelled_while_it_waits_frees_no_slot_of_another() -> None:
    prober = Prober(1)
    with reaping() as launcher:
        context = Context("/", lambda: ENVIRONMENT, launcher.run)
        short = ProbeSpec(ExecCheck(("sleep", "0.1")))
        first = asyncio.create_task(prober.ask(short, context))
        second = asyncio.create_task(prober.ask(short, context))
        third = asyncio.create_task(prober.ask(short, context))
        await turn()
        second.cancel()
        assert [(await first).ok, (await third).ok] == [True, True]
        with pytest.raises(asyncio.CancelledError):
            await second


async def test_a_hundred_commands_in_a_row_leave_no_descriptor_and_no_process() -> None:
    """The fixture of this folder compares the descriptors and the children."""
    with reaping() as launcher:
        prober = Prober()
        spec = ProbeSpec(ExecCheck(("true",)))
        context = Context("/", lambda: ENVIRONMENT, launcher.run)
        results = await asyncio.gather(*(prober.ask(spec, context) for _ in range(100)))
    assert {result.ok for result in results} == {True}
