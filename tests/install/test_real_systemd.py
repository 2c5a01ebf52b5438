"""`install` under a real systemd, where one can be run: what the stand-in is held to."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.e2e.conftest import CHECKOUT, eventually
from tests.install.conftest import Home
from tests.install.real_systemd import RealSystemd

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")


class Session(Home):
    """A system whose commands run beside a real systemd."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "linux")
        self.systemd = RealSystemd(folder, self.home)
        self.env["XDG_RUNTIME_DIR"] = self.systemd.env["XDG_RUNTIME_DIR"]

    def ctl(
        self, *arguments: str, check: int | None = 0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = self.systemd.run(
            [sys.executable, "-P", "-m", "supervisor.cli", "-c", str(self.config), *arguments],
            self.root,
            {**self.env, "PYTHONPATH": str(CHECKOUT), **(env or {})},
        )
        told = f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert check in (None, done.returncode), told
        return done

    def main_pid(self) -> int:
        return int(self.systemd.show(self.item.name, "MainPID"))


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    made = Session(tmp_path)
    try:
        yield made
        made.close()
    finally:
        made.systemd.close()


def test_from_install_to_uninstall(session: Session) -> None:
    session.ctl("up")
    before = session.pids()
    done = session.ctl("install")
    assert "2 services undisturbed" in done.stdout
    unit, systemd = session.item.name, session.systemd
    pid = session.main_pid()
    assert (session.daemon_pid(), session.pids()) == (pid, before)
    assert systemd.show(unit, "ActiveState") == "active"
    assert systemd.show(unit, "StatusText") == "2 of 2 services ready"
    assert systemd.run(["systemctl", "--user", "is-enabled", unit]).stdout == "enabled\n"

    # Restarted, services are born in the unit's own control group; they outlive it for all that.
    session.ctl("restart")
    before = session.pids()
    os.kill(pid, signal.SIGKILL)
    eventually("another daemon", lambda: session.daemon_pid() != pid)
    assert session.pids() == before
    assert session.main_pid() == session.daemon_pid()

    # The same process for systemd too, and ready again.
    pid = session.daemon_pid()
    session.ctl("upgrade")
    eventually("it is active", lambda: systemd.show(unit, "SubState") == "running")
    assert (session.main_pid(), session.daemon_pid(), session.pids()) == (pid, pid, before)

    session.ctl("down")
    eventually("it is inactive", lambda: systemd.show(unit, "ActiveState") == "inactive")
    assert systemd.show(unit, "Result") == "success"
    session.ctl("up")
    assert session.main_pid() == session.daemon_pid()

    # A logout: systemd ends it, and everything with it, in order.
    assert systemd.run(["systemctl", "--user", "stop", unit]).returncode == 0
    assert not session.processes()

    session.ctl("up")
    before = session.pids()
    session.ctl("uninstall")
    assert session.pids() == before
    assert not list(session.home.glob("**/*.service"))
    # A unit that is gone would have every service killed with its supervisor.
    systemd.run(["systemctl", "--user", "daemon-reload"])
    killed = session.kill_daemon()
    eventually("another daemon", lambda: session.daemon_pid() != killed)
    assert session.pids() == before
    session.ctl("down")


def test_after_a_login_everything_is_up(session: Session) -> None:
    session.ctl("install", "--no-start")
    systemd, unit = session.systemd, session.item.name
    assert session.main_pid() == 0
    # What a login reaches, and with it what is linked there.
    assert systemd.run(["systemctl", "--user", "start", "default.target"]).returncode == 0
    eventually("both are up", lambda: session.main_pid() and len(session.pids()) == 2)
    assert systemd.show(unit, "Type") == "notify"
    assert session.ctl("status").returncode == 0


def test_no_other_try_where_it_would_not_help(session: Session) -> None:
    session.ctl("up")
    by_hand = session.daemon_pid()
    session.ctl("install", "--no-start")
    systemd, unit = session.systemd, session.item.name
    assert systemd.run(["systemctl", "--user", "start", unit]).returncode != 0
    assert systemd.show(unit, "ActiveState") == "failed"
    session.ctl("down")
    session.config.write_text("version: 1\ncolour: red\n")
    assert systemd.run(["systemctl", "--user", "start", unit]).returncode != 0
    assert (systemd.show(unit, "ActiveState"), systemd.show(unit, "NRestarts")) == ("failed", "0")
    assert f"pid {by_hand} holds" in (session.state_dir / "daemon.log").read_text()


def test_uninstall_calls_off_a_restart_that_was_due(session: Session) -> None:
    session.ctl("install")
    unit = session.item.name
    # Due for long: on a busy machine it had come before `uninstall`, and what runs goes on.
    extra = session.item.with_name(f"{unit}.d")
    extra.mkdir()
    (extra / "later.conf").write_text("[Service]\nRestartSec=1000\n")
    session.systemd.run(["systemctl", "--user", "daemon-reload"])
    killed = session.kill_daemon()
    session.ctl("uninstall")
    assert session.systemd.show(unit, "ActiveState") in ("inactive", "failed")
    session.ctl("up")
    assert session.daemon_pid() != killed
    session.ctl("down")


def test_down_is_not_undone_by_a_restart_that_was_due(session: Session) -> None:
    session.ctl("install")
    session.kill_daemon()
    session.ctl("down")
    assert session.systemd.show(session.item.name, "ActiveState") in ("inactive", "failed")
    assert session.main_pid() == 0
    assert not session.processes()
