"""Whole commands against a control server that answers as the test says: codes and words."""

import json
import os
import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from supervisor.cli import log_files, status
from supervisor.cli.connection import System
from supervisor.cli.daemon_log import open_log
from supervisor.cli.launch import running
from supervisor.control.messages import FleetStatus, ServiceStatus
from supervisor.control.server import Reply
from supervisor.ledger import Ledger, Record
from supervisor.posix.identity import identify
from tests.cli.fake_daemon import DEADLINE, FakeDaemon, write_journal
from tests.cli.fleets import Ctl, down, journal, service

YAML = """\
version: 1
services:
  tts: {command: [sleep, "1000"]}
  stt: {command: [sleep, "1000"]}
  extra: {command: [sleep, "1000"], enabled: false}
"""

UP = [service("tts", log="/nonexistent/tts.log"), service("stt"), down("extra", enabled=False)]
DOWN = [down("tts"), down("stt"), down("extra", enabled=False)]
LOADING = service("tts", state="loading", ready=False, reason="waiting for the startup probe")


# status --------------------------------------------------------------------------------------


def test_status_of_what_is_well(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, UP):
        code, out, err = ctl("status")
    assert (code, err) == (0, "")
    assert [line.split()[:2] for line in out.splitlines()[:4]] == [
        ["SERVICE", "STATE"],
        ["tts", "healthy"],
        ["stt", "healthy"],
        ["extra", "stopped"],
    ]


def test_status_of_what_is_not_well(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, [LOADING, UP[1]]):
        code, out, _ = ctl("status")
        assert code == 1
        assert "why: tts (loading for 2 min 5 s): waiting for the startup probe" in out
        assert ctl("status", "stt")[0] == 0
        assert ctl("status", "tts")[0] == 1


def test_status_for_scripts(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, UP):
        code, out, _ = ctl("status", "--json", "tts")
    assert code == 0
    told = json.loads(out)
    assert told["services"] == [UP[0]]
    assert told["daemon"]["version"] == "0.1.0"


def test_status_needs_no_valid_yaml(root: Path, ctl: Ctl) -> None:
    (root / "services.yaml").write_text("services: [half an edi")
    with FakeDaemon(root, UP):
        assert ctl("status")[0] == 0


def test_status_without_a_daemon(ctl: Ctl) -> None:
    code, out, err = ctl("status")
    assert (code, out) == (3, "")
    assert err == "atlasctl: no supervisor runs for services.yaml; start it: atlasctl up\n"


def test_the_way_to_start_names_the_file_that_was_meant(root: Path, ctl: Ctl) -> None:
    (root / "other.yaml").write_text(YAML)
    code, out, err = ctl("-c", "other.yaml", "status")
    assert (code, out) == (3, "")
    hint = "start it: atlasctl -c other.yaml up"
    assert err == f"atlasctl: no supervisor runs for other.yaml; {hint}\n"


def test_status_names_the_file_of_what_runs(root: Path, ctl: Ctl) -> None:
    """Both files have one state folder, so whoever asks for one is told of the other."""
    with FakeDaemon(root, UP) as daemon:
        daemon.config = str(root / "other.yaml")
        assert ctl("status")[1].splitlines()[-1].endswith(", other.yaml")


def test_an_unknown_service_gets_a_suggestion(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, UP):
        code, _, err = ctl("status", "tss")
        assert code == 2
        assert err == "atlasctl: no service is called 'tss'; did you mean tts?\n"
        code, _, err = ctl("status", "xyz")
        assert err == "atlasctl: no service is called 'xyz'; there are: tts, stt, extra\n"


def test_names_for_completion_come_from_the_daemon_or_the_yaml(
    root: Path, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who completes a word waits no longer than this; a busy machine may need more.
    monkeypatch.setattr(status, "PATIENCE", DEADLINE)
    assert ctl("_services") == (0, "tts\nstt\nextra\n", "")
    with FakeDaemon(root, UP[:1]):
        assert ctl("_services") == (0, "tts\n", "")
    (root / "services.yaml").write_text("services: [")
    assert ctl("_services") == (0, "", "")


# start, stop, restart ------------------------------------------------------------------------


def test_start_waits_until_it_works(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, DOWN) as fake:
        fake.after = lambda: [[LOADING, *DOWN[1:]], [LOADING, *DOWN[1:]], UP]
        code, out, err = ctl("start", "tts")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "tts: loading: waiting for the startup probe"
    assert re.match(r"tts: healthy after [0-9.]+ s", lines[1])
    assert lines[1].endswith("(pid 4321)")
    assert len(lines) == 2
    assert fake.commands == [("start", ["tts"])]


def test_start_of_what_runs(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, UP):
        assert ctl("start", "tts") == (0, "tts: already healthy (pid 4321)\n", "")


def test_start_names_what_else_was_needed(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, DOWN) as fake:
        fake.also = ["stt"]
        fake.after = lambda: [UP]
        _, out, _ = ctl("start", "tts")
    assert [line.split(":")[0] for line in out.splitlines()] == ["tts", "stt"]


def test_start_of_what_fails_shows_why_and_its_last_lines(root: Path, ctl: Ctl) -> None:
    (root / "logs").mkdir()
    log = root / "logs" / "tts.log"
    mark = "--- atlasctl 2026-01-02T03:04:05.678+01:00 run 1 exited with code 1\n"
    log.write_text("".join(f"line {n}\n" for n in range(30)) + "Fehler \x1b[2J\n" + mark)
    why = "exited with code 1"
    failed = down("tts", state="failed", goal="up", reason=why, last_exit=why, log=str(log))
    with FakeDaemon(root, DOWN) as fake:
        fake.after = lambda: [[failed, *DOWN[1:]]]
        code, out, err = ctl("start", "tts")
    assert code == 1
    assert "tts: failed after" in out
    assert "exited with code 1" in out
    assert "last lines of logs/tts.log:\n  line 21\n" in err
    assert r"  Fehler \x1b[2J" in err
    assert "atlasctl why tts" in err


def test_what_it_printed_last_is_shown_though_it_comes_late(
    root: Path, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor knows of its end before a busy sink has written its last lines."""
    (root / "logs").mkdir()
    log = root / "logs" / "tts.log"
    stamp = "--- atlasctl 2026-01-02T03:04:05.678+01:00"
    log.write_text(f"{stamp} run 1 begins\nloading\n")
    late = ["no model\n", f"{stamp} run 1 exited with code 1\n"]

    def write_meanwhile(_: float) -> None:
        with log.open("a") as file:
            file.write(late.pop(0))

    clock = SimpleNamespace(monotonic=time.monotonic, sleep=write_meanwhile)
    monkeypatch.setattr(log_files, "time", clock)
    why = "exited with code 1"
    failed = down("tts", state="failed", goal="up", reason=why, last_exit=why, log=str(log))
    with FakeDaemon(root, DOWN) as fake:
        fake.after = lambda: [[failed, *DOWN[1:]]]
        err = ctl("start", "tts")[2]
    assert "last lines of logs/tts.log:\n  loading\n  no model\n" in err
    assert late == []


def test_start_of_what_cannot_be_started_shows_no_lines_of_an_older_run(
    root: Path, ctl: Ctl
) -> None:
    (root / "logs").mkdir()
    log = root / "logs" / "tts.log"
    log.write_text("stopped\n")
    why = "could not be started: 127.0.0.1:3001 is in use by pid 7"
    failed = down("tts", state="failed", goal="up", reason=why, log=str(log))
    with FakeDaemon(root, DOWN) as fake:
        fake.after = lambda: [[failed, *DOWN[1:]]]
        code, _, err = ctl("start", "tts")
    assert (code, "last lines" in err) == (1, False)


def test_a_service_that_never_gets_there_ends_the_wait_in_time(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, [LOADING, *UP[1:]]):
        code, out, err = ctl("start", "--timeout", "300ms", "tts")
    assert code == 1
    # Seconds, and not the minute that it waits unasked; the last look takes as long as it takes.
    words = r"tts: still loading after [0-9.]+ s \(pid 4321\): waiting for the startup probe"
    assert re.search(words, out)
    assert "tts may still get there" in err


def test_what_waits_for_something_that_failed_is_lost_at_once(root: Path, ctl: Ctl) -> None:
    failed = down("stt", state="failed", goal="up", reason="exited with code 1")
    why = "waiting for stt, which failed: exited with code 1"
    blocked = down("tts", state="blocked", goal="up", depends_on=["stt"], reason=why)
    last = down("extra", state="blocked", goal="up", depends_on=["tts"], reason="waiting for tts")
    with FakeDaemon(root, [last, blocked, failed]):
        code, out, _ = ctl("start", "extra", "tts")
    assert code == 1
    assert f"tts: blocked after 0 s: {why}" in out.replace("1 ms", "0 s") or why in out


def test_a_command_that_ends_at_once_is_no_success(root: Path, ctl: Ctl) -> None:
    young = service("tts", state="running", probe=None, uptime=0.01)
    failed = down("tts", state="failed", goal="up", reason="exited with code 3")
    with FakeDaemon(root, DOWN) as fake:
        fake.after = lambda: [[young], [failed]]
        assert ctl("start", "tts")[0] == 1


def test_restart_counts_only_the_new_run(root: Path, ctl: Ctl) -> None:
    stopping = service("tts", state="stopping", ready=False, reason="restart asked: by a client")
    fresh = service("tts", run=2, pid=5000)
    with FakeDaemon(root, [UP[0]]) as fake:
        fake.after = lambda: [[UP[0]], [stopping], [fresh]]
        code, out, _ = ctl("restart", "tts")
    assert code == 0
    assert out.splitlines()[-1].startswith("tts: healthy after")
    assert "(pid 5000)" in out
    assert "(pid 4321)" not in out


def test_stop_waits_for_the_end(root: Path, ctl: Ctl) -> None:
    stopping = service("tts", state="stopping", goal="down", reason="stop asked: by a client")
    with FakeDaemon(root, UP) as fake:
        fake.after = lambda: [[UP[0]], [stopping], [DOWN[0]]]
        code, out, _ = ctl("stop", "tts")
    assert code == 0
    assert out.splitlines()[-1].startswith("tts: stopped after")


def test_stop_does_not_wait_for_what_somebody_has_started_meanwhile(root: Path, ctl: Ctl) -> None:
    waiting = service("tts", reason="stop asked: by a client; waiting for bot to end")
    stopping = service("tts", state="stopping", goal="down", reason="stop asked: by a client")
    again = service("tts", state="stopping", reason="start asked: by a client")
    with FakeDaemon(root, UP) as fake:
        fake.after = lambda: [[waiting], [waiting], [stopping], [again]]
        code, out, _ = ctl("stop", "tts")
    assert code == 1
    assert out.splitlines()[-1].startswith("tts: stopping after")
    assert out.splitlines()[-1].endswith("somebody has asked to start it meanwhile")


def test_stop_says_what_is_left(root: Path, ctl: Ctl) -> None:
    left = down("tts", state="failed", reason="not wholly stopped: pid 77 (sh -c trap)")
    with FakeDaemon(root, UP) as fake:
        fake.after = lambda: [[left]]
        code, out, _ = ctl("stop", "tts")
    assert code == 1
    assert "not wholly stopped: pid 77 (sh -c trap)" in out


def test_no_wait_asks_and_returns(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, DOWN) as fake:
        assert ctl("start", "--no-wait", "tts")[0] == 0
    assert fake.commands == [("start", ["tts"])]


@pytest.mark.parametrize(
    ("refusal", "code", "said"),
    [
        (Reply(404, {"error": "no service is called x", "hint": "did you mean tts?"}), 2, "tts?"),
        (Reply(409, {"error": "the daemon is stopping", "hint": "wait"}), 1, "is stopping; wait"),
    ],
)
def test_what_the_daemon_refuses(
    root: Path, ctl: Ctl, refusal: Reply, code: int, said: str
) -> None:
    with FakeDaemon(root, UP) as fake:
        fake.refusal = refusal
        got, _, err = ctl("stop", "x")
    assert got == code
    assert said in err


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_verbs_without_a_daemon(ctl: Ctl, verb: str) -> None:
    code, _, err = ctl(verb, "tts")
    assert code == 3
    assert "atlasctl up" in err


# up and down ---------------------------------------------------------------------------------


def test_up_changes_nothing_where_all_is_up(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, UP) as fake:
        code, out, _ = ctl("up")
    assert code == 0
    assert out.splitlines()[0] == "everything is already up, nothing changed"
    assert fake.commands == []


def test_up_starts_only_what_is_down(root: Path, ctl: Ctl) -> None:
    done = down("stt", state="completed", goal="up")
    with FakeDaemon(root, [DOWN[0], done, DOWN[2]]) as fake:
        fake.after = lambda: [[UP[0], done, DOWN[2]]]
        code, out, _ = ctl("up")
    assert code == 0
    assert fake.commands == [("start", ["tts"])]
    assert "tts: healthy after" in out
    assert "stt: already completed" in out
    assert "1 service up and 1 completed" in out


def test_up_of_one_service_that_is_not_enabled(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, DOWN) as fake:
        fake.after = lambda: [[*DOWN[:2], service("extra", ports=[3001], enabled=False)]]
        code, out, _ = ctl("up", "extra")
    assert code == 0
    assert fake.commands == [("start", ["extra"])]
    assert "http://127.0.0.1:3001" in out
    assert "Next: atlasctl status, atlasctl logs -f extra, atlasctl down" in out


def test_up_with_errors_asks_for_nothing(root: Path, ctl: Ctl) -> None:
    (root / "services.yaml").write_text("version: 1\nservices:\n  tts: {comand: [x], colour: y}\n")
    with FakeDaemon(root, DOWN) as fake:
        code, _, err = ctl("up")
    assert code == 2
    assert "comand" in err
    assert "colour" in err
    assert fake.commands == []


def test_up_of_an_unknown_service(root: Path, ctl: Ctl) -> None:
    code, _, err = ctl("up", "extr")
    assert (code, "did you mean extra?" in err) == (2, True)
    assert not (root / ".atlas").exists()


@pytest.mark.parametrize(
    ("is_there", "hint"), [(True, "atlasctl -c other.yaml down"), (False, "kill ")]
)
def test_up_beside_a_daemon_of_another_file(
    root: Path, ctl: Ctl, is_there: bool, hint: str
) -> None:
    other = root / "other.yaml"
    if is_there:
        other.touch()
    with FakeDaemon(root, UP) as fake:
        fake.config = str(other)
        code, _, err = ctl("up")
    assert code == 1
    assert "was started with other.yaml, not with services.yaml" in err
    assert hint in err


def test_up_of_a_service_that_the_daemon_has_not_read(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, UP[:1]) as fake:
        code, _, err = ctl("up")
    assert code == 1
    assert "stt: not known to the supervisor" in err
    assert fake.commands == []


def test_down_waits_until_the_daemon_is_gone(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, UP) as fake:
        fake.after = lambda: [[UP[0], DOWN[1]], DOWN]
        code, out, err = ctl("down")
    assert (code, err) == (0, "")
    assert fake.commands == [("shutdown", [])]
    assert out.splitlines()[-1].startswith(
        f"stopped 2 services and the supervisor (pid {fake.pid}) after"
    )


def test_down_waits_for_a_daemon_that_is_starting(
    root: Path, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeDaemon(root, UP)
    fake.after = lambda: [DOWN]
    fake.lock()

    def look_too_early(system: System) -> FleetStatus | None:
        found = running(system)
        monkeypatch.undo()
        fake.serve()
        return found

    monkeypatch.setattr("supervisor.cli.lifecycle.running", look_too_early)
    code, out, err = ctl("down")
    fake.__exit__()
    assert (code, err) == (0, "")
    assert fake.commands == [("shutdown", [])]
    assert f"stopped 2 services and the supervisor (pid {fake.pid}) after" in out


def test_down_does_not_wait_for_the_next_daemon(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, UP) as fake:
        fake.ends, pid = False, fake.pid

        def start_another() -> list[list[ServiceStatus]]:
            fake.succeed(os.getpid())
            return [UP]

        fake.after = start_another
        code, out, err = ctl("down", "--timeout", "3s")
    assert (code, err) == (0, "")
    assert re.fullmatch(rf"stopped 2 services and the supervisor \(pid {pid}\) after .*\n", out)


def test_down_goes_on_with_a_daemon_that_came_before_its_own(
    root: Path, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It found none, and was about to start one to take down what is left."""
    fake = FakeDaemon(root, UP)
    fake.after = lambda: [DOWN]
    (root / ".atlas").mkdir(mode=0o700)
    (root / ".atlas" / "holder").write_text("")

    def begin_too_late(state_dir: str, path: str) -> int:
        monkeypatch.undo()
        fake.__enter__()
        return open_log(state_dir, path)

    monkeypatch.setattr("supervisor.cli.takedown.open_log", begin_too_late)
    code, out, err = ctl("down")
    fake.__exit__()
    assert (code, err) == (0, "")
    assert f"the supervisor (pid {fake.pid}) after" in out


def test_what_a_reload_takes_away_is_not_as_asked(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, UP) as fake:
        fake.after = lambda: [UP[1:]]
        code, _, err = ctl("restart", "tts")
    assert code == 1
    assert "not as asked: tts: taken out of the configuration meanwhile" in err
    with FakeDaemon(root, UP) as fake:
        fake.after = lambda: [UP[1:]]
        assert ctl("stop", "tts")[0] == 0, "nothing of it is left"


def test_down_of_nothing(ctl: Ctl) -> None:
    assert ctl("down") == (0, "nothing runs, nothing changed\n", "")


def leave_running(root: Path) -> int:
    """Write what a daemon leaves that is killed: of three runs, two live. Return their pid."""
    (root / ".atlas").mkdir(mode=0o700)
    me = identify(os.getpid())
    assert me is not None
    ledger = Ledger(str(root / ".atlas"))
    # The run in service is gone, the one that was to follow it lives.
    ledger.put(
        Record(
            "tts",
            1,
            wanted=True,
            pid=me.pid,
            ticks=me.started + 1,
            boot=me.boot,
            other_run=2,
            other_pid=me.pid,
            other_ticks=me.started,
        )
    )
    ledger.put(Record("extra", 1, wanted=True, pid=me.pid, ticks=me.started, boot=me.boot))
    ledger.put(Record("stt", 1, wanted=True, pid=me.pid, ticks=me.started + 1, boot=me.boot))
    ledger.close()
    return me.pid


def test_no_command_says_nothing_runs_over_what_a_killed_daemon_left(root: Path, ctl: Ctl) -> None:
    pid = leave_running(root)
    left = (
        "atlasctl: no supervisor runs for services.yaml, but one that was killed has left "
        f"tts (pid {pid}) and extra (pid {pid}) running"
    )
    for argv in (("status",), ("status", "--json"), ("start", "tts"), ("plan",), ("upgrade",)):
        assert ctl(*argv) == (3, "", f"{left}; let a new one take over: atlasctl up\n")


def test_a_hundred_survivors_are_counted(root: Path, ctl: Ctl) -> None:
    (root / ".atlas").mkdir(mode=0o700)
    me = identify(os.getpid())
    assert me is not None
    ledger = Ledger(str(root / ".atlas"))
    for n in range(100):
        ledger.put(Record(f"s{n}", 1, wanted=True, pid=me.pid, ticks=me.started, boot=me.boot))
    ledger.close()
    _, _, err = ctl("status")
    assert err.count("(pid ") == 10
    assert " and 90 more running" in err


# why and events ------------------------------------------------------------------------------

HISTORY = journal(
    "tts",
    (1000.0, "asked", "start asked: the daemon starts", None),
    (1000.1, "started", "run 1 started, pid 4000", 1),
    (1001.0, "exited", "was killed by signal 9 (SIGKILL)", 1),
    (
        1001.0,
        "restarting",
        "was killed by signal 9 (SIGKILL); restart 1 in 0.2 s (failure 1 in a row)",
        1,
    ),
    (1001.2, "started", "run 2 started, pid 4321", 2),
)


def test_why_with_a_daemon(root: Path, ctl: Ctl) -> None:
    write_journal(root, HISTORY)
    with FakeDaemon(root, [service("tts", run=2, restarts=1), *UP[1:]]):
        code, out, _ = ctl("why", "tts")
    assert code == 0
    assert out.startswith("tts is healthy since ")
    assert "because run 1 was killed from outside by SIGKILL" in " ".join(out.split())


def test_why_without_a_daemon_shows_the_log_too(root: Path, ctl: Ctl) -> None:
    write_journal(root, HISTORY)
    (root / "logs").mkdir()
    (root / "logs" / "tts.log").write_text("a last word\n")
    code, out, _ = ctl("why", "tts")
    assert code == 0
    assert out.startswith("No supervisor runs.")
    assert "  a last word" in out


def test_why_for_scripts(root: Path, ctl: Ctl) -> None:
    write_journal(root, HISTORY)
    told = json.loads(ctl("why", "tts", "--json")[1])
    assert told["service"] == "tts"
    assert told["state"] is None
    assert [event["seq"] for event in told["events"]] == [1, 2, 3, 4, 5]


def test_why_of_what_nobody_knows(root: Path, ctl: Ctl) -> None:
    write_journal(root, HISTORY)
    code, _, err = ctl("why", "sst")
    assert (code, "did you mean stt?" in err) == (2, True)
    assert ctl("why", "stt") == (
        0,
        "No supervisor runs. Nothing is written of stt.\n",
        "",
    )


def test_events_are_listed(root: Path, ctl: Ctl) -> None:
    write_journal(root, [*HISTORY, *journal("stt", (1002.0, "ready", "200 OK", 1), first=6)])
    code, out, _ = ctl("events")
    assert code == 0
    assert len(out.splitlines()) == 6
    assert out.splitlines()[-1].endswith("stt  ready  200 OK")
    assert len(ctl("events", "tts")[1].splitlines()) == 5
    assert len(ctl("events", "-n", "2")[1].splitlines()) == 2
    assert ctl("events", "-n", "0")[1] == ""
    (line,) = ctl("events", "--json", "-n", "1")[1].splitlines()
    assert json.loads(line)["seq"] == 6
    assert ctl("events", "sst")[0] == 2


def test_events_are_followed_from_where_the_list_ends(root: Path, ctl: Ctl) -> None:
    write_journal(root, HISTORY)
    news = journal("tts", (1003.0, "ready", "200 OK", 2), first=6)
    with FakeDaemon(root, UP) as fake:
        others = journal("stt", (1004.0, "ready", "200 OK", 1), first=7)
        end = journal("", (1005.0, "daemon-stopped", "daemon stopped", None), first=8)
        fake.events = [*HISTORY, *news, *others, *end]
        code, out, err = ctl("events", "-f", "tts")
    assert code == 3
    assert [line.split("  ")[2] for line in out.splitlines()] == [
        *(entry.topic for entry in HISTORY),
        "ready",
    ]
    assert "has ended" in err


def test_events_cannot_be_followed_without_a_daemon(ctl: Ctl) -> None:
    assert ctl("events", "-f")[0] == 3


# configuration -------------------------------------------------------------------------------


def test_validate(root: Path, ctl: Ctl) -> None:
    assert ctl("validate") == (0, "services.yaml: ok, 3 services (1 disabled)\n", "")
    assert json.loads(ctl("validate", "--json")[1]) == {
        "ok": True,
        "services": ["tts", "stt", "extra"],
    }


def test_validate_tells_every_error(root: Path, ctl: Ctl) -> None:
    bad = root / "bad.yaml"
    bad.write_text("version: 1\nservices:\n  tts: {comand: [x]}\n  stt: {command: 5}\n")
    code, out, err = ctl("validate", "bad.yaml")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) >= 2
    assert all(line.startswith(f"{bad}:") for line in err.splitlines())
    code, out, err = ctl("validate", "--json", "bad.yaml")
    assert (code, err) == (2, "")
    told = json.loads(out)
    assert told["ok"] is False
    assert {"file", "line", "column", "path", "message", "hint"} == set(told["problems"][0])


def test_schema_and_version(ctl: Ctl) -> None:
    assert "$schema" in json.loads(ctl("schema")[1])
    assert ctl("version")[1].startswith("atlasctl 0.1.0")


def test_a_file_that_is_not_there(ctl: Ctl) -> None:
    for argv in (("validate", "gone.yaml"), ("-c", "gone.yaml", "status")):
        code, _, err = ctl(*argv)
        assert code == 2
        assert "gone.yaml" in err
