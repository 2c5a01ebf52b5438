"""A real `systemd --user` for one test: in a mount namespace and a control group of its own.

It takes root, for both; and a systemd that believes to have booted the machine, for which a folder
in /run is enough, that nobody outside sees.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e.conftest import DEADLINE, eventually

_PROGRAMS = ("systemd", "systemctl", "unshare", "nsenter", "mount")
_RUNTIME = "/run/user/0"
# Its own control group first: systemd makes those of its units below the one that it is born in.
_SCRIPT = """\
set -eu
for group in "$@"; do echo $$ > "$group/cgroup.procs"; done
mount -t tmpfs none /run
mkdir -p /run/systemd/system /run/user/0
chmod 700 /run/user/0
exec systemd --user --log-target=console
"""


class RealSystemd:
    """The manager, and how to run something beside it."""

    def __init__(self, folder: Path, home: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("a systemd of our own takes root")
        if missing := [name for name in _PROGRAMS if shutil.which(name) is None]:
            pytest.skip(f"there is no {', '.join(missing)} here")
        self.groups = [Path(mount, f"atlas-test-{os.getpid()}") for mount in _hierarchies()]
        self.env = {"HOME": str(home), "XDG_RUNTIME_DIR": _RUNTIME, "PATH": os.environ["PATH"]}
        self.log = folder / "systemd.log"
        try:
            for group in self.groups:
                group.mkdir()
        except OSError as error:
            self._remove_groups()
            pytest.skip(f"no control group of our own: {error}")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["unshare", "-m", "sh", "-c", _SCRIPT, "sh", *map(str, self.groups)],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + DEADLINE
        while self.run(["systemctl", "--user", "show", "--property=Version"]).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                said = self.log.read_text().splitlines()[-3:]
                self.close()
                pytest.skip(f"systemd --user does not start here: {said}")

    def run(
        self, argv: list[str], cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command where the manager is."""
        return subprocess.run(
            ["nsenter", "-m", "-t", str(self.process.pid), f"--wd={cwd or '/'}", *argv],
            env={**self.env, **(env or {})},
            capture_output=True,
            text=True,
            timeout=3 * DEADLINE,
            check=False,
        )

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        done = self.run(["systemctl", "--user", "show", f"--property={name}", "--value", unit])
        return done.stdout.strip()

    def close(self) -> None:
        """End it, and assert that nothing of it is left."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(DEADLINE)
        eventually("its control groups are empty", lambda: not self._remove_groups())

    def _remove_groups(self) -> list[Path]:
        for group in self.groups:
            for folder, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
        return [group for group in self.groups if group.exists()]


def _hierarchies() -> list[str]:
    """Return where the hierarchies are in which systemd keeps track of processes."""
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, kind, options, *_ = line.split()
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            found.append(mount)
    return found
