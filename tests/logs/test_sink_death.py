"""Lines of a service arrive complete, in order and once, whatever is killed meanwhile."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from supervisor.logs.inlet import LARGE_PIPE
from supervisor.logs.rotation import reading_order

from .conftest import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import SinkHost

    Await = Callable[[Callable[[], object], str], None]

CHILDREN = Path(__file__).parent / "children"
PARTS = 12
"""In which lines are printed, with a kill in each: else a busy machine might have time for none."""


def numbers(content: bytes) -> list[int]:
    assert content.endswith(b"\n")
    found = []
    for line in content.splitlines():
        number, space, filling = line.partition(b" ")
        assert space == b" "
        assert filling.strip(b"x") == b"", line[:200]
        found.append(int(number))
    return found


def write_lines(
    count: int, seed: int, stdout: int, gate: Path, longest: int = 120
) -> subprocess.Popen[bytes]:
    script = str(CHILDREN / "numbered_lines.py")
    arguments = [str(count), str(seed), str(longest), str(PARTS), str(gate)]
    return subprocess.Popen([sys.executable, script, *arguments], stdout=stdout)


def files_of(folder: Path) -> int:
    return len(reading_order(os.listdir(folder), "tts.log"))


def has_files(folder: Path, wanted: int) -> bool:
    return files_of(folder) >= wanted


@pytest.mark.parametrize("seed", range(2))
def test_killed_sinks_lose_and_double_nothing(host: SinkHost, eventually: Await, seed: int) -> None:
    chance = random.Random(seed)
    held = host.fifo("tts")
    count = 60_000
    control = host.start()
    host.attach(control, "tts", max_size=100_000, keep=1000, compress=True)
    gate = host.fifo("gate")
    wanted = chance.randrange(1, 4)
    writer = write_lines(count, seed, held, host.state / "gate")
    for _ in range(PARTS):
        eventually(partial(has_files, host.logs, wanted), "files are rotated")
        host.kill()
        control = host.start()
        assert host.attach(control, "tts", max_size=100_000, keep=1000, compress=True) == {
            "ok": True
        }
        # Counted before the next part begins, which is of three files and more.
        wanted = files_of(host.logs) + chance.randrange(1, 4)
        os.write(gate, b".")
    assert writer.wait(DEADLINE) == 0
    assert control.ask("quit") == {"ok": True}
    assert host.reap() == 0
    assert numbers(host.content("tts")) == list(range(count))


@pytest.mark.parametrize("seed", range(2))
def test_sinks_killed_in_a_flood_lose_and_double_nothing(
    host: SinkHost, eventually: Await, seed: int
) -> None:
    """Through a pipe that was made large, in moves of up to 1 MiB; once also looked through."""
    chance = random.Random(seed)
    held = host.fifo("tts")
    count = 30_000
    policy = {"max_size": 8_000_000, "keep": 1000, "patterns": ["7 x*x"] * seed}
    control = host.start()
    host.attach(control, "tts", **policy)
    gate = host.fifo("gate")

    def size() -> int:
        found = 0
        for file in host.logs.glob("tts.log*"):
            with contextlib.suppress(FileNotFoundError):  # renamed by a rotation just now
                found += file.stat().st_size
        return found

    wanted = chance.randrange(1, 4_000_000)
    writer = write_lines(count, seed, held, host.state / "gate", longest=4000)
    for _ in range(PARTS):

        def written(wanted: int = wanted) -> bool:
            return size() >= wanted

        eventually(written, "so much is written")
        host.kill()
        control = host.start()
        assert host.attach(control, "tts", **policy) == {"ok": True}
        # Measured before the next part begins, which is of five million bytes, more or less.
        wanted = size() + chance.randrange(1, 4_000_000)
        os.write(gate, b".")
    assert writer.wait(DEADLINE) == 0
    assert control.ask("quit") == {"ok": True}
    assert host.reap() == 0
    if sys.platform == "linux":
        assert fcntl.fcntl(held, fcntl.F_GETPIPE_SZ) == LARGE_PIPE
    assert numbers(host.content("tts")) == list(range(count))


def test_what_is_printed_without_a_sink_is_there_for_the_next(host: SinkHost) -> None:
    held = host.fifo("tts")
    control = host.start()
    host.attach(control, "tts")
    os.write(held, b"0 x\n")
    host.kill()
    os.write(held, b"1 x\n2 x\n")
    control = host.start()
    host.attach(control, "tts")
    assert control.ask("flush", name="tts")["ok"] is True
    assert numbers(host.content("tts")) == [0, 1, 2]


@pytest.mark.parametrize("seed", range(2))
def test_the_journal_loses_and_doubles_nothing(
    tmp_path: Path, eventually: Await, seed: int
) -> None:
    """The way of systems without splice, killed in the same manner."""
    chance = random.Random(seed)
    fifo, log, journal = tmp_path / "fifo", tmp_path / "tts.log", tmp_path / "journal"
    os.mkfifo(fifo)
    os.mkfifo(tmp_path / "gate")
    held, gate = os.open(fifo, os.O_RDWR), os.open(tmp_path / "gate", os.O_RDWR)
    count = 60_000

    def start() -> subprocess.Popen[bytes]:
        script = str(CHILDREN / "journal_pump.py")
        command = [sys.executable, script, str(fifo), str(log), str(journal), "100000"]
        environment = {**os.environ, "PYTHONPATH": os.getcwd()}
        pump = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
        assert pump.stdout is not None
        assert pump.stdout.readline() == b"ready\n"
        return pump

    pump = start()
    wanted = chance.randrange(1, 4)
    writer = write_lines(count, seed, held, tmp_path / "gate")
    for _ in range(PARTS):
        eventually(partial(has_files, tmp_path, wanted), "files are rotated")
        pump.kill()
        pump.communicate()
        pump = start()
        wanted = files_of(tmp_path) + chance.randrange(1, 4)
        os.write(gate, b".")
    assert writer.wait(DEADLINE) == 0
    os.close(held)
    os.close(gate)
    assert pump.communicate(timeout=DEADLINE)[0] == b"all written\n"
    content = b"".join(
        (tmp_path / name).read_bytes() for name in reading_order(os.listdir(tmp_path), "tts.log")
    )
    assert numbers(content) == list(range(count))
