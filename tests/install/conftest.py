"""A real system of a user with a home of its own, and a stand-in for what starts it at login."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import CHECKOUT, DEADLINE, SLEEPER, System, eventually
from tests.install.fake_launchd import Launchd
from tests.install.fake_systemd import Systemd

# What a Mac's command does, on any system.
_AS = "import sys; from supervisor.cli import __main__, login_item; login_item.PLATFORM = {!r}; {}; sys.exit(__main__.main())"  # noqa: E501


class Home(System):
    """A system, and the folder that its user has as home."""

    def __init__(self, folder: Path, platform: str, programs: Path | None = None) -> None:
        super().__init__(folder / "my system")
        self.home = folder / "home"
        self.platform = platform
        self.before = "pass"
        """Python that each command runs first."""
        for made in (self.root, self.home):
            made.mkdir()
        path = os.environ["PATH"] if programs is None else f"{programs}:{os.environ['PATH']}"
        self.env = {
            "HOME": str(self.home),
            "PATH": path,
            "LANG": "C.UTF-8",
            "LC_ALL": "",
            "LC_CTYPE": "",
            "TZ": "",
            "XDG_CONFIG_HOME": "",
            "XDG_RUNTIME_DIR": str(folder / "session"),
            "XDG_STATE_HOME": "",
        }
        self.write({"one": {"command": SLEEPER}, "two": {"command": SLEEPER}})

    def ctl(
        self, *arguments: str, check: int | None = 0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        begun = self.begin(*arguments, env=env)
        out, err = begun.communicate(timeout=3 * DEADLINE)
        done = subprocess.CompletedProcess(arguments, begun.returncode, out, err)
        if check is not None:
            told = f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
            assert done.returncode == check, told
        return done

    def begin(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command."""
        code = _AS.format(self.platform, self.before)
        return subprocess.Popen(
            [sys.executable, "-P", "-c", code, "-c", str(self.config), *arguments],
            cwd=self.root,
            env={**os.environ, **self.env, "PYTHONPATH": str(CHECKOUT), **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def item(self) -> Path:
        """The only login item's file."""
        folder = "Library/LaunchAgents" if self.platform == "darwin" else ".config/systemd/user"
        (found,) = (each for each in (self.home / folder).iterdir() if each.is_file())
        return found

    def as_golden(self) -> str:
        """Return the file with what differs from machine to machine by name."""
        folders = [each for each in self.env["PATH"].split(":") if each.startswith("/")]
        text = self.item.read_text()
        for actual, name in (
            (sys.executable, "PYTHON"),
            (str(self.root), "ROOT"),
            (str(self.home), "HOME"),
            (str(CHECKOUT), "CHECKOUT"),
            (":".join(dict.fromkeys(folders)), "PATHS"),
            (self.item.stem.rpartition("-")[2], "MARK"),
        ):
            text = text.replace(actual, f"<{name}>")
        return text

    def kill_daemon(self) -> int:
        # Not as System does it: the daemon may be a child of this process, and it is for the
        # stand-in to reap it and to learn how it ended.
        pid = self.daemon_pid()
        os.kill(pid, signal.SIGKILL)
        eventually("it is gone", lambda: not psutil.pid_exists(pid))
        return pid

    def pids(self) -> dict[str, int]:
        """Return the pid of each service."""
        return {s["name"]: s["pid"] for s in self.status()["services"]}


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    made = Systemd(tmp_path, tmp_path / "home")
    yield made
    made.close()


@pytest.fixture
def launchd(tmp_path: Path) -> Iterator[Launchd]:
    made = Launchd(tmp_path, tmp_path / "home")
    yield made
    made.close()


@pytest.fixture
def linux(tmp_path: Path, systemd: Systemd) -> Iterator[Home]:
    """A system under the stand-in for systemd."""
    made = Home(tmp_path, "linux", systemd.bin)
    yield made
    made.close()


@pytest.fixture
def mac(tmp_path: Path, launchd: Launchd) -> Iterator[Home]:
    """A system under the stand-in for launchd."""
    made = Home(tmp_path, "darwin", launchd.bin)
    yield made
    made.close()
