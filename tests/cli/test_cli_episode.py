import json

import pytest

from supervisor.cli.episode import LONGEST, Episode, event_line, headline, last_episode, timeline
from supervisor.cli.terminal import PLAIN
from supervisor.core.effects import Topic
from supervisor.journal import Entry
from tests.cli.conftest import Golden
from tests.cli.fleets import down, journal, service

NOON = 1_785_000_000.0

START = [
    (NOON - 4000, "asked", "start asked: the daemon starts", None),
    (NOON - 3999.9, "started", "run 3 started, pid 100", 3),
    (NOON - 3998, "ready", "startup probe: 200 OK, WAV of 0.41 s", 3),
]
CRASH = [
    (NOON - 122.2, "exited", "was killed by signal 9 (SIGKILL)", 3),
    (
        NOON - 122.2,
        "restarting",
        "was killed by signal 9 (SIGKILL); restart 1 in 0.2 s (failure 1 in a row)",
        3,
    ),
    (NOON - 122.0, "started", "run 4 started, pid 101", 4),
    (NOON - 120.0, "ready", "startup probe: 200 OK, WAV of 0.41 s", 4),
]
HANG = [
    (NOON - 20, "probe-failed", "liveness probe: no answer within 3 s", 4),
    (NOON - 10, "stopping", "liveness probe failed 3 times in a row: no answer within 3 s", 4),
    (
        NOON - 5,
        "killed",
        "did not end within 5 s of signal 15 (SIGTERM): SIGKILL to the whole tree",
        4,
    ),
    (NOON - 5, "exited", "was killed by signal 9 (SIGKILL)", 4),
    (
        NOON - 5,
        "restarting",
        "liveness probe failed 3 times in a row: no answer within 3 s; restart 2 in 0.2 s "
        "(failure 1 in a row)",
        4,
    ),
]
NOTICES = [
    (NOON - 90, "notice", "loading the neural voice; espeak speaks meanwhile", 4),
    (NOON - 80, "notice", "it works as asked again", 4),
    (
        NOON - 61,
        "notice",
        "the neural voice failed on mps: aten::_weight_norm_interface is not implemented there; "
        "fold weight norm, or set PYTORCH_ENABLE_MPS_FALLBACK=1; espeak speaks meanwhile \x1b[2J",
        4,
    ),
]
pytestmark = pytest.mark.usefixtures("kyiv_time")


def _story(entries: list[Entry], status: object = None) -> list[str]:
    episode = last_episode("tts", entries)
    return [headline(episode, status, NOON), "", *timeline(episode, NOON, PLAIN)]  # type: ignore[arg-type]


def test_why_of_a_crash_survived(golden: Golden) -> None:
    status = service("tts", since=120.0, run=4, restarts=1)
    golden("why_crash.txt", _story(journal("tts", *START, *CRASH), status))


def test_why_names_the_hang_and_what_was_done(golden: Golden) -> None:
    status = down(
        "tts", state="backoff", goal="up", reason=HANG[-1][2], since=5.0, restarts=2, run=4
    )
    golden("why_hang.txt", _story(journal("tts", *START, *CRASH, *HANG), status))


def test_why_of_giving_up(golden: Golden) -> None:
    lines = list(START[:1])
    at = NOON - 30
    for n in range(1, 11):
        at += n / 10
        lines.append((at, "started", f"run {n} started, pid {100 + n}", n))
        lines.append((at + 0.05, "exited", "exited with code 1", n))
        text = f"exited with code 1; restart {n} in {n / 10} s (failure {n} in a row)"
        lines.append((at + 0.05, "restarting", text, n))
    why = "failed 10 times within 20.0 s (limit 10 in 60 s); the last time it exited with code 1"
    lines[-1] = (at + 0.05, "gave-up", why, 10)
    status = down("tts", state="failed", goal="up", reason=why, since=9.0, restarts=9, run=10)
    story = _story(journal("tts", *lines), status)
    golden("why_gave_up.txt", story)
    assert len(story) <= 20


def test_why_of_a_stop_that_was_asked(golden: Golden) -> None:
    lines = [
        *START,
        (NOON - 60, "stopping", "stop asked: by a client", 3),
        (NOON - 59.8, "exited", "exited with code 0", 3),
        (NOON - 59.8, "stopped", "no process of it is left and its ports are free", 3),
    ]
    status = down("tts", since=59.8, run=3)
    golden("why_stopped.txt", _story(journal("tts", *lines), status))


def test_why_of_what_works_and_not_as_asked(golden: Golden) -> None:
    status = service("tts", since=120.0, run=4, restarts=1, notice=NOTICES[-1][2])
    golden("why_notice.txt", _story(journal("tts", *START, *CRASH, *NOTICES), status))


def test_a_notice_ends_in_one_full_stop() -> None:
    for notice in ("Fetch the model", "Fetch the model."):
        told = headline(Episode("tts", ()), service("tts", notice=notice), NOON)
        assert told.endswith("but not as asked: Fetch the model.")


def test_what_comes_long_after_a_notice_is_another_story() -> None:
    notice = (NOON - 3000, "notice", "on the CPU", 3)
    entries = journal("tts", *START, notice, *CRASH)
    assert last_episode("tts", entries).entries[0].topic == "exited"
    again = (NOON - 50, "asked", "start asked: by a client", None)
    entries = journal("tts", *START, (NOON - 60, "notice", "on the CPU", 3), again)
    assert [e.topic for e in last_episode("tts", entries).entries] == ["asked"]


def test_why_without_a_daemon(golden: Golden) -> None:
    golden("why_no_daemon.txt", _story(journal("tts", *START, *CRASH)))
    assert headline(Episode("tts", ()), None, NOON) == (
        "No supervisor runs, and nothing is written of tts."
    )


def test_an_episode_is_only_of_its_service_and_only_the_last() -> None:
    entries = journal("other", *START) + journal("tts", *START, *CRASH, first=4)
    episode = last_episode("tts", entries)
    assert [e.topic for e in episode.entries] == ["exited", "restarting", "started", "ready"]
    assert {e.unit for e in episode.entries} == {"tts"}
    assert last_episode("nobody", entries).entries == ()


def test_what_somebody_asks_begins_a_new_episode() -> None:
    again = [(NOON - 50, "stopping", "restart asked: by a client", 4), *CRASH[2:]]
    episode = last_episode("tts", journal("tts", *START, *CRASH, *again))
    assert episode.entries[0].text == "restart asked: by a client"


def test_every_topic_has_a_line() -> None:
    for topic in (*Topic, "trouble"):
        entry = Entry(1, NOON, "tts", str(topic), "something \x1b[2J", 1)
        (line,) = timeline(Episode("tts", (entry,)), NOON, PLAIN)
        assert "something" in line
        assert "\x1b" not in line
        assert str(topic) in event_line(entry, NOON, PLAIN)
        assert "something" in headline(Episode("tts", (entry,)), None, NOON)


def test_a_long_timeline_counts_what_it_leaves_out() -> None:
    entries = journal("tts", *((NOON + n, "probe-failed", f"event {n}", 1) for n in range(100)))
    lines = timeline(Episode("tts", tuple(entries)), NOON + 100, PLAIN)
    assert len(lines) == LONGEST
    (missing,) = (line for line in lines if line.startswith("…"))
    shown = [line for line in lines if "event" in line and not line.startswith("…")]
    assert missing.startswith(f"… {100 - len(shown)} more")
    assert json.dumps(shown[-1]).endswith('event 99"')
