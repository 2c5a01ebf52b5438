"""`install` as on a Mac: the real command and daemon, under a stand-in for launchd.

What only a Mac can show is in docs/macos-checklist.md.
"""

import json
import plistlib
import sys

import pytest

from supervisor.cli.checks import launchd as agents
from supervisor.cli.login_item import runner
from tests.e2e.conftest import SLEEPER, eventually
from tests.install.conftest import Home
from tests.install.fake_launchd import Launchd
from tests.install.test_install_files import compare

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a Mac has the real one")


def bootstraps(launchd: Launchd) -> int:
    return sum(argv[1] == "bootstrap" for argv in launchd.asked)


def test_install_writes_the_golden_file_and_starts_it(mac: Home, launchd: Launchd) -> None:
    done = mac.ctl("install")
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        f"written: {mac.item}",
        f"started: the supervisor is pid {launchd.pid()}; how its services do: atlasctl status",
    ]
    compare("home.plist", mac.as_golden())
    assert mac.item.stem == plistlib.loads(mac.item.read_bytes())["Label"]
    told = json.loads(mac.ctl("status", "--json", check=None).stdout)
    assert told["daemon"]["login_item"] == mac.item.stem
    assert (mac.daemon_pid(), bootstraps(launchd)) == (launchd.pid(), 1)
    assert mac.ctl("install").stdout.splitlines() == [
        f"unchanged: {mac.item}",
        f"the supervisor (pid {launchd.pid()}) was started by it already",
    ]
    (agent,) = agents.agents([str(mac.item.parent)])
    assert agent.start.starts(str(mac.config))


def test_a_bootstrap_that_fails_for_good(mac: Home, launchd: Launchd) -> None:
    """It is said, and the system is up for all that: no one is left without a supervisor."""
    launchd.refusals = [78]
    done = mac.ctl("install", check=1)
    assert "so this command does: launchctl bootstrap gui/" in done.stderr
    assert "Bootstrap failed: 78: Unknown error" in done.stderr
    assert "was not started by the login item, which takes hold at the next login" in done.stderr
    assert (bootstraps(launchd), launchd.pid(), len(mac.pids())) == (1, None, 2)


def test_one_that_launchd_cannot_start(mac: Home, launchd: Launchd) -> None:
    """It says that it has loaded it; for all that nobody is left without a supervisor."""
    launchd.restart_after = 1000.0
    launchd.spawns_nothing = True
    mac.ctl("up")
    before = mac.pids()
    # Only what launchd is given is short: a daemon that really starts may take its time.
    mac.before = (
        "from supervisor.cli import launch; usual = launch.START_TIMEOUT; "
        "launch.START_TIMEOUT = 1.5; give_up = launch._give_login_item_up; "
        "launch._give_login_item_up = "
        "lambda system: (give_up(system), setattr(launch, 'START_TIMEOUT', usual))"
    )
    done = mac.ctl("install", check=1)
    mac.before = "pass"
    assert "the login item has brought up no supervisor in 1.5 s, so this command does" in (
        done.stderr
    )
    assert "was not started by the login item, which takes hold at the next login" in done.stderr
    assert mac.pids() == before
    assert not launchd.is_loaded()  # it would try again and again


def test_killed_it_comes_back_and_services_go_on(mac: Home, launchd: Launchd) -> None:
    mac.ctl("install")
    before = mac.pids()
    killed = mac.kill_daemon()
    eventually("another daemon", lambda: mac.daemon_pid() != killed)
    assert (mac.pids(), mac.daemon_pid()) == (before, launchd.pid())


def test_down_and_up_go_by_it(mac: Home, launchd: Launchd) -> None:
    mac.ctl("install")
    done = mac.ctl("down")
    assert f"at the next login {mac.item.stem} starts all again" in done.stdout
    assert (launchd.pid(), launchd.is_loaded()) == (None, True)
    mac.ctl("up")
    assert mac.daemon_pid() == launchd.pid()
    assert ["launchctl", "kickstart", f"{launchd.domain}/{mac.item.stem}"] in launchd.asked
    assert bootstraps(launchd) == 1


def test_down_is_not_undone_by_a_restart_that_was_due(mac: Home, launchd: Launchd) -> None:
    launchd.restart_after = 1000.0
    launchd.leaves_after = 3
    mac.ctl("install")
    mac.kill_daemon()
    done = mac.ctl("down")
    assert done.stdout.startswith("stopped 2 services that a killed supervisor had left")
    assert not launchd.is_loaded()
    mac.ctl("up")
    assert mac.daemon_pid() == launchd.pid()


def test_a_daemon_that_was_started_by_hand_is_replaced(mac: Home, launchd: Launchd) -> None:
    mac.ctl("up")
    by_hand, before = mac.daemon_pid(), mac.pids()
    done = mac.ctl("install")
    now = launchd.pid()
    words = f"handed over: the supervisor is pid {now}, was {by_hand}; 2 services undisturbed"
    assert words in done.stdout
    assert (mac.pids(), mac.daemon_pid()) == (before, now)


def test_never_a_second_daemon(mac: Home, launchd: Launchd) -> None:
    """What a login meets that finds a daemon there: it ends in order, and is not tried again."""
    mac.ctl("up")
    by_hand = mac.daemon_pid()
    assert mac.ctl("install", "--no-start").stdout.splitlines()[-1] == (
        "nothing was started now; it starts at the next login"
    )
    assert bootstraps(launchd) == 0
    launchd.answer(["launchctl", "bootstrap", launchd.domain, str(mac.item)])
    eventually("it has ended", lambda: launchd.pid() is None)
    assert mac.daemon_pid() == by_hand
    assert "another daemon runs already" in (mac.state_dir / "daemon.log").read_text()


def test_where_nobody_is_logged_in_at_the_screen(mac: Home, launchd: Launchd) -> None:
    launchd.logged_in = False
    mac.ctl("up")
    by_hand = mac.daemon_pid()
    done = mac.ctl("install", check=1)
    assert "cannot be started now: nobody is logged in at the screen of this Mac" in done.stderr
    assert f"the supervisor that runs (pid {by_hand}) goes on" in done.stderr
    assert (mac.daemon_pid(), bootstraps(launchd)) == (by_hand, 0)
    mac.ctl("down")
    done = mac.ctl("up")
    assert "cannot start it now, so this command does: nobody is logged in" in done.stderr
    assert len(mac.pids()) == 2


def test_one_that_was_switched_off(mac: Home, launchd: Launchd) -> None:
    mac.ctl("install", "--no-start")
    launchd.disabled.add(mac.item.stem)
    done = mac.ctl("up")  # does not switch it on behind somebody's back
    assert f"{mac.item.stem} is switched off: turn it on in System Settings" in done.stderr
    mac.ctl("install")  # asks for it
    assert (launchd.disabled, mac.daemon_pid()) == (set(), launchd.pid())
    mac.ctl("down")
    launchd.disabled.add(mac.item.stem)
    launchd.locked.add(mac.item.stem)
    done = mac.ctl("install", check=1)
    assert "it is installed and cannot be started now" in done.stderr
    assert "is switched off" in done.stderr


def test_a_changed_item_is_loaded_anew_where_that_ends_nothing(mac: Home, launchd: Launchd) -> None:
    launchd.leaves_after = 2
    mac.ctl("install")
    pid = launchd.pid()
    mac.write({"one": {"command": SLEEPER, "stop": {"timeout": "90s"}}})
    done = mac.ctl("install")
    assert "what has changed holds from the next login on" in done.stdout
    assert (launchd.pid(), mac.daemon_pid()) == (pid, pid)
    mac.ctl("down")
    mac.write({"one": {"command": SLEEPER, "stop": {"timeout": "80s"}}})
    assert mac.ctl("install").stdout.startswith("replaced: ")
    assert plistlib.loads(mac.item.read_bytes())["ExitTimeOut"] == 93
    assert bootstraps(launchd) == 2
    assert mac.daemon_pid() == launchd.pid()


def test_uninstall(mac: Home, launchd: Launchd) -> None:
    mac.ctl("install")
    path, pid = mac.item, launchd.pid()
    done = mac.ctl("uninstall")
    assert done.stdout.splitlines() == [
        f"removed: {path}",
        f"the supervisor that it has started (pid {pid}) goes on until: atlasctl down",
    ]
    assert (path.exists(), mac.daemon_pid()) == (False, pid)
    assert "at the next login" not in mac.ctl("down").stdout
    mac.ctl("install")
    mac.ctl("down")
    assert mac.ctl("uninstall").stdout == f"removed: {path}\n"
    assert not launchd.is_loaded()


def test_a_folder_that_macos_guards_is_told(mac: Home) -> None:
    documents = mac.home / "Documents"
    documents.mkdir()
    (documents / "services.yaml").write_text(mac.config.read_text())
    assert mac.ctl("install", "--no-start").stderr == ""
    mac.item.unlink()
    mac.config = documents / "services.yaml"
    done = mac.ctl("install", "--no-start")
    assert f"macOS may keep what starts at login out of {documents}" in done.stderr


def test_dry_run_and_linger(mac: Home, launchd: Launchd) -> None:
    done = mac.ctl("install", "--dry-run")
    path = done.stdout.partition(":\n")[0]
    assert done.stdout.endswith(
        f"then, in effect:\n\n    launchctl enable {launchd.domain}/{path.split('/')[-1][:-6]}\n"
        f"    launchctl bootstrap {launchd.domain} {path}\n"
    )
    assert (list(mac.home.iterdir()), launchd.asked) == ([], [])
    done = mac.ctl("install", "--no-start", "--linger", check=1)
    assert "on a Mac nothing of yours runs before you log in" in done.stderr


def test_doctor_agrees(mac: Home, launchd: Launchd) -> None:
    mac.ctl("install")
    (agent,) = agents.agents([str(mac.item.parent)])
    ask = runner({"PATH": mac.env["PATH"]})
    _, _, uid = launchd.domain.partition("/")
    (found,) = agents.judge(agent, int(uid), ask)
    assert (found.level, found.text) == (
        "ok",
        f"{mac.item.stem} starts it at login, and is loaded",
    )
