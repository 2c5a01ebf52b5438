"""The daemon's side of its courier: there is one while it has an errand, and only then."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Final

from supervisor.core.events import Exit
from supervisor.core.exits import describe_exit
from supervisor.core.spec import FleetSpec
from supervisor.launcher import Launcher
from supervisor.notify.errand import PACKAGE, Errand, forget, send_out
from supervisor.notify.metrics_file import mark_down
from supervisor.probes.exec import LaunchError

STEADY: Final = 60.0
"""Seconds that a courier must have lived for its end to be an accident and not a habit."""
FIRST_DELAY: Final = 0.5
LONGEST_DELAY: Final = 60.0
"""Seconds before another is started, doubled while they die."""
BY_ITSELF: Final = 6.0
"""Seconds that it may take to end when the daemon ends: it sends what is due."""
ON_DEMAND: Final = 3.0
"""Seconds from SIGTERM to SIGKILL."""
KILLED: Final = 1.0
SAYS: Final = "courier.log"
"""What the present courier says of its own trouble: mostly nothing."""


class CourierKeeper:
    """Keeps one courier."""

    def __init__(
        self,
        state_dir: str,
        environ: Mapping[str, str],
        launcher: Launcher,
        seq: Callable[[], int],
        complain: Callable[[str], None],
    ) -> None:
        """`seq` returns the number of the latest entry of the journal."""
        self._state_dir = state_dir
        self._environ = {**environ, "PYTHONPATH": PACKAGE}
        self._launcher = launcher
        self._seq = seq
        self._complain = complain
        # What has happened since this daemon began is for the first courier to tell as well.
        self._begin = seq()
        self._errand: Errand | None = None
        self._root = "/"
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._pid = 0
        self._ended: asyncio.Future[Exit] | None = None

    def go_by(self, spec: FleetSpec) -> None:
        """Have a courier do what this configuration asks for, and no other."""
        errand = Errand.of(spec, self._begin)
        self._begin = self._seq()
        if self._task is None:
            self._forget(errand)
        if errand is not None and self._errand is not None and errand.is_like(self._errand):
            return
        self._errand, self._root = errand, spec.root
        self._changed.set()
        if self._task is None and errand is not None:
            self._task = asyncio.get_running_loop().create_task(self._keep())

    async def close(self, *, at_once: bool) -> None:
        """Have no courier any more, until `go_by`.

        It ends by itself when it sees that the daemon does, and tells what is due before; or
        `at_once`, and leaves that to its successor.
        """
        errand, self._errand = self._errand, None
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self._end(0.0 if at_once else BY_ITSELF)
        if errand is not None and errand.metrics is not None and not at_once:
            mark_down(errand.metrics.file)

    async def _keep(self) -> None:
        """Start one whenever there is none."""
        loop = asyncio.get_running_loop()
        delay = FIRST_DELAY
        while (errand := self._errand) is not None:
            self._changed.clear()
            began = loop.time()
            try:
                self._start(errand)
            except (LaunchError, OSError) as error:
                why = f"cannot be started: {error}"
            else:
                ending = await self._until_its_end()
                if ending is None:
                    self._forget(self._errand)
                    self._leave(errand)
                    continue
                why = describe_exit(ending)
            if loop.time() - began > STEADY:
                delay = FIRST_DELAY
            if delay < LONGEST_DELAY:
                # Not for ever: it is told that it ends again and again.
                self._complain(
                    f"the courier of notifications {why}; another in {delay:g} s; "
                    f"see {self._state_dir}/{SAYS}"
                )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._changed.wait()
            delay = min(2 * delay, LONGEST_DELAY)
        self._task = None

    def _start(self, errand: Errand) -> None:
        send_out(self._state_dir, errand)
        argv = (sys.executable, "-P", "-m", "supervisor.notify.courier", self._state_dir)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        output = os.open(f"{self._state_dir}/{SAYS}", flags, 0o600)
        try:
            self._pid = self._launcher.start(argv, self._root, self._environ, output)
        finally:
            os.close(output)
        self._ended = self._launcher.exited(self._pid)

    async def _until_its_end(self) -> Exit | None:
        """Return how it ended by itself; None if it was ended, for there is another errand."""
        assert self._ended is not None, "it was started"  # noqa: S101
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait((self._ended, changed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
        if self._changed.is_set():
            await self._end(0.0)
            return None
        return self._ended.result()

    def _forget(self, errand: Errand | None) -> None:
        """Let go of what no courier is to go on from, or it would be told years later."""
        if errand is None or not errand.targets:
            forget(self._state_dir)

    def _leave(self, errand: Errand) -> None:
        """Let no file look alive that nobody writes any more."""
        now = None if self._errand is None else self._errand.metrics
        if errand.metrics is not None and (now is None or now.file != errand.metrics.file):
            mark_down(errand.metrics.file)

    async def _end(self, patience: float) -> None:
        ended = self._ended
        if ended is None:
            return
        if patience and not ended.done():
            await asyncio.wait((ended,), timeout=patience)
        if not ended.done():
            # Not reaped, for that is done by this very loop: its number is its own.
            os.kill(self._pid, signal.SIGTERM)
            await asyncio.wait((ended,), timeout=ON_DEMAND)
        if not ended.done():
            self._launcher.kill_group(self._pid)
            await asyncio.wait((ended,), timeout=KILLED)
        self._ended = None
