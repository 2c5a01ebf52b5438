"""`events`: what is listed, and that a follower gets each entry once whatever happens meanwhile."""

import json
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from supervisor.cli import chronicle
from supervisor.cli.chronicle import Follower
from supervisor.cli.connection import System
from supervisor.cli.exits import CommandError, ExitStatus
from supervisor.control.client import BrokenOffError, ControlError, DaemonNotRunning
from supervisor.journal import Entry
from tests.cli.fake_daemon import FakeDaemon, write_journal
from tests.cli.fleets import Ctl, journal, service

YAML = "version: 1\nservices:\n  tts: {command: [sleep, '1']}\n"

ENDED = ("daemon-stopped", "daemon stopped; nothing of it is left running")
BEGAN = ("daemon-started", "daemon 0.1.0 started, pid 7")


def entries(first: int, last: int, at: float = 1000.0) -> list[Entry]:
    lines = [(at + n, "started", f"run {n} started, pid {n}", n) for n in range(first, last + 1)]
    return journal("tts", *lines, first=first)


def of_supervisor(seq: int, what: tuple[str, str], at: float = 5000.0) -> list[Entry]:
    return journal("", (at, *what, None), first=seq)


# Listed --------------------------------------------------------------------------------------


def test_entries_have_local_time_and_what_they_rest_on_for_scripts(root: Path, ctl: Ctl) -> None:
    crash = [(1000.25, "exited", "x", 1), (1000.25, "restarting", "x; restart 1 in 0.2 s", 1)]
    write_journal(root, journal("tts", *crash))
    first, second = map(json.loads, ctl("events", "--json")[1].splitlines())
    assert datetime.fromisoformat(first.pop("time")).timestamp() == 1000.25
    assert first == {
        "seq": 1,
        "at": 1000.25,
        "unit": "tts",
        "topic": "exited",
        "text": "x",
        "run": 1,
        "kind": "seen",
        "because": [],
    }
    assert (second["kind"], second["because"]) == ("decided", [1])


def test_since_lists_all_that_is_younger(root: Path, ctl: Ctl) -> None:
    write_journal(root, entries(1, 200))
    moment = datetime.fromtimestamp(1100).astimezone().isoformat()
    assert len(ctl("events", "--since", moment)[1].splitlines()) == 101
    assert len(ctl("events", "--since", moment, "-n", "3")[1].splitlines()) == 3
    assert len(ctl("events")[1].splitlines()) == chronicle.LISTED


def test_what_is_no_utf8_can_be_printed(root: Path, ctl: Ctl) -> None:
    write_journal(root, journal("tts", (1000.0, "trouble", "/srv/\udcff", None)))
    assert json.loads(ctl("events", "--json")[1])["text"] == "/srv/\udcff"
    assert "/srv/\\udcff" in ctl("events")[1]
    assert json.loads(ctl("why", "tts", "--json")[1])["events"][0]["text"] == "/srv/\udcff"


# Followed ------------------------------------------------------------------------------------


def seqs(root: Path, last: Entry | None, most: int = 10_000) -> list[int]:
    system = System(str(root / "services.yaml"), str(root / ".atlas"))
    found: list[int] = []
    for entry in Follower(system, last).entries():
        found.append(entry.seq)
        assert len(found) <= most, found
    return found


def test_what_a_daemon_no_longer_has_in_memory_is_read_on_disk(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    end = of_supervisor(21, ENDED)
    write_journal(root, [*entries(1, 20), *end])
    with FakeDaemon(root, [service("tts")]) as fake:
        fake.events = [*entries(3, 5), *entries(15, 20), *end]
        assert seqs(root, entries(1, 1)[0]) == list(range(2, 22))
    assert capsys.readouterr().err == ""


def test_what_is_nowhere_is_counted(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_journal(root, [*entries(1, 5), *entries(8, 9)])
    with FakeDaemon(root, [service("tts")]) as fake:
        fake.events = [*entries(15, 16), *of_supervisor(17, ENDED)]
        assert seqs(root, entries(5, 5)[0]) == [8, 9, 15, 16, 17]
    assert capsys.readouterr().err.count("entries are missing") == 2


def test_what_was_written_after_the_last_word_is_read_when_a_daemon_ends(root: Path) -> None:
    write_journal(root, [*entries(1, 8), *of_supervisor(9, ENDED)])
    with FakeDaemon(root, [service("tts")]) as fake:
        fake.events = entries(6, 7)
        assert seqs(root, entries(5, 5)[0]) == [6, 7, 8, 9]


class Daemons:
    """What happens at each attempt to follow: entries, an error, or a change on disk."""

    def __init__(self, root: Path, *attempts: list[Entry] | Exception | None) -> None:
        self.root = root
        self.attempts = list(attempts)
        self.asked: list[int] = []

    def __call__(
        self, _client: object, after: int, accepted: Callable[[], None]
    ) -> Iterator[object]:
        self.asked.append(after)
        attempt = self.attempts.pop(0)
        if isinstance(attempt, Exception):
            raise attempt
        accepted()
        for entry in attempt or ():
            yield entry.message()


@pytest.fixture
def daemons(root: Path, monkeypatch: pytest.MonkeyPatch) -> Daemons:
    made = Daemons(root)
    monkeypatch.setattr(chronicle, "follow_events", made)
    monkeypatch.setattr(chronicle, "_PAUSE", 0.0)
    return made


GONE = DaemonNotRunning("/nowhere")


def test_another_daemon_is_waited_for_and_told_of(
    root: Path, daemons: Daemons, capsys: pytest.CaptureFixture[str]
) -> None:
    write_journal(root, [*entries(1, 6)])
    next_ones = [*of_supervisor(7, BEGAN), *entries(8, 9), *of_supervisor(10, ENDED)]
    daemons.attempts = [
        entries(3, 5),
        GONE,
        BrokenOffError("before it answered"),
        ControlError(503, "too many connections"),
        next_ones,
    ]
    assert seqs(root, entries(2, 2)[0]) == list(range(3, 11))
    assert daemons.asked == [2, 6, 6, 6, 6]
    first, second = capsys.readouterr().err.splitlines()
    assert "is gone; services go on without it. Waiting up to 60 s" in first
    assert "a supervisor runs again" in second


def test_one_that_is_killed_just_as_it_is_asked_is_waited_for_as_well(
    root: Path, daemons: Daemons
) -> None:
    """Its socket took the request: so it ran, and only then was no more."""
    write_journal(root, entries(1, 2))
    daemons.attempts = [
        BrokenOffError("before it answered"),
        [*of_supervisor(3, BEGAN), *of_supervisor(4, ENDED)],
    ]
    assert seqs(root, None) == [1, 2, 3, 4]


def test_a_daemon_that_is_upgraded_is_followed_on_without_a_word(
    root: Path, daemons: Daemons, capsys: pytest.CaptureFixture[str]
) -> None:
    write_journal(root, entries(1, 2))
    upgraded = ("upgraded", "upgraded from 1 to 2, pid 7")
    daemons.attempts = [
        entries(1, 2),
        [*of_supervisor(3, upgraded), *entries(4, 4), *of_supervisor(5, ENDED)],
    ]
    assert seqs(root, None) == [1, 2, 3, 4, 5]
    assert capsys.readouterr().err == ""


def test_nor_is_a_word_said_where_nothing_happened_before_the_upgrade(
    root: Path, daemons: Daemons, capsys: pytest.CaptureFixture[str]
) -> None:
    write_journal(root, entries(1, 2))
    upgraded = ("upgraded", "upgraded from 2 to 3, pid 7")
    daemons.attempts = [entries(1, 2), [], [*of_supervisor(3, upgraded), *of_supervisor(4, ENDED)]]
    assert seqs(root, None) == [1, 2, 3, 4]
    assert capsys.readouterr().err == ""


def test_one_that_has_nothing_to_say_is_there_all_the_same(
    root: Path,
    daemons: Daemons,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All that it did at its start was read on disk: the wait for its successor is a new one."""
    monkeypatch.setattr(chronicle, "PATIENCE", 0.0)
    write_journal(root, entries(1, 2))
    last = [*of_supervisor(3, BEGAN), *of_supervisor(4, ENDED)]
    daemons.attempts = [entries(1, 2), GONE, [], GONE, last]
    assert seqs(root, None) == [1, 2, 3, 4]
    said = capsys.readouterr().err.splitlines()
    assert [("is gone" in line, "runs again" in line) for line in said] == [
        (True, False),
        (False, True),
    ] * 2


def test_the_wait_for_another_daemon_has_an_end(
    root: Path, daemons: Daemons, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chronicle, "PATIENCE", 0.0)
    write_journal(root, entries(1, 2))
    daemons.attempts = [[], *[GONE] * 10_000]
    with pytest.raises(CommandError, match="no supervisor has come for 0 s") as raised:
        seqs(root, None)
    assert raised.value.status == ExitStatus.NO_DAEMON


def test_a_refusal_is_told(root: Path, daemons: Daemons) -> None:
    write_journal(root, entries(1, 2))
    daemons.attempts = [[], ControlError(404, "no /v1/events here")]
    with pytest.raises(CommandError, match="older than this command"):
        seqs(root, None)


def test_numbers_that_are_used_again_are_told_apart_by_time(
    root: Path, daemons: Daemons, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last daemon could not write 4 and 5, and was killed; the next one began with 4."""
    anew = [*entries(4, 4, at=2000.0), *of_supervisor(5, ENDED)]
    write_journal(root, [*entries(1, 3), *anew])
    daemons.attempts = [entries(1, 6), ControlError(409, "there is no event 6 yet"), []]
    assert seqs(root, None, most=9) == [1, 2, 3, 4, 5, 6, 4, 5]
    said = capsys.readouterr().err
    assert "begun anew" in said
    assert "is gone" not in said


def test_a_follower_needs_a_daemon_to_begin_with(root: Path, ctl: Ctl) -> None:
    write_journal(root, entries(1, 2))
    code, out, err = ctl("events", "-f")
    assert (code, len(out.splitlines())) == (3, 2)
    assert "atlasctl up" in err
    assert os.listdir(root / ".atlas") == ["journal.ndjson"]


def test_one_that_ended_after_the_list_was_printed_is_told_to_its_end(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held up between the list and the rest, a follower finds nobody to send what it missed."""
    monkeypatch.chdir(root)
    written = [*entries(1, 5), *of_supervisor(6, ENDED)]
    write_journal(root, written)
    system = System(str(root / "services.yaml"), str(root / ".atlas"))
    following = Follower(system, written[2]).entries()
    assert [next(following).seq for _ in range(3)] == [4, 5, 6]
    with pytest.raises(CommandError) as raised:
        next(following)
    assert raised.value.status == ExitStatus.NO_DAEMON
