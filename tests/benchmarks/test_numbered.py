"""The check of numbered lines, and the program that writes them."""

import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from benchmarks.beacon import Announcements, build
from benchmarks.numbered import WIDTH, Tally, is_last, tally

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


def line(number: int) -> bytes:
    return b"%012d " % number + b"x" * (WIDTH - 14) + b"\n"


def pieces(data: bytes) -> list[bytes]:
    chance = random.Random(1)
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(20))
    ends = zip([0, *cuts], [*cuts, len(data)], strict=True)
    return [data[start:end] for start, end in ends]


def test_whole_lines_in_order_are_perfect_wherever_they_are_cut() -> None:
    data = b"".join(map(line, range(50)))
    found = tally(pieces(data), 50)
    assert found == Tally(50, lost=0, doubled=0, misplaced=0, broken=0, remarks=0)
    assert found.perfect()
    assert is_last(data[-300:], 50)
    assert not is_last(data[-300:], 51)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (line(0) + line(2), Tally(3, 1, 0, 0, 0, 0)),
        (line(0) + line(1) + line(1) + line(2), Tally(3, 0, 1, 0, 0, 0)),
        (line(1) + line(0) + line(2), Tally(3, 0, 0, 1, 0, 0)),
        (line(0) + line(1)[50:] + line(2), Tally(3, 1, 0, 0, 1, 0)),
        (line(0) + line(1) + line(2)[:-1] + line(3), Tally(3, 1, 0, 0, 1, 0)),
        (line(0) + line(1) + line(2)[:-20], Tally(3, 1, 0, 0, 1, 0)),
        (line(0) + b"--- mine\n" + line(1) + line(2), Tally(3, 0, 0, 0, 0, 1)),
        (line(0) + line(1) + line(2) + line(3), Tally(3, 0, 0, 0, 1, 0)),
    ],
    ids=["lost", "doubled", "misplaced", "cut", "joined", "end cut", "remark", "too many"],
)
def test_each_fault_is_counted(data: bytes, expected: Tally) -> None:
    assert tally([data], 3, remark=b"--- mine") == expected


@needs_compiler
def test_the_beacon_announces_itself_and_writes_what_the_check_expects(tmp_path: Path) -> None:
    program = build(str(tmp_path))
    heard = Announcements(str(tmp_path / "fifo"))
    before = time.monotonic()
    with subprocess.Popen(
        [program, heard.path, "a", "lines", "1000"], stdout=subprocess.PIPE
    ) as child:
        try:
            assert heard.wait(lambda: "a" in heard.latest, 10.0)
            assert heard.latest["a"].pid == child.pid
            assert before < heard.latest["a"].at < time.monotonic()
            child.send_signal(signal.SIGUSR1)
            assert child.stdout is not None
            data = child.stdout.read(1000 * WIDTH)
            assert tally([data], 1000).perfect()
            assert heard.wait(lambda: "a.done" in heard.latest, 10.0)
        finally:
            child.kill()
    heard.close()


@needs_compiler
def test_the_beacon_ends_at_once_while_a_storm_is_on(tmp_path: Path) -> None:
    program = build(str(tmp_path))
    (tmp_path / "storm").touch()
    done = subprocess.run(
        [program, "/nonexistent", "a", "storm", str(tmp_path / "storm")], check=False, timeout=10
    )
    assert done.returncode == 1
