"""`plan`, `reload`, `restart --rolling` against a control server that answers as the test says."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from supervisor.control.server import Limits, Reply
from tests.cli.fake_daemon import FakeDaemon
from tests.cli.fleets import Ctl, change, down, service

YAML = """\
version: 1
services:
  tts: {command: [sleep, "1000"], env: {API_KEY: hunter2}}
  stt: {command: [sleep, "1000"]}
"""

TTS, STT = service("tts", run=3), service("stt")
UP = [TTS, STT]
NEW_TTS = service("tts", run=4, pid=5000)
SAME = [change("tts"), change("stt")]
RESTART = [change("tts", "restart", "command: a → b", "cwd: /a → /b"), change("stt")]
BUSY = service("tts", run=3, state="stopping", ready=False, reason="restart asked: new")


# plan ----------------------------------------------------------------------------------------


def test_plan_of_what_runs_already(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, UP) as fake:
        fake.changes = SAME
        assert ctl("plan") == (
            0,
            "Nothing to do: what runs is as services.yaml says (2 services).\n",
            "",
        )


def test_plan_shows_what_and_why_and_changes_nothing(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, UP) as fake:
        fake.changes = RESTART
        code, out, err = ctl("plan")
        assert (code, err) == (0, "")
        assert out.splitlines() == [
            "SERVICE  CHANGE   WHY",
            "tts      restart  command: a → b",
            "                  cwd: /a → /b",
            "",
            "1 to restart and 1 unchanged. To apply it: atlasctl reload",
        ]
        assert fake.specs == []
        assert fake.commands == []
        assert json.loads(ctl("plan", "--json")[1]) == {"changes": RESTART}


@pytest.mark.parametrize("command", ["plan", "reload"])
def test_an_error_in_the_file_is_told_as_validate_tells_it(
    root: Path, ctl: Ctl, command: str
) -> None:
    (root / "services.yaml").write_text("version: 1\nservices:\n  tts: {comand: [x]}\n")
    with FakeDaemon(root, UP) as fake:
        told = ctl("validate")
        assert ctl(command) == told
        assert told[0] == 2
        assert fake.specs == []


@pytest.mark.parametrize("command", ["plan", "reload", "upgrade"])
def test_without_a_daemon(ctl: Ctl, command: str) -> None:
    code, out, err = ctl(command)
    assert (code, out) == (3, "")
    assert err == "atlasctl: no supervisor runs for services.yaml; start it: atlasctl up\n"


@pytest.mark.parametrize("command", ["plan", "reload"])
def test_the_daemon_of_another_file_is_left_alone(root: Path, ctl: Ctl, command: str) -> None:
    with FakeDaemon(root, UP) as fake:
        fake.config = str(root / "other.yaml")
        code, _, err = ctl(command)
        assert fake.specs == []
    assert code == 1
    assert "was started with other.yaml, not with services.yaml" in err


@pytest.mark.parametrize("command", ["plan", "reload"])
@pytest.mark.parametrize(
    ("refusal", "code", "said"),
    [
        (Reply(409, {"error": "the root would be /b, and is /a", "hint": "down and up"}), 1, "/b"),
        (
            Reply(400, {"error": "no such format", "hint": "atlasctl upgrade"}),
            2,
            "upgrade",
        ),
        (Reply(413, {"error": "the body is over 9 bytes", "hint": "send less"}), 1, "too large"),
        (
            Reply(404, {"error": "there is no /v1/plan", "hint": "GET /v1/status"}),
            1,
            "the supervisor that runs is older than this command",
        ),
    ],
)
def test_what_the_daemon_refuses(
    root: Path, ctl: Ctl, command: str, refusal: Reply, code: int, said: str
) -> None:
    with FakeDaemon(root, UP) as fake:
        fake.refusal = refusal
        got, out, err = ctl(command)
    assert (got, out) == (code, "")
    assert said in err


def test_a_configuration_that_the_daemon_finds_too_large(root: Path, ctl: Ctl) -> None:
    services = "".join(f'  s{n}: {{command: [sleep, "1"]}}\n' for n in range(200))
    (root / "services.yaml").write_text(f"version: 1\nservices:\n{services}")
    fake = FakeDaemon(root, UP)
    fake.limits = replace(Limits(), body=10_000)
    with fake:
        code, out, err = ctl("reload")
        assert fake.specs == []
    assert (code, out) == (1, "")
    assert "too large for the supervisor that runs: the body is over 10000 bytes" in err
    assert "atlasctl down, then atlasctl up" in err


# reload --------------------------------------------------------------------------------------


def test_reload_sends_the_spec_and_waits_for_the_new_run(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, UP) as fake:
        fake.changes = RESTART
        fake.after = lambda: [[TTS, STT], [BUSY, STT], [NEW_TTS, STT]]
        code, out, err = ctl("reload")
        (spec,) = fake.specs
        assert fake.rolling == [False]
    assert (code, err) == (0, "")
    assert [s.name for s in spec.services] == ["tts", "stt"]
    assert spec.services[0].env == {"API_KEY": "hunter2"}
    lines = out.splitlines()
    assert lines[1] == "tts      restart  command: a → b"
    arrived = [line for line in lines if line.startswith("tts: healthy after")]
    assert len(arrived) == 1
    assert "(pid 5000)" in arrived[0]
    assert re.match(r"Reloaded after [0-9.]+ s: 1 restarted", lines[-1])
    assert lines[-1].endswith("1 restarted and 1 unchanged.")


def test_reload_of_the_same(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, UP) as fake:
        fake.changes = SAME
        code, out, _ = ctl("reload")
    assert code == 0
    assert out == "Nothing to do: what runs is as services.yaml says (2 services).\n"


def test_reload_waits_for_what_is_new_and_for_what_goes(root: Path, ctl: Ctl) -> None:
    old = service("old", state="stopping", goal="down", reason="in the configuration no more")
    fresh = down("fresh", state="loading", goal="up", reason="waiting for the startup probe")
    with FakeDaemon(root, [TTS, service("old")]) as fake:
        fake.changes = [
            change("tts", "live", "restart.backoff.max: 30s → 60s"),
            change("fresh", "add", "new"),
            change("off", "add", "new; disabled, so it is not started"),
            change("old", "remove", "no longer in the configuration"),
        ]
        off = down("off", enabled=False)
        fake.after = lambda: [
            [TTS, fresh, off, old],
            [TTS, service("fresh"), off, old],
            [TTS, service("fresh"), off],
        ]
        code, out, err = ctl("reload")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert "tts: already healthy (pid 4321)" in lines
    assert "old: removed" in lines
    assert any(line.startswith("fresh: healthy after") for line in lines)
    assert any(line.startswith("off: stopped after") for line in lines)
    assert lines[-1].endswith("1 changed without a restart, 2 added and 1 removed.")


def test_reload_does_not_wait_for_what_was_stopped_by_hand(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, [down("tts"), STT]) as fake:
        fake.changes = [change("tts", "live", "command: a → b"), change("stt")]
        code, out, _ = ctl("reload")
    assert code == 0
    assert "tts: already stopped" in out


def test_reload_that_ends_badly(root: Path, ctl: Ctl) -> None:
    failed = down("tts", run=4, state="failed", goal="up", reason="exited with code 1")
    with FakeDaemon(root, UP) as fake:
        fake.changes = RESTART
        fake.after = lambda: [[failed, STT]]
        code, out, err = ctl("reload")
        assert code == 1
        assert "tts: failed after" in out
        assert "not as asked: tts; more: atlasctl why tts" in err
        code, out, _ = ctl("reload", "--json")
    told = json.loads(out)
    assert (code, told["reached"]) == (1, False)
    assert told["states"]["tts"] == {
        "state": "failed",
        "reason": "exited with code 1",
        "reached": False,
    }


def test_reload_for_scripts_and_without_waiting(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, UP) as fake:
        fake.changes = RESTART
        fake.after = lambda: [[BUSY, STT], [NEW_TTS, STT]]
        code, out, err = ctl("reload", "--json")
        assert (code, err) == (0, "")
        told = json.loads(out)
        assert told["changes"] == RESTART
        assert told["services"] == ["tts"]
        assert told["reached"] is True
        fake.pictures = [[BUSY, STT]]
        fake.after = list
        code, out, _ = ctl("reload", "--no-wait")
        assert code == 0
        assert out.splitlines()[-1] == (
            "Asked for: 1 to restart and 1 unchanged; see: atlasctl status"
        )
        assert json.loads(ctl("reload", "--no-wait", "--json")[1])["reached"] is None


def test_reload_that_takes_too_long(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, [BUSY, STT]) as fake:
        fake.changes = RESTART
        code, out, err = ctl("reload", "--timeout", "200ms")
    assert code == 1
    assert "tts: still stopping" in out
    assert "tts may still get there" in err


def test_a_path_that_is_not_utf_8_is_told(
    root: Path, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        odd = root / "odd\udcff"
        odd.mkdir()
    except (OSError, UnicodeEncodeError):
        pytest.skip("this file system has no such names")
    (odd / "services.yaml").write_text(YAML)
    monkeypatch.chdir(odd)
    with FakeDaemon(odd, UP):
        code, _, err = ctl("plan")
    assert code == 2
    assert "not UTF-8" in err


# up ------------------------------------------------------------------------------------------


def test_up_tells_what_differs_and_changes_none_of_it(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, UP) as fake:
        fake.changes = [change("tts", "restart", "x: a → b"), change("gone", "remove", "gone")]
        code, out, err = ctl("up")
        assert fake.specs == []
    assert code == 0
    assert out.startswith("everything is already up, nothing changed\n")
    assert err == (
        "atlasctl: services.yaml has changed since the supervisor read it (tts and gone); "
        "what it means: atlasctl plan, to apply it: atlasctl reload\n"
    )


def test_up_says_nothing_of_changes_where_there_are_none(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, UP) as fake:
        fake.changes = SAME
        assert ctl("up")[2] == ""
        fake.refusal = Reply(404, {"error": "there is no /v1/plan", "hint": ""})
        assert ctl("up")[2] == ""


# Rolling -------------------------------------------------------------------------------------

INCOMING = service(
    "tts",
    run=3,
    settled=False,
    overlap={"run": 4, "pid": 5000, "state": "loading", "incoming": True},
)
OUTGOING = service(
    "tts",
    run=4,
    pid=5000,
    settled=False,
    overlap={"run": 3, "pid": 4321, "state": "stopping", "incoming": False},
)


@pytest.mark.parametrize("argv", [("restart", "--rolling", "tts"), ("reload", "--rolling")])
def test_a_rolling_restart_is_over_when_the_old_run_is_gone(
    root: Path, ctl: Ctl, argv: tuple[str, ...]
) -> None:
    with FakeDaemon(root, UP) as fake:
        fake.changes = RESTART
        waiting = {**TTS, "settled": False}
        fake.after = lambda: [[waiting, STT], [INCOMING, STT], [OUTGOING, STT], [NEW_TTS, STT]]  # type: ignore[list-item]
        code, out, err = ctl(*argv)
        assert fake.rolling == [True]
        assert len(fake.pictures) == 1
    assert (code, err) == (0, "")
    told = [line for line in out.splitlines() if line.startswith("tts:")]
    assert told[-3:-1] == [
        "tts: healthy: run 4 (pid 5000) is to take over and is loading",
        "tts: healthy: run 3 (pid 4321) is on its way out and is stopping",
    ]
    assert told[-1].startswith("tts: healthy after")
    assert told[-1].endswith("(pid 5000)")


@pytest.mark.parametrize("argv", [("restart", "--rolling", "tts"), ("reload", "--rolling")])
def test_a_new_run_that_did_not_become_ready_is_a_failure(
    root: Path, ctl: Ctl, argv: tuple[str, ...]
) -> None:
    with FakeDaemon(root, UP) as fake:
        fake.changes = RESTART
        # `run` counts the attempt that failed; the process is the old one.
        still = service("tts", run=4)
        fake.after = lambda: [[INCOMING, STT], [{**still, "settled": False}, STT], [still, STT]]
        code, out, err = ctl(*argv)
    assert code == 1
    assert "its new run did not become ready, so pid 4321 stays in service" in out
    assert "not as asked: tts; more: atlasctl why tts" in err


def test_a_plain_restart_does_not_ask_for_a_rolling_one(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, UP) as fake:
        fake.after = lambda: [[NEW_TTS, STT]]
        assert ctl("restart", "tts")[0] == 0
        assert fake.rolling == [False]


def test_a_rolling_restart_is_shown_by_status(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, [INCOMING, STT]):
        code, out, _ = ctl("status")
    assert code == 0
    assert "note: tts: run 4 (pid 5000) is to take over and is loading" in out
