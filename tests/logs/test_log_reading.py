"""Lines come back from the files, once and in order, while the files are rotated and gzipped."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.logs.compression import pack
from supervisor.logs.follow import LogTail, follow, last_lines, since
from supervisor.logs.inlet import Inlet
from supervisor.logs.logfile import LogFile
from supervisor.logs.policy import Policy
from supervisor.logs.rotation import reading_order, unpacked
from supervisor.logs.times import TimeIndex, read_times
from supervisor.logs.transfer import open_mover


class Service:
    """A FIFO and its log in this process, moved by hand."""

    def __init__(self, folder: Path, max_size: int = 4096, keep: int = 1000) -> None:
        self.folder = folder
        self.path = str(folder / "a.log")
        fifo = folder / "fifo"
        os.mkfifo(fifo)
        self._held = os.open(fifo, os.O_RDWR)
        self._mover = open_mover(str(folder / "journal"))
        policy = Policy(max_size, keep, compress=False)
        self.log = LogFile(self.path, policy, self._mover, lambda _: None)
        self._inlet = Inlet("a", str(fifo), self.log)

    def print(self, data: bytes) -> None:
        for start in range(0, len(data), 32768):
            os.write(self._held, data[start : start + 32768])
            self._inlet.drain()

    def gzip_one(self) -> None:
        for name in unpacked(os.listdir(self.folder), "a.log")[:1]:
            source = os.open(self.folder / name, os.O_RDONLY)
            pack(source, str(self.folder / "x.gz.tmp"))
            os.close(source)
            (self.folder / "x.gz.tmp").rename(self.folder / f"{name}.gz")
            (self.folder / name).unlink()

    def close(self) -> None:
        self.log.close()
        self._inlet.close()
        self._mover.close()
        os.close(self._held)


def texts(tail: LogTail) -> list[str]:
    found: list[str] = []
    while lines := tail.read():
        found.extend(line.text for line in lines)
    return found


def write_family(folder: Path) -> str:
    """Five files, two of them gzipped, lines 0 to 9; line 5 is split over two files."""
    parts = [b"0\n1\n", b"2\n3\n", b"4\nfi", b"ve\n6\n", b"7\n8\n9\n"]
    for place, part in enumerate(parts):
        number = len(parts) - 1 - place
        name = f"a.log.{number}" if number else "a.log"
        if number >= 3:
            (folder / f"{name}.gz").write_bytes(gzip.compress(part))
        else:
            (folder / name).write_bytes(part)
    return str(folder / "a.log")


ALL = ["0", "1", "2", "3", "4", "five", "6", "7", "8", "9"]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 6, 7, 9, 10, 11, 10**9])
def test_last_lines_go_back_over_rotated_and_gzipped_files(tmp_path: Path, count: int) -> None:
    log = write_family(tmp_path)
    assert [line.text for line in last_lines(log, count)] == (ALL[-count:] if count else [])


@pytest.mark.parametrize("count", [1, 2, 11])
def test_an_unfinished_line_at_the_end_is_one_of_the_last(tmp_path: Path, count: int) -> None:
    log = write_family(tmp_path)
    with open(log, "ab") as file:
        file.write(b"unfinished")
    assert [line.text for line in last_lines(log, count)] == [*ALL, "unfinished"][-count:]


def test_a_log_just_rotated_and_a_missing_log_have_last_lines_too(tmp_path: Path) -> None:
    log = write_family(tmp_path)
    (tmp_path / "a.log").write_bytes(b"")
    assert [line.text for line in last_lines(log, 2)] == ["five", "6"]
    assert last_lines(str(tmp_path / "b.log"), 5) == []
    assert last_lines(str(tmp_path / "none" / "b.log"), 5) == []


def test_long_lines_are_cut_and_bad_utf8_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"x" * 200_000 + b"\n\xff\xd0\xbf\n")
    cut, bad = last_lines(str(tmp_path / "a.log"), 2)
    assert cut.text == "x" * 65536 + " … [134464 bytes cut]"
    assert bad.text == "\ufffdп"


def test_a_damaged_archive_costs_only_its_own_lines(tmp_path: Path) -> None:
    log = write_family(tmp_path)
    (tmp_path / "a.log.3.gz").write_bytes(b"no gzip at all")
    tail = LogTail(log)
    assert texts(tail) == [text for text in ALL if text not in "23"]
    tail.close()


def test_a_tail_reads_on_over_rotation_compression_and_deletion(tmp_path: Path) -> None:
    service = Service(tmp_path)
    service.print(b"before\n")
    tail = LogTail(service.path)
    assert texts(tail) == ["before"]
    expected: list[str] = []
    found: list[str] = []
    for number in range(2000):
        text = f"{number} " + "y" * (number % 90)
        expected.append(text)
        service.print(text.encode() + b"\n")
        if number % 37 == 0:
            service.gzip_one()
        if number % 150 == 0:  # the reader comes late, over several rotations
            found.extend(texts(tail))
    found.extend(texts(tail))
    assert service.log.totals.rotations > 15
    assert found == expected
    tail.close()
    service.close()


def test_a_reader_that_was_overtaken_goes_on_with_the_oldest_that_is_left(tmp_path: Path) -> None:
    service = Service(tmp_path, keep=2)
    service.print(b"first\n")
    tail = LogTail(service.path)
    assert texts(tail) == ["first"]
    for number in range(1000):
        service.print(f"{number} {'z' * 90}\n".encode())
    found = [int(text.split()[0]) for text in texts(tail)]
    # It holds the file that it was reading, so that one is complete; then comes the gap.
    missing = sorted(set(range(1000)) - set(found))
    assert found == sorted(found)
    assert missing == list(range(missing[0], missing[-1] + 1))
    assert missing[0] > 0
    assert found[-1] == 999
    tail.close()
    service.close()


pieces = st.lists(
    st.one_of(
        st.binary(max_size=3000).map(lambda data: data.replace(b"\r", b"")),
        st.sampled_from(["gzip", "read"]),
        st.integers(1, 9000).map(lambda length: b"l" * length + b"\n"),
    ),
    max_size=25,
)


@given(pieces=pieces, count=st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_whatever_is_printed_comes_back_whole(pieces: list[bytes | str], count: int) -> None:
    folder = Path(tempfile.mkdtemp())
    service = Service(folder)
    tail = LogTail(service.path)
    printed = b""
    found: list[str] = []
    try:
        for piece in pieces:
            if isinstance(piece, bytes):
                printed += piece
                service.print(piece)
            elif piece == "gzip":
                service.gzip_one()
            else:
                found.extend(texts(tail))
        stored = b""
        for name in reading_order(os.listdir(folder), "a.log"):
            raw = (folder / name).read_bytes()
            stored += gzip.decompress(raw) if name.endswith(".gz") else raw
        assert stored == printed
        found.extend(texts(tail))
        found.extend(line.text for line in tail.rest())
        lines = [line.decode("utf-8", "replace") for line in printed.split(b"\n")]
        if lines[-1] == "":
            lines.pop()
        assert found == lines
        assert [line.text for line in last_lines(service.path, count)] == (
            lines[-count:] if count else []
        )
    finally:
        tail.close()
        service.close()
        shutil.rmtree(folder)


def test_follow_gives_lines_as_they_come_and_ends_when_told(tmp_path: Path) -> None:
    paths = {name: tmp_path / f"{name}.log" for name in ("a", "b")}
    paths["a"].write_bytes(b"a0\na1\n")
    tails = {name: LogTail(str(path)) for name, path in paths.items()}
    tails["a"].seek_last(1)
    steps = [("b", b"b0\n"), ("a", b"a2\n"), ("b", b"b1"), ("a", b"a3\n"), ("b", b" end\nrest")]
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        name, data = steps.pop(0)
        with open(paths[name], "ab") as file:
            file.write(data)

    found = list(follow(tails, wait, lambda: not steps))
    assert [(name, line.text) for name, line in found] == [
        ("a", "a1"),
        ("b", "b0"),
        ("a", "a2"),
        ("a", "a3"),
        ("b", "b1 end"),
        ("b", "rest"),
    ]
    assert waits == [0.1] * 5
    for tail in tails.values():
        tail.close()


def write_times(folder: Path, name: str, records: str) -> None:
    (folder / ".times").mkdir(exist_ok=True)
    (folder / ".times" / f"{name}.times").write_text(records)


def aged(path: Path, at: float) -> None:
    os.utime(path, (at, at))


@pytest.fixture
def timed(tmp_path: Path) -> Path:
    """Lines 1000 to 1050, ten seconds apart, in three files of which the oldest is gzipped."""
    (tmp_path / "a.log.2.gz").write_bytes(gzip.compress(b"1000\n1010\n"))
    write_times(tmp_path, "a.log.2", "0 1000.0\n5 1010.0\n")
    aged(tmp_path / "a.log.2.gz", 1010)
    (tmp_path / "a.log.1").write_bytes(b"1020\n1030\n")
    write_times(tmp_path, "a.log.1", "0 1020.0\n5 1030.0\n")
    aged(tmp_path / "a.log.1", 1030)
    (tmp_path / "a.log").write_bytes(b"1040\n1050\n")
    write_times(tmp_path, "a.log", "0 1040.0\n5 1050.0\n")
    aged(tmp_path / "a.log", 1050)
    return tmp_path


@pytest.mark.parametrize(
    ("moment", "first"), [(0, 1000), (1005, 1010), (1010, 1010), (1011, 1020), (1041, 1050)]
)
def test_since_begins_at_the_moment_in_whichever_file(
    timed: Path, moment: float, first: int
) -> None:
    found = list(since(str(timed / "a.log"), moment))
    assert [line.text for line in found] == [str(at) for at in range(first, 1051, 10)]
    assert [line.at for line in found] == [float(at) for at in range(first, 1051, 10)]


def test_since_a_moment_after_everything_gives_nothing(timed: Path) -> None:
    assert list(since(str(timed / "a.log"), 1051)) == []


def test_without_an_index_whole_files_are_given_and_no_time(timed: Path) -> None:
    shutil.rmtree(timed / ".times")
    found = list(since(str(timed / "a.log"), 1025))
    assert [(line.text, line.at) for line in found] == [
        ("1020", None),
        ("1030", None),
        ("1040", None),
        ("1050", None),
    ]


def test_a_garbled_index_costs_only_times(timed: Path) -> None:
    write_times(timed, "a.log", "0 1040.0\n\x00\x01\nx y\n5\n5 nan\n3 1045.0\n2 1046.0\n9 oops")
    assert [line.text for line in since(str(timed / "a.log"), 1025)] == ["1030", "1040", "1050"]
    times = read_times(str(timed / "a.log"))
    assert times.offsets == [0, 3]


def test_since_never_begins_inside_a_line(timed: Path) -> None:
    write_times(timed, "a.log", "0 1040.0\n2 1045.0\n5 1050.0\n")
    assert [line.text for line in since(str(timed / "a.log"), 1044)] == ["1050"]


def test_the_index_is_sparse_and_bounded(tmp_path: Path) -> None:
    index = TimeIndex(str(tmp_path / "a.log"))
    now = 1_000_000_000.0
    for step in range(400_000):
        now += 0.05 if step < 1000 else 3.0
        index.note(step, now)
    index.note(400_000, now - 5000)  # the clock was set back
    index.close()
    assert os.stat(tmp_path / ".times" / "a.log.times").st_size <= 1024 * 1024
    times = read_times(str(tmp_path / "a.log"))
    gaps = [b - a for a, b in zip(times.moments[:400], times.moments[1:401], strict=True)]
    assert min(gaps) >= 0.1 - 1e-3
    assert len(times.offsets) > 30_000


def test_the_sinks_index_gives_times_to_real_lines(tmp_path: Path) -> None:
    service = Service(tmp_path)
    service.print(b"now\n")
    (line,) = last_lines(service.path, 1, times=True)
    assert line.at is not None
    assert abs(line.at - os.stat(service.path).st_mtime) < 5
    service.close()
