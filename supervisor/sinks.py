"""The one sink of a state folder: joined or started, and replaced when it is gone or outdated."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from supervisor.core.events import ExitCode
from supervisor.core.exits import describe_exit
from supervisor.launcher import Launcher
from supervisor.logs.channel import Reply, SinkChannel, SinkError, SinkGoneError, answered
from supervisor.posix.identity import ProcessIdentity, identify
from supervisor.posix.processes import kill
from supervisor.probes.exec import LaunchError

CONNECT_TIMEOUT = 5.0
"""Seconds that a new sink may take to listen; it takes about 0.05 on an idle machine."""
REQUEST_TIMEOUT = 5.0
PATIENCE = 30.0
"""Seconds for what nobody waits for. A new sink is told of 1000 services in 0.3 s; this is for a
machine that has other things to do."""
REPEATED = 60.0
"""Seconds in which a complaint is not made again in the same words."""
CHECK_TIMEOUT = 5.0
QUIT_TIMEOUT = 5.0
"""Seconds that a sink may take to empty every FIFO and end; then it is killed, which is as safe."""
PACKING_TIMEOUT = 12.0
"""Seconds for which the daemon's end waits while the sink gzips; it takes 10 itself, at most."""
END_ATTEMPTS = 3
"""A sink that dies while it is asked to end is followed by another, which finds its rest."""
STEADY = 1.0
"""Seconds after which the end of a sink is an accident, and it is replaced at once."""
RESPAWN_DELAY = 0.2
"""Seconds before another try, doubled while none succeeds."""
RESPAWN_DELAY_MAX = 10.0
LONGEST_COMPLAINT = 64 * 1024

TROUBLE = (OSError, LaunchError, SinkError, SinkGoneError, TimeoutError)
"""Why there may be no sink for a while."""


class SinkReplaceError(Exception):
    """The sink could not be replaced; the text says why, and which one serves now."""


class SinkLink:
    """Sees that there is a sink, and speaks to it."""

    def __init__(
        self,
        state_dir: str,
        environ: Mapping[str, str],
        launcher: Launcher,
        tell: Callable[[], Awaitable[None]],
        complain: Callable[[str], None],
    ) -> None:
        """`tell` is called for every sink that is new to us, to tell it all that it must know."""
        self._state_dir = state_dir
        self._package = str(Path(__file__).parent.parent)
        self._environ = {**environ, "PYTHONPATH": self._package}
        self._launcher = launcher
        self._tell = tell
        self._complain = complain
        self._channel: SinkChannel | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._joined = asyncio.Event()
        self._replacing = asyncio.Lock()
        self._last_complaint = ("", 0.0)
        self._unanswered: set[asyncio.Task[Reply | None]] = set()
        self._told: Callable[[object], None] | None = None
        self._subscription: asyncio.Task[None] | None = None
        self.pid: int | None = None
        self.version: str | None = None
        """Of the code that the sink runs."""

    async def start(self) -> None:
        """Join or start the sink and keep one from now on; returns even if none could be had."""
        with contextlib.suppress(*TROUBLE):  # the keeper tries again at once, and says why not
            await self._join_or_start()
        self._keeper = asyncio.create_task(self._keep())
        if self._told is not None:
            self.subscribe(self._told)

    def send(
        self, op: str, fields: Mapping[str, object], fds: Sequence[int] = ()
    ) -> asyncio.Task[Reply | None] | None:
        """Ask without waiting; trouble is complained of. None: there is no sink to ask."""
        answer = self._ask(op, fields, fds)
        if answer is None:
            return None
        # asyncio keeps only weak references to tasks.
        task = asyncio.create_task(self._answered(op, answer, PATIENCE))
        self._unanswered.add(task)
        task.add_done_callback(self._unanswered.discard)
        return task

    async def request(
        self,
        op: str,
        fields: Mapping[str, object] | None = None,
        *,
        within: float = REQUEST_TIMEOUT,
    ) -> Reply | None:
        """Ask and return the answer; None, and a complaint, where there is none or it is a no."""
        answer = self._ask(op, fields or {}, ())
        return None if answer is None else await self._answered(op, answer, within)

    def subscribe(self, told: Callable[[object], None]) -> None:
        """Have this and every later sink say which lines match, on a connection of its own."""
        self._told = told
        if self._keeper is not None and self._subscription is None:
            self._subscription = asyncio.create_task(self._subscribe(told))

    async def stats(self, within: float) -> Mapping[str, object] | None:
        """Return the sink's counts; None if it does not answer so soon, which is no trouble."""
        answer = self._ask("stats", {}, ())
        if answer is not None:
            with contextlib.suppress(SinkGoneError, SinkError, TimeoutError):
                return (await answered(answer, within)).fields
        return None

    async def replace(self) -> None:
        """Put a sink that runs the present code in the place of the one that serves.

        The new code is proven to start before the old sink is asked to end. Takes some 0.2 s, in
        which services go on printing into their FIFOs. Raises SinkReplaceError.
        """
        async with self._replacing:
            await self._prove()
            await self._await_join("there is no log sink")
            channel = self._channel
            assert channel is not None, "it has just been joined"  # noqa: S101
            # While the connection stands, its pid cannot be another's.
            process = identify(self.pid) if self.pid is not None else None
            self._joined.clear()
            await self._end(channel, process)
            await self._await_join("the old log sink has ended and no new one came")

    async def close(self, *, end: bool) -> bool:
        """Let go of the sink; with `end` it writes what there is and ends. False: it did not."""
        for task in (self._keeper, self._subscription):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        ended = not end
        for attempt in range(END_ATTEMPTS if end else 0):
            if attempt:
                await asyncio.sleep(RESPAWN_DELAY)
            with contextlib.suppress(*TROUBLE):
                ended = await self._quit()
            if ended:
                break
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._unanswered:
            await asyncio.wait(self._unanswered)
        return ended

    async def _quit(self) -> bool:
        """Have everything written by the sink that is there, or by one that is started for it."""
        if self._channel is None or self._channel.closed.done():
            # It died just now, or there was none: what lies in the FIFOs is still to be written.
            await self._join_or_start()
        channel = self._channel
        assert channel is not None, "it has just been joined"  # noqa: S101
        process = identify(self.pid) if self.pid is not None else None
        if await self.request("quit", within=QUIT_TIMEOUT) is not None:
            # Else `atlasctl down` would leave one at work in the folder of the logs.
            await asyncio.wait((channel.closed,), timeout=PACKING_TIMEOUT)
            return True
        if not channel.closed.done():
            if process is not None:
                kill(process)  # it hangs
            channel.close("it did not end")
        return False

    # Keeping one -----------------------------------------------------------------------------

    async def _keep(self) -> None:
        """Replace the sink whenever it is gone."""
        loop = asyncio.get_running_loop()
        delay = RESPAWN_DELAY
        while True:
            if self._channel is not None:
                since = loop.time()
                # Not awaited itself: to cancel the keeper must not cancel the channel's future.
                await asyncio.wait((self._channel.closed,))
                self._channel = self.pid = self.version = None
                self._joined.clear()
                if not self._replacing.locked():
                    self._complain("the log sink ended; starting another (no output is lost)")
                    if loop.time() - since < STEADY:
                        # It served: to wait longer each time would stop the services' output.
                        await asyncio.sleep(RESPAWN_DELAY)
            try:
                await self._join_or_start()
                delay = RESPAWN_DELAY
            except TROUBLE as error:
                self._complain(f"no log sink: {_why(error)}; trying again in {delay:g} s")
                await asyncio.sleep(delay)
                delay = min(2 * delay, RESPAWN_DELAY_MAX)

    async def _join_or_start(self) -> None:
        try:
            channel = await SinkChannel.connect(self._path, 0.0)
        except SinkGoneError:
            channel = await self._start()
        self._channel = channel
        await self._tell()
        stats = await self.request("stats", within=PATIENCE)
        if stats is not None:
            # Of one that was joined only it knows the pid.
            pid, version = stats.fields.get("pid"), stats.fields.get("version")
            self.pid = pid if isinstance(pid, int) else None
            self.version = version if isinstance(version, str) else None
        if channel.closed.done():
            self._channel = self.pid = self.version = None
            raise SinkGoneError(channel.closed.result())
        self._joined.set()

    async def _start(self) -> SinkChannel:
        # One that was started and whose caller was cancelled is waited for, not doubled.
        if self.pid is None or self.pid not in self._launcher.pids:
            argv = (sys.executable, "-m", "supervisor.logs.sink", self._state_dir)
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            try:
                self.pid = self._launcher.start(argv, self._package, self._environ, null)
            finally:
                os.close(null)
        pid, ended = self.pid, self._launcher.exited(self.pid)
        connecting = asyncio.create_task(SinkChannel.connect(self._path, CONNECT_TIMEOUT))
        try:
            await asyncio.wait((connecting, ended), return_when=asyncio.FIRST_COMPLETED)
            if connecting.done():
                return connecting.result()
        except SinkGoneError:
            self._launcher.kill_group(pid)
            raise
        finally:
            connecting.cancel()
        self.pid = None
        raise SinkGoneError(f"the one that was started {describe_exit(ended.result())}")

    async def _end(self, channel: SinkChannel, process: ProcessIdentity | None) -> None:
        with contextlib.suppress(*TROUBLE):
            # Without packing: what is printed meanwhile is not read.
            await channel.request("quit", {"pack": False}, within=QUIT_TIMEOUT)
        await asyncio.wait((channel.closed,), timeout=QUIT_TIMEOUT)
        if not channel.closed.done():
            if process is not None:
                kill(process)
            await asyncio.wait((channel.closed,), timeout=QUIT_TIMEOUT)
        channel.close("it did not end")

    async def _await_join(self, otherwise: str) -> None:
        try:
            async with asyncio.timeout(2 * CONNECT_TIMEOUT):
                await self._joined.wait()
        except TimeoutError:
            raise SinkReplaceError(
                f"{otherwise} within {2 * CONNECT_TIMEOUT:g} s; a start is tried again and again, "
                "and services print into their FIFOs meanwhile"
            ) from None

    async def _prove(self) -> None:
        """Start the new code, short of taking the old sink's place."""
        argv = (sys.executable, "-m", "supervisor.logs.sink", "--check", self._state_dir)
        try:
            ended = await self._launcher.run(
                argv, self._package, self._environ, CHECK_TIMEOUT, slice(-LONGEST_COMPLAINT, None)
            )
        except LaunchError as error:
            raise SinkReplaceError(f"a new log sink cannot be started: {error}") from None
        if ended.ending is None:
            raise SinkReplaceError(
                f"a new log sink is not ready within {CHECK_TIMEOUT:g} s; the old one serves on"
            )
        last = "".join(ended.printed.strip().splitlines()[-1:])
        if ended.ending != ExitCode(0) or not _says_ok(last):
            raise SinkReplaceError(
                "a new log sink would not start, so the old one serves on: "
                f"{last or describe_exit(ended.ending)}"
            )

    async def _subscribe(self, told: Callable[[object], None]) -> None:
        while True:
            await self._joined.wait()
            channel = None
            try:
                channel = await SinkChannel.connect(self._path, 0.0, told)
                # One of an older version knows of no patterns: nothing is to be had until its end.
                with contextlib.suppress(SinkError):
                    await channel.request("subscribe", within=PATIENCE)
                await asyncio.wait((channel.closed,))
            except (SinkGoneError, TimeoutError, OSError):
                pass  # the keeper says so
            finally:
                if channel is not None:
                    channel.close()
            await asyncio.sleep(RESPAWN_DELAY)

    # Speaking to it --------------------------------------------------------------------------

    @property
    def _path(self) -> str:
        return f"{self._state_dir}/sink.sock"

    def _ask(
        self, op: str, fields: Mapping[str, object], fds: Sequence[int]
    ) -> asyncio.Future[Reply] | None:
        if self._channel is None:
            return None
        try:
            return self._channel.send(op, fields, fds)
        except SinkGoneError:
            return None  # the keeper says so, once
        except OSError as error:
            self._complain_anew(f"log sink, {op}: {error}")
            return None

    async def _answered(
        self, op: str, answer: asyncio.Future[Reply], within: float
    ) -> Reply | None:
        try:
            return await answered(answer, within)
        except SinkGoneError:
            return None
        except (SinkError, TimeoutError, OSError) as error:
            self._complain_anew(f"log sink, {op}: {str(error) or 'no answer'}")
            return None

    def _complain_anew(self, text: str) -> None:
        """Say it once, not a thousand times, when it is true of a thousand requests."""
        now = asyncio.get_running_loop().time()
        last, at = self._last_complaint
        if text != last or now - at >= REPEATED:
            self._last_complaint = (text, now)
            self._complain(text)


def _why(error: BaseException) -> str:
    return str(error) or "no answer in time"


def _says_ok(line: str) -> bool:
    try:
        found = json.loads(line)
    except ValueError:
        return False
    return isinstance(found, dict) and found.get("ok") is True
