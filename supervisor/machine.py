"""The runtime's host: runs, their trees, sockets and files on this machine.

Keeps one `_Run` for each unit of which something may exist, and writes the ledger before and
after every spawn, so that a successor finds what this daemon leaves if it is killed here or there.
"""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass

from supervisor.config.dotenv import read_env_file
from supervisor.config.problems import ConfigError
from supervisor.core.effects import Note, Topic
from supervisor.core.events import Adopted, Event, Exit, Exited, ProbeResult, RunId
from supervisor.core.spec import ProbeKind, ServiceSpec, SocketSpec
from supervisor.core.unit import Completed, Failed, Goal, Unit
from supervisor.journal import Journal
from supervisor.launcher import Launcher
from supervisor.ledger import Ledger, Record
from supervisor.output import Output, OutputError
from supervisor.posix import tree as trees
from supervisor.posix.environment import Marker, fleet_mark, service_environment
from supervisor.posix.identity import (
    ProcessIdentity,
    boot_id,
    identify,
    is_alive,
    started_monotonic,
)
from supervisor.posix.pidfile import PidFile
from supervisor.posix.ports import ListenError, is_free, listen, owner_of
from supervisor.posix.rows import Row
from supervisor.posix.spawn import Command, SpawnError, spawn
from supervisor.posix.state import UnsafePathError
from supervisor.posix.tree import Tree
from supervisor.posix.usage import Usage, tree_usage
from supervisor.posix.watch import ExitWatch, watch_exit
from supervisor.probes import Context, Prober

KILL_TIMEOUT = 5.0
"""Seconds within which SIGKILL must have ended a tree, or what is left is reported."""
PORT_TIMEOUT = 2.0
"""Seconds that a port may take to become free after its last holder is gone."""


@dataclass(slots=True)
class _Run:
    """What exists of one unit's run."""

    run: RunId
    tree: Tree
    watch: ExitWatch | None = None
    """Only of an adopted run: our own children are reaped."""
    seen: tuple[Row, ...] = ()
    """What was below the leader when it was asked to end: the only proof that a process is of
    this run if it has left the session and wiped its environment since."""


class Machine:
    """Implements `supervisor.runtime.Host`."""

    def __init__(
        self,
        *,
        state_dir: str,
        logs_dir: str,
        environ: Mapping[str, str],
        output: Output,
        journal: Journal,
        ledger: Ledger,
        post: Callable[[str, Event], None],
    ) -> None:
        self._fleet = fleet_mark(state_dir)
        self._logs_dir = logs_dir
        self._environ = environ
        self._output = output
        self._journal = journal
        self._ledger = ledger
        self._post = post
        self._runs: dict[str, _Run] = {}
        self._by_pid: dict[int, str] = {}
        self._sockets: dict[str, dict[str, list[socket.socket]]] = {}
        self._prober = Prober()
        self.launcher = Launcher()

    # What the reaper tells -------------------------------------------------------------------

    def child_ended(self, pid: int, ending: Exit) -> None:
        """Take note that a child is dead; it is not reaped yet."""
        name = self._by_pid.get(pid)
        if name is None:
            self.launcher.child_ended(pid, ending)
            return
        # Its group is looked at after the reaping, when only what is left over is in it.
        run = self._runs[name].run
        asyncio.get_running_loop().call_soon(self._post, name, Exited(run, ending))

    # What the runtime asks -------------------------------------------------------------------

    def spawn(self, spec: ServiceSpec, run: RunId) -> int:
        """See `Host.spawn`."""
        self._check_ports(spec)
        environment = self._environment(spec, run)
        try:
            output = self._output.open(spec.name, spec.logs)
        except OutputError as error:
            raise SpawnError(str(error), retry=True) from None
        command = Command(
            argv=spec.command,
            env=environment,
            cwd=spec.cwd,
            output_fd=output,
            sockets=tuple(self._listening(spec)),
        )
        self._ledger.put(Record(spec.name, run, wanted=True, boot=boot_id(), intended=True))
        # Before the spawn, so that it stands above all that the run prints.
        self._output.mark(spec.name, f"run {run} begins")
        pid = spawn(command)
        identity = identify(pid)
        assert identity is not None, "an unreaped child has a row in the process table"  # noqa: S101
        self._keep(spec.name, run, identity, ours=True)
        return pid

    def signal(self, name: str, signal: int) -> None:
        """See `Host.signal`."""
        held = self._runs.get(name)
        if held is not None:
            held.seen = trees.descendants(held.tree.leader.pid)
            trees.signal_group(held.tree.leader, signal, with_cont=True)

    def kill(self, name: str) -> None:
        """See `Host.kill`."""
        held = self._runs.get(name)
        if held is not None:
            trees.kill_round(lambda: self._members(name, held), freeze=True)

    def clear(
        self, spec: ServiceSpec, grace: float
    ) -> tuple[str, ...] | Awaitable[tuple[str, ...]]:
        """See `Host.clear`."""
        held = self._runs.get(spec.name)
        if held is None:
            return ()
        if not self._members(spec.name, held) and all(map(_port_is_free, spec.ports)):
            self._forget(spec.name)
            return ()
        return self._clear(spec, held, grace)

    async def _clear(self, spec: ServiceSpec, held: _Run, grace: float) -> tuple[str, ...]:
        left = await self._end_rest(spec.name, held, grace)
        if not left:
            left = await _busy_ports(spec.ports)
        self._forget(spec.name)
        return left

    async def _end_rest(self, name: str, held: _Run, grace: float) -> tuple[str, ...]:
        """SIGTERM, `grace` seconds, SIGKILL: to all of the tree that is left."""
        members = self._members(name, held)
        if members and grace > 0:
            trees.signal_members(members, signal.SIGTERM)
            trees.signal_members(members, signal.SIGCONT)
            deadline = time.monotonic() + grace
            pause = 0.005
            while self._members(name, held) and time.monotonic() < deadline:
                await asyncio.sleep(min(pause, max(0.0, deadline - time.monotonic())))
                pause = min(2 * pause, 0.1)
        return await trees.clear(
            held.tree, known=lambda: self._known(name), seen=held.seen, within=KILL_TIMEOUT
        )

    async def probe(self, spec: ServiceSpec, kind: ProbeKind) -> ProbeResult:
        """See `Host.probe`."""
        probe_spec = spec.probe(kind)
        held = self._runs.get(spec.name)
        if probe_spec is None or held is None:
            return ProbeResult(None, "the service is gone")
        context = Context(
            cwd=spec.cwd,
            environment=lambda: self._environment(spec, held.run),
            launcher=self.launcher,
        )
        return await self._prober.ask(probe_spec, context)

    def settled(self, unit: Unit) -> None:
        """See `Host.settled`."""
        name = unit.spec.name
        wanted = unit.goal is Goal.UP
        held = self._runs.get(name)
        if unit.run() is None:
            if not wanted or isinstance(unit.phase, Failed | Completed):
                # Nobody will answer: refused at once is kinder than a wait without end.
                self._stop_listening(name)
            if unit.last_run:
                self._ledger.put(Record(name, unit.last_run, wanted=wanted, boot=boot_id()))
        elif held is not None and held.run == unit.run():
            self._ledger.put(_record(name, held, wanted=wanted))

    def note(self, name: str, note: Note) -> None:
        """See `Host.note`."""
        self._journal.append(name, note.topic, note.text, note.run)
        if note.topic in (Topic.EXITED, Topic.KILLED, Topic.GAVE_UP):
            run = f"run {note.run} " if note.run is not None else ""
            self._output.mark(name, f"{run}{note.text}")

    # What a predecessor left -----------------------------------------------------------------

    async def take_over(self, spec: ServiceSpec) -> Adopted | None:
        """Take a run that an earlier daemon left, and end what is left of one whose leader died.

        Only the process that the ledger names by pid, start time and boot, or that carries the
        marks of the recorded run and leads its own session, is ever taken for ours.
        """
        record = self._ledger.record(spec.name)
        if record is None or record.boot != boot_id():
            return None
        run = RunId(record.run)
        leader: ProcessIdentity | None = None
        if record.pid is not None:
            leader = ProcessIdentity(record.pid, int(record.ticks), record.boot, os.geteuid())
        elif record.intended:
            leader = trees.find_leader(Marker(self._fleet, spec.name, record.run))
        if leader is None:
            return None
        if is_alive(leader):
            self._keep(spec.name, run, leader, ours=False)
            self._output.open(spec.name, spec.logs)
            started_at = started_monotonic(leader)
            return Adopted(run, leader.pid, time.monotonic() if started_at is None else started_at)
        tree = Tree(Marker(self._fleet, spec.name, record.run), leader, ours=False)
        left = await self._end_rest(spec.name, _Run(run, tree), grace=1.0)
        text = f"run {run} ended while no daemon was there to see how"
        if left:
            text += f"; of it could not be ended: {'; '.join(left)}"
        self._journal.append(spec.name, Topic.EXITED, text, run)
        return None

    def last_runs(self) -> dict[str, RunId]:
        """Return the number of each unit's latest run, of whichever daemon."""
        return {record.unit: RunId(record.run) for record in self._ledger.records()}

    def is_wanted(self, name: str) -> bool:
        """Tell whether a successor should start this unit: not if it was stopped on purpose.

        That holds for this boot, and only after a daemon that did not end in order.
        """
        record = self._ledger.record(name)
        return record is None or record.boot != boot_id() or record.wanted

    # What clients ask ------------------------------------------------------------------------

    def usage(self) -> dict[str, Usage]:
        """Return what each unit's tree uses now, in one pass over the process table."""
        by_pid = tree_usage([held.tree.leader.pid for held in self._runs.values()])
        return {n: by_pid[held.tree.leader.pid] for n, held in self._runs.items()}

    def close(self) -> None:
        """Let go of sockets and watches; processes are left as they are."""
        for held in self._runs.values():
            if held.watch is not None:
                held.watch.cancel()
        for name in list(self._sockets):
            self._stop_listening(name)

    # Inside ----------------------------------------------------------------------------------

    def _keep(self, name: str, run: RunId, leader: ProcessIdentity, *, ours: bool) -> None:
        held = _Run(run, Tree(Marker(self._fleet, name, run), leader, ours))
        if ours:
            self._by_pid[leader.pid] = name
        else:
            loop = asyncio.get_running_loop()
            held.watch = watch_exit(leader, lambda e: self._post(name, Exited(run, e)), loop)
        self._runs[name] = held
        self._ledger.put(_record(name, held, wanted=True))
        try:
            self._pid_file(name).write(leader.pid)
        except UnsafePathError as error:
            self._journal.append(name, "pid-file", str(error), run)

    def _forget(self, name: str) -> None:
        held = self._runs.pop(name)
        self._by_pid.pop(held.tree.leader.pid, None)
        if held.watch is not None:
            held.watch.cancel()
        with contextlib.suppress(UnsafePathError):
            self._pid_file(name).remove(only_if=held.tree.leader.pid)

    def _pid_file(self, name: str) -> PidFile:
        return PidFile(f"{self._logs_dir}/{name}.pid")

    def _known(self, name: str) -> set[int]:
        """Every process that this daemon started and that is not of this unit."""
        known = {h.tree.leader.pid for n, h in self._runs.items() if n != name}
        known |= self.launcher.pids
        if self._output.sink_pid is not None:
            known.add(self._output.sink_pid)
        return known

    def _members(self, name: str, held: _Run) -> tuple[Row, ...]:
        return trees.survivors(held.tree, known=self._known(name), seen=held.seen)

    def _environment(self, spec: ServiceSpec, run: RunId) -> dict[str, str]:
        files: dict[str, str] = {}
        try:
            for path in spec.env_files:
                files.update(read_env_file(path))
        except ConfigError as error:
            raise SpawnError(str(error), retry=True) from None
        return service_environment(
            spec, inherited=self._environ, files=files, run=run, fleet=self._fleet
        )

    def _check_ports(self, spec: ServiceSpec) -> None:
        for port in spec.ports:
            if not _port_is_free(port):
                raise SpawnError(
                    f"port {port} is taken by {owner_of(port) or 'a socket that is going away'}: "
                    "end that process, or give the service another port",
                    retry=True,
                )

    def _listening(self, spec: ServiceSpec) -> Iterator[tuple[str, int]]:
        """Yield name and descriptor of every held socket, listening from now on if not before."""
        held = self._sockets.setdefault(spec.name, {})
        for wanted in spec.sockets:
            if wanted.name not in held:
                held[wanted.name] = _listen(wanted)
            for each in held[wanted.name]:
                yield wanted.name, each.fileno()

    def _stop_listening(self, name: str) -> None:
        for sockets in self._sockets.pop(name, {}).values():
            for each in sockets:
                each.close()


def _record(name: str, held: _Run, *, wanted: bool) -> Record:
    leader = held.tree.leader
    return Record(name, held.run, wanted, leader.pid, leader.started, leader.boot)


def _listen(spec: SocketSpec) -> list[socket.socket]:
    """Listen on every address of a socket; `::1` may be missing on the machine, a port may not."""
    bound: list[socket.socket] = []
    refusal: ListenError | None = None
    for address, port in spec.addresses:
        try:
            bound.append(listen(address, port, spec.backlog))
        except ListenError as error:
            if error.retry or len(spec.addresses) == 1:
                refusal = error
                break
            refusal = refusal or error
    if bound and (refusal is None or not refusal.retry):
        return bound
    for each in bound:
        each.close()
    assert refusal is not None, "a socket has at least one address"  # noqa: S101
    raise SpawnError(refusal.why, retry=refusal.retry)


def _port_is_free(port: int) -> bool:
    # The wildcard address meets every listener on this port, whatever address it has.
    return is_free("0.0.0.0", port)  # noqa: S104 - bound for an instant, never listening


async def _busy_ports(ports: tuple[int, ...]) -> tuple[str, ...]:
    """Return words for each port that is not free even after `PORT_TIMEOUT` seconds.

    The kernel may hold a port for a moment after its last holder is gone; naming a foreign owner
    at once would be a false alarm.
    """
    deadline = time.monotonic() + PORT_TIMEOUT
    # No event tells that a port has become free.
    while not all(map(_port_is_free, ports)) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    return tuple(
        f"port {port} is held by {owner_of(port) or 'a socket that is going away'}"
        for port in ports
        if not _port_is_free(port)
    )
