"""The ledger: what a successor reads is what was last put, whatever cut the file short."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor import ledger
from supervisor.ledger import Ledger, Record

RUNNING = Record("tts", 3, wanted=True, pid=4242, ticks=99, boot="b")


def reread(folder: Path) -> Ledger:
    book = Ledger(str(folder))
    book.close()
    return book


def test_the_latest_record_of_each_unit_counts(tmp_path: Path) -> None:
    book = Ledger(str(tmp_path))
    book.put(Record("tts", 3, wanted=True, boot="b", intended=True))
    book.put(RUNNING)
    book.put(Record("web", 1, wanted=False, boot="b"))
    book.close()
    assert reread(tmp_path).records() == (RUNNING, Record("web", 1, wanted=False, boot="b"))


@pytest.mark.parametrize(
    "line",
    [
        b'{"unit":"tts","run":4,"wan',
        b"\xff\xfe\n",
        b"7\n",
        b'{"unit":"tts","run":"four","wanted":true}\n',
        b'{"unit":7,"run":4,"wanted":true}\n',
        b'{"unit":"tts","run":4,"wanted":true,"pid":-1}\n',
        b'{"unit":"tts","run":4,"wanted":true,"pid":1}\n',
        b'{"unit":"tts","run":4,"wanted":true,"pid":true}\n',
        b'{"unit":"tts","run":4,"wanted":true,"ticks":"soon"}\n',
        b'{"unit":"tts","run":4,"wanted":1}\n',
        b'{"unit":"tts","run":4,"wanted":true,"recent":7}\n',
        b'{"unit":"tts","run":4,"wanted":true,"recent":["soon"]}\n',
        b'{"unit":"tts","run":4,"wanted":true,"other_pid":0}\n',
        b'{"unit":"tts","run":4,"wanted":true,"in_force":[7]}\n',
        b'{"unit":"tts","run":4,"wanted":true,"of_run":7}\n',
        b'{"unit":"tts","run":4,"wanted":true,"uses":[1]}\n',
        b'{"unit":"tts","run":4,"wanted":true,"uses":{"a":["soon"]}}\n',
        b'{"unit":"tts","run":4,"wanted":true,"uses":{"a":7}}\n',
    ],
)
def test_a_line_that_is_no_record_costs_itself_only(tmp_path: Path, line: bytes) -> None:
    book = Ledger(str(tmp_path))
    book.put(RUNNING)
    book.close()
    with (tmp_path / ledger.NAME).open("ab") as file:
        file.write(line)
    assert reread(tmp_path).record("tts") == RUNNING


def test_what_a_newer_release_wrote_is_read_as_far_as_it_is_known(tmp_path: Path) -> None:
    line = b'{"unit":"tts","run":4,"wanted":true,"pid":77,"flavour":"new"}\n'
    (tmp_path / ledger.NAME).write_bytes(line)
    assert reread(tmp_path).record("tts") == Record("tts", 4, wanted=True, pid=77)


@given(cut=st.integers(min_value=0, max_value=400))
def test_any_beginning_of_the_file_is_a_past_that_was(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    book = Ledger(str(folder))
    past = [Record("tts", run, wanted=True, pid=100 + run, ticks=run, boot="b") for run in range(5)]
    for record in past:
        book.put(record)
    book.close()
    path = folder / ledger.NAME
    path.write_bytes(path.read_bytes()[:cut])
    assert reread(folder).record("tts") in (None, *past)


def test_it_is_rewritten_when_it_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MAX_SIZE", 2000)
    book = Ledger(str(tmp_path))
    for run in range(1000):
        book.put(Record("tts", run, wanted=True))
    book.close()
    assert (tmp_path / ledger.NAME).stat().st_size <= 2000
    assert reread(tmp_path).record("tts") == Record("tts", 999, wanted=True)


def test_an_end_in_order_leaves_only_numbers(tmp_path: Path) -> None:
    book = Ledger(str(tmp_path))
    book.put(RUNNING)
    book.retire()
    book.close()
    assert reread(tmp_path).records() == (Record("tts", 3, wanted=True),)


def test_what_remedies_have_set_outlives_any_end(tmp_path: Path) -> None:
    healed = replace(
        RUNNING, in_force=("mps",), of_run=("mps",), rests_on=7, uses={"mps": (1.5, 2.0)}
    )
    book = Ledger(str(tmp_path))
    book.put(healed)
    book.close()
    book = reread(tmp_path)
    assert book.record("tts") == healed
    book = Ledger(str(tmp_path))
    book.retire()
    book.close()
    left = Record("tts", 3, wanted=True, in_force=("mps",), of_run=("mps",), rests_on=7)
    assert reread(tmp_path).record("tts") == left


def test_a_unit_can_be_forgotten(tmp_path: Path) -> None:
    book = Ledger(str(tmp_path))
    book.put(RUNNING)
    book.forget("tts")
    book.forget("never heard of")
    book.close()
    assert reread(tmp_path).records() == ()


def test_a_huge_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MAX_READ", 100)
    line = {"unit": "tts", "run": 1, "wanted": True}
    (tmp_path / ledger.NAME).write_text((json.dumps(line) + "\n") * 10)
    assert reread(tmp_path).records() == ()


def test_a_record_after_half_of_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk was full in the middle of a line, and the daemon is killed before it compacts."""
    book, write = Ledger(str(tmp_path)), os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: write(fd, data[: len(data) // 2]))
        book.put(RUNNING)
    assert book.unwritten == 1
    later = Record("web", 1, wanted=True, pid=4343, ticks=100, boot="b")
    book.put(later)
    book.close()
    assert reread(tmp_path).records() == (later,)
