"""What a run that hangs is doing, saved before it is ended: afterwards nobody can find out.

Of Python processes the stacks (`py-spy dump`); where that is not to be had, Python prints them
itself into the log if it was started with PYTHONFAULTHANDLER; of any other process what the system
tells: `sample` on macOS, the state of each thread and where in the kernel it waits on Linux.
Bounded in time, in processes and in size; it never keeps a run from being ended.
"""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from supervisor.core.ending import DUMP_TIME
from supervisor.core.events import Exit, ExitCode
from supervisor.launcher import Launcher
from supervisor.posix import threads
from supervisor.posix.environment import environment_of
from supervisor.posix.executable import ExecutableError, find_executable
from supervisor.posix.identity import ProcessIdentity
from supervisor.posix.state import UnsafePathError, check_own_file, write_whole
from supervisor.posix.tree import descendants, signal_members
from supervisor.probes.exec import LaunchError

KEPT: Final = 3
"""Files for each service, the newest."""
LONGEST: Final = 64 * 1024
"""Bytes of a file."""
PROCESSES: Final = 4
"""Processes of one run that are looked into, its first one first."""
_SAMPLE: Final = "/usr/bin/sample"
_SAMPLE_SECONDS: Final = 1
_HINT: Final = "to see the functions of Python as well: pip install py-spy"
_MAC_HINT: Final = (
    "to see the functions of Python as well, env of the service: {PYTHONFAULTHANDLER: '1'}"
)

# `    handle (server.py:31)`, below `Thread 4711 (idle): "MainThread"`. A thread has a name only if
# the program has imported `threading`.
_THREAD = re.compile(r"^Thread (\S+) ")
_FRAME = re.compile(r"^\s+(\S.*?) \((.*):(\d+)\)$")


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out: words for one line, and whether the run is being ended by it already."""

    words: str
    ends: bool = False


async def examine(
    name: str,
    run: int,
    leader: ProcessIdentity,
    environment: Mapping[str, str] | None,
    logs_dir: str,
    launcher: Launcher,
) -> Finding:
    """Save what a run does in `logs_dir`/NAME.dump-RUN.txt, within DUMP_TIME. Never raises.

    `environment` is what it was started with; None: the system is asked.
    """
    path = f"{logs_dir}/{name}.dump-{run}.txt"
    report = _Report()
    try:
        async with asyncio.timeout(DUMP_TIME):
            ends = await _look(leader, environment, launcher, report, path)
    except TimeoutError:
        ends = False
        report.add(f"\nnot all could be found out within {DUMP_TIME:g} s\n")
    except Exception as error:  # noqa: BLE001 - whatever it is, the run has to be ended now
        ends = False
        report.add(f"\nit could not be found out: {type(error).__name__}: {error}\n")
    if ends:
        text = "Python prints its stacks into the log: SIGABRT, by PYTHONFAULTHANDLER"
        return Finding(text, ends=True)
    try:
        _write(path, f"run {run} of {name}, when it was found to hang\n{report.text}".encode())
        _forget_old(logs_dir, name)
    except (OSError, UnsafePathError) as error:
        return Finding(f"what it was doing could not be saved: {error}")
    return Finding(report.words(f"{os.path.basename(logs_dir)}/{os.path.basename(path)}"))


class _Report:
    """What has been found so far; it is written as it is when time is up."""

    def __init__(self) -> None:
        self.text = ""
        self.places: list[str] = []
        """Where it hung, the shortest that can be said, for each process."""
        self.details: list[str] = []

    def add(self, text: str) -> None:
        self.text = (self.text + text)[:LONGEST]

    def words(self, file: str) -> str:
        """Return the whole in one line that may be cut: what matters most first."""
        head = f"hung in {', in '.join(self.places)}; more" if self.places else "what it did is"
        details = f": {'; '.join(self.details)}" if self.details else ""
        return f"{head} in {file}{details}"


async def _look(
    leader: ProcessIdentity,
    environment: Mapping[str, str] | None,
    launcher: Launcher,
    report: _Report,
    path: str,
) -> bool:
    """Look into the processes of a run; tell whether it has been asked to end by that."""
    pids = [leader.pid, *(row.pid for row in descendants(leader))]
    pythons = [pid for pid in pids if threads.is_python(pid)]
    tool = _py_spy() if pythons else None
    seen: list[int] = []
    if tool is not None:
        asked = pythons[:PROCESSES]
        seen = [pid for pid in asked if await _py_spy_dump(tool, pid, launcher, report)]
    if not seen and leader.pid in pythons and _prints_its_stacks(leader.pid, environment):
        row = threads.row_of(leader.pid)
        if row is not None and row.started == leader.started:
            return signal_members((row,), signal.SIGABRT) == 1
    for pid in [pid for pid in pids if pid not in seen][: PROCESSES - len(seen)]:
        if sys.platform == "darwin":
            await _sample(pid, launcher, report, path)
        else:
            _describe_threads(pid, report)
    if len(pids) > PROCESSES:
        report.add(f"\n{len(pids) - PROCESSES} processes more were not looked into\n")
    if pythons and tool is None:
        hint = _MAC_HINT if sys.platform == "darwin" else _HINT
        report.add(f"\n{hint}\n")
        report.details.append(hint)
    return False


def _py_spy() -> str | None:
    """Return the path of py-spy: beside our own Python, or on the PATH; None: of no use here."""
    if sys.platform == "darwin" and os.geteuid() != 0:
        return None  # "This program requires root on OSX": it takes task_for_pid
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ.get('PATH', '')}"
    try:
        return find_executable("py-spy", path=path, cwd="/")
    except ExecutableError:
        return None


async def _py_spy_dump(tool: str, pid: int, launcher: Launcher, report: _Report) -> bool:
    argv = (tool, "dump", "--pid", str(pid))
    ending, output = await _output_of(argv, launcher)
    if ending != ExitCode(0):
        # It stops a process while it looks, and fails with one that is stopped already.
        ending, unstopped = await _output_of((*argv, "--nonblocking"), launcher)
        output = unstopped if ending == ExitCode(0) else output
    if ending != ExitCode(0):
        first = output.strip().partition("\n")[0]
        report.add(f"\nprocess {pid}: py-spy cannot look into it: {first}\n")
        return False
    report.add(f"\n{output}")
    frames = main_frames(output, pid)
    if frames:
        report.places.append(frames[0])
        report.details.append(" ← ".join((f"pid {pid}", *frames[1:])))
    return True


def main_frames(dump: str, pid: int, most: int = 3) -> list[str]:
    """Return the innermost frames of the main thread of a dump of py-spy: `stuck (hang.py:12)`."""
    frames: list[str] = []
    inside = False
    for line in dump.splitlines():
        if not line.startswith(" "):
            if frames:
                break
            thread = _THREAD.match(line)
            inside = thread is not None and (thread[1] == str(pid) or '"MainThread"' in line)
        elif inside and len(frames) < most and (found := _FRAME.match(line)):
            frames.append(f"{found[1]} ({os.path.basename(found[2])}:{found[3]})")
    return frames


def _prints_its_stacks(pid: int, environment: Mapping[str, str] | None) -> bool:
    known = environment if environment is not None else environment_of(pid)
    return bool((known or {}).get("PYTHONFAULTHANDLER"))


async def _sample(pid: int, launcher: Launcher, report: _Report, beside: str) -> None:
    """Add what sample(1) finds. It writes a file, and prints where that is or why there is none."""
    path = f"{beside}.sample-{pid}"
    argv = (_SAMPLE, str(pid), str(_SAMPLE_SECONDS), "-mayDie", "-file", path)
    try:
        _, output = await _output_of(argv, launcher)
        with contextlib.suppress(OSError):
            output = _read(path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)
    report.add(f"\n{output}")
    report.details.append(f"pid {pid}")


def _describe_threads(pid: int, report: _Report) -> None:
    found = threads.of(pid)
    if not found:
        return
    report.add(f"\nprocess {pid} {threads.command_of(pid)}\n")
    for thread in found:
        report.add(f"  thread {thread}\n")
    main = found[0]
    if main.waits_in:
        report.places.append(f"the kernel's {main.waits_in}")
    report.details.append(f"pid {pid} {main.name} (state {main.state})")


async def _output_of(argv: tuple[str, ...], launcher: Launcher) -> tuple[Exit | None, str]:
    """Run a command to its end and return how it ended and what it printed, LONGEST bytes at most.

    Cancelled, it kills the command.
    """
    try:
        ended = await launcher.run(argv, "/", os.environ, DUMP_TIME, slice(LONGEST))
    except LaunchError as error:
        return None, str(error)
    return ended.ending, ended.printed


def _read(path: str) -> str:
    with open(path, "rb") as file:
        return file.read(LONGEST).decode("utf-8", "replace")


def _write(path: str, data: bytes) -> None:
    """Write a file for this user alone, in place of an older one of ours."""
    with contextlib.suppress(FileNotFoundError):
        check_own_file(os.lstat(path), path)
    write_whole(path, data[:LONGEST])


def _forget_old(logs_dir: str, name: str) -> None:
    pattern = re.compile(re.escape(name) + r"\.dump-[0-9]+\.txt")
    paths = [
        os.path.join(logs_dir, entry) for entry in os.listdir(logs_dir) if pattern.fullmatch(entry)
    ]
    paths.sort(key=lambda path: os.lstat(path).st_mtime_ns)
    for path in paths[:-KEPT]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
