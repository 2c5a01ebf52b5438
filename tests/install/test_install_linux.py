"""`install` on Linux: real command and daemon, under a stand-in for the user's systemd."""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from supervisor.cli.checks.systemd import units
from tests.e2e.conftest import SLEEPER, eventually
from tests.install.conftest import Home
from tests.install.fake_systemd import Systemd
from tests.install.test_install_files import compare

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it speaks as systemd does")


def main_pid(home: Home, systemd: Systemd) -> int | None:
    job = systemd.jobs.get(home.item.name)
    return None if job is None else job.pid


def test_install_writes_the_golden_file_and_starts_it(linux: Home, systemd: Systemd) -> None:
    done = linux.ctl("install")
    assert done.stderr == ""
    pid = main_pid(linux, systemd)
    compare("home.service", linux.as_golden())
    link = linux.item.parent / "default.target.wants" / linux.item.name
    assert link.resolve() == linux.item
    assert done.stdout.splitlines() == [
        f"written: {linux.item}",
        f"started: the supervisor is pid {pid}; how its services do: atlasctl status",
        "it starts when you log in, and all ends when you log out; to start at boot and stay: "
        "atlasctl install --linger",
    ]
    assert (linux.daemon_pid(), systemd.said("READY=1")) == (pid, 1)
    told = json.loads(linux.ctl("status", "--json", check=None).stdout)
    assert told["daemon"]["login_item"] == linux.item.name
    shown = linux.ctl("status", check=None).stdout.splitlines()
    assert shown[-1] == f"starts at login: {linux.item.name}"
    (unit,) = units([str(linux.item.parent)], str(linux.home))
    assert unit.enabled
    assert unit.start.starts(str(linux.config))


def test_services_know_nothing_of_the_manager(linux: Home, systemd: Systemd) -> None:
    systemd.watchdog = 20.0
    linux.ctl("install")
    for pid in [*linux.pids().values(), linux.status()["daemon"]["sink_pid"]]:
        assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC"} & psutil.Process(pid).environ().keys()


def test_killed_it_comes_back_and_services_go_on(linux: Home, systemd: Systemd) -> None:
    linux.ctl("install")
    before = linux.pids()
    killed = linux.kill_daemon()
    eventually("another daemon", lambda: linux.daemon_pid() not in (None, killed))
    assert linux.pids() == before
    assert main_pid(linux, systemd) == linux.daemon_pid()
    assert linux.ctl("up").stdout.startswith("everything is already up, nothing changed")


def test_one_that_stands_still_is_replaced(linux: Home, systemd: Systemd) -> None:
    # It is to say something every half second, and may be held up by all else that is in work.
    systemd.watchdog, systemd.patience = 1.0, 60.0
    linux.ctl("install")
    before, frozen = linux.pids(), linux.daemon_pid()
    fed = systemd.said("WATCHDOG=1")
    eventually("signs of life", lambda: systemd.said("WATCHDOG=1") > fed)
    assert (linux.daemon_pid(), len(systemd.jobs[linux.item.name].codes)) == (frozen, 0)
    os.kill(frozen, signal.SIGSTOP)
    systemd.patience = 0.0
    eventually("another daemon", lambda: main_pid(linux, systemd) not in (None, frozen))
    systemd.patience = 60.0
    eventually("it answers", linux.daemon_pid)
    assert linux.pids() == before


def test_an_upgrade_is_told(linux: Home, systemd: Systemd) -> None:
    systemd.watchdog = 60.0
    linux.ctl("install")
    before, pid = linux.pids(), linux.daemon_pid()
    linux.ctl("upgrade")
    eventually("ready again", lambda: systemd.said("READY=1") == 2)
    order = [lines[0] for lines in systemd.messages if lines[0] != "WATCHDOG=1"]
    assert order == ["READY=1", "RELOADING=1", "READY=1"]
    assert (linux.pids(), linux.daemon_pid(), main_pid(linux, systemd)) == (before, pid, pid)
    linux.ctl("upgrade")
    assert linux.status()["daemon"]["upgrades"] == 2


def test_down_and_up_go_by_it(linux: Home, systemd: Systemd) -> None:
    linux.ctl("install")
    job = systemd.jobs[linux.item.name]
    done = linux.ctl("down")
    assert done.stdout.endswith(
        f"\nat the next login {linux.item.name} starts all again; if it is not to: "
        "atlasctl uninstall\n"
    )
    assert job.over.wait(20)
    assert (job.codes, systemd.said("STOPPING=1")) == ([0], 1)
    assert linux.ctl("down").stdout == "nothing runs, nothing changed\n"
    linux.ctl("up")
    assert linux.daemon_pid() == main_pid(linux, systemd)


def test_down_is_not_undone_by_a_restart_that_was_due(linux: Home, systemd: Systemd) -> None:
    systemd.restart_after = 1000.0
    linux.ctl("install")
    job = systemd.jobs[linux.item.name]
    linux.kill_daemon()
    done = linux.ctl("down")
    assert done.stdout.startswith("stopped 2 services that a killed supervisor had left")
    assert job.over.is_set()
    assert not [p for p in linux.processes() if p.pid != os.getpid()]


def test_a_daemon_that_was_started_by_hand_is_replaced(linux: Home, systemd: Systemd) -> None:
    linux.ctl("up")
    by_hand, before = linux.daemon_pid(), linux.pids()
    done = linux.ctl("install")
    now = main_pid(linux, systemd)
    assert f"handed over: the supervisor is pid {now}, was {by_hand}; 2 services undisturbed" in (
        done.stdout
    )
    assert (linux.pids(), linux.daemon_pid()) == (before, now)
    again = linux.ctl("install").stdout.splitlines()
    assert again[0] == f"unchanged: {linux.item}"
    assert again[1] == f"the supervisor (pid {now}) was started by it already"
    assert (linux.pids(), linux.daemon_pid()) == (before, now)


def test_never_a_second_daemon(linux: Home, systemd: Systemd) -> None:
    """What a login meets that finds a daemon there: it ends in order, and is not tried again."""
    linux.ctl("up")
    by_hand = linux.daemon_pid()
    linux.ctl("install", "--no-start")
    assert linux.daemon_pid() == by_hand
    code, _, _ = systemd.answer(["systemctl", "--user", "start", linux.item.name])
    job = systemd.jobs[linux.item.name]
    assert (code, job.codes, linux.daemon_pid()) == (1, [0], by_hand)
    assert "another daemon runs already" in (linux.state_dir / "daemon.log").read_text()


def test_a_wrong_configuration_is_not_tried_for_ever(linux: Home, systemd: Systemd) -> None:
    linux.ctl("install", "--no-start")
    good = linux.config.read_text()
    linux.config.write_text(good + "colour: red\n")
    assert systemd.answer(["systemctl", "--user", "start", linux.item.name])[0] == 1
    assert systemd.jobs[linux.item.name].codes == [0]
    log = linux.state_dir / "daemon.log"
    assert "colour: 'colour' is not a known key" in log.read_text()
    linux.config.write_text(good)
    log.write_bytes(b"x\n" * (1024 * 1024))  # one that is started again and again fills it
    linux.ctl("up")
    assert log.stat().st_size < 1024 * 1024
    assert linux.daemon_pid() == main_pid(linux, systemd)
    linux.ctl("down")
    gone = linux.config.rename(linux.root / "elsewhere.yaml")
    assert systemd.answer(["systemctl", "--user", "start", linux.item.name])[0] == 1
    assert systemd.jobs[linux.item.name].codes == [0]
    gone.rename(linux.config)


def test_where_no_systemd_of_the_user_answers(linux: Home, systemd: Systemd) -> None:
    systemd.bus = False
    done = linux.ctl("install", check=1)
    assert "cannot be started now: no systemd of yours answers here" in done.stderr
    assert "Failed to connect to bus" in done.stderr
    assert "it starts at the next login; to start it now: atlasctl up" in done.stderr
    assert linux.item.exists()
    done = linux.ctl("up")
    assert f"the login item {linux.item.name} cannot start it now, so this command does" in (
        done.stderr
    )
    pid = linux.daemon_pid()
    with contextlib.suppress(psutil.NoSuchProcess):
        assert "--login" not in psutil.Process(pid).cmdline()
    done = linux.ctl("install", check=1)
    assert f"the supervisor that runs (pid {pid}) goes on" in done.stderr
    assert linux.daemon_pid() == pid
    assert "the login item may start everything" not in linux.ctl("down").stderr
    linux.ctl("uninstall")
    assert not list(linux.home.glob("**/*.service"))


def test_where_the_login_items_daemon_fails(linux: Home, systemd: Systemd) -> None:
    """`up` tries itself, and has the daemon's own words."""
    systemd.restart_after = 1000.0
    linux.ctl("install", "--no-start")
    linux.state_dir.mkdir(mode=0o700)
    (linux.state_dir / "fifo").write_text("in the way")
    done = linux.ctl("up", check=1)
    assert "so this command does: systemctl --user start: Job for atlasctl-my-system" in done.stderr
    assert "before it answered; it said:" in done.stderr
    assert "fifo is not a directory" in done.stderr
    assert systemd.jobs[linux.item.name].codes == [1]
    (linux.state_dir / "fifo").unlink()
    linux.ctl("up")
    assert linux.daemon_pid() == main_pid(linux, systemd)


def test_dry_run_changes_nothing(linux: Home, systemd: Systemd) -> None:
    done = linux.ctl("install", "--dry-run", "--linger")
    path = next(line for line in done.stdout.splitlines() if line.endswith(".service:"))[:-1]
    assert "    ExecStart=" in done.stdout
    assert done.stdout.endswith(
        "then, in effect:\n\n    systemctl --user daemon-reload\n"
        f"    systemctl --user enable --now {Path(path).name}\n    loginctl enable-linger\n"
    )
    assert list(linux.home.iterdir()) == []
    assert not linux.state_dir.exists()
    linux.ctl("install", "--no-start")
    assert str(linux.item) == path
    assert linux.ctl("uninstall", "--dry-run").stdout.startswith(f"it would remove {path}")
    assert linux.item.exists()
    assert systemd.jobs == {}


def test_a_file_that_is_not_ours_stays(linux: Home) -> None:
    linux.ctl("install", "--no-start")
    linux.item.write_text("# mine\n")
    for command in ("install", "uninstall"):
        done = linux.ctl(command, check=1)
        assert "was not written by atlasctl, and stays as it is: move it away" in done.stderr
    assert linux.item.read_text() == "# mine\n"
    linux.ctl("up")
    assert "starts at login" not in linux.ctl("status", check=None).stdout
    assert "at the next login" not in linux.ctl("down").stdout


def test_a_changed_item_is_written_anew(linux: Home, systemd: Systemd) -> None:
    linux.ctl("install")
    pid = linux.daemon_pid()
    slow = {"command": SLEEPER, "stop": {"timeout": "100s"}}
    linux.write({"one": slow, "two": {"command": SLEEPER}})
    done = linux.ctl("install")
    assert done.stdout.splitlines()[:2] == [
        f"replaced: {linux.item}",
        f"the supervisor (pid {pid}) was started by it already; what has changed holds from the "
        "next login on",
    ]
    assert "TimeoutStopSec=113\n" in linux.item.read_text()
    assert linux.daemon_pid() == pid


def test_uninstall_leaves_what_runs(linux: Home, systemd: Systemd) -> None:
    assert linux.ctl("uninstall").stdout == (
        "there is no login item of this system, nothing changed\n"
    )
    linux.ctl("install")
    other = linux.item.with_name("atlasctl-other-00000000.service")
    before, pid = linux.pids(), linux.daemon_pid()
    path = linux.item
    other.write_text("# of another system\n")
    done = linux.ctl("uninstall")
    assert done.stdout == (
        f"removed: {path}\nthe supervisor that it has started (pid {pid}) goes on until: "
        "atlasctl down\n"
    )
    left = [each.name for each in path.parent.rglob("*") if not each.is_dir()]
    assert left == [other.name]
    assert (linux.pids(), linux.daemon_pid()) == (before, pid)
    assert "at the next login" not in linux.ctl("down").stdout


def test_ctrl_c_leaves_no_service_without_a_supervisor(linux: Home, systemd: Systemd) -> None:
    linux.ctl("up")
    by_hand, before = linux.daemon_pid(), linux.pids()
    installing = linux.begin("install")

    def interrupt(argv: Sequence[str]) -> None:
        if "reset-failed" in argv:  # the one by hand is gone, and the item's is to be started
            installing.send_signal(signal.SIGINT)

    systemd.on_asked = interrupt
    out, err = installing.communicate(timeout=60)
    assert installing.returncode == 130, out
    assert "interrupted: it is installed; what runs: atlasctl status" in err
    assert (linux.pids(), linux.daemon_pid()) == (before, main_pid(linux, systemd))
    assert linux.daemon_pid() != by_hand


def test_what_else_starts_it_is_told(linux: Home) -> None:
    linux.ctl("install", "--no-start")
    mine = linux.item.with_name("my.service")
    line = f'ExecStart=/usr/bin/atlasctl -c "{linux.config}" up\n'
    mine.write_text(f"[Service]\n{line}")
    done = linux.ctl("install", "--no-start")
    assert f"{mine} starts this system too, which one of them would do" in done.stderr
    mine.write_text(f"[Service]\n{line.replace('services', 'others')}")
    done = linux.ctl("install", "--no-start")
    assert f"{mine} starts {linux.root}/others.yaml, which is not there any more" in done.stderr
    (linux.root / "others.yaml").touch()
    assert linux.ctl("install", "--no-start").stderr == ""


def test_what_only_this_shell_knows_is_told(linux: Home) -> None:
    linux.write(
        {
            "one": {"command": SLEEPER, "env": {"WHERE": "${WHERE:-nowhere}"}},
            "two": {"command": SLEEPER, "inherit_env": ["AGENT"]},
            "three": {"command": SLEEPER},
        }
    )
    assert linux.ctl("install", "--no-start").stderr == ""
    done = linux.ctl("install", "--no-start", env={"WHERE": "here", "AGENT": "/a"})
    assert "one and two would be otherwise after a login" in done.stderr
    linux.write({"one": {"command": SLEEPER, "env": {"WHERE": "${WHERE:?tell}"}}})
    done = linux.ctl("install", "--no-start", env={"WHERE": "here"}, check=2)
    assert "in this shell the configuration is valid, after a login it is not:" in done.stderr
    assert "services.one.env.WHERE" in done.stderr
    assert "${NAME} into .env" in done.stderr


def test_where_there_is_no_systemd_at_all(linux: Home, systemd: Systemd) -> None:
    (systemd.bin / "systemctl").write_text("#!/bin/sh\nexit 127\n")
    done = linux.ctl("install", check=1)
    assert "there is no systemd here (systemctl: code 127): have something else run" in done.stderr
    assert f"-m supervisor.cli -c '{linux.config}' run --login" in done.stderr
    assert not list(linux.home.glob("**/*.service"))


def test_linger(linux: Home, systemd: Systemd, tmp_path: Path) -> None:
    loginctl = systemd.bin / "loginctl"
    loginctl.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    loginctl.chmod(0o755)
    linux.ctl("install", "--no-start")
    assert not (tmp_path / "asked").exists()
    linux.ctl("install", "--no-start", "--linger")
    assert (tmp_path / "asked").read_text() == "enable-linger\n"
    loginctl.write_text("#!/bin/sh\necho 'Could not enable linger: Access denied' >&2\nexit 1\n")
    done = linux.ctl("install", "--no-start", "--linger", check=1)
    assert "loginctl enable-linger: Could not enable linger: Access denied" in done.stderr


def test_a_folder_whose_name_no_file_can_hold(linux: Home) -> None:
    odd = linux.root / "a\tb"
    odd.mkdir()
    (odd / "services.yaml").write_text(linux.config.read_text())
    linux.config = odd / "services.yaml"
    done = linux.ctl("install", check=1)
    assert "has a character that a login item cannot hold: rename that folder" in done.stderr
    assert not list(linux.home.glob("**/*.service"))
