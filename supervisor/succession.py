"""What a daemon that was killed, or that executed itself anew, has left to this one.

Only a process that the ledger names by pid, start time and boot, or that carries the marks of a
recorded run, is ever taken for ours. What lives and is wanted is adopted: same process, same run.
What nobody can use any more (the rest of a run whose leader died, the second run of a rolling
restart, a service that is in the configuration no more) is ended.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from supervisor.core import remedy
from supervisor.core.effects import Topic
from supervisor.core.events import Adopted, Event, Exit, Exited, RunId
from supervisor.core.plan import fingerprint
from supervisor.core.restart import Record as Failures
from supervisor.core.spec import LogSpec, ServiceSpec
from supervisor.core.unit import Completed, Failed, Past, Waiting
from supervisor.journal import Journal
from supervisor.ledger import Ledger, Record
from supervisor.machine import Machine
from supervisor.output import WHOLE, Output, OutputError
from supervisor.posix import tree as trees
from supervisor.posix.environment import Marker
from supervisor.posix.identity import (
    ProcessIdentity,
    boot_id,
    is_alive,
    is_child,
    started_monotonic,
)
from supervisor.posix.watch import watch_exit
from supervisor.remedy_status import chart_of
from supervisor.runs import LiveRun

GRACE = 1.0
"""Seconds between SIGTERM and SIGKILL for what cannot be adopted."""


@dataclass(slots=True)
class Succession:
    """The way from an earlier daemon's ledger to this daemon's runs."""

    machine: Machine
    output: Output
    journal: Journal
    ledger: Ledger
    post: Callable[[str, Event], None]

    def past(self, specs: Iterable[ServiceSpec]) -> dict[str, Past]:
        """Return where every unit was, for the fleet to be assembled from."""
        past = {record.unit: _past(record) for record in self.ledger.records()}
        for spec in specs:
            record = self.ledger.record(spec.name)
            if record is not None:
                past[spec.name] = replace(past[spec.name], chart=chart_of(record, spec, boot_id()))
            if record is not None and spec.restart.policy == "never" and self._has_ended(record):
                reason = (
                    f"run {record.run} ended while no daemon was there to see how, and its restart "
                    f"policy is never; to run it again: atlasctl start {spec.name}"
                )
                past[spec.name] = replace(past[spec.name], phase=Failed(), reason=reason)
        return past

    def _has_ended(self, record: Record) -> bool:
        """Tell whether a run that was wanted has ended with nobody there."""
        if record.boot != boot_id() or not record.wanted or record.pid is None:
            return False
        leader = self._leader(record)
        return leader is None or not (is_alive(leader) or is_child(leader))

    def is_wanted(self, name: str) -> bool:
        """Tell whether this unit should be started: not if it was stopped on purpose.

        That holds for this boot, and only after a daemon that did not end in order.
        """
        record = self.ledger.record(name)
        return record is None or record.boot != boot_id() or record.wanted

    def was_interrupted(self) -> bool:
        """Tell whether an earlier daemon of this boot has not ended in order."""
        return any(record.boot == boot_id() for record in self.ledger.records())

    def adopt(self, spec: ServiceSpec) -> Adopted | None:
        """Take a service's living run, to be watched from now on.

        To be called before children are reaped: one that died while its daemon executed itself
        anew is adopted too, and its end is reported with its code.
        """
        record = self.ledger.record(spec.name)
        if record is None or record.boot != boot_id():
            return None
        leader = self._leader(record)
        if leader is None:
            return None
        ours = is_child(leader)
        if not ours and not is_alive(leader):
            return None
        name, run = spec.name, RunId(record.run)
        started_with = remedy.amended(spec, chart_of(record, spec, boot_id()).of_run)
        tree = self.machine.tree(Marker(self.machine.fleet, name, run), leader, ours=ours)
        group = self.machine.enrolment.find(name, run)
        live = LiveRun(
            started_with,
            run,
            tree,
            record.fingerprint,
            environment_mark=record.environment,
            group=group,
        )
        if record.fingerprint not in (0, fingerprint(started_with)):
            text = "it was started with another configuration; atlasctl reload would replace it"
            self.journal.append(name, Topic.STALE, text, run)
        if not ours:
            live.watch = watch_exit(
                leader, lambda ending: self._ended(live, ending), asyncio.get_running_loop()
            )
        self.machine.keep(live)
        self.machine.enrolment.after_start(live)
        self._listen(name, spec.logs, run)
        lost = self.machine.sockets.take_from(leader.pid, spec)
        if lost:
            words = ", ".join(lost)
            text = f"socket {words} is held by the service alone: a restart will refuse connections"
            self.journal.append(name, Topic.TROUBLE, f"{text} for a moment", run)
        began = started_monotonic(leader)
        return Adopted(
            run, leader.pid, time.monotonic() if began is None else began, record.started
        )

    def _ended(self, live: LiveRun, ending: Exit) -> None:
        live.ended = True
        self.post(live.spec.name, Exited(live.run, ending))

    async def end_the_rest(self, specs: Iterable[ServiceSpec]) -> None:
        """End all that an interrupted daemon has left and that was not adopted."""
        if not self.was_interrupted():
            return
        by_name = {spec.name: spec for spec in specs}
        adopted = {live.tree.marker for live in self.machine.runs}
        for record in self.ledger.records():
            spec = by_name.get(record.unit)
            live = Marker(self.machine.fleet, record.unit, record.run) in adopted
            if spec is not None and record.pid is not None and not live:
                text = f"run {record.run} ended while no daemon was there to see how"
                if record.boot == boot_id():
                    self.journal.append(record.unit, Topic.EXITED, text, RunId(record.run))
        latest = {
            self.machine.fifo(record.unit): Marker(self.machine.fleet, record.unit, record.run)
            for record in self.ledger.records()
        }
        found = trees.find_marked(self.machine.fleet, latest)
        kept = [(marker.unit, marker.run) for marker in adopted]
        for (unit, number), group in self.machine.enrolment.left(kept).items():
            # In the group of a run of ours, marked or not: a wiped environment proves nothing.
            marker = Marker(self.machine.fleet, unit, number)
            oldest = group.oldest()
            if oldest is not None:
                found.setdefault(marker, oldest)
        rest = [(marker, leader) for marker, leader in found.items() if marker not in adopted]
        # Read from now on: nobody else may hold the FIFO when it has printed its last words.
        for name in {marker.unit for marker, _ in rest}:
            self._listen(name, by_name[name].logs if name in by_name else WHOLE)
        await asyncio.gather(*(self._end(marker, leader, by_name) for marker, leader in rest))
        for name in {marker.unit for marker, _ in rest} - by_name.keys():
            self.output.forget(name)
        for record in self.ledger.records():
            if record.unit not in by_name:
                self.ledger.forget(record.unit)

    async def _end(
        self, marker: Marker, leader: ProcessIdentity, specs: dict[str, ServiceSpec]
    ) -> None:
        spec = specs.get(marker.unit) or ServiceSpec(marker.unit, (), "/")
        run = RunId(marker.run)
        group = self.machine.enrolment.find(marker.unit, marker.run)
        live = LiveRun(spec, run, self.machine.tree(marker, leader, ours=False), group=group)
        left = await self.machine.end_rest(live, GRACE)
        if left:
            text = f"could not be ended: {'; '.join(left)}"
            self.journal.append(marker.unit, Topic.LEFT_OVER, text, run)
        else:
            if group is not None:
                group.remove()
            text = f"what was left of run {run} (pid {leader.pid} and below) was ended"
            self.journal.append(marker.unit, Topic.RETIRED, text, run)

    def _listen(self, name: str, policy: LogSpec, run: RunId | None = None) -> None:
        try:
            self.output.open(name, policy)
        except OutputError as error:
            self.journal.append(name, Topic.TROUBLE, str(error), run)

    def _leader(self, record: Record) -> ProcessIdentity | None:
        if record.pid is not None:
            return ProcessIdentity(record.pid, record.ticks, record.boot, os.geteuid())
        if record.intended:
            return trees.find_leader(Marker(self.machine.fleet, record.unit, record.run))
        return None


def _past(record: Record) -> Past:
    highest = RunId(record.highest_run())
    if record.boot != boot_id():
        return Past(highest)
    if not record.wanted:
        return Past(highest, reason=record.reason)
    phase: Failed | Completed | Waiting | None
    match record.phase:
        case "failed":
            phase = Failed()
        case "completed":
            phase = Completed()
        case "waiting":
            phase = Waiting(record.until)
        case _:
            phase = None
    failures = Failures(record.in_a_row, record.recent)
    return Past(highest, record.restarts, failures, phase, record.reason)
