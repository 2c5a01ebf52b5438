"""The journal is heard whole and once, whatever the daemon leaves out of its stream."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.control.client import ControlError, DaemonNotRunning
from supervisor.journal import Journal
from supervisor.notify import listener
from supervisor.notify.happenings import Happening
from supervisor.notify.listener import last_seq, listen

Script = list[list[int] | Exception]
"""What each connection streams, by number; or how it fails."""


class PretendClient:
    """A daemon's stream that says what the test wrote down, and is gone after that."""

    script: Script
    asked: list[str]

    def __init__(self, state_dir: str, timeout: float) -> None:
        self._state_dir = state_dir

    def stream(self, path: str, **query: str) -> Iterator[object]:
        assert (path, query["follow"]) == ("/v1/events", "1")
        self.asked.append(query["after"])
        if not self.script:
            raise DaemonNotRunning(self._state_dir)
        part = self.script.pop(0)
        if isinstance(part, Exception):
            raise part
        for seq in part:
            yield {"seq": seq, "at": 0.0, "unit": "a", "topic": "x", "text": str(seq), "run": None}


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    journal = Journal(str(tmp_path), lambda: 0.0)
    for number in range(1, 11):
        journal.append("a", "x", str(number))
    journal.close()
    monkeypatch.setattr(listener, "ControlClient", PretendClient)
    monkeypatch.setattr(listener, "PAUSE", 0.0)
    return tmp_path


def heard(state: Path, script: Script, after: int = 0) -> list[int]:
    PretendClient.script, PretendClient.asked = script, []
    seqs: list[int] = []
    listen(str(state), after, lambda happening: seqs.append(happening.seq), threading.Event())
    return seqs


@pytest.mark.parametrize(
    ("script", "more"),
    [
        ([], []),
        ([[11, 12]], [11, 12]),
        ([[8, 9, 10, 11]], [11]),
        ([[11], [11, 12]], [11, 12]),
        ([ControlError(0, "no answer"), [11]], [11]),
        # Of what is nowhere any more, nothing can be told.
        ([[13]], [13]),
    ],
)
def test_once_each_and_in_order(state: Path, script: Script, more: list[int]) -> None:
    assert heard(state, script) == [*range(1, 11), *more]


def test_a_gap_is_filled_from_the_disk(state: Path) -> None:
    """A slow follower gets the last thousand only; here the disk has what the stream left out."""
    seqs: list[int] = []

    def tell(happening: Happening) -> None:
        seqs.append(happening.seq)
        if happening.seq == 10:
            journal = Journal(str(state), lambda: 0.0)
            for number in range(11, 15):
                journal.append("a", "x", str(number))
            journal.close()

    PretendClient.script, PretendClient.asked = [[14, 15]], []
    listen(str(state), 0, tell, threading.Event())
    assert seqs == list(range(1, 16))


def test_it_goes_on_from_where_it_is(state: Path) -> None:
    assert heard(state, [[11]], after=7) == [8, 9, 10, 11]
    assert PretendClient.asked == ["10", "11"]


def test_told_to_end_it_ends(state: Path) -> None:
    over = threading.Event()
    over.set()
    seqs: list[int] = []
    listen(str(state), 9, lambda happening: seqs.append(happening.seq), over)
    assert seqs == [10]


def test_the_last_number(state: Path, tmp_path: Path) -> None:
    assert last_seq(str(state)) == 10
    assert last_seq(str(tmp_path / "nowhere")) == 0
