"""`atlasctl dashboard`: the address, the browser, and what to do where there is no dashboard."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.dashboard import presence, token_file
from tests.cli.fake_daemon import FakeDaemon
from tests.cli.fleets import Ctl, down, service

YAML = """\
version: 1
services:
  tts: {command: [sleep, "1000"]}
  page: {command: [python, -m, supervisor.dashboard], ports: [3900]}
"""


@pytest.fixture
def alive(root: Path) -> str:
    """A dashboard that runs, as far as can be seen: its token."""
    state_dir = root / ".atlas"
    state_dir.mkdir(mode=0o700)
    presence.announce(str(state_dir), "http://127.0.0.1:3900")
    return token_file.obtain(str(state_dir))


def test_the_address_is_printed(ctl: Ctl, alive: str) -> None:
    assert ctl("dashboard", "--print") == (0, f"http://127.0.0.1:3900/#token={alive}\n", "")


def test_a_browser_is_sent_to_a_file_that_leads_there(
    ctl: Ctl, root: Path, alive: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What stands on a browser's command line can be seen by everybody: no token may.
    script = root / "browser"
    script.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" >{root}/asked\n")
    script.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{script} %s")
    code, out, err = ctl("dashboard")
    assert (code, err) == (0, "")
    assert out.startswith("opened http://127.0.0.1:3900 in your browser; ")
    assert alive not in out
    asked = (root / "asked").read_text()
    assert alive not in asked
    door = root / ".atlas" / "dashboard.html"
    assert asked == f"file://{door}\n"
    assert door.stat().st_mode & 0o777 == 0o600
    target = re.search(r'content="0;url=([^"]*)"', door.read_text())
    assert target is not None
    assert target[1] == f"http://127.0.0.1:3900/#token={alive}"


@pytest.mark.skipif(sys.platform == "darwin", reason="a Mac has a screen")
def test_without_a_screen_the_address_is_printed_and_how_to_reach_it(
    ctl: Ctl, alive: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    code, out, err = ctl("dashboard")
    assert (code, out) == (0, f"http://127.0.0.1:3900/#token={alive}\n")
    assert "ssh -L 3900:127.0.0.1:3900" in err


def test_a_trap_in_the_place_of_the_door_is_replaced(
    ctl: Ctl, root: Path, alive: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER", "true %s")
    victim = root / "victim"
    victim.write_text("mine")
    (root / ".atlas" / "dashboard.html").symlink_to(victim)
    assert ctl("dashboard")[0] == 0
    assert victim.read_text() == "mine"


def test_a_token_that_others_could_read_is_not_used(ctl: Ctl, root: Path, alive: str) -> None:
    (root / ".atlas" / token_file.NAME).chmod(0o640)
    code, out, err = ctl("dashboard", "--print")
    assert (code, out) == (1, "")
    assert "others could have read" in err


def test_a_dashboard_that_has_died_is_not_opened(ctl: Ctl, root: Path, alive: str) -> None:
    told = json.loads((root / ".atlas" / presence.NAME).read_text())
    with subprocess.Popen(["true"]) as gone:
        told["process"]["pid"] = gone.pid
    (root / ".atlas" / presence.NAME).write_text(json.dumps(told))
    code, out, err = ctl("dashboard", "--print")
    assert (code, out) == (3, "")
    assert "no supervisor runs for services.yaml; start it: atlasctl up" in err


@pytest.mark.parametrize(
    ("found", "hint"),
    [
        (down("page"), "is stopped: stop asked: by a client; start it: atlasctl start page"),
        (
            down("page", state="failed", goal="up", reason="exited with code 1"),
            "is failed: exited with code 1; see: atlasctl why page",
        ),
        (service("other"), "the supervisor does not yet: atlasctl reload"),
    ],
    ids=["stopped", "failed", "not-reloaded"],
)
def test_what_to_do_is_said(ctl: Ctl, root: Path, found: object, hint: str) -> None:
    with FakeDaemon(root, [service("tts"), found]):  # type: ignore[list-item]
        code, out, err = ctl("dashboard")
    assert (code, out) == (1, "")
    assert hint in err


def test_a_configuration_without_a_dashboard_is_said(ctl: Ctl, root: Path) -> None:
    (root / "services.yaml").write_text("version: 1\nservices: {a: {command: [sleep, '9']}}\n")
    code, out, err = ctl("dashboard")
    assert (code, out) == (2, "")
    assert "no service of services.yaml is the dashboard; add one: docs/dashboard.md" in err


def test_the_program_says_what_it_cannot_do(tmp_path: Path) -> None:
    def run(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "supervisor.dashboard", *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=Path(__file__).parents[2],
            env={**os.environ, **env},
        )

    missing = run("-c", str(tmp_path / "missing.yaml"))
    assert missing.returncode == 2
    assert "cannot be read" in missing.stderr
    (tmp_path / "services.yaml").write_text(YAML)
    no_state = run("-c", str(tmp_path / "services.yaml"), "--port", "0")
    assert no_state.returncode == 1
    assert "dashboard: cannot make" in no_state.stderr
