"""The plans of rotation, as tables and as properties."""

from __future__ import annotations

import gzip
import os
import select
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.logs.compression import Compressor
from supervisor.logs.logfile import LogFile
from supervisor.logs.policy import Policy
from supervisor.logs.rotation import (
    Remove,
    Rename,
    Rotated,
    Step,
    family,
    parse,
    plan_repair,
    plan_rotation,
    reading_order,
    times_name,
    unpacked,
)
from supervisor.logs.transfer import open_mover

if TYPE_CHECKING:
    from pathlib import Path

BASE = "tts.log"


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("tts.log.1", Rotated(1, packed=False)),
        ("tts.log.12.gz", Rotated(12, packed=True)),
        ("tts.log", None),
        ("tts.log.", None),
        ("tts.log.0", None),
        ("tts.log.01", None),
        ("tts.log.²", None),
        ("tts.log.1.gz.tmp", None),
        ("tts.log.1000000", None),
        ("other.log.1", None),
        ("tts.logs.1", None),
    ],
)
def test_a_name_is_ours_only_when_it_is_exactly_ours(name: str, meaning: Rotated | None) -> None:
    assert parse(name, BASE) == meaning


@pytest.mark.parametrize(
    ("names", "keep", "steps"),
    [
        (["tts.log"], 3, [Rename("tts.log", "tts.log.1")]),
        (["tts.log"], 0, [Remove("tts.log")]),
        (
            ["tts.log", "tts.log.1", "tts.log.2.gz"],
            3,
            [
                Rename("tts.log.2.gz", "tts.log.3.gz"),
                Rename("tts.log.1", "tts.log.2"),
                Rename("tts.log", "tts.log.1"),
            ],
        ),
        (
            ["tts.log", "tts.log.1", "tts.log.2.gz"],
            2,
            [
                Remove("tts.log.2.gz"),
                Rename("tts.log.1", "tts.log.2"),
                Rename("tts.log", "tts.log.1"),
            ],
        ),
        # The gap that an interrupted plan left is closed: 3 stays where it is.
        (
            ["tts.log", "tts.log.1", "tts.log.3.gz"],
            5,
            [Rename("tts.log.1", "tts.log.2"), Rename("tts.log", "tts.log.1")],
        ),
        # A raw file and its gzip of the same number move together.
        (
            ["tts.log", "tts.log.1", "tts.log.1.gz"],
            5,
            [
                Rename("tts.log.1", "tts.log.2"),
                Rename("tts.log.1.gz", "tts.log.2.gz"),
                Rename("tts.log", "tts.log.1"),
            ],
        ),
        # What is not ours is left alone.
        (["tts.log", "tts.log.old", "a.log.1"], 1, [Rename("tts.log", "tts.log.1")]),
    ],
)
def test_plan_of_a_rotation(names: list[str], keep: int, steps: list[Step]) -> None:
    assert plan_rotation(names, BASE, keep) == steps


def test_repair_removes_unfinished_and_doubled_and_too_many() -> None:
    names = ["tts.log", "tts.log.7.gz.tmp", "tts.log.1", "tts.log.1.gz", "tts.log.2", "tts.log.9"]
    assert plan_repair(names, BASE, 5) == [
        Remove("tts.log.7.gz.tmp"),
        Remove("tts.log.9"),
        Remove("tts.log.1"),
    ]
    assert unpacked(names, BASE) == ["tts.log.2", "tts.log.9"]


def test_reading_order_names_each_log_once() -> None:
    names = ["tts.log", "tts.log.2", "tts.log.2.gz", "tts.log.10.gz", "tts.log.1"]
    assert reading_order(names, BASE) == ["tts.log.10.gz", "tts.log.2", "tts.log.1", "tts.log"]
    assert reading_order([], BASE) == []


def test_the_time_index_is_the_same_file_before_and_after_compression() -> None:
    assert times_name("tts.log.3") == times_name("tts.log.3.gz") == ".times/tts.log.3.times"


def perform(folder: dict[str, int], steps: list[Step]) -> None:
    """Do what the file system would: name to content."""
    for step in steps:
        match step:
            case Rename(old, new):
                assert new not in folder, f"{old} would overwrite {new}"
                folder[new] = folder.pop(old)
            case Remove(name):
                del folder[name]


def contents(folder: dict[str, int]) -> list[int]:
    return [folder[name] for name in reading_order(folder, BASE)]


@given(
    keep=st.integers(0, 6),
    cuts=st.lists(st.one_of(st.none(), st.integers(0, 8)), max_size=25),
)
def test_a_plan_cut_anywhere_keeps_order_and_the_newest(keep: int, cuts: list[int | None]) -> None:
    """Each rotation is either complete or interrupted after `cut` steps (the sink was killed)."""
    folder: dict[str, int] = {}
    for age, cut in enumerate(cuts):
        folder.setdefault(BASE, age)
        perform(folder, plan_repair(folder, BASE, keep))
        before = contents(folder)
        steps = plan_rotation(folder, BASE, keep)
        perform(folder, steps[:cut])
        after = contents(folder)
        assert after == sorted(after), "two logs swapped their order"
        assert after == before[len(before) - len(after) :], "not the oldest ones were deleted"
        # Never fewer than `keep` older ones, counting the current file only if it moved.
        assert len(after) >= min(len(before), keep)
        if cut is None:
            assert BASE not in folder
            assert len(family(folder, BASE)) <= keep


@given(numbers=st.sets(st.integers(1, 12)), packed=st.integers(0), keep=st.integers(0, 12))
def test_a_plan_never_overwrites(numbers: set[int], packed: int, keep: int) -> None:
    folder = {BASE: 0}
    for number in numbers:
        folder[Rotated(number, packed=bool(packed >> number & 1)).name(BASE)] = -number
    perform(folder, plan_rotation(folder, BASE, keep))
    assert contents(folder) == sorted(contents(folder))
    assert max((rotated.number for rotated in family(folder, BASE)), default=0) <= keep


def test_a_gzip_is_never_given_to_another_log_that_got_the_inode(tmp_path: Path) -> None:
    """A log that is rotated out while it is gzipped frees its inode, which the next log may get."""
    complaints: list[str] = []
    compressor = Compressor(complaints.append)
    mover = open_mover(str(tmp_path / "journal"))
    log = LogFile(str(tmp_path / BASE), Policy(4096, 1, compress=True), mover, lambda _: None)
    older = tmp_path / f"{BASE}.1"
    for round_ in range(20):
        older.write_bytes(b"old %d\n" % round_)
        compressor.put_forward(log)
        assert select.select([compressor.wake_fd], [], [], 10)[0]
        # Between the end of the gzip and its name: a rotation.
        os.unlink(older)
        older.write_bytes(b"new %d\n" % round_)
        compressor.collect()
        while not compressor.idle:
            assert select.select([compressor.wake_fd], [], [], 10)[0]
            compressor.collect()
        packed = tmp_path / f"{BASE}.1.gz"
        assert gzip.decompress(packed.read_bytes()) == b"new %d\n" % round_
        packed.unlink()
    assert complaints == []
    log.close()
    compressor.close()
    mover.close()
