"""Starting the daemon: the real one, with services that sleep."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from supervisor.cli import launch
from supervisor.cli.connection import System
from supervisor.cli.daemon_log import cut_to_half
from supervisor.config.loader import load
from supervisor.core.spec import FleetSpec
from supervisor.posix.lock import DaemonLock, lock_holder
from supervisor.posix.state import private_directory

CHECKOUT = Path(__file__).parents[2]
DEADLINE = 60.0

Done = subprocess.CompletedProcess[str]
Ctl = Callable[..., Done]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "services.yaml").write_text(
        'version: 1\nservices:\n  sleeper: {command: [sleep, "1000"]}\n'
    )
    return tmp_path


@pytest.fixture
def ctl(root: Path) -> Iterator[Ctl]:
    def run(*argv: str, cwd: Path = root) -> Done:
        return subprocess.run(
            [sys.executable, "-P", "-m", "supervisor.cli", *argv],
            cwd=cwd,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(root),
                "XDG_STATE_HOME": str(root),
                "PYTHONPATH": str(CHECKOUT),
            },
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )

    yield run
    run("-c", str(root / "services.yaml"), "down")
    left = [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline"])
        if str(root) in " ".join(process.info["cmdline"] or ())
    ]
    assert left == []


def daemon_pid(root: Path) -> int | None:
    return lock_holder(str(root / ".atlas" / "lock"))


def test_up_starts_a_daemon_of_its_own_session_and_down_ends_it(root: Path, ctl: Ctl) -> None:
    done = ctl("up")
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 service up after" in done.stdout
    pid = daemon_pid(root)
    assert pid is not None
    daemon = psutil.Process(pid)
    assert os.getsid(pid) == pid
    assert daemon.cwd() == str(root)
    assert (root / ".atlas" / "daemon.log").stat().st_mode & 0o077 == 0
    again = ctl("up")
    assert again.returncode == 0
    assert again.stdout.startswith("everything is already up, nothing changed\n")
    assert daemon_pid(root) == pid
    assert ctl("down").returncode == 0
    assert daemon_pid(root) is None
    with contextlib.suppress(psutil.NoSuchProcess):
        assert daemon.status() == psutil.STATUS_ZOMBIE, "nobody has reaped it, but it has ended"


def test_two_ups_at_once_share_one_daemon(root: Path, ctl: Ctl) -> None:
    results: list[Done] = []
    threads = [threading.Thread(target=lambda: results.append(ctl("up"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert [(done.returncode, done.stderr) for done in results] == [(0, "")] * 2
    pid = daemon_pid(root)
    assert all(
        f"the supervisor is pid {pid}" in done.stdout or "already" in done.stdout
        for done in results
    )


def test_a_daemon_that_another_was_before_is_followed_by_one_when_that_is_gone(
    root: Path, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other had the lock when ours began, and has let it go before we come to look."""
    if sys.platform != "linux":
        pytest.skip("os.waitid came to macOS with Python 3.13")
    spec = load(str(root / "services.yaml"))
    private_directory(spec.state_dir)
    begin = launch._start
    begun: list[int] = []

    def begin_too_late(system: System, spec: FleetSpec, log: str) -> tuple[int, int]:
        if begun:
            return begin(system, spec, log)
        lock = DaemonLock.acquire(f"{spec.state_dir}/lock")
        pid, said = begin(system, spec, log)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        lock.release()
        begun.append(pid)
        return pid, said

    monkeypatch.setattr(launch, "_start", begin_too_late)
    fleet = launch.launch(System(spec.source, spec.state_dir), spec, lambda _: None)
    assert fleet["daemon"]["pid"] not in begun
    assert ctl("down").returncode == 0
    assert os.waitpid(fleet["daemon"]["pid"], 0)[1] == 0


def test_a_folder_called_supervisor_is_not_taken_for_us(root: Path, ctl: Ctl) -> None:
    (root / "supervisor").mkdir()
    (root / "supervisor" / "__init__.py").write_text("raise SystemExit('not this one')\n")
    assert ctl("up").returncode == 0


def test_a_daemon_that_cannot_start_is_shown_with_its_words(root: Path, ctl: Ctl) -> None:
    state = root / ".atlas"
    state.mkdir(mode=0o700)
    (state / "fifo").write_text("in the way")
    done = ctl("up")
    assert done.returncode == 1
    assert "before it answered; it said:" in done.stderr
    assert "fifo is not a directory" in done.stderr


def test_a_state_folder_that_others_can_enter_is_refused(root: Path, ctl: Ctl) -> None:
    (root / ".atlas").mkdir(mode=0o755)
    done = ctl("up")
    assert done.returncode == 1
    assert "chmod 700" in done.stderr


def test_up_tells_that_the_configuration_has_changed_since(root: Path, ctl: Ctl) -> None:
    assert ctl("up").returncode == 0
    config = root / "services.yaml"
    config.write_text(config.read_text() + '  other: {command: [sleep, "1000"]}\n')
    done = ctl("up", "sleeper")
    assert done.returncode == 0
    assert "services.yaml has changed since the supervisor read it" in done.stderr
    done = ctl("up")
    assert done.returncode == 1
    assert "other: not known to the supervisor" in done.stderr
    assert "to apply it: atlasctl reload" in done.stderr


def test_the_log_of_the_daemon_is_cut_to_its_last_half(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    lines = [f"line {n}\n" for n in range(1000)]
    log.write_text("".join(lines))
    cut_to_half(str(log), 1_000_000)
    assert log.read_text() == "".join(lines)
    cut_to_half(str(log), 5000)
    kept = log.read_text()
    assert 2480 <= len(kept) <= 2500
    assert "".join(lines).endswith(kept)
    assert kept.startswith("line ")
    cut_to_half(str(tmp_path / "none.log"), 10)
