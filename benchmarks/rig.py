"""One peer that runs one job in a folder of its own, and what can be asked of it.

Whatever it starts stays below its keeper (see `children/keeper.py`), so nothing of it can be
missed when its use is counted, and nothing outlives the rig or the benchmark.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from benchmarks import proc
from benchmarks.beacon import Announcements, BenchmarkError
from benchmarks.peers.layout import Job, Layout, Peer, Service

KEEPER = Path(__file__).parent / "children" / "keeper.py"
COMMAND_TIMEOUT = 30.0
DOWN_TIMEOUT = 30.0
RESTART_TIMEOUT = 15.0
"""Seconds; the slowest peer needs five, where it polls for dead services so seldom."""

Programs = Callable[[str], Sequence[Service]]
"""Makes the services, given the path of the FIFO that they are to announce themselves through."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that has ended, or had to be ended."""

    seconds: float
    code: int | None
    """None: it took longer than `COMMAND_TIMEOUT`."""
    output: str


class Rig:
    """A peer at work. A context manager: leaving it takes everything down.

    `left` then says in words what the peer itself would have left running.
    """

    def __init__(
        self, peer: Peer, programs: Programs, beacon: str, *, logged: bool, hurried: bool
    ) -> None:
        self.peer = peer
        self.left: str = ""
        self.patience = DOWN_TIMEOUT
        """Seconds that what is left after the peer's own end may take to end as well."""
        self._beacon = beacon
        self.root = tempfile.mkdtemp(prefix="atlas-bench-")
        self.heard = Announcements(f"{self.root}/fifo")
        self.services = tuple(programs(self.heard.path))
        job = Job(self.root, self.services, logged=logged, hurried=hurried)
        self.layout: Layout = peer.lay_out(job)
        environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        self._env: Mapping[str, str] = {**environment, "HOME": self.root, **self.layout.env}
        self._first: int | None = None
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", str(KEEPER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._said(b"ready", 10.0)

    def __enter__(self) -> Self:
        """Give the rig; nothing of the peer runs yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take everything down."""
        self.close(failed=error is not None)

    # Starting and ending ---------------------------------------------------------------------

    def start(self, names: Sequence[str], within: float) -> float:
        """Start the peer; return the seconds from the command to the last service's first words.

        `names` is who has to be heard. Raises BenchmarkError.
        """
        asked = {
            "argv": list(self.layout.start),
            "env": dict(self._env),
            "cwd": self.root,
            "output": f"{self.root}/supervisor.out",
        }
        assert self._keeper.stdin is not None  # noqa: S101 - it is a pipe
        began = time.monotonic()
        self._keeper.stdin.write(json.dumps(asked).encode() + b"\n")
        self._keeper.stdin.flush()
        self._first = int(self._said(b"started", 10.0))
        Path(self.root, "first.pid").write_text(str(self._first))
        self._wait_for(set(names), within)
        return max(self.heard.latest[name].at for name in names) - began

    def _wait_for(self, wanted: set[str], within: float) -> None:
        """Wait until all these have begun and the start command is done; raise BenchmarkError."""
        assert self._keeper.stdout is not None  # noqa: S101 - it is a pipe
        out = self._keeper.stdout.fileno()
        deadline = time.monotonic() + within
        running = False
        done = not self.layout.daemonises
        while not (running and done):
            watched = [] if self.layout.daemonises and done else [out]

            def news(watched: list[int] = watched) -> bool:
                return wanted <= self.heard.latest.keys() or _readable(watched)

            left = deadline - time.monotonic()
            if left <= 0 or not self.heard.wait(news, left, also=watched):
                missing = len(wanted - self.heard.latest.keys())
                raise BenchmarkError(
                    f"{missing} of {len(wanted)} services not running after {within:g} s: "
                    f"{self._last_words()}"
                )
            running = wanted <= self.heard.latest.keys()
            if _readable(watched) or (running and not done):
                code = int(self._said(b"ended", within))
                if code != 0 or not self.layout.daemonises:
                    raise BenchmarkError(f"it ended with code {code}: {self._last_words()}")
                done = True

    def close(self, *, failed: bool = False) -> None:
        """End the peer as its user would, note what that leaves, and end that too."""
        try:
            if self._first is not None and not failed:
                self._end()
        finally:
            assert self._keeper.stdin is not None  # noqa: S101 - it is a pipe
            with contextlib.suppress(BrokenPipeError):
                self._keeper.stdin.close()
            try:
                stuck = int(self._said(b"left", 30.0))
                if stuck:
                    self.left += f"; {stuck} processes cannot be killed"
            finally:
                self._keeper.wait(30.0)
                self._keeper.stdout.close()  # type: ignore[union-attr]
                self.heard.close()
                shutil.rmtree(self.root, ignore_errors=True)

    def _end(self) -> None:
        assert self._first is not None  # noqa: S101 - asked by close
        if self.layout.down is not None:
            self.run(self.layout.down, within=DOWN_TIMEOUT)
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._first, self.layout.down_signal)
        deadline = time.monotonic() + self.patience
        own = self.layout.down_signal != signal.SIGKILL
        while (left := self.everything()) and own and time.monotonic() < deadline:
            self.heard.read()
            time.sleep(0.05)
        if left and own:
            self.left = f"{len(left)} processes {self.patience:g} s after its end"

    # Asking ----------------------------------------------------------------------------------

    def everything(self) -> list[int]:
        """Return every process of the peer and of its services."""
        return proc.tree(self._keeper.pid, without="")

    def supervisors(self) -> list[int]:
        """Return the processes of the peer itself, loggers included, services not."""
        return proc.tree(self._keeper.pid, without=self._beacon)

    def run(self, argv: Sequence[str], within: float = COMMAND_TIMEOUT) -> Ran:
        """Run a command as the user would, with the environment of the peer."""
        began = time.monotonic()
        try:
            done = subprocess.run(
                argv,
                env=self._env,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=within,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Ran(time.monotonic() - began, None, "")
        return Ran(
            time.monotonic() - began, done.returncode, done.stdout.decode("utf-8", "replace")
        )

    def status(self) -> float:
        """Return the seconds that the user's status command takes.

        One that has to be ended counts with the `COMMAND_TIMEOUT` that it was given. Raises
        BenchmarkError.
        """
        assert self.layout.status is not None  # noqa: S101 - callers ask only where there is one
        ran = self.run(self.layout.status)
        if ran.code is not None and not ran.output.strip():
            raise BenchmarkError(f"status said nothing (exit {ran.code})")
        if "Traceback" in ran.output:
            raise BenchmarkError(f"status failed: {ran.output.strip().splitlines()[-1]}")
        return ran.seconds

    def restart(self, name: str, *, age: float = 0.0) -> float:
        """Kill a service; return the seconds until its successor runs. Raises BenchmarkError.

        Waits first until the service has run for `age` seconds.
        """
        self.heard.read()
        old = self.heard.latest[name]
        time.sleep(max(0.0, old.at + age - time.monotonic()))
        killed = time.monotonic()
        os.kill(old.pid, signal.SIGKILL)
        if not self.heard.wait(lambda: self.heard.latest[name].pid != old.pid, RESTART_TIMEOUT):
            raise BenchmarkError(f"{name} was not restarted within {RESTART_TIMEOUT:g} s")
        return self.heard.latest[name].at - killed

    def _said(self, word: bytes, within: float) -> str:
        """Return what the keeper says after a word, which must be its next."""
        out: IO[bytes] | None = self._keeper.stdout
        assert out is not None  # noqa: S101 - it is a pipe
        deadline = time.monotonic() + within
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([out], [], [], max(0.0, deadline - time.monotonic()))
            byte = os.read(out.fileno(), 1) if ready else b""
            if not byte:
                raise BenchmarkError(
                    f"the keeper did not say {word.decode()!r}: {self._last_words()}"
                )
            line += byte
        said, _, rest = line.strip().partition(b" ")
        if said == word:
            return rest.decode()
        if said == b"ended" and word == b"left":
            return self._said(word, within)
        raise BenchmarkError(f"it ended early, with {rest.decode()}: {self._last_words()}")

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            said = Path(self.root, "supervisor.out").read_text(errors="replace").split("\n")
            words = [line.strip() for line in said if line.strip()]
            return " / ".join(words[-3:]) or "it said nothing"
        return "it said nothing"


def _readable(fds: Sequence[int]) -> bool:
    return bool(fds) and bool(select.select(fds, [], [], 0)[0])
