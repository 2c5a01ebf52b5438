"""The holder: a process that does nothing but hold every FIFO open, for when nobody else does.

What a service printed lies in its FIFO until the sink has taken it, and the kernel throws it away
when the last descriptor is closed. With daemon and sink killed at once, a service that prints its
traceback and dies would be the last. So a `sleep` holds a reading end of every FIFO. A reading end
only: the sink still sees the end of a FIFO that no daemon and no service holds any more, and can
end itself as it does without a holder.

What can be lost, and when:
- Daemon, sink *and* holder are dead at the same time, and the service as well: what its FIFO holds,
  at most 64 KiB on Linux (1 MiB of a busy one; 8 KiB on macOS). While any one of the four
  lives, nothing is.
- The same with the holder alive, for a FIFO so new that the holder does not have it yet: `QUIET`
  seconds after the last new one, `LONGEST_WAIT` at most; and for all of them in the moment between
  a holder's own death and its replacement (`QUIET` seconds, longer if it dies again and again).
- The machine stops: what no service, sink or kernel had on the disk.
- A log that cannot be written (full disk): counted, and said in the log.

A process cannot be given descriptors after its start, so a new FIFO means a new holder; the old one
is ended when the new one is there. Its pid, start time and boot stand in `STATE_DIR/holder`, for
the daemon that follows one that was killed. One whose daemon was killed before it could name it is
found by its environment; on macOS, which shows nobody that of `sleep`, it stays until its day is
over.
"""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from supervisor.core.events import Exit, ExitCode
from supervisor.core.exits import describe_exit
from supervisor.launcher import Launcher
from supervisor.posix.environment import DEFAULT_PATH, FLEET_MARK, fleet_mark
from supervisor.posix.identity import ProcessIdentity, identify, is_alive
from supervisor.posix.processes import find_own, kill
from supervisor.posix.state import write_whole
from supervisor.probes.exec import LaunchError

COMMAND: Final = ("sleep", "86400")
"""A day: a holder that everybody forgot is gone then. 0.25 MB (PSS), whatever it holds."""

QUIET = 0.2
"""Seconds without a further new FIFO before the holder is replaced."""
LONGEST_WAIT = 1.0
STEADY = 10.0
"""Seconds that a holder must have lived for its end to be an accident and not a habit."""
LONGEST_DELAY = 60.0

_INTENDED: Final = "starting"
"""In the record before a start: there may be a holder that the record does not name."""
_LONGEST_RECORD: Final = 4096


class Holder:
    """Keeps one holder of all FIFOs."""

    def __init__(
        self,
        state_dir: str,
        environ: Mapping[str, str],
        launcher: Launcher,
        fifos: Callable[[], Iterable[tuple[str, int]]],
        rescue: Callable[[], Awaitable[bool]],
        complain: Callable[[str], None],
    ) -> None:
        """`fifos` tells path and descriptor of each FIFO.

        `rescue` saves what only a former daemon's holder holds; False: not now.
        """
        self._record_path = f"{state_dir}/holder"
        self._fleet = fleet_mark(state_dir)
        self._environ = {
            "PATH": environ.get("PATH", DEFAULT_PATH),
            FLEET_MARK: self._fleet,
        }
        self._launcher = launcher
        self._fifos = fifos
        self._rescue = rescue
        self._complain = complain
        self._current: ProcessIdentity | None = None
        self._since = 0.0
        self._inherited: list[ProcessIdentity] = []
        self._succession: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._latest = 0.0
        self._delay = QUIET
        self._failing = False
        self._closed = False

    @property
    def pids(self) -> frozenset[int]:
        """The holders that live, a former daemon's included."""
        own = () if self._current is None else (self._current.pid,)
        return frozenset((*own, *(each.pid for each in self._inherited)))

    @property
    def is_succeeding(self) -> bool:
        """True while a former daemon's holder is still needed."""
        return bool(self._inherited)

    def inherit(self) -> None:
        """Learn of the holders that a killed daemon left; they are ended when they have heirs."""
        named, intended = self._read_record()
        if intended:
            named += [each for each in find_own(self._fleet, COMMAND) if each not in named]
        self._inherited = [each for each in named if is_alive(each)]

    def renew(self) -> None:
        """Replace the holder soon: there is a FIFO that it does not hold."""
        if self._closed:
            return
        now = asyncio.get_running_loop().time()
        if self._timer is None:
            self._latest = now + LONGEST_WAIT
        self._set_timer(min(now + QUIET, self._latest))

    def close(self, *, end: bool) -> None:
        """Stop looking after it. With `end` it is killed; else it is left, and holds all."""
        if self._timer is not None and not end:
            self._replace()
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._succession is not None:
            self._succession.cancel()
        if end:
            for each in self._living():
                kill(each)
            self._inherited.clear()
            self._current = None
            with contextlib.suppress(OSError):
                os.unlink(self._record_path)

    # Replacing -------------------------------------------------------------------------------

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(at, self._replace)

    def _replace(self) -> None:
        """Start a holder of all that is open now, then end the one that was."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        fifos = list(self._fifos())
        if fifos:
            try:
                fresh = self._start(fifos)
            except (LaunchError, OSError) as error:
                self._fail(str(error))
                return
            old, self._current = self._current, fresh
            self._failing = False
            self._write_record(intended=False, also=old)
            if old is not None:
                kill(old)
        if self._inherited and (self._succession is None or self._succession.done()):
            self._succession = asyncio.get_running_loop().create_task(self._succeed())

    async def _succeed(self) -> None:
        """End a former daemon's holders, once nothing lies in a FIFO that only they hold."""
        if await self._rescue() and not self._closed:
            for each in self._inherited:
                kill(each)
            self._inherited.clear()
            self._write_record(intended=False)

    def _start(self, fifos: Iterable[tuple[str, int]]) -> ProcessIdentity:
        self._write_record(intended=True)
        opened: list[int] = []
        lent: list[int] = []
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            for path, fd in fifos:
                reading = reading_end(path, fd)
                if reading is None:
                    lent.append(fd)
                else:
                    opened.append(reading)
            # They keep their numbers; the daemon has one thread, so no other child gets them.
            for fd in (*opened, *lent):
                os.set_inheritable(fd, True)
            pid = self._launcher.start(COMMAND, "/", self._environ, null)
        finally:
            for fd in lent:
                os.set_inheritable(fd, False)
            for fd in (null, *opened):
                os.close(fd)
        identity = identify(pid)
        assert identity is not None, "an unreaped child has a row in the process table"  # noqa: S101
        self._since = asyncio.get_running_loop().time()
        self._launcher.exited(pid).add_done_callback(
            lambda end: None if end.cancelled() else self._ended(identity, end.result())
        )
        return identity

    def _ended(self, identity: ProcessIdentity, ending: Exit) -> None:
        if self._closed or identity != self._current:
            return  # it was replaced
        self._current = None
        now = asyncio.get_running_loop().time()
        if now - self._since >= STEADY:
            self._delay = QUIET
        if ending != ExitCode(0):
            self._complain(
                f"the process that holds the FIFOs {describe_exit(ending)}; starting another"
            )
        self._retry(now)

    def _fail(self, why: str) -> None:
        if not self._failing:
            self._failing = True
            self._complain(
                f"the process that holds the FIFOs cannot be started: {why}; until it can, a "
                "service's last words are lost if it dies together with daemon and sink"
            )
        self._retry(asyncio.get_running_loop().time())

    def _retry(self, now: float) -> None:
        if not self._closed:
            self._latest = now + LONGEST_DELAY
            self._set_timer(now + self._delay)
            self._delay = min(2 * self._delay, LONGEST_DELAY)

    # The record ------------------------------------------------------------------------------

    def _living(self) -> list[ProcessIdentity]:
        current = [] if self._current is None else [self._current]
        return [*self._inherited, *current]

    def _write_record(self, *, intended: bool, also: ProcessIdentity | None = None) -> None:
        """Write down every holder that may live, whole or not at all."""
        named = [*self._living(), *([] if also is None else [also])]
        lines = [f"{each.pid} {each.started} {each.boot} {each.uid}" for each in named]
        text = "\n".join([*([_INTENDED] if intended else []), *lines, ""])
        # Without a record (a full disk) a later daemon does not find this holder, which ends by
        # itself within a day.
        with contextlib.suppress(OSError):
            write_whole(self._record_path, text.encode())

    def _read_record(self) -> tuple[list[ProcessIdentity], bool]:
        try:
            fd = os.open(self._record_path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return [], False
        try:
            text = os.read(fd, _LONGEST_RECORD).decode("ascii", "replace")
        finally:
            os.close(fd)
        named = []
        for line in text.splitlines():
            words = line.split()
            if len(words) == 4 and all(words[at].isdecimal() for at in (0, 1, 3)):
                named.append(ProcessIdentity(int(words[0]), int(words[1]), words[2], int(words[3])))
        return named, text.startswith(_INTENDED)


def reading_end(path: str, fd: int) -> int | None:
    """Open the FIFO anew for reading; None where its file is gone or no descriptor is left."""
    try:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        reading = os.open(path, flags)
    except OSError:
        return None
    if os.path.sameopenfile(reading, fd):
        return reading
    os.close(reading)
    return None
