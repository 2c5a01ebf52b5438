"""What `why` says: golden texts at 80 columns, and a bound that holds for any journal."""

import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.cli.episode import Episode, last_episode, last_episodes
from supervisor.cli.excerpt import Excerpt
from supervisor.cli.headline import headline
from supervisor.cli.story import LINES, Story, all_is_well, tell, tell_several
from supervisor.cli.telling import STATE_AFTER, event_line, items
from supervisor.cli.terminal import PLAIN, Paint, width
from supervisor.control.messages import ServiceStatus
from supervisor.core.causes import AS_ASKED_AGAIN, Causes, Kind
from supervisor.core.effects import Topic
from supervisor.journal import Entry
from tests.cli.conftest import Golden
from tests.cli.fake_daemon import FakeDaemon, write_journal
from tests.cli.fleets import Ctl, chronicle, down, journal, service
from tests.cli.stories import CRASH, HANG, NOON, START, Line, crash_loop

COLUMNS = 80
TRACEBACK = (
    "Traceback (most recent call last):",
    '  File "/srv/atlas/services/tts/__main__.py", line 41, in <module>',
    "    main()",
    '  File "/srv/atlas/services/tts/app.py", line 120, in main',
    "OSError: [Errno 28] No space left on device: '/srv/atlas/.cache/phrases.sqlite3'",
)
pytestmark = pytest.mark.usefixtures("kyiv_time")


def story(
    entries: list[Entry],
    status: ServiceStatus | None = None,
    excerpt: Excerpt | None = None,
) -> Story:
    return Story(last_episode("tts", entries), status, "/srv/atlas/logs/tts.log", excerpt)


def lines_of(told: Story) -> list[str]:
    lines = tell(told, NOON, COLUMNS, PLAIN)
    assert len(lines) <= LINES
    assert max(map(width, lines)) <= COLUMNS
    return lines


def of_supervisor(before: float, topic: str, text: str) -> tuple[float, str, str, str, None]:
    return (NOON - before, "", topic, text, None)


def of_tts(*lines: Line) -> list[tuple[float, str, str, str, int | None]]:
    return [(at, "tts", topic, text, run) for at, topic, text, run in lines]


# Golden texts --------------------------------------------------------------------------------


def test_why_of_what_was_never_in_trouble(golden: Golden) -> None:
    status = service("tts", since=3998.0, run=3)
    lines = lines_of(story(journal("tts", *START), status))
    assert len(lines) <= 3
    golden("why_healthy.txt", lines)


def test_why_of_a_crash_survived(golden: Golden) -> None:
    status = service("tts", since=120.0, run=4, restarts=1)
    told = story(journal("tts", *START, *CRASH), status, Excerpt(("speaking 212 words",), 3))
    golden("why_crash.txt", lines_of(told))


def test_why_names_the_hang_and_what_was_saved_of_it(golden: Golden) -> None:
    status = down(
        "tts", state="backoff", goal="up", reason=HANG[-1][2], since=5.0, restarts=2, run=4
    )
    told = story(journal("tts", *START, *CRASH, *HANG), status, Excerpt(TRACEBACK[:2], 4))
    golden("why_hang.txt", lines_of(told))


def test_why_of_giving_up(golden: Golden) -> None:
    loop = crash_loop(10)
    at = loop[-1][0]
    why = "failed 10 times within 20.0 s (limit 10 in 60 s); the last time it exited with code 1"
    status = down("tts", state="failed", goal="up", reason=why, since=NOON - at, restarts=9, run=10)
    entries = journal("tts", START[0], *loop[:-1], (at, "gave-up", why, 10))
    golden("why_gave_up.txt", lines_of(story(entries, status, Excerpt(TRACEBACK, 10))))


def test_why_of_a_storm_that_goes_on(golden: Golden) -> None:
    loop = crash_loop(50, at=NOON - 1300)
    status = down(
        "tts",
        state="backoff",
        goal="up",
        reason=loop[-1][2],
        since=NOON - loop[-1][0],
        restarts=50,
        run=50,
    )
    told = story(journal("tts", START[0], *loop), status, Excerpt(TRACEBACK, 50))
    golden("why_storm.txt", lines_of(told))


def test_why_of_a_remedy_that_helped(golden: Golden) -> None:
    lines: list[Line] = [
        (NOON - 90, "asked", "start asked: by a client", None),
        (NOON - 89.9, "started", "run 1 started, pid 100", 1),
        (
            NOON - 80,
            "remedy",
            'remedy mps-operator, for it printed "NotImplementedError: The operator '
            "'aten::_weight_norm_interface' is not currently implemented for the MPS device. If "
            'yo…": set PYTORCH_ENABLE_MPS_FALLBACK=1, restart it (1 of at most 3 times within 1 h)',
            1,
        ),
        (NOON - 80, "stopping", "to apply remedy mps-operator", 1),
        (NOON - 79.7, "exited", "was killed by signal 15 (SIGTERM)", 1),
        (NOON - 79.7, "restarting", "needed remedy mps-operator; restart 1 at once", 1),
        (NOON - 79.7, "started", "run 2 started, pid 101", 2),
        (NOON - 74, "ready", "startup probe: 200 OK, WAV of 0.41 s", 2),
    ]
    status = service("tts", since=74.0, run=2)
    error = "NotImplementedError: The operator 'aten::_weight_norm_interface' is not currently"
    golden("why_remedy.txt", lines_of(story(journal("tts", *lines), status, Excerpt((error,), 1))))


def test_why_of_a_supervisor_killed(golden: Golden) -> None:
    first = "daemon 0.1.0 started, pid 41, /srv/atlas/config/services.yaml"
    second = first.replace("41", "52")
    adopted = "run 3 adopted, pid 100: it outlived the daemon that started it"
    entries = chronicle(
        of_supervisor(4001, "daemon-started", first),
        *of_tts(*START),
        of_supervisor(30, "daemon-started", second),
        *of_tts(
            (NOON - 29.9, "adopted", adopted, 3),
            (NOON - 29.8, "ready", "readiness probe: 200 OK", 3),
        ),
    )
    golden(
        "why_adopted.txt",
        lines_of(story(entries, service("tts", since=29.8, run=3, uptime=3999.9))),
    )


def test_why_of_a_failure_after_sleep(golden: Golden) -> None:
    slept = "the machine slept for 8.1 h; probes begin anew, and failures meanwhile do not count"
    entries = chronicle(
        *of_tts(*START),
        of_supervisor(50, "resumed", slept),
        *of_tts(
            (NOON - 45, "unready", "readiness probe failed 2 times in a row: 503", 3),
            (NOON - 40, "ready", "readiness probe: 200 OK", 3),
        ),
    )
    told = story(entries, service("tts", since=40.0, run=3), Excerpt(("reconnecting",), 3))
    golden("why_sleep.txt", lines_of(told))


def test_why_of_a_rolling_restart(golden: Golden) -> None:
    lines: list[Line] = [
        (NOON - 60, "rolling", "restart asked: by a client; run 4 is started beside run 3", 4),
        (NOON - 59.9, "started", "run 4 started, pid 101", 4),
        (NOON - 55, "ready", "startup probe: 200 OK, WAV of 0.41 s", 4),
        (NOON - 55, "rolled", "run 4 is ready and takes over from run 3", 4),
        (NOON - 55, "stopping", "run 4 has taken over", 3),
        (NOON - 54.7, "exited", "exited with code 0", 3),
        (NOON - 54.7, "retired", "run 3: no process of it is left", 3),
    ]
    told = story(journal("tts", *START, *lines), service("tts", since=55.0, run=4))
    golden("why_rolled.txt", lines_of(told))


def test_why_of_what_waits_for_another(golden: Golden) -> None:
    reason = "waiting for stt, which failed: exited with code 1; its restart policy is never"
    lines: list[Line] = [START[0], (NOON - 3999, "blocked", reason, None)]
    status = down(
        "tts", state="blocked", goal="up", reason=reason, since=3999.0, depends_on=["stt"], run=0
    )
    golden("why_blocked.txt", lines_of(story(journal("tts", *lines), status)))


def test_why_of_a_stop_that_was_asked(golden: Golden) -> None:
    lines: list[Line] = [
        *START,
        (NOON - 60, "stopping", "stop asked: by a client", 3),
        (NOON - 59.8, "exited", "exited with code 0", 3),
        (NOON - 59.8, "stopped", "no process of it is left and its ports are free", 3),
    ]
    status = down("tts", since=59.8, run=3)
    golden("why_stopped.txt", lines_of(story(journal("tts", *lines), status)))


def test_why_of_what_works_and_not_as_asked(golden: Golden) -> None:
    notices: list[Line] = [
        (NOON - 90, "notice", "loading the neural voice; espeak speaks meanwhile", 4),
        (NOON - 80, "notice", "it works as asked again", 4),
        (
            NOON - 61,
            "notice",
            "the neural voice failed on mps: aten::_weight_norm_interface is not implemented "
            "there; fold weight norm, or set PYTORCH_ENABLE_MPS_FALLBACK=1; espeak speaks "
            "meanwhile \x1b[2J",
            4,
        ),
    ]
    status = service("tts", since=120.0, run=4, restarts=1, notice=notices[-1][2])
    golden("why_notice.txt", lines_of(story(journal("tts", *START, *CRASH, *notices), status)))


def test_why_without_a_daemon(golden: Golden) -> None:
    golden("why_no_daemon.txt", lines_of(story(journal("tts", *START, *CRASH))))
    assert headline(Episode("tts", ()), None, NOON) == (
        "No supervisor runs. Nothing is written of tts."
    )


def test_why_of_a_program_that_is_not_there(golden: Golden) -> None:
    why = "no program is called uvicorn on the PATH of the service"
    lines: list[Line] = [START[0], (NOON - 3999.9, "spawn-failed", why, 1)]
    status = down("tts", state="failed", goal="up", reason=why, since=3999.9, run=1)
    golden("why_no_program.txt", lines_of(story(journal("tts", *lines), status, Excerpt((), 1))))


def test_why_of_several(golden: Golden) -> None:
    why = "failed 10 times within 20.0 s (limit 10 in 60 s); the last time it exited with code 1"
    loop = crash_loop(10)
    entries = journal("tts", START[0], *loop[:-1], (loop[-1][0], "gave-up", why, 10))
    status = down("tts", state="failed", goal="up", reason=why, since=9.0, restarts=9, run=10)
    others = [
        Story(Episode(name, ()), down(name, state="blocked", goal="up", reason=why), None, None)
        for name, why in (
            ("web", "waiting for tts"),
            ("bridge", "waiting for tts"),
            ("a", ""),
            ("b", ""),
        )
    ]
    told = story(entries, status, Excerpt(TRACEBACK, 10))
    several = [tell_several([told, *others[:n]], NOON, COLUMNS, PLAIN) for n in range(5)]
    assert max(map(len, several)) <= LINES
    golden("why_several.txt", several[-1])


def test_all_is_well(golden: Golden) -> None:
    services = {
        "tts": service("tts", run=4, restarts=1),
        "stt": service("stt", notice="it works on the CPU: no GPU was found"),
        "extra": down("extra"),
    }
    episodes = last_episodes(journal("tts", *START, *CRASH))
    golden("why_all.txt", all_is_well(services, episodes, NOON, COLUMNS))
    assert all_is_well({}, {}, NOON, COLUMNS) == ["All is well: there is no service."]


# The command ---------------------------------------------------------------------------------

YAML = "version: 1\nservices: {tts: {command: [x]}, stt: {command: [x]}, web: {command: [x]}}\n"


def test_without_a_name_the_root_of_what_is_wrong_is_told(root: Path, ctl: Ctl) -> None:
    reason = "exited with code 1; its restart policy is never"
    write_journal(root, journal("tts", (NOON, "exited", "exited with code 1", 1)))
    (root / "logs").mkdir()
    log = root / "logs" / "tts.log"
    log.write_text("no voice\n")
    picture = [
        down("web", state="blocked", goal="up", reason="waiting for tts, which failed"),
        down("tts", state="failed", goal="up", reason=reason, log=str(log), run=1),
        down("stt"),
    ]
    with FakeDaemon(root, picture):
        code, out, _ = ctl("why")
        record = json.loads(ctl("why", "--json")[1])
    assert code == 0
    assert out.startswith("tts failed at ")
    assert "  no voice\n" in out
    assert "web is blocked, too: waiting for tts" in out
    assert "stt" not in out
    assert [each["service"] for each in record["services"]] == ["tts", "web"]
    assert record["services"][0]["last_words"] == {"run": None, "lines": ["no voice"]}


def test_what_could_not_be_started_has_no_last_words(root: Path, ctl: Ctl) -> None:
    """What the log ends with is of a run of yesterday, and would explain nothing."""
    lines: list[Line] = [
        START[0],
        (NOON - 9, "spawn-failed", "127.0.0.1:3001 is in use by pid 7", 8),
        (NOON - 9, "gave-up", "failed 5 times within 3.2 s (limit 5 in 60 s)", 8),
    ]
    write_journal(root, journal("tts", *lines))
    (root / "logs").mkdir()
    log = root / "logs" / "tts.log"
    log.write_text("stopped\n")
    with FakeDaemon(root, [down("tts", state="failed", goal="up", log=str(log), run=8)]):
        assert "stopped" not in ctl("why", "tts")[1]


def test_without_a_name_and_all_well(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, [service("tts"), service("stt"), down("web")]):
        assert ctl("why")[1] == "All is well: tts and stt are healthy; web is stopped as asked.\n"
        assert json.loads(ctl("why", "--json")[1]) == {"services": []}


def test_what_was_restarted_just_now_may_be_in_a_loop(root: Path, ctl: Ctl) -> None:
    write_journal(root, journal("tts", *crash_loop(3, at=time.time() - 5)))
    with FakeDaemon(root, [service("tts", state="running"), service("stt")]):
        assert ctl("why")[1].startswith("tts is running since")


def test_without_a_name_and_without_a_daemon(root: Path, ctl: Ctl) -> None:
    assert ctl("why")[1] == "No supervisor runs, and nothing is written of any service.\n"
    write_journal(root, chronicle(*of_tts(*START)))
    assert "nothing was wrong" in " ".join(ctl("why")[1].split())
    bad = journal("stt", (NOON, "gave-up", "failed 3 times", 3), first=9)
    write_journal(root, [*chronicle(*of_tts(*START)), *bad])
    assert "The last that is known of stt" in ctl("why")[1]


# For any journal -----------------------------------------------------------------------------


def test_every_topic_is_told() -> None:
    assert set(STATE_AFTER) == set(Topic)
    for topic in (*Topic, "of a newer release"):
        for text in ("something \x1b[2J; else", "stop asked: something", "x probe: something", ""):
            entry = Entry(1, NOON, "tts", str(topic), text, 1)
            (item,) = items(Episode("tts", (entry,)), NOON)
            assert ("something" in item.text) or text == "" or topic in _RETOLD
            assert "\x1b" not in item.text
            assert str(topic) in event_line(entry, NOON, PLAIN)
            assert headline(Episode("tts", (entry,)), None, NOON)


_RETOLD = (Topic.BEGAN,)
"""Told in other words than the journal's."""


def test_a_probe_that_fails_on_the_way_up_is_no_story() -> None:
    """With liveness but no startup probe every slow start begins so."""
    lines = [*START[:2], (NOON - 3999, "probe-failed", "liveness probe: connection refused", 3)]
    status = service("tts", since=3998.0, run=3)
    assert len(lines_of(story(journal("tts", *lines, START[2]), status))) <= 3
    again = (NOON - 3000, "probe-failed", "liveness probe: no answer", 3)
    told = lines_of(story(journal("tts", *lines, START[2], again), status))
    assert told[-1].endswith("liveness probe failed: no answer")


def test_an_arrow_stands_before_what_was_decided_and_nowhere_else() -> None:
    for entry in journal("tts", *START, *CRASH, *HANG):
        (item,) = items(Episode("tts", (entry,)), NOON)
        assert ("→" in item.head) == (entry.kind is Kind.DECIDED)


def test_a_cause_is_repeated_unless_it_was_just_told() -> None:
    exited, decided = journal("tts", *CRASH[:2])
    assert items(Episode("tts", (exited, decided)), NOON)[1].text == "restart 1 in 0.2 s"
    (alone,) = items(Episode("tts", (decided,)), NOON)
    assert alone.text == "restart 1 in 0.2 s: was killed by SIGKILL"
    unlinked = dataclasses.replace(decided, because=())
    assert items(Episode("tts", (exited, unlinked)), NOON)[1].text == alone.text


@pytest.mark.parametrize(
    ("before", "text", "told"),
    [
        ([], "was killed by signal 9 (SIGKILL)", "run 4 was killed from outside by SIGKILL"),
        (HANG[:2], "was killed by signal 9 (SIGKILL)", "run 4 was killed by SIGKILL"),
        ([], "was killed by signal 11 (SIGSEGV)", "run 4 was killed by SIGSEGV"),
        ([], "run 4 ended while no daemon was there", "run 4 ended while no daemon"),
    ],
)
def test_who_has_killed_it_is_told(before: list[Line], text: str, told: str) -> None:
    entries = journal("tts", *before, (NOON, "exited", text, 4))
    assert items(Episode("tts", tuple(entries)), NOON)[-1].text.startswith(told)


def test_the_end_of_a_headline_is_not_lost_to_a_long_reason() -> None:
    reason = f"failed 5 times; {'x' * 4000}"
    status = down("tts", state="failed", goal="up", reason=reason)
    assert "atlasctl start tts" in " ".join(lines_of(story([], status)))


def test_a_notice_ends_in_one_full_stop() -> None:
    for notice in ("Fetch the model", "Fetch the model."):
        told = headline(Episode("tts", ()), service("tts", notice=notice), NOON)
        assert "but not as asked: Fetch the model. " in f"{told} "


INCIDENT = (
    "mps failed: NotImplementedError: The operator 'aten::_weight_norm_interface' is not currently "
    "implemented for the MPS device. If you want this op to be considered for addition please "
    "comment on https://github.com/pytorch/pytorch/issues/141287 and ment…; set "
    "PYTORCH_ENABLE_MPS_FALLBACK=1 before the start (config/services.yaml, env of tts); the CPU is "
    "used"
)


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("since", [3.0, 1e6])
@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("healthy", ""),
        ("busy", "transaction probe: put off: it works on something"),
        ("busy", "readiness probe: 503 Service Unavailable, " + "much to do " * 20),
    ],
)
@pytest.mark.parametrize("mishaps", [(), CRASH, (*CRASH, *HANG)])
def test_what_helps_is_not_cut_off_a_notice(
    columns: int, since: float, state: str, reason: str, mishaps: tuple[Line, ...]
) -> None:
    status = service("tts", state=state, reason=reason, since=since, restarts=1, notice=INCIDENT)
    excerpt = Excerpt(TRACEBACK, 3)
    told = tell(story(journal("tts", *START, *mishaps), status, excerpt), NOON, columns, PLAIN)
    said = " ".join(told)
    assert "not as asked: mps failed: NotImplementedError: The operator" in said
    assert INCIDENT.partition("; ")[2] in said
    assert len(told) <= LINES


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("later", [(), HANG[:1]])
@pytest.mark.parametrize("mishaps", [(), CRASH, (*CRASH, *HANG, *CRASH)])
def test_what_helps_is_told_where_no_daemon_runs(
    columns: int, later: Sequence[Line], mishaps: Sequence[Line]
) -> None:
    """And its server complains at length that the daemon's connection has broken."""
    lines = (*START, *mishaps, (NOON - 60, "notice", INCIDENT, 4), *later)
    told = tell(story(journal("tts", *lines), None, Excerpt(TRACEBACK, 3)), NOON, columns, PLAIN)
    said = " ".join(told)
    assert "not as asked: mps failed: NotImplementedError: The operator" in said
    assert INCIDENT.partition("; ")[2] in said
    assert len(told) <= LINES


@pytest.mark.parametrize(
    "then",
    [
        (NOON - 50, "notice", AS_ASKED_AGAIN, 4),
        (NOON - 50, "exited", "exited with code 0", 4),
        (NOON - 50, "started", "run 5 started, pid 102", 5),
    ],
)
def test_a_notice_that_holds_no_more_is_not_told_of_the_present(then: Line) -> None:
    lines = (*START, *CRASH, (NOON - 60, "notice", INCIDENT, 4), then)
    assert "not as asked" not in headline(last_episode("tts", journal("tts", *lines)), None, NOON)


def test_what_helps_is_told_of_each_of_several_that_do_not_work_as_asked() -> None:
    services = {f"s{at}": service(f"s{at}", notice=INCIDENT) for at in range(20)}
    told = all_is_well(services, last_episodes(journal("s1", *CRASH)), NOON, COLUMNS)
    said = " ".join(told)
    assert said.count("; " + INCIDENT.partition("; ")[2]) == 4
    assert "Not as asked: 16 more services; of each: atlasctl why NAME" in told
    assert len(told) <= LINES


TEXTS = st.one_of(
    st.sampled_from([line[2] for line in (*START, *CRASH, *HANG)]),
    st.text(max_size=300),
    st.builds("{} probe failed {}: {}".format, st.text(max_size=5), st.integers(), st.text()),
)
LINE_OF_JOURNAL = st.tuples(
    st.floats(0, 1e10),
    st.sampled_from(["tts", "tts", "tts", "", "stt"]),
    st.sampled_from([*map(str, Topic), "of a newer release"]),
    TEXTS,
    st.none() | st.integers(0, 9),
)
LINES_OF_JOURNAL = st.lists(LINE_OF_JOURNAL, max_size=40)
REPEATED = st.builds(list.__mul__, st.lists(LINE_OF_JOURNAL, max_size=5), st.integers(2, 20))
STATES = st.sampled_from(
    ["healthy", "running", "backoff", "failed", "blocked", "loading", "stopped", "of a new one"]
)


@given(
    LINES_OF_JOURNAL | REPEATED,
    st.none() | st.tuples(STATES, TEXTS, st.none() | TEXTS),
    st.none() | st.builds(Excerpt, st.lists(TEXTS, max_size=5).map(tuple), st.none() | st.just(3)),
    st.sampled_from([60, 80, 120]),
    st.booleans(),
)
def test_any_story_is_under_twenty_lines(
    lines: list[Any],
    status: tuple[str, str, str | None] | None,
    excerpt: Excerpt | None,
    columns: int,
    colors: bool,
) -> None:
    entries = chronicle(*lines)
    known = None
    if status is not None:
        known = service("tts", state=status[0], reason=status[1], notice=status[2])
    told = story(entries, known, excerpt)
    paint = Paint(on=colors)
    episodes = last_episodes(entries)
    others = [Story(episode, known, None, None) for episode in episodes.values()]
    for found in (
        tell(told, NOON, columns, paint),
        tell_several([told, *others, *others], NOON, columns, paint),
        all_is_well(None if known is None else {"tts": known}, episodes, NOON, columns),
    ):
        assert len(found) < 20
        assert max(map(width, found)) <= columns
        assert not any("\n" in line for line in found)


@given(LINES_OF_JOURNAL)
def test_links_go_back_and_only_from_decisions(lines: list[Any]) -> None:
    causes = Causes()
    for seq, (_, unit, topic, text, run) in enumerate(lines, 1):
        kind, because = causes.note(seq, unit, topic, text, run)
        assert list(because) == sorted(set(because))
        assert all(0 < each < seq for each in because)
        assert not because or kind is Kind.DECIDED
