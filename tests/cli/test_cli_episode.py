"""Which entries are one story, and what comes again."""

import itertools

import pytest

from supervisor.cli.episode import last_episode
from supervisor.cli.folding import Again, fold
from tests.cli.fleets import chronicle, journal
from tests.cli.stories import CRASH, HANG, NOON, START, crash_loop


def topics(*lines: tuple[float, str, str, int | None]) -> list[str]:
    return [entry.topic for entry in last_episode("tts", journal("tts", *lines)).entries]


def test_an_episode_is_only_of_its_service_and_only_the_last() -> None:
    entries = journal("other", *START) + journal("tts", *START, *CRASH, first=4)
    episode = last_episode("tts", entries)
    assert [e.topic for e in episode.entries] == ["exited", "restarting", "started", "ready"]
    assert {e.unit for e in episode.entries} == {"tts"}
    assert last_episode("nobody", entries).entries == ()


def test_what_somebody_asks_begins_a_new_episode() -> None:
    again = [(NOON - 50, "stopping", "restart asked: by a client", 4), *CRASH[2:]]
    assert topics(*START, *CRASH, *again)[0] == "stopping"
    assert topics(*START, *CRASH, (NOON, "asked", "start asked: by a client", None)) == ["asked"]


def test_what_is_asked_while_it_is_on_its_way_belongs_to_that() -> None:
    lines = [
        (NOON, "asked", "start asked: by a client", None),
        (NOON + 1, "blocked", "waiting for stt", None),
        (NOON + 2, "asked", "restart asked: by a client", None),
    ]
    assert topics(*lines) == ["asked", "blocked", "asked"]


def test_a_run_that_gives_way_to_another_is_not_asked_to() -> None:
    lines = [
        (NOON, "rolling", "restart asked: by a client; run 4 is started beside run 3", 4),
        (NOON + 1, "rolled", "run 4 is ready and takes over from run 3", 4),
        (NOON + 1, "stopping", "run 4 has taken over", 3),
    ]
    assert topics(*START, *lines) == ["rolling", "rolled", "stopping"]


@pytest.mark.parametrize("topic", ["notice", "probe-failed", "ready", "gave-up", "stale"])
def test_what_comes_long_after_it_was_settled_is_another_story(topic: str) -> None:
    assert topics(*START, (NOON - 3000, topic, "liveness probe: x", 3), *CRASH)[0] == "exited"


@pytest.mark.parametrize("topic", ["restarting", "unready", "blocked", "left-over"])
def test_what_takes_long_is_one_story(topic: str) -> None:
    assert topics(*START, (NOON - 3000, topic, "x", 3), *CRASH)[0] == topic


BEGAN = (NOON - 10, "", "daemon-started", "daemon 0.1.0 started, pid 7, /srv/x.yaml", None)
ADOPTED = (NOON - 9, "tts", "adopted", "run 3 adopted, pid 100: it outlived the daemon", 3)
SLEPT = (NOON - 30, "", "resumed", "the machine slept for 8 h", None)
FAILED = (NOON - 9, "tts", "probe-failed", "liveness probe: no answer", 3)


@pytest.mark.parametrize(
    ("lines", "units"),
    [
        ([BEGAN, ADOPTED], ["", "tts"]),
        ([(NOON - 900, *BEGAN[1:]), ADOPTED], ["tts"]),
        ([BEGAN, (NOON - 9, "tts", "asked", "start asked: the daemon starts", None)], ["tts"]),
        ([SLEPT, FAILED], ["", "tts"]),
        ([(NOON - 100, *SLEPT[1:]), FAILED], ["tts"]),
        ([SLEPT, (NOON - 9, "tts", "ready", "200 OK", 3)], ["tts"]),
        ([FAILED, SLEPT, FAILED], ["tts", "", "tts"]),
        ([FAILED, BEGAN, FAILED], ["tts", "", "tts"]),
        ([FAILED, SLEPT], ["tts"]),
        ([FAILED, (NOON, "", "trouble", "control groups: x", None), FAILED], ["tts", "tts"]),
        (
            [FAILED, (NOON, "", "reloaded", "reloaded: tts (live)", None), FAILED],
            ["tts", "", "tts"],
        ),
        ([FAILED, (NOON, "", "reloaded", "reloaded: my-tts (live)", None), FAILED], ["tts", "tts"]),
        ([FAILED, (NOON, "stt", "exited", "exited with code 1", 1), FAILED], ["tts", "tts"]),
    ],
)
def test_what_befell_the_supervisor_is_told_where_it_explains(
    lines: list[tuple[float, str, str, str, int | None]], units: list[str]
) -> None:
    assert [entry.unit for entry in last_episode("tts", chronicle(*lines)).entries] == units


def test_a_supervisor_that_did_not_end_had_crashed() -> None:
    ended = (NOON - 20, "", "daemon-stopped", "daemon stopped", None)
    upgraded = (NOON - 15, "", "upgraded", "upgraded from 0.1 to 0.2", None)

    def crashes(*lines: tuple[float, str, str, str, int | None]) -> list[int]:
        return sorted(last_episode("tts", chronicle(*lines, ADOPTED)).crashes)

    assert crashes(BEGAN) == []
    assert crashes(BEGAN, ended, BEGAN) == []
    assert crashes(BEGAN, upgraded) == []
    assert crashes(BEGAN, BEGAN) == [2]
    assert crashes(BEGAN, upgraded, BEGAN) == [3]


# Folding -------------------------------------------------------------------------------------


def told(*lines: tuple[float, str, str, int | None]) -> list[str | int]:
    return [e.times if isinstance(e, Again) else e.topic for e in fold(journal("tts", *lines))]


def test_a_crash_loop_is_told_once() -> None:
    lines = [START[0], *crash_loop(50)]
    assert told(*lines) == ["asked", "started", "exited", "restarting", 49]
    (*_, again) = fold(journal("tts", *lines))
    assert isinstance(again, Again)
    assert {entry.run for entry in again.entries} == set(range(2, 51))


def test_another_way_to_fail_is_told() -> None:
    first, second = crash_loop(5), crash_loop(4, code=2, first=6)
    assert told(*first, *second) == ["started", "exited", "restarting", 4] * 1 + [
        "started",
        "exited",
        "restarting",
        3,
    ]


def test_what_comes_twice_is_told_twice_unless_that_is_long() -> None:
    assert told(*crash_loop(2)) == ["started", "exited", "restarting", 1]
    notice = (NOON, "notice", "on the CPU", 1)
    assert told(notice, notice) == ["notice", "notice"]
    assert told(notice, notice, notice) == ["notice"] * 3
    assert told(*[notice] * 4) == ["notice", 3]


def test_every_entry_is_in_one_place_and_in_order() -> None:
    entries = journal("tts", *START, *crash_loop(7), *HANG, *crash_loop(3), *CRASH, *CRASH)
    folded = (each.entries if isinstance(each, Again) else [each] for each in fold(entries))
    assert list(itertools.chain(*folded)) == entries
