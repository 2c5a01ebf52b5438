"""The daemon executes other code in place, and nobody notices; or the code is bad, and it does not.

The code under test is a copy of this checkout's, which each test may edit as an installation would.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from supervisor.control.client import ControlError, DaemonNotRunning
from supervisor.journal import Entry, read
from tests.e2e.conftest import CHECKOUT, DEADLINE, SLEEPER, System, eventually, free_port
from tests.e2e.instances import Watch
from tests.e2e.lines import assert_lines_are_whole, writer
from tests.e2e.load import closed_loop, echo

STAND_IN = str(Path(__file__).parent / "children" / "stand_in.py")
FAST = {"backoff": {"first": "10ms", "factor": 1, "jitter": 0}, "give_up": False}
SHORT = 5.0
"""Seconds for what is told by no event and takes a fraction of one."""


class Installed(System):
    """A system that runs from a copy of the code."""

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace text in a file of the code, as of a time when no bytecode can be from."""
        path = self.code / "supervisor" / file
        text = path.read_text()
        assert old in text, f"{file} has no {old!r}"
        path.write_text(text.replace(old, new, 1))
        # Bytecode is told from newer source by whole seconds and by size.
        self._edits += 1
        later = time.time() + 10 * self._edits
        os.utime(path, (later, later))

    _edits = 0

    def release(self, version: str) -> None:
        """Install another version."""
        self.edit("__init__.py", '__version__ = "', f'__version__ = "{version}" or "')

    def upgrades(self) -> int:
        return int(self.status()["daemon"]["upgrades"])

    def runs(self) -> dict[str, tuple[int, int | None, str, int]]:
        """Return what of each service must not change by itself."""
        return {
            s["name"]: (s["run"], s["pid"], s["state"], s["restarts"])
            for s in self.status()["services"]
        }

    def ask_for_upgrade(self) -> None:
        """Ask, and return with the daemon's word that it is about to execute the new code."""
        self.client().post("/v1/upgrade", {})


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Installed]:
    code = tmp_path / "code"
    shutil.copytree(
        CHECKOUT / "supervisor", code / "supervisor", ignore=shutil.ignore_patterns("__pycache__")
    )
    root = tmp_path / "root"
    root.mkdir()
    made = Installed(root, code)
    yield made
    made.close()


def write(system: System, port: int) -> None:
    """A server, a writer, and services in every state that can last."""
    system.write(
        {
            "web": {
                "command": [sys.executable, "-I", "-S", STAND_IN],
                "sockets": {"http": f"127.0.0.1:{port}"},
                "probes": {"readiness": {"http": {"path": "/health"}, "every": "100ms"}},
                "restart": FAST,
            },
            "writer": writer(system),
            "stopped": {"command": SLEEPER},
            "failed": {
                "command": ["false"],
                "restart": {"policy": "never"},
            },
            "completed": {"command": ["true"], "restart": {"policy": "never"}},
            "waiting": {
                "command": ["false"],
                "restart": {"backoff": {"first": "10m", "jitter": 0, "max": "10m"}},
            },
            "disabled": {"command": SLEEPER, "enabled": False},
        }
    )


def up(system: System) -> None:
    system.ctl("up", "--timeout", "2s", check=1)  # not all of them can be up
    system.ctl("stop", "stopped")
    eventually("web is healthy", lambda: system.service("web")["state"] == "healthy")


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.skipif(sys.platform != "linux", reason="the watch reads /proc")
def test_three_upgrades_disturb_nobody(installed: Installed) -> None:
    port = free_port()
    write(installed, port)
    up(installed)
    daemon, before = installed.daemon_pid(), installed.runs()
    assert {state for _, _, state, _ in before.values()} == {
        "healthy",
        "running",
        "stopped",
        "failed",
        "completed",
        "backoff",
    }
    versions, held = [], []
    with Watch(installed.state_dir) as watch, closed_loop(port, echo, 4) as clients:
        for number in range(3):
            installed.release(f"9.0.{number}")
            told = installed.ctl("upgrade").stdout
            assert f"→ 9.0.{number}" in told
            assert f"pid {daemon} as before" in told
            assert installed.upgrades() == number + 1
            assert installed.runs() == before
            versions.append(installed.status()["daemon"]["version"])
            held.append(descriptors(daemon))
        clients.stop()
    print(clients.counts(), f"slowest {clients.slowest():.3f} s, {watch.looks} looks, fds {held}")
    assert versions == ["9.0.0", "9.0.1", "9.0.2"]
    assert installed.daemon_pid() == daemon
    assert [f"{o.ending}: {o.detail}" for o in clients.not_right()] == []
    assert clients.counts()["right"] > 20
    assert watch.crowds == []
    # The sink of the last code is being replaced, which takes one more or less for a moment; one
    # lost in each upgrade is seen by test_many_upgrades_in_a_row_leave_nothing_behind.
    most = max(held) + 1
    eventually("no descriptor is left open", lambda: descriptors(daemon) <= most, within=SHORT)
    assert_lines_are_whole(installed)


def test_what_was_adopted_in_place_is_still_supervised(installed: Installed) -> None:
    """Its end is seen with its code, since it is the daemon's child as before."""
    installed.write({"a": {"command": ["sh", "-c", "sleep 1000 & wait"], "restart": FAST}})
    installed.ctl("up")
    installed.ctl("upgrade")
    seq, pid = installed.seq(), installed.service("a")["pid"]
    os.kill(pid, signal.SIGUSR1)
    assert "signal 10" in installed.event("exited", "a", after=seq)["text"]
    installed.event("started", "a", after=seq)
    installed.ctl("restart", "a")
    installed.ctl("stop", "a")
    assert installed.running("1000") == []


def test_clients_of_the_control_socket_are_never_turned_away(installed: Installed) -> None:
    installed.write({"a": {"command": SLEEPER}})
    installed.ctl("up")
    answers, troubles = [0], list[str]()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            try:
                installed.status()
                answers[0] += 1
            except (DaemonNotRunning, ControlError) as trouble:
                troubles.append(f"{type(trouble).__name__}: {trouble}")

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(3):
            installed.ctl("upgrade")
    finally:
        over.set()
        looking.join(DEADLINE)
    print(f"{answers[0]} answers")
    assert troubles == []
    assert answers[0] > 3


BROKEN = {
    "a syntax error": ("daemon.py", "import asyncio\n", "import asyncio)\n"),
    "an import that fails": ("machine.py", "import asyncio\n", "import asyncio, no_such_module\n"),
    "a command line that cannot be read": (
        "cli/commands.py",
        "import",
        "import no_such_thing\nimport",
    ),
    "an unreadable ledger": (
        "ledger.py",
        "def read_records(",
        "def read_records(path):\n    return iter(())\n\n\ndef _read_records(",
    ),
    "no configuration": (
        "config/loader.py",
        "def load(",
        "def load(path):\n    raise OSError('moved')\n\n\ndef _load(",
    ),
    "a sink that cannot start": ("logs/sink.py", "import", "import no_such_sink\nimport"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_code_is_refused_and_the_old_goes_on(installed: Installed, what: str) -> None:
    installed.write({"a": {"command": SLEEPER, "restart": FAST}})
    installed.ctl("up")
    before, daemon = installed.runs(), installed.status()["daemon"]
    good = shutil.copytree(installed.code, installed.root / "good")
    installed.edit(*BROKEN[what])
    said = _upgrade_by(good, installed)
    assert said.returncode == 1, said.stdout + said.stderr
    assert "prove" in said.stderr
    assert "goes on" in said.stderr
    after = installed.status()["daemon"]
    assert (after["pid"], after["upgrades"], after["version"]) == (
        daemon["pid"],
        0,
        daemon["version"],
    )
    assert installed.runs() == before
    # It is not only there, it works.
    seq = installed.seq()
    os.kill(installed.service("a")["pid"], signal.SIGKILL)
    installed.event("started", "a", after=seq)
    # Corrected, it is taken.
    shutil.rmtree(installed.code)
    shutil.copytree(good, installed.code)
    installed.ctl("upgrade")
    assert installed.upgrades() == 1


def _upgrade_by(code: Path, system: System) -> subprocess.CompletedProcess[str]:
    """Upgrade by a command line of other code than what is installed: that one may be broken."""
    return System(system.root, code).ctl("upgrade", check=None)


def test_code_that_fails_only_when_it_runs_costs_the_daemon_and_no_service(
    installed: Installed,
) -> None:
    """No trial can find it. The services go on, and corrected code takes them over."""
    port = free_port()
    write(installed, port)
    up(installed)
    before = installed.runs()
    serves = '        self._journal.append("", topic, self._first_words())\n'
    broken = "        raise RuntimeError('too late')\n"
    installed.edit("daemon.py", serves, broken)
    said = installed.ctl("upgrade", check=None)
    assert said.returncode != 0
    assert "atlasctl up" in said.stderr
    installed.edit("daemon.py", broken, serves)
    with closed_loop(port, echo, 2) as clients:
        installed.ctl("up", "--no-wait", "web")
        assert installed.upgrades() == 0, "it is another process"
        clients.stop()
    assert {n: r for n, r in installed.runs().items() if r[1]} == {
        n: r for n, r in before.items() if r[1]
    }
    assert [f"{o.ending}: {o.detail}" for o in clients.not_right()] == []
    assert_lines_are_whole(installed)


@pytest.mark.parametrize(
    "damage", ["open(asked.config, 'a').write('[')", "os.unlink(asked.config)"]
)
def test_a_configuration_that_is_broken_after_the_trial_costs_nothing(
    installed: Installed, damage: str
) -> None:
    installed.write({"a": {"command": SLEEPER}})
    installed.ctl("up")
    whole = installed.config.read_text()
    before = installed.runs(), installed.daemon_pid()
    # Between the trial's last word and the new code's first.
    installed.edit("trial.py", "    print(__version__)", f"    import os; {damage}; print('fit')")
    installed.ctl("upgrade", check=None)
    installed.config.write_text(whole)
    assert (installed.runs(), installed.daemon_pid()) == before
    assert installed.upgrades() == 1
    (trouble,) = (e for e in read(str(installed.state_dir)) if e.topic == "trouble")
    assert trouble.text.startswith(str(installed.config))
    assert trouble.text.endswith("when the upgrade was tried: correct it, then atlasctl reload")
    assert [p.name for p in installed.state_dir.iterdir() if "compiled" in p.name] == []
    installed.ctl("reload")
    assert installed.runs() == before[0]


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.03, 0.1, 0.2, 0.4])
def test_killed_in_the_middle_of_an_upgrade_it_is_followed_by_another(
    installed: Installed, delay: float
) -> None:
    """Somewhere between the old code's last word and the new code's first."""
    port = free_port()
    write(installed, port)
    up(installed)
    before = installed.runs()
    daemon = psutil.Process(installed.daemon_pid())
    with Watch(installed.state_dir) as watch, closed_loop(port, echo, 2) as clients:
        installed.ask_for_upgrade()
        threading.Event().wait(delay)
        daemon.kill()
        eventually("it is gone", lambda: not _lives(daemon))
        installed.ctl("up", "--no-wait", "web")
        assert installed.daemon_pid() != daemon.pid
        after = installed.runs()
        assert {n: r for n, r in after.items() if r[1]} == {n: r for n, r in before.items() if r[1]}
        assert after["stopped"][2] == "stopped"
        clients.stop()
    assert watch.crowds == []
    assert [f"{o.ending}: {o.detail}" for o in clients.not_right()] == []
    # The next daemon has the sockets too: a restart refuses nobody.
    with closed_loop(port, echo, 2) as clients:
        installed.ctl("restart", "web")
        clients.stop()
    assert [f"{o.ending}: {o.detail}" for o in clients.not_right()] == []
    assert_lines_are_whole(installed)


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.1, 0.3])
def test_sigterm_in_the_middle_of_an_upgrade_stops_everything(
    installed: Installed, delay: float
) -> None:
    installed.write({"a": {"command": SLEEPER}})
    installed.ctl("up")
    daemon = psutil.Process(installed.daemon_pid())
    installed.ask_for_upgrade()
    threading.Event().wait(delay)
    daemon.terminate()
    eventually("it is gone", lambda: not _lives(daemon))
    eventually("nothing is left", lambda: installed.processes() == [])


def _first(system: System, topic: str, service: str, after: int) -> Entry | None:
    entries = read(str(system.state_dir), after)
    return next((e for e in entries if (e.topic, e.unit) == (topic, service)), None)


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.15])
def test_a_service_that_dies_in_the_middle_is_seen_with_its_code(
    installed: Installed, delay: float
) -> None:
    installed.write({"a": {"command": SLEEPER, "restart": FAST}, "b": {"command": SLEEPER}})
    installed.ctl("up")
    seq, pid, run = installed.seq(), installed.service("a")["pid"], installed.service("a")["run"]
    installed.ask_for_upgrade()
    threading.Event().wait(delay)
    os.kill(pid, signal.SIGKILL)
    # From the disk: the new code streams what it has seen itself, and this may have been the old.
    exited = eventually("it was seen", lambda: _first(installed, "exited", "a", seq))
    assert "signal 9" in exited.text
    assert exited.run == run
    eventually("it is replaced", lambda: _first(installed, "started", "a", seq))
    eventually("by the next run", lambda: installed.service("a")["run"] == run + 1)
    assert installed.service("b")["run"] == 1


@pytest.mark.skipif(sys.platform != "linux", reason="os.waitid came to macOS with Python 3.13")
def test_a_job_that_ends_at_the_last_moment_of_the_old_code_is_not_run_again(
    installed: Installed, tmp_path: Path
) -> None:
    """It ends in the very turn of the loop in which the old code would reap it, and is gone."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    installed.edit(
        "upgrade.py",
        "    await asyncio.sleep(DELIVERY)\n",
        "    await asyncio.sleep(DELIVERY)\n"
        f"    open({str(gate)!r}, 'w').close()\n"
        "    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)\n"
        "    for _ in range(3):\n"
        "        await asyncio.sleep(0)\n",
    )
    job = {"command": ["cat", str(gate)], "restart": {"policy": "on-failure"}}
    installed.write({"a": job})
    installed.ctl("up")
    installed.ask_for_upgrade()
    eventually("the new code is there", lambda: installed.upgrades() or None)
    eventually("it is over", lambda: installed.service("a")["state"] == "completed")
    assert installed.service("a")["last_exit"] == "exited with code 0"
    assert installed.service("a")["run"] == 1


def test_a_second_upgrade_meanwhile_is_refused_or_comes_after(installed: Installed) -> None:
    installed.write({"a": {"command": SLEEPER}})
    installed.ctl("up")
    before, daemon = installed.runs(), installed.daemon_pid()
    done: list[subprocess.CompletedProcess[str]] = []
    threads = [
        threading.Thread(target=lambda: done.append(installed.ctl("upgrade", check=None)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(3 * DEADLINE)
    codes = sorted(one.returncode for one in done)
    print([(one.returncode, one.stdout, one.stderr) for one in done])
    assert codes[0] == 0
    assert set(codes) <= {0, 1}
    assert (installed.runs(), installed.daemon_pid()) == (before, daemon)


def test_many_upgrades_in_a_row_leave_nothing_behind(installed: Installed) -> None:
    """No descriptor, no process, no environment that grows."""
    installed.write({"a": {"command": SLEEPER}})
    installed.ctl("up")
    daemon, before = installed.daemon_pid(), installed.runs()
    living = len(installed.processes())
    seen: list[dict[str, Any]] = []
    for _ in range(8):
        installed.ctl("upgrade")
        # A sink in the making does not look like one before its execve.
        eventually("as many live as before", lambda: len(installed.processes()) == living)
        eventually("the sinks are one", lambda: len(sinks(installed)) == 1)
        process = psutil.Process(daemon)
        seen.append(
            {
                "descriptors": process.num_fds(),
                "environment": len(process.environ()),
                "arguments": process.cmdline(),
            }
        )
    # A connection to the sink may be there or not yet, and a holder that is being started has for a
    # moment as many again; one lost in each upgrade would be six.
    most = seen[1].pop("descriptors") + 2
    eventually("no descriptor is left open", lambda: psutil.Process(daemon).num_fds() <= most)
    seen[-1].pop("descriptors")
    assert seen[1] == seen[-1], seen
    assert installed.runs() == before


def sinks(system: System) -> Sequence[psutil.Process]:
    return system.running("supervisor.logs.sink")


def test_upgrade_without_a_daemon_is_told_what_to_do(installed: Installed) -> None:
    installed.write({"a": {"command": SLEEPER}})
    said = installed.ctl("upgrade", check=3).stderr
    assert f"start it: atlasctl -c {installed.config} up" in said


def test_random_kills_and_upgrades(installed: Installed) -> None:
    """Upgrades, deaths and restarts in any order: one run of each at a time, and no line lost."""
    port = free_port()
    write(installed, port)
    up(installed)
    seed = int(os.environ.get("ATLAS_CHAOS_SEED") or random.randrange(1 << 32))
    print(f"ATLAS_CHAOS_SEED={seed}")
    chance = random.Random(seed)
    with Watch(installed.state_dir) as watch, closed_loop(port, echo, 2) as clients:
        for _ in range(12):
            about = eventually("they run", lambda: _with_both(installed))
            match chance.choice(("upgrade", "daemon", "sink", "restart", "both")):
                case "upgrade":
                    installed.ctl("upgrade")
                case "restart":
                    installed.ctl("restart", "web")
                case victim:
                    doomed = {
                        "daemon": [about["pid"]],
                        "sink": [about["sink_pid"]],
                        "both": [about["pid"], about["sink_pid"]],
                    }[victim]
                    for pid in doomed:
                        # The sink of before an upgrade leaves by itself, at any moment.
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
                    # A killed one that is not dead yet would be taken for one that runs.
                    for pid in doomed:
                        _wait_until_gone(pid)
                    if victim != "sink":
                        installed.ctl("up", "--no-wait", "web")
        eventually("they run", lambda: _with_both(installed))
        clients.stop()
    print(clients.counts(), f"slowest {clients.slowest():.3f} s, {watch.looks} looks")
    assert watch.crowds == []
    assert [f"{o.ending}: {o.detail}" for o in clients.not_right()] == []
    assert_lines_are_whole(installed)


def _with_both(system: System) -> dict[str, Any] | None:
    """Return what the daemon says of itself while both services run, and a sink that it knows."""
    status = system.status()
    about: dict[str, Any] = status["daemon"]
    pids = [s["pid"] for s in status["services"] if s["name"] in ("web", "writer")]
    there = all(pid is not None for pid in [*pids, about["sink_pid"]])
    return about if there and not _is_gone(about["sink_pid"]) else None


def _wait_until_gone(pid: int) -> None:
    eventually("it is gone", lambda: _is_gone(pid))


def _is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
