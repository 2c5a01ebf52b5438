"""`upgrade` against a daemon that executes itself anew, or does not, as the test says."""

import json
from pathlib import Path

import pytest

from supervisor.cli import upgrade
from supervisor.cli.upgrade import Run, compare, disturbance, summary
from supervisor.control.server import Reply
from tests.cli.fake_daemon import FakeDaemon
from tests.cli.fleets import Ctl, down, fleet, service

YAML = 'version: 1\nservices: {a: {command: ["true"]}}\n'

A, B, OFF = service("a"), service("b", pid=4322), down("off")


def test_an_upgrade_that_nobody_notices(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, [A, B, OFF]) as fake:

        def upgraded() -> None:
            fake.upgrades, fake.version = 1, "0.2.0"

        fake.upgraded = upgraded
        code, out, err = ctl("upgrade")
        assert fake.commands == [("upgrade", [])]
    assert (code, err) == (0, "")
    assert out == f"atlasctl 0.1.0 → 0.2.0, pid {fake.pid} as before, 2 services undisturbed\n"


def test_an_upgrade_to_the_same_version_for_scripts(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, [A, B, OFF]) as fake:
        code, out, _ = ctl("upgrade", "--json")
    assert code == 0
    assert json.loads(out) == {
        "from": "0.1.0",
        "to": "0.1.0",
        "pid_before": fake.pid,
        "pid": fake.pid,
        "upgrades": 1,
        "undisturbed": ["a", "b"],
        "disturbed": [],
    }


def test_a_service_that_was_disturbed_is_named(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, [A, B]) as fake:
        fake.after = lambda: [[A, service("b", run=2, pid=77)]]
        code, out, err = ctl("upgrade")
        assert code == 1
        undisturbed = f"pid {fake.pid} as before, 1 service undisturbed, 1 not"
        assert out == f"atlasctl 0.1.0, executed anew, {undisturbed}\n"
        assert err == (
            "atlasctl: b: was run 1 (pid 4322) and is run 2 (pid 77) now; see: atlasctl why b\n"
        )
        fake.pictures = [[A, B]]
        fake.after = lambda: [[A]]
        told = json.loads(ctl("upgrade", "--json")[1])
    assert told["disturbed"] == [
        {"service": "b", "run_before": 1, "pid_before": 4322, "run": None, "pid": None}
    ]


def test_what_the_trial_says_is_passed_on(root: Path, ctl: Ctl) -> None:
    said = "the installed code did not prove itself: SyntaxError: invalid syntax"
    with FakeDaemon(root, [A]) as fake:
        fake.refusal = Reply(409, {"error": said, "hint": "this daemon goes on as it was"})
        code, out, err = ctl("upgrade")
    assert (code, out) == (1, "")
    assert err == f"atlasctl: {said}; this daemon goes on as it was\n"


def test_a_daemon_that_goes_on_with_its_old_code(
    root: Path, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrade, "SWITCH_TIMEOUT", 0.3)
    with FakeDaemon(root, [A]) as fake:
        fake.upgraded = lambda: None
        code, _, err = ctl("upgrade")
    assert code == 1
    assert f"the supervisor (pid {fake.pid}) goes on with its old code, 0.1.0" in err
    assert "atlasctl events" in err


def test_the_wait_for_the_new_code_ends_in_time(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, [A]) as fake:
        fake.upgraded = lambda: None
        code, _, err = ctl("upgrade", "--timeout", "400ms")
    assert code == 1
    assert "does not answer with its new code" in err


def test_a_daemon_that_ends_is_told_with_what_it_said(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, [A]) as fake:
        (root / ".atlas" / "daemon.log").write_text("Traceback: broken\n")
        fake.upgraded = fake.end
        code, _, err = ctl("upgrade")
    assert code == 3
    assert f"the supervisor (pid {fake.pid}) ended when it executed the new code" in err
    assert "atlasctl up" in err
    assert "Traceback: broken" in err


def test_only_what_ran_can_be_disturbed() -> None:
    before, after = [A, B, OFF], [A, down("b"), service("off", pid=9), service("new", pid=8)]
    compared = compare(before, after)
    assert compared.undisturbed == ("a",)
    assert compared.disturbed == ((Run("b", 1, 4322), Run("b", 1, None)),)
    assert disturbance(*compared.disturbed[0]) == (
        "b: was run 1 (pid 4322) and does not run now; see: atlasctl why b"
    )
    assert disturbance(Run("b", 1, 5), None) == "b: was run 1 (pid 5) and is not known any more"


def test_another_process_is_not_passed_off_as_the_same() -> None:
    other = fleet(A)
    other["daemon"]["pid"] = 99
    told = summary(fleet(A), other, compare([A], [A]))
    assert told == "atlasctl 0.1.0, executed anew, pid 41 → 99, 1 service undisturbed"
