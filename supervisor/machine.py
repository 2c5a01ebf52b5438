"""The runtime's host: runs, their trees, sockets and files on this machine.

The ledger is written before and after every spawn, so that a successor finds what this daemon
leaves if it is killed here or there.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from supervisor import records
from supervisor.core.effects import Note, Topic
from supervisor.core.events import Event, Exit, ExitCode, Exited, ProbeResult, RunId
from supervisor.core.masking import split
from supervisor.core.plan import fingerprint
from supervisor.core.remedy import amended, patterns_of
from supervisor.core.remedy_words import secrets_of
from supervisor.core.spec import ProbeKind, RemedyStep, ServiceSpec
from supervisor.core.unit import (
    Completed,
    Failed,
    Goal,
    Spawning,
    Unit,
)
from supervisor.enrolment import Enrolment
from supervisor.inquiry import inquire
from supervisor.journal import Journal
from supervisor.launcher import Launcher
from supervisor.ledger import Ledger
from supervisor.output import Output, OutputError
from supervisor.posix import tree as trees
from supervisor.posix.chainload import NOT_STARTED
from supervisor.posix.environment import (
    Marker,
    checksum,
    environment_of,
    fleet_mark,
)
from supervisor.posix.identity import ProcessIdentity, identify
from supervisor.posix.orphans import end_orphans
from supervisor.posix.ports import owner_of
from supervisor.posix.spawn import Command, SpawnError, spawn
from supervisor.posix.state import UnsafePathError
from supervisor.posix.trampoline import never_started
from supervisor.posix.tree import Tree
from supervisor.posix.usage import Usage, tree_usage
from supervisor.probes import Context, Prober
from supervisor.remedy_steps import Ground, take
from supervisor.runs import LiveRun, Runs
from supervisor.sockets import HeldSockets, Private, busy_ports, port_is_free, private
from supervisor.surroundings import surroundings
from supervisor.tally import Tally

READ_OUT = 0.5
"""Seconds that a restart waits, at most, for what remedies look for in the last output."""

KILL_TIMEOUT = 5.0
"""Seconds within which SIGKILL must have ended a tree, or what is left is reported."""


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
        self.fleet = fleet_mark(state_dir)
        self._state_dir = state_dir
        self._logs_dir = logs_dir
        self._environ = environ
        self._output = output
        self._journal = journal
        self._ledger = ledger
        self._post = post
        self._prober = Prober()
        self._fingerprints: dict[str, tuple[ServiceSpec, int]] = {}
        self.launcher = Launcher()
        self.tally = Tally()
        self.enrolment = Enrolment(self.fleet, self._complain)
        self.runs = Runs(logs_dir, lambda: output.pids | self.launcher.pids, self.enrolment.retire)
        self.sockets = HeldSockets(output)

    def _complain(self, text: str) -> None:
        self._journal.append("", Topic.TROUBLE, text)

    # What the reaper tells -------------------------------------------------------------------

    def child_ended(self, pid: int, ending: Exit) -> None:
        """Take note that a child is dead; it is not reaped yet."""
        live = self.runs.ended(pid)
        if live is None:
            self.launcher.child_ended(pid, ending)
            self._output.child_ended(pid, ending)
            return
        if ending == ExitCode(NOT_STARTED) and never_started(pid):
            text = f"run {live.run} ended before its program began: the log says why"
            self._journal.append(live.spec.name, Topic.SPAWN_FAILED, text, live.run)
        # Its group is looked at after the reaping, when only what is left over is in it.
        loop = asyncio.get_running_loop()
        loop.call_soon(self._post, live.spec.name, Exited(live.run, ending))

    # What the runtime asks -------------------------------------------------------------------

    def spawn(self, unit: Unit, run: RunId, *, beside: bool) -> int:
        """See `Host.spawn`."""
        spec = amended(unit.spec, unit.chart.in_force)
        self._check_ports(spec)
        environment = self.environment(spec, run)
        self.look_for(unit.spec)
        try:
            output = self._output.open(spec.name, spec.logs)
        except OutputError as error:
            raise SpawnError(str(error), retry=True) from None
        sockets = self.sockets.listening(spec)
        own = private(spec) if beside else Private()
        limits = spec.limits
        group = self.enrolment.before_start(spec.name, run, limits)
        try:
            command = Command(
                argv=spec.command,
                env=environment,
                cwd=spec.cwd,
                output_fd=output,
                sockets=(*sockets, *((name, each.fileno()) for name, each in own.sockets)),
                umask=spec.umask,
                open_files=limits.open_files,
                processes=None if group and group.bounds_processes else limits.processes,
                nice=limits.nice,
                user=spec.user,
                cgroup=None if group is None else group.path,
            )
            live_mark = checksum(environment)
            before = self._ledger.record(spec.name)
            self._ledger.put(
                records.beside(before, spec.name, run)
                if beside
                else records.intended(before, unit, run, self._fingerprint(spec), live_mark)
            )
            # Before the spawn, so that it stands above all that the run prints.
            self._output.mark(spec.name, f"run {run} begins", run)
            pid = spawn(command)
        except SpawnError:
            if group is not None:
                group.remove()
            raise
        finally:
            own.close()
        leader = identify(pid)
        assert leader is not None, "an unreaped child has a row in the process table"  # noqa: S101
        tree = self.tree(Marker(self.fleet, spec.name, run), leader, ours=True)
        live = LiveRun(
            spec,
            run,
            tree,
            self._fingerprint(spec),
            environment,
            live_mark,
            private=own,
            group=group,
        )
        self.keep(live)
        self.enrolment.after_start(live)
        return pid

    def signal(self, name: str, run: RunId, signal: int) -> None:
        """See `Host.signal`."""
        live = self.runs.get(name, run)
        if live is not None:
            live.seen = trees.descendants(live.leader)
            trees.signal_group(live.leader, signal, with_cont=True)

    async def dump(self, name: str, run: RunId) -> bool:
        """See `Host.dump`."""
        live = self.runs.get(name, run)
        if live is None:
            return False
        # Imported when a service hangs, which most never do.
        from supervisor.autopsy import examine

        found = await examine(
            name, run, live.leader, live.environment, self._logs_dir, self.launcher
        )
        self.note(name, Note(Topic.DUMPED, found.words, run))
        return found.ends

    def kill(self, name: str, run: RunId) -> None:
        """See `Host.kill`."""
        live = self.runs.get(name, run)
        if live is not None:
            if live.group is not None:
                live.group.kill()
            trees.kill_round(lambda: self.runs.members(live), freeze=True)

    def clear(
        self, name: str, run: RunId, grace: float
    ) -> tuple[str, ...] | Awaitable[tuple[str, ...]]:
        """See `Host.clear`."""
        live = self.runs.get(name, run)
        if live is None:
            return ()
        if self.runs.is_over(live) and all(map(port_is_free, live.spec.ports)):
            self.runs.drop(name, run)
            return self._read_out(live) if patterns_of(live.spec) else ()
        return self._clear(live, grace)

    async def _clear(self, live: LiveRun, grace: float) -> tuple[str, ...]:
        left = await self.end_rest(live, grace)
        if not left:
            left = await busy_ports(live.spec.ports)
        if not left:
            self.runs.drop(live.spec.name, live.run)
        # Otherwise it is kept: the next stop tries again.
        if patterns_of(live.spec):
            await self._read_out(live)
        return left

    async def _read_out(self, live: LiveRun) -> tuple[str, ...]:
        """Return, with nothing left over, when the last that a run printed has been looked at.

        So that a remedy for what it said before it died comes before the decision on it.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READ_OUT):
                await self._output.flush(live.spec.name)
        return ()

    async def end_rest(self, live: LiveRun, grace: float) -> tuple[str, ...]:
        """SIGTERM, `grace` seconds, SIGKILL: to all of a run that is left.

        Returns words for what could not be ended.
        """
        members = self.runs.members(live)
        if members and grace > 0:
            trees.signal_members(members, signal.SIGTERM)
            trees.signal_members(members, signal.SIGCONT)
            deadline = time.monotonic() + grace
            pause = 0.005
            while self.runs.members(live) and time.monotonic() < deadline:
                await asyncio.sleep(min(pause, max(0.0, deadline - time.monotonic())))
                pause = min(2 * pause, 0.1)
        return await trees.clear(
            live.tree,
            known=lambda: self.runs.known(live),
            seen=live.seen,
            group=live.group,
            within=KILL_TIMEOUT,
        )

    async def end_orphans(self) -> tuple[str, ...]:
        """End every child of ours that is of no run; return words for each that there was."""
        return await end_orphans(self.runs.all_known, KILL_TIMEOUT)

    async def probe(
        self, spec: ServiceSpec, run: RunId, kind: ProbeKind, *, even_if_busy: bool
    ) -> ProbeResult:
        """See `Host.probe`."""
        live = self.runs.get(spec.name, run)
        if live is None:
            return ProbeResult(None, "the service is gone")
        context = Context(
            cwd=spec.cwd,
            environment=lambda: self.environment(spec, run),
            run=partial(self.launcher.run, umask=spec.umask, user=spec.user),
        )
        leader = live.leader
        result = await inquire(
            spec,
            kind,
            live.private if len(self.runs.of(spec.name)) > 1 else None,
            self._prober,
            context,
            lambda: (leader.pid, *(row.pid for row in trees.descendants(leader))),
            even_if_busy=even_if_busy,
        )
        self.tally.probed(spec.name, kind, result)
        return result

    async def apply(self, spec: ServiceSpec, run: RunId, step: RemedyStep) -> tuple[bool, str]:
        """See `Host.apply`."""
        as_it = partial(self.launcher.run, umask=spec.umask, user=spec.user)
        ground = Ground(spec.cwd, lambda: self.environment(spec, run), as_it)
        ok, detail = await take(step, ground)
        return ok, split(detail, secrets_of(spec)).masked()

    def settled(self, unit: Unit, overlap: Unit | None) -> None:
        """See `Host.settled`."""
        name = unit.spec.name
        self._output.keep_to(name, unit.spec.logs)
        self.look_for(unit.spec)
        if unit.run() is None and overlap is None and not _is_to_come(unit):
            # Nobody will answer: refused at once is kinder than a wait without end.
            self.sockets.stop_listening(name)
        current = self.runs.get(name, unit.run())
        if current is not None and current.limits != unit.spec.limits:
            current.limits = unit.spec.limits
            if current.group is not None:
                current.group.bound(current.limits)
        living = {unit.run(), None if overlap is None else overlap.run()}
        if isinstance(unit.phase, Failed):
            living.add(unit.phase.left)
        for live in self.runs.of(name):
            if live.run not in living:
                # Of this something was left over, and the unit has gone on without it.
                self.runs.drop(name, live.run)
        if not unit.last_run or isinstance(unit.phase, Spawning):
            return  # what was intended stands there already
        if overlap is not None and isinstance(overlap.phase, Spawning):
            return
        other = self.runs.get(name, None if overlap is None else overlap.run())
        before = self._ledger.record(name)
        self._ledger.put(records.settled(before, unit, overlap, current, other))

    def removed(self, name: str) -> None:
        """See `Host.removed`."""
        self.sockets.stop_listening(name)
        self._ledger.forget(name)
        self._fingerprints.pop(name, None)
        self._output.forget(name)
        self.tally.forget(name)

    def note(self, name: str, note: Note) -> None:
        """See `Host.note`."""
        self._journal.append(name, note.topic, note.text, note.run)
        self.tally.note(name, note.topic)
        match note.topic:
            case Topic.EXITED | Topic.KILLED | Topic.GAVE_UP:
                run = f"run {note.run} " if note.run is not None else ""
                self._output.mark(name, f"{run}{note.text}")
            case Topic.ROLLED:
                live = self.runs.get(name, note.run)
                if live is not None:
                    self._name_in_pid_file(live)
            case _:
                pass

    # What others ask -------------------------------------------------------------------------

    def look_for(self, spec: ServiceSpec) -> None:
        """Have the sink look for what the remedies of a service wait for."""
        self._output.watch(spec.name, patterns_of(spec))

    def keep(self, live: LiveRun) -> None:
        """Take a run in that lives already, or just now."""
        self.runs.add(live)
        self._name_in_pid_file(live)

    def tree(self, marker: Marker, leader: ProcessIdentity, *, ours: bool) -> Tree:
        """Return a run as the system sees it."""
        return Tree(marker, leader, ours, self.fifo(marker.unit))

    def fifo(self, name: str) -> str:
        """Return the path of the FIFO into which a service prints."""
        return f"{self._state_dir}/fifo/{name}"

    def usage(self) -> dict[str, Usage]:
        """Return what each service's trees use now, in one pass over the process table."""
        total: dict[str, Usage] = {}
        for (name, _), used in self.usage_by_run().items():
            other = total.get(name)
            total[name] = used if other is None else used + other
        return total

    def usage_by_run(self) -> dict[tuple[str, RunId], Usage]:
        """Return what the tree of each run uses now: of a service that is rolled there are two."""
        by_pid = tree_usage([live.leader.pid for live in self.runs])
        return {(live.spec.name, live.run): by_pid[live.leader.pid] for live in self.runs}

    def environment(self, spec: ServiceSpec, run: RunId) -> dict[str, str]:
        """Return what a run started now would find in its environment. Raises SpawnError."""
        return surroundings(spec, self._environ, run=run, fleet=self.fleet)

    def running_environment(self, live: LiveRun, wanted: Mapping[str, str]) -> dict[str, str]:
        """Return the environment that a run was started with.

        Of an adopted run that is what the system tells, without what the start itself has put
        there, or else the `wanted` one. A wrapper that set variables before it became the service
        does not count, unless the environment has changed besides.
        """
        if live.environment is not None:
            return dict(live.environment)
        if live.environment_mark == checksum(wanted):
            return dict(wanted)
        found = environment_of(live.leader.pid)
        if not found:
            return dict(wanted)
        own = ("LISTEN_", "PWD", "OLDPWD", "SHLVL", "_")
        return {n: v for n, v in found.items() if n in wanted or not n.startswith(own)}

    def close(self) -> None:
        """Let go of sockets and watches; processes are left as they are."""
        for live in self.runs:
            if live.watch is not None:
                live.watch.cancel()
        self.enrolment.close([(live.spec.name, live.run) for live in self.runs])
        self.sockets.close()

    # Inside ----------------------------------------------------------------------------------

    def _name_in_pid_file(self, live: LiveRun) -> None:
        try:
            self.runs.write_pid_file(live)
        except UnsafePathError as error:
            self._journal.append(live.spec.name, Topic.PID_FILE, str(error), live.run)

    def _check_ports(self, spec: ServiceSpec) -> None:
        for port in spec.ports:
            if not port_is_free(port):
                raise SpawnError(
                    f"port {port} is taken by {owner_of(port) or 'a socket that is going away'}: "
                    "end that process, or give the service another port",
                    retry=True,
                )

    def _fingerprint(self, spec: ServiceSpec) -> int:
        known = self._fingerprints.get(spec.name)
        if known is None or known[0] is not spec:
            known = self._fingerprints[spec.name] = (spec, fingerprint(spec))
        return known[1]


def _is_to_come(unit: Unit) -> bool:
    return unit.goal is Goal.UP and not isinstance(unit.phase, Failed | Completed)
