"""What a run that hangs is doing, of real processes, by each way that there is."""

import asyncio
import contextlib
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from supervisor import autopsy
from supervisor.autopsy import KEPT, LONGEST, Finding, examine, main_frames
from supervisor.core.events import Exit, ExitSignal
from supervisor.launcher import Launcher
from supervisor.posix.identity import ProcessIdentity, identify
from supervisor.posix.reaper import Reaper
from tests.tracing import may_trace

HANGING = """
import sys, time
def stuck_in_the_engine():
    print("up", flush=True)
    time.sleep(1000)
def handle_request():
    stuck_in_the_engine()
handle_request()
"""
STUCK = r"stuck_in_the_engine \(engine\.py:[45]\)"
"""It may still be on its way from the line in which it says that it is up."""
DEADLINE = 30.0
tracing = pytest.mark.skipif(not may_trace(), reason="this user may not look into processes")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="as Linux tells it")


@dataclass(frozen=True, slots=True)
class Patient:
    """A process that hangs, its output, and the daemon's launcher and reaper around it."""

    pid: int
    launcher: Launcher
    ends: dict[int, Exit]
    output: Path

    async def examined(
        self, logs: Path, environment: Mapping[str, str] | None = None, run: int = 7
    ) -> Finding:
        return await examine("tts", run, self.identity, environment or {}, str(logs), self.launcher)

    @property
    def identity(self) -> ProcessIdentity:
        found = identify(self.pid)
        assert found is not None
        return found


@contextlib.contextmanager
def hanging(folder: Path, *argv: str, env: Mapping[str, str] | None = None) -> Iterator[Patient]:
    """Start a process; at the end nothing of it or of the launcher is left."""
    launcher = Launcher()
    ends: dict[int, Exit] = {}

    def ended(pid: int, ending: Exit) -> None:
        ends[pid] = ending
        launcher.child_ended(pid, ending)

    output = folder / "output"
    reaper = Reaper(ended)
    with output.open("wb") as errors:
        process = subprocess.Popen(
            argv,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    reaper.start()
    try:
        yield Patient(process.pid, launcher, ends, output)
    finally:
        reaper.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert launcher.pids == frozenset()
    assert psutil.Process().children(recursive=True) == []


def python_that_hangs(folder: Path) -> tuple[str, ...]:
    script = folder / "engine.py"
    script.write_text(HANGING)
    return (sys.executable, str(script))


def tool(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let this shell script be what is found as py-spy."""
    path = folder / "py-spy"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(autopsy, "_py_spy", lambda: str(path))


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    made = tmp_path / "logs"
    made.mkdir()
    return made


@pytest.fixture
def no_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autopsy, "_py_spy", lambda: None)


@tracing
async def test_of_python_the_functions_are_told(tmp_path: Path, logs: Path) -> None:
    with hanging(tmp_path, *python_that_hangs(tmp_path)) as patient:
        found = await patient.examined(logs)
        assert not found.ends
        assert psutil.pid_exists(patient.pid)
    file = logs / "tts.dump-7.txt"
    outer = f"pid {patient.pid} ← handle_request (engine.py:7) ← <module> (engine.py:8)"
    words = rf"hung in {STUCK}; more in logs/tts\.dump-7\.txt: {re.escape(outer)}"
    assert re.fullmatch(words, found.words)
    assert "handle_request" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@linux_only
@tracing
async def test_what_somebody_has_stopped_is_looked_into_too(tmp_path: Path, logs: Path) -> None:
    with hanging(tmp_path, *python_that_hangs(tmp_path)) as patient:
        os.kill(patient.pid, signal.SIGSTOP)
        async with asyncio.timeout(DEADLINE):
            while psutil.Process(patient.pid).status() != psutil.STATUS_STOPPED:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        found = await patient.examined(logs)
    assert re.match(rf"hung in {STUCK}", found.words)


@linux_only
@tracing
async def test_of_a_tree_every_python_is_looked_into(tmp_path: Path, logs: Path) -> None:
    engine = " ".join(python_that_hangs(tmp_path))
    with hanging(tmp_path, "/bin/sh", "-c", f"{engine} & wait") as patient:
        found = await patient.examined(logs)
    assert re.match(rf"hung in {STUCK}", found.words)
    assert f"pid {patient.pid} sh (state " in found.words
    assert "process" in (logs / "tts.dump-7.txt").read_text()


@pytest.mark.usefixtures("no_tool")
async def test_without_a_tool_python_tells_it_itself(tmp_path: Path, logs: Path) -> None:
    environment = {"PYTHONFAULTHANDLER": "1"}
    with hanging(tmp_path, *python_that_hangs(tmp_path), env=environment) as patient:
        found = await patient.examined(logs, environment)
        assert found.ends
        async with asyncio.timeout(DEADLINE):
            while patient.pid not in patient.ends:  # noqa: ASYNC110 - the reaper has no event
                await asyncio.sleep(0.005)
    assert patient.ends[patient.pid] == ExitSignal(signal.SIGABRT)
    assert "in stuck_in_the_engine" in patient.output.read_text()
    assert os.listdir(logs) == []
    assert "into the log" in found.words


@linux_only
@pytest.mark.usefixtures("no_tool")
async def test_of_anything_else_the_threads_are_told(tmp_path: Path, logs: Path) -> None:
    with hanging(tmp_path, "/bin/sh", "-c", "echo up; exec sleep 1000") as patient:
        found = await patient.examined(logs)
        assert "pip install" not in found.words
    assert re.search(rf"in logs/tts.dump-7.txt: pid {patient.pid} \w+ \(state [RS]\)$", found.words)
    with hanging(tmp_path, *python_that_hangs(tmp_path)) as patient:
        found = await patient.examined(logs)
        assert not found.ends, "not started with PYTHONFAULTHANDLER: SIGABRT would tell nothing"
    assert f"process {patient.pid} {sys.executable}" in (logs / "tts.dump-7.txt").read_text()
    assert found.words.endswith("pip install py-spy")


@linux_only
async def test_a_tool_that_is_refused_says_why(
    tmp_path: Path, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool(tmp_path, monkeypatch, "echo 'Permission Denied: try again as root' >&2; exit 1")
    with hanging(tmp_path, *python_that_hangs(tmp_path)) as patient:
        found = await patient.examined(logs)
        assert f"pid {patient.pid} python" in found.words
    assert "Permission Denied: try again as root" in (logs / "tts.dump-7.txt").read_text()


async def test_a_tool_that_does_not_end_is_ended(
    tmp_path: Path, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool(tmp_path, monkeypatch, "exec sleep 1000")
    monkeypatch.setattr(autopsy, "DUMP_TIME", 0.2)
    with hanging(tmp_path, *python_that_hangs(tmp_path)) as patient:
        found = await patient.examined(logs)
        async with asyncio.timeout(DEADLINE):
            while patient.launcher.pids:  # noqa: ASYNC110 - it has been killed; the reaper is next
                await asyncio.sleep(0.005)
    assert not found.ends
    assert "not all could be found out within" in (logs / "tts.dump-7.txt").read_text()


async def test_a_file_is_bounded(
    tmp_path: Path, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool(tmp_path, monkeypatch, "head -c 3000000 /dev/zero | tr '\\0' x")
    with hanging(tmp_path, *python_that_hangs(tmp_path)) as patient:
        await patient.examined(logs)
    assert (logs / "tts.dump-7.txt").stat().st_size == LONGEST


async def test_the_newest_are_kept_and_those_of_others_left_alone(
    tmp_path: Path, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool(tmp_path, monkeypatch, "echo looked")
    strangers = {"tts.log", "tts2.dump-1.txt", "tts.dump-x.txt", "my tts.dump-1.txt"}
    for name in strangers:
        (logs / name).touch()
    with hanging(tmp_path, *python_that_hangs(tmp_path)) as patient:
        for run in range(1, KEPT + 4):
            await patient.examined(logs, run=run)
            os.utime(logs / f"tts.dump-{run}.txt", (run, run))
        await patient.examined(logs, run=KEPT + 3)
    newest = {f"tts.dump-{run}.txt" for run in range(4, KEPT + 4)}
    assert set(os.listdir(logs)) == strangers | newest


async def test_no_link_is_followed_and_no_folder_made(
    tmp_path: Path, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool(tmp_path, monkeypatch, "echo looked")
    target = tmp_path / "precious"
    target.write_text("kept")
    (logs / "tts.dump-7.txt").symlink_to(target)
    with hanging(tmp_path, *python_that_hangs(tmp_path)) as patient:
        found = await patient.examined(logs)
        assert "symbolic link: remove it" in found.words
        assert target.read_text() == "kept"
        found = await patient.examined(tmp_path / "nowhere")
    assert found.words.startswith("what it was doing could not be saved: ")
    assert not (tmp_path / "nowhere").exists()


async def test_what_has_just_ended_is_no_trouble(tmp_path: Path, logs: Path) -> None:
    with hanging(tmp_path, "/bin/sh", "-c", "echo up; exec sleep 1000") as patient:
        identity = patient.identity
        os.kill(patient.pid, signal.SIGKILL)
        async with asyncio.timeout(DEADLINE):
            while patient.pid not in patient.ends:  # noqa: ASYNC110 - the reaper has no event
                await asyncio.sleep(0.005)
        found = await examine("tts", 7, identity, None, str(logs), patient.launcher)
    assert found == Finding("what it did is in logs/tts.dump-7.txt")


OUTER = ["serve_forever (socketserver.py:232)", "main (x.py:3)"]
DUMP = """Process 12: python -m x
Python v3.11.7 (/usr/bin/python3.11)

Thread 12 (idle): "MainThread"
    select (selectors.py:468)
    serve_forever (/srv/my app/socketserver.py:232)
    main (x.py:3)
    <module> (x.py:9)
Thread 14 (active): "worker"
    speak (engine.py:7)
"""


@pytest.mark.parametrize(
    ("dump", "frames"),
    [
        (DUMP, ["select (selectors.py:468)", *OUTER]),
        (DUMP.replace(': "MainThread"', ""), ["select (selectors.py:468)", *OUTER]),
        (DUMP.replace("Thread 12", "Thread 0x7F01"), ["select (selectors.py:468)", *OUTER]),
        (DUMP.replace('12 (idle): "MainThread"', '13 (idle): "w"'), []),
        ('Thread 12 (idle): "MainThread"\n', []),
        ('Thread 1: "w"\n    a (b:1)\nThread 2: "MainThread"\n    c (d:2)\n', ["c (d:2)"]),
        ("", []),
    ],
)
def test_the_innermost_frames_of_the_main_thread(dump: str, frames: list[str]) -> None:
    assert main_frames(dump, 12) == frames


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ('[ "$2 $3 $4" = "1 -mayDie -file" ] && echo "of $1: stuck" >"$5"; echo written', "stuck"),
        ("echo 'sample cannot examine process' >&2; exit 1", "cannot examine"),
    ],
)
async def test_what_sample_writes_into_its_file_is_told(
    tmp_path: Path, logs: Path, monkeypatch: pytest.MonkeyPatch, script: str, told: str
) -> None:
    program = tmp_path / "sample"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(autopsy, "_SAMPLE", str(program))
    report = autopsy._Report()
    with hanging(tmp_path, "/bin/sh", "-c", "echo up; exec sleep 1000") as patient:
        await autopsy._sample(patient.pid, patient.launcher, report, str(logs / "tts.dump-7.txt"))
        assert report.details == [f"pid {patient.pid}"]
    assert told in report.text
    assert "written" not in report.text
    assert os.listdir(logs) == []
