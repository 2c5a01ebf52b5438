"""What must outlive the daemon: where services write, and the sockets on which they listen.

A service writes into a FIFO, which is held open by four parties: the service, this daemon, the
sink that reads it (`supervisor.sinks`), and the holder (`supervisor.holder`, which also says what
can be lost and when). The death of any three of them breaks no pipe and loses no byte. Listening
sockets are kept in the sink's store: a daemon that follows a killed one gets them back, and a new
sink gets them from the daemon.
"""

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from supervisor.core.events import Exit
from supervisor.core.spec import LogSpec
from supervisor.holder import Holder, reading_end
from supervisor.launcher import Launcher
from supervisor.logs.channel import MOST_DESCRIPTORS, Reply
from supervisor.logs.transfer import waiting_bytes
from supervisor.posix.descriptors import listening_socket
from supervisor.sinks import PATIENCE, SinkLink, SinkReplaceError
from supervisor.watches import NOTHING_OF_RUNS, Match, Watches

STATS_TIMEOUT = 0.02
STORES_AT_ONCE = 50
"""Of a new sink: each has copies of its sockets open while it is on its way."""
MOST_PAGES = 1000

WHOLE = LogSpec(max_size=1 << 40, keep=1000, compress=False)
"""A policy that neither rotates nor deletes, for a log whose own policy is not known."""


class OutputError(Exception):
    """The FIFO of a service can be neither made nor opened, or the sink not be replaced."""


@dataclass(frozen=True, slots=True)
class Outlet:
    """One service's way out."""

    fifo: str
    log: str
    policy: LogSpec
    fd: int


class Output:
    """All outlets and held sockets of one daemon, its sink and its holder.

    To be told of the end of every child (`child_ended`), and asked for the pids of its own.
    """

    def __init__(
        self,
        state_dir: str,
        logs_dir: str,
        complain: Callable[[str], None],
        environ: Mapping[str, str],
        matched: Callable[[str, Match], None] = lambda *_: None,
    ) -> None:
        """`matched` is told of lines that match what is watched for, with the service's name."""
        self._state_dir = state_dir
        self._logs_dir = logs_dir
        self._complain = complain
        self._outlets: dict[str, Outlet] = {}
        self._parting: dict[str, Outlet] = {}
        """Of services that are gone, until the sink has taken what they wrote last."""
        self._sockets: dict[str, tuple[socket.socket, ...]] = {}
        self._released: set[str] = set()
        """Names that a sink may still hold, since none was there to be told."""
        self._lost: dict[str, int] = {}
        self._watches = Watches(matched)
        self._children = Launcher()
        self._sink = SinkLink(state_dir, environ, self._children, self._tell, complain)
        self._holder = Holder(
            state_dir, environ, self._children, self._fifos, self._rescue, complain
        )

    @property
    def sink_pid(self) -> int | None:
        """The sink that serves, started here or by an earlier daemon."""
        return self._sink.pid

    @property
    def sink_version(self) -> str | None:
        """The version of the code that the sink runs."""
        return self._sink.version

    @property
    def pids(self) -> frozenset[int]:
        """Processes that serve the daemon itself: no service may be taken to own them."""
        sink = () if self._sink.pid is None else (self._sink.pid,)
        return self._children.pids | self._holder.pids | frozenset(sink)

    def child_ended(self, pid: int, ending: Exit) -> None:
        """Take note that a child is dead and not reaped yet; others' pids are passed over."""
        self._children.child_ended(pid, ending)

    async def start(self) -> None:
        """Join or start the sink, and keep one from now on.

        Returns even if no sink could be had: services run, and fill their FIFOs (64 KiB each on
        Linux) before they have to wait.
        """
        self._holder.inherit()
        await self._sink.start()
        self._holder.renew()

    async def close(self, *, quit_sink: bool) -> None:
        """Let go of all; with `quit_sink` the sink writes what it has, and both helpers end."""
        written = await self._sink.close(end=quit_sink)
        outlets = {**self._parting, **self._outlets}
        left = [name for name, each in outlets.items() if _waiting(each)]
        if quit_sink and not written and left:
            self._complain(
                f"no log sink took the last output of {', '.join(left)}; it is kept for the next "
                "start"
            )
            self._holder.close(end=False)
        else:
            self._holder.close(end=quit_sink)
        for outlet in outlets.values():
            os.close(outlet.fd)
        self._outlets.clear()
        self._parting.clear()
        self._sockets.clear()

    async def replace_sink(self) -> None:
        """Let a sink of the present code take over; `OutputError` if that cannot be.

        Either way a sink serves, or one is about to, and no output is lost.
        """
        try:
            await self._sink.replace()
        except SinkReplaceError as error:
            raise OutputError(str(error)) from None

    # Logs ------------------------------------------------------------------------------------

    def open(self, name: str, policy: LogSpec) -> int:
        """Return the descriptor that becomes stdout and stderr of the service; it stays ours.

        Opened for reading as well as writing, so that a service never meets a pipe without a
        reader (no SIGPIPE) and opening never waits for one. Raises `OutputError`.
        """
        outlet = self._outlets.get(name)
        if outlet is None:
            parting = self._parting.pop(name, None)
            fifo = f"{self._state_dir}/fifo/{name}"
            fd = _open_fifo(fifo) if parting is None else parting.fd
            outlet = Outlet(fifo, self._log(name), policy, fd)
            self._outlets[name] = outlet
            self._attach(name, outlet)
            self._holder.renew()
        else:
            self.keep_to(name, policy)
        return outlet.fd

    def keep_to(self, name: str, policy: LogSpec) -> None:
        """Go by another policy from now on, where the service has a log at all."""
        outlet = self._outlets.get(name)
        if outlet is not None and outlet.policy != policy:
            self._outlets[name] = outlet = replace(outlet, policy=policy)
            self._attach(name, outlet)

    def watch(self, name: str, patterns: tuple[str, ...]) -> None:
        """Look for these patterns (`core.pattern`) in what the service prints from now on.

        They take the place of those before; to be called before or after `open`; `forget` ends it.
        Matches come to `matched` soon after the line, and before a later `flush` returns unless the
        sink is a new one. What matched while there was no daemon is told to the next.
        """
        if self._watches.set(name, patterns):
            if patterns:
                self._sink.subscribe(self._watches.told)
            if name in self._outlets:
                self._attach(name, self._outlets[name])

    def forget(self, name: str) -> None:
        """Let go of a service that will not write any more; its log stays, with all it wrote."""
        outlet = self._outlets.pop(name, None)
        if outlet is not None:
            self._parting[name] = outlet
            self._part(name, outlet)
        self._watches.forget(name)

    def _part(self, name: str, outlet: Outlet) -> None:
        """Have the FIFO emptied, and remove it once that is done: the sink opens it by its name.

        Where there is no sink, the next one is told.
        """
        task = self._sink.send("detach", {"name": name})
        if task is not None:
            task.add_done_callback(lambda done: self._parted(name, outlet, done))

    def _parted(self, name: str, outlet: Outlet, done: asyncio.Task[Reply | None]) -> None:
        # It may have been opened again meanwhile.
        if done.cancelled() or done.result() is None or self._parting.get(name) is not outlet:
            return
        del self._parting[name]
        os.close(outlet.fd)
        with contextlib.suppress(OSError):
            os.unlink(outlet.fifo)
        self._holder.renew()

    def mark(self, name: str, text: str, run: int | None = None) -> None:
        """Write a line of our own between the lines of the service.

        What is printed after it is of `run`, which is to begin now; with None, of the same as
        before.
        """
        fields: dict[str, object] = {"name": name, "text": text}
        if run is not None:
            fields["run"] = run
            if name in self._outlets:
                # A sink that is busy reads this when the run has printed its first lines.
                fields["after"] = _waiting(self._outlets[name])
        answer = self._sink.send("mark", fields)
        if run is not None:
            self._watches.begin(name, run, answer)

    async def flush(self, name: str) -> bool:
        """Return when all that the service has written so far is in its log file.

        False if that could not be had in some seconds.
        """
        return await self._sink.request("flush", {"name": name}) is not None

    async def lost(self) -> dict[str, int]:
        """Return by service the bytes that could not be written, as last heard from the sink.

        Waits `STATS_TIMEOUT` seconds at most: a sink that is busy with a flood must not make
        `atlasctl status` wait.
        """
        stats = await self._sink.stats(STATS_TIMEOUT)
        logs = None if stats is None else stats.get("logs")
        if isinstance(logs, dict):
            self._lost = {name: int(counted["lost_bytes"]) for name, counted in logs.items()}
        return self._lost

    # Sockets ---------------------------------------------------------------------------------

    def hold(self, name: str, sockets: Sequence[socket.socket]) -> None:
        """Keep copies of these where they outlive the daemon, in place of those of this name.

        The sockets stay the caller's, who calls `release` before closing them.
        """
        self._sockets[name] = tuple(sockets)
        self._released.discard(name)
        self._store(name)

    def release(self, name: str) -> None:
        """Keep these no longer, whether this daemon or an earlier one put them there."""
        self._sockets.pop(name, None)
        if self._sink.send("forget", {"name": name}) is None:
            self._released.add(name)

    async def held(self) -> dict[str, list[socket.socket]]:
        """Return what the sink keeps for an earlier daemon: listening TCP sockets, the caller's.

        To be asked once, after `start`; then each name is to be held again, or released.
        """
        found: dict[str, list[socket.socket]] = {}
        names: set[str] = set()
        start = 0
        for _ in range(MOST_PAGES):
            reply = await self._sink.request("fetch", {"from": start})
            if reply is None:
                break
            fields = reply.fields
            page = fields["names"]
            assert isinstance(page, list), "the channel has counted them"  # noqa: S101
            for name, fd in zip(page, reply.descriptors, strict=True):
                names.add(name)
                sock = listening_socket(fd)
                if sock is not None:
                    found.setdefault(name, []).append(sock)
            start += len(page)
            # A sink of before pages says nothing of what is left: it has sent all.
            if not page or not fields.get("left"):
                break
        for name in names - found.keys():
            self.release(name)
        return found

    def _store(self, name: str) -> None:
        sockets = [each.fileno() for each in self._sockets[name] if each.fileno() >= 0]
        if len(sockets) > MOST_DESCRIPTORS:
            self._complain(f"{name} has more sockets than can be kept: {MOST_DESCRIPTORS}")
        elif sockets:
            self._sink.send("store", {"name": name, "count": len(sockets)}, sockets)

    # What the sink and the holder need -------------------------------------------------------

    async def _tell(self) -> None:
        """Tell a sink that is new to this daemon all that it must know."""
        # All at once, before anybody else can ask something about a service it does not know.
        for name, outlet in self._outlets.items():
            for run in self._watches.runs(name):
                self._watches.tell(name, self._attach(name, outlet, run))
        for name, outlet in self._parting.items():
            self._sink.send("attach", _attachment(name, outlet))
            self._part(name, outlet)
        for name in list(self._released):
            if self._sink.send("forget", {"name": name}) is not None:
                self._released.discard(name)
        for at, name in enumerate(list(self._sockets)):
            if name in self._sockets:
                self._store(name)
            if at % STORES_AT_ONCE == STORES_AT_ONCE - 1:
                await self._sink.request("stats", within=PATIENCE)
        if self._holder.is_succeeding:
            self._holder.renew()

    def _attach(
        self, name: str, outlet: Outlet, run: Mapping[str, object] = NOTHING_OF_RUNS
    ) -> asyncio.Task[Reply | None] | None:
        fields = _attachment(name, outlet) | self._watches.patterns(name)
        return self._sink.send("attach", {**fields, **run})

    def _fifos(self) -> Iterator[tuple[str, int]]:
        for outlet in (*self._outlets.values(), *self._parting.values()):
            yield outlet.fifo, outlet.fd

    async def _rescue(self) -> bool:
        """Have written what lies in FIFOs that this daemon has not opened; False: not yet.

        An earlier daemon did. Their services are dead, or gone from the configuration.
        """
        stats = await self._sink.request("stats")
        logs = None if stats is None else stats.fields.get("logs")
        if not isinstance(logs, dict):
            return False
        saved = True
        for name, fd in self._unread():
            try:
                if name not in (self._outlets | self._parting) and name not in logs:
                    saved = await self._drain(name) and saved
            finally:
                os.close(fd)
        return saved

    def _unread(self) -> Iterator[tuple[str, int]]:
        """Yield name and descriptor of each FIFO in the folder that holds bytes."""
        folder = f"{self._state_dir}/fifo"
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
                with contextlib.suppress(OSError):
                    fd = os.open(f"{folder}/{name}", flags)
                    if stat.S_ISFIFO(os.fstat(fd).st_mode) and waiting_bytes(fd):
                        yield name, fd
                    else:
                        os.close(fd)

    async def _drain(self, name: str) -> bool:
        outlet = Outlet(f"{self._state_dir}/fifo/{name}", self._log(name), WHOLE, -1)
        if await self._sink.request("attach", _attachment(name, outlet)) is None:
            return False
        if name in self._outlets:
            return True  # opened meanwhile, and attached as it is to be
        return await self._sink.request("detach", {"name": name}) is not None

    def _log(self, name: str) -> str:
        return f"{self._logs_dir}/{name}.log"


def _attachment(name: str, outlet: Outlet) -> dict[str, object]:
    return {
        "name": name,
        "fifo": outlet.fifo,
        "log": outlet.log,
        "max_size": outlet.policy.max_size,
        "keep": outlet.policy.keep,
        "compress": outlet.policy.compress,
    }


def _waiting(outlet: Outlet) -> int:
    """Return how many bytes lie in the FIFO of a service.

    Asked through a reading end: of what is open for both, macOS tells what lies in the other
    direction, which is nothing (fifo_ioctl of xnu asks the writing end last).
    """
    reading = reading_end(outlet.fifo, outlet.fd)
    if reading is None:
        return waiting_bytes(outlet.fd)
    try:
        return waiting_bytes(reading)
    finally:
        os.close(reading)


def _open_fifo(path: str) -> int:
    try:
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise OutputError(f"cannot make the output FIFO {path}: {error.strerror}") from None
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        os.close(fd)
        raise OutputError(f"{path} is not a FIFO; remove it")
    return fd
