"""The daemon: everything put together, from its start to its end.

`run` is the whole life of one: lock, directories, sink, take-over of what an earlier daemon left,
services up, and at the end services down, sink out, lock released. Or the end is an upgrade: then
the process executes itself anew, and nothing of the services ends.
"""

import sys

# asyncio imports ssl if it can, which costs 5 MB and 15 ms; nothing here speaks TLS. Measured
# with Python 3.11 as the PSS of `import asyncio`: 18.4 MB with it, 14.0 MB without.
sys.modules.setdefault("ssl", None)  # type: ignore[arg-type]

import asyncio
import contextlib
import os
import signal
import socket
import stat
import time
from pathlib import Path

from supervisor import __version__, memory, notification, upgrade
from supervisor.api import Api, Busy, Life
from supervisor.clocks import Clocks
from supervisor.compiled import discard, path_of_ours, take
from supervisor.config.loader import load
from supervisor.config.problems import ConfigError
from supervisor.config.root import state_dir
from supervisor.control.server import BindError, ControlServer
from supervisor.core.effects import Topic
from supervisor.core.events import Event, Exceeded, Exited, Matched, RunId
from supervisor.core.spec import FleetSpec
from supervisor.core.unit import Failed, Goal, Stopped
from supervisor.journal import Journal
from supervisor.ledger import Ledger
from supervisor.logs.capacity import raise_file_limit
from supervisor.machine import Machine
from supervisor.notification import Notifier
from supervisor.notify.keeper import CourierKeeper
from supervisor.output import Output
from supervisor.posix.lock import EXIT_SECOND, DaemonLock, LockHeldError, lock_path
from supervisor.posix.reaper import Reaper
from supervisor.posix.spawn import keep_file_limit, seal_descriptors
from supervisor.posix.state import UnsafePathError, private_directory
from supervisor.posix.tree import become_subreaper
from supervisor.runtime import Runtime
from supervisor.succession import Succession
from supervisor.upgrade import Handover, Origin
from supervisor.watches import Match

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2


def run(
    config: Path, *, take_down: bool = False, compiled: str = "", by_login_item: bool = False
) -> int:
    """Supervise what `config` describes until told to stop; return the exit code.

    With `take_down` nothing is started, and all that an earlier daemon left is ended. `compiled`
    is where `up` has left what it has just made of the file. With `by_login_item` it is no failure
    that another daemon runs: one that fails is started again, and would be for ever. Raises
    `ConfigError` if the file is not valid.
    """
    origin = Origin.here()
    notifier = notification.taken_from(os.environ, os.getpid())
    handover = upgrade.inherited(os.environ)
    proven = None if handover is None else take(handover.compiled, str(config))
    trouble = ""
    try:
        spec = take(compiled, str(config)) or load(str(config))
    except ConfigError as error:
        if take_down:
            spec = _bare(str(config))
        elif proven is not None:
            spec, trouble = proven, _not_valid_any_more(error)
        else:
            raise
    try:
        private_directory(spec.state_dir)
        private_directory(f"{spec.state_dir}/fifo")
        # Never released: the kernel does that when this process is gone, and those who wait for
        # its end (`atlasctl down`) look at the lock.
        inherited = None if handover is None else handover.lock
        lock = DaemonLock.acquire(lock_path(spec.state_dir), inherited)
    except (LockHeldError, UnsafePathError) as error:
        print(f"atlasctl: {error}", file=sys.stderr)
        if not isinstance(error, LockHeldError):
            return EXIT_FAILED
        if take_down or compiled:
            return EXIT_SECOND
        return EXIT_OK if by_login_item else EXIT_FAILED
    try:
        keep_file_limit()
        raise_file_limit()
        seal_descriptors()
        become_subreaper()
        os.chdir(spec.root)
        daemon = Daemon(spec, origin, lock, handover, notifier)
        asyncio.run(daemon.serve(take_down=take_down, trouble=trouble))
    except (BindError, OSError) as error:
        print(f"atlasctl: {error}", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_OK


class Daemon:
    """One supervised system."""

    def __init__(
        self,
        spec: FleetSpec,
        origin: Origin,
        lock: DaemonLock,
        handover: Handover | None,
        notifier: Notifier,
    ) -> None:
        self._spec = spec
        self._notifier = notifier
        self._origin = origin
        self._lock = lock
        self._handover = handover
        # Where a trial of new code leaves what it made of the configuration.
        self._proven = path_of_ours(spec.state_dir)
        self._life = Life(time.monotonic(), 0 if handover is None else handover.upgrades)
        # Wall clock for stamps that people read; everything decided is decided by monotonic time.
        self._journal = Journal(spec.state_dir, time.time)
        self._ledger = Ledger(spec.state_dir)
        self._output = Output(
            spec.state_dir, spec.logs_dir, self._complain, os.environ, self._matched
        )
        self._machine = Machine(
            state_dir=spec.state_dir,
            logs_dir=spec.logs_dir,
            environ=dict(os.environ),
            output=self._output,
            journal=self._journal,
            ledger=self._ledger,
            post=self._post,
        )
        self._succession = Succession(
            self._machine, self._output, self._journal, self._ledger, self._post
        )
        self._runtime = Runtime(
            spec,
            self._machine,
            time.monotonic,
            self._succession.past(spec.services),
            Clocks(),
        )
        self._reaper = Reaper(self._machine.child_ended)
        self._courier = CourierKeeper(
            spec.state_dir,
            os.environ,
            self._machine.launcher,
            lambda: self._journal.seq,
            self._complain,
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._memory_watch: asyncio.Task[None] | None = None
        self._server = ControlServer(
            spec.state_dir,
            Api(
                self._runtime,
                self._machine,
                self._journal,
                self._output,
                self._life,
                prove=self._prove_new_code,
                adopt_spec=self._adopt_spec,
            ).routes(),
            on_error=self._complain,
            listening=None if handover is None else socket.socket(fileno=handover.control),
        )

    def _post(self, name: str, event: Event) -> None:
        if isinstance(event, Exited):
            self._machine.tally.exited(name, event.exit)
        elif isinstance(event, Exceeded):
            self._machine.tally.exceeded(name)
        self._runtime.post(name, event)

    def _matched(self, name: str, match: Match) -> None:
        """Let the core know of a line that a remedy looks for."""
        unit = self._runtime.fleet.units.get(name)
        if unit is not None:
            # A sink that was told of no run yet knows only the lines of the latest.
            run = unit.last_run if match.run is None else RunId(match.run)
            self._post(name, Matched(run, match.pattern, match.line))

    def _complain(self, text: str) -> None:
        """Write down a trouble of the daemon's own."""
        self._journal.append("", Topic.TROUBLE, text)

    # Life ------------------------------------------------------------------------------------

    async def serve(self, *, take_down: bool = False, trouble: str = "") -> None:
        """Run until SIGTERM, SIGINT or a client's shutdown, and stop all services then.

        With `take_down` that is at once, and nothing is started before. `trouble` is what went
        wrong when there was no journal yet.

        An upgrade ends it too, and does not return: the new code goes on where this one was.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        loop.add_signal_handler(signal.SIGHUP, lambda: None)
        upgrade.release_signals()
        if _is_watched(sys.stdout.fileno()):
            _ = self._begin_task(self._echo())
        self._make_logs_dir()
        topic = Topic.BEGAN if self._handover is None else Topic.UPGRADED
        self._journal.append("", topic, self._first_words())
        if trouble:
            self._complain(trouble)
        try:
            await self._output.start()
            if take_down:
                self._life.stopping = True
                self._life.ending.set()
            await self._begin()
            await self._server.start()
            self._adopt_spec(self._spec)
            self._notifier.ready(self._in_short())
            if self._notifier.every is not None:
                _ = self._begin_task(self._show_life(self._notifier.every))
            while not await self._is_over():
                pass
        finally:
            await self._server.close()
            await self._courier.close(at_once=False)
            self._runtime.close()
            await self._output.close(quit_sink=self._runtime.quiet())
            self._machine.close()
            self._reaper.close()
            await asyncio.sleep(0)  # the last lines of the echo
            await self._end_tasks()
            self._ledger.close()
            self._journal.close()

    def _first_words(self) -> str:
        if self._handover is not None:
            return f"upgraded from {self._handover.version} to {__version__}, pid {os.getpid()}"
        return f"daemon {__version__} started, pid {os.getpid()}, {self._spec.source}"

    async def _begin(self) -> None:
        """Take over what an earlier daemon left and start what is to run."""
        wanted, unwanted = [], []
        succession, services = self._succession, self._spec.services
        for service in services:
            # Before anything runs: what dies at once has said why.
            self._machine.look_for(service)
        self._machine.sockets.adopt(await self._output.held(), services)
        for service in services:
            name = service.name
            adopted = succession.adopt(service)
            if adopted is not None:
                self._post(name, adopted)
                if not succession.is_wanted(name):
                    unwanted.append(name)
            elif (
                service.enabled
                and succession.is_wanted(name)
                and isinstance(self._runtime.fleet.units[name].phase, Stopped)
            ):
                wanted.append(name)
        # From here on children are reaped: each that is ours has been taken in.
        self._reaper.start()
        await succession.end_the_rest(services)
        self._runtime.stop(unwanted, "asked before the last daemon was killed")
        if not self._life.stopping:
            self._runtime.start(wanted, "the daemon starts")
        if self._handover is not None:
            _ = self._begin_task(self._output.replace_sink())

    async def _is_over(self) -> bool:
        """Wait for the end of this code; True if it has come, False if it was put off."""
        await self._life.ending.wait()
        if self._life.stopping:
            await self._end()
            return True
        await self._execute_new_code()
        return False

    async def _end(self) -> None:
        self._notifier.stopping()
        self._runtime.stop(list(self._runtime.fleet.units), "the daemon stops")
        while not self._runtime.quiet():
            await self._runtime.changed()
        if ended := await self._machine.end_orphans():
            text = f"ended what no service claimed any more: {'; '.join(ended)}"
            self._journal.append("", Topic.LEFT_OVER, text)
        units = self._runtime.fleet.units.items()
        left = [n for n, u in units if isinstance(u.phase, Failed) and u.phase.left is not None]
        what = f"not wholly stopped: {', '.join(left)}" if left else "nothing of it is left running"
        self._journal.append("", Topic.ENDED, f"daemon stopped; {what}")
        self._ledger.retire()

    def _on_signal(self, number: int) -> None:
        if not self._life.stopping:
            name = signal.Signals(number).name
            text = f"{name}: stopping all services, then the daemon"
            self._journal.append("", Topic.DAEMON, text)
            self._life.stopping = True
            self._life.ending.set()

    # Other code ------------------------------------------------------------------------------

    async def _prove_new_code(self) -> None:
        """Return when what is installed has shown that it can go on from here. Raises Busy."""
        records = len(self._ledger.records())
        discard(self._proven)  # of an earlier trial
        why = await upgrade.refusal(
            self._origin, self._spec.source, records, self._proven, self._machine.launcher
        )
        if why is not None:
            raise Busy(
                f"the installed code did not prove itself: {why}",
                "this daemon goes on as it was; correct what it names and try again",
            )
        try:
            async with asyncio.timeout(upgrade.SETTLE_TIMEOUT):
                while not self._runtime.steady():
                    await self._runtime.changed()
        except TimeoutError:
            raise Busy(
                f"services have been starting or stopping for {upgrade.SETTLE_TIMEOUT:g} s",
                "wait until `atlasctl status` shows none of that, then try again",
            ) from None

    async def _execute_new_code(self) -> None:
        """Let the installed code take this process over. Returns only if that cannot be done."""
        await self._courier.close(at_once=True)
        control = await self._server.pause()
        handover = Handover(
            self._lock.fileno(), control, self._life.upgrades + 1, __version__, self._proven
        )
        # Who dies from here on stays unreaped for the new code; the ends of others are handled now.
        self._reaper.close()
        await upgrade.hold_signals()
        # It may have been told to stop meanwhile: the new code would know nothing of that.
        if not self._life.stopping:
            self._notifier.reloading()
            try:
                upgrade.execute(self._origin, handover)
            except OSError as error:
                self._complain(f"cannot execute {self._origin.argv[0]}: {error.strerror}")
            self._life.ending.clear()
        upgrade.release_signals()
        self._reaper.start()
        await self._server.start()
        self._notifier.ready(self._in_short())
        self._courier.go_by(self._spec)

    # What goes on beside ---------------------------------------------------------------------

    def _adopt_spec(self, spec: FleetSpec) -> None:
        """Go by another configuration in all that is the daemon's own."""
        self._spec = spec
        self._courier.go_by(spec)
        limited = any(service.limits.memory for service in spec.services)
        if limited and self._memory_watch is None:
            self._memory_watch = self._begin_task(
                memory.watch(self._machine, self._runtime, self._post)
            )
        elif not limited and self._memory_watch is not None:
            self._memory_watch.cancel()
            self._memory_watch = None

    async def _show_life(self, every: float) -> None:
        """Tell the service manager again and again that this loop turns.

        Both clocks stand still while the machine sleeps, so waking up is no silence.
        """
        while True:
            await asyncio.sleep(every)
            if self._life.stopping:
                self._notifier.stopping()
            else:
                self._notifier.alive(self._in_short())

    def _in_short(self) -> str:
        wanted = [u for u in self._runtime.fleet.units.values() if u.goal is Goal.UP]
        return f"{sum(unit.ready() for unit in wanted)} of {len(wanted)} services ready"

    async def _echo(self) -> None:
        """Print the journal for whoever watches `atlasctl run`."""
        seq = self._journal.seq
        while True:
            for entry in self._journal.since(seq):
                seq = entry.seq
                stamp = time.strftime("%H:%M:%S", time.localtime(entry.at))
                print(
                    f"{stamp} {entry.unit or 'atlasctl'}: {entry.topic}: {entry.text}", flush=True
                )
            await self._journal.news()

    def _begin_task(self, work: "asyncio._CoroutineLike[None]") -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _end_tasks(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)

    def _make_logs_dir(self) -> None:
        try:
            os.makedirs(self._spec.logs_dir, exist_ok=True)
        except OSError as error:
            self._complain(f"cannot make the log folder {self._spec.logs_dir}: {error.strerror}")


def _bare(config: str) -> FleetSpec:
    """Return what goes for a configuration that is not valid where everything is to end.

    That must be possible in the middle of an edit too.
    """
    state = state_dir(config, os.environ)
    root = os.path.dirname(state)
    return FleetSpec(os.path.abspath(config), root, state, os.path.join(root, "logs"))


def _not_valid_any_more(error: ConfigError) -> str:
    return (
        f"{error.problems[0]}; going on with the configuration as it was when the upgrade was "
        "tried: correct it, then atlasctl reload"
    )


def _is_watched(fd: int) -> bool:
    """Tell whether somebody reads there: a terminal or a pipe, not a file that would only grow."""
    try:
        found = os.fstat(fd)
    except OSError:
        return False
    devnull = os.stat(os.devnull)
    return not stat.S_ISREG(found.st_mode) and found.st_rdev != devnull.st_rdev
