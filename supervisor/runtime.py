"""The imperative shell around the pure core: one inbox, one timer, one thread.

Events wait in the inbox; each is given to `supervisor.core.fleet`, whose effects are performed
after the step, in order, by the `Host`. An answer is queued as an event and never delivered from
within an effect, so no step is ever entered twice. Nothing here decides anything.

What was seen through a sleep counts for nothing. That the machine slept is told by two clocks
(`supervisor.clocks`); that this process alone stood still (SIGSTOP, a paused virtual machine, a
debugger), by a timer or the end of a probe's time-out that comes far too late.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Protocol, assert_never

from supervisor.clocks import Clocks
from supervisor.core import fleet as fleets
from supervisor.core.effects import (
    Abandon,
    Apply,
    Ask,
    Clear,
    Effect,
    Kill,
    Note,
    Signal,
    Spawn,
    Topic,
)
from supervisor.core.events import (
    Applied,
    Cleared,
    Event,
    Probed,
    ProbeResult,
    RunId,
    Spawned,
    SpawnFailed,
)
from supervisor.core.remedy import amended
from supervisor.core.spec import FleetSpec, ProbeKind, RemedyStep, ServiceSpec
from supervisor.core.turn import Fleet, Turn
from supervisor.core.unit import Clearing, Goal, Past, Spawning, Stopping, Unit
from supervisor.posix.spawn import SpawnError

ROUND = 0.002
"""Seconds of events handled before the loop may look at its sockets again: a storm of crashes must
not starve them. A start takes about 0.5 ms, and an answer to a client some ten rounds."""
LATE = 5.0
"""Seconds after its time at which a timer shows that this process stood still. A machine under load
is late by tenths of one."""


class Host(Protocol):
    """What the runtime needs of the machine that it runs on.

    No method blocks for longer than a few system calls, and none calls back into the runtime
    before it has returned.
    """

    def spawn(self, unit: Unit, run: RunId, *, beside: bool) -> int:
        """Start the command of a unit, as amended by remedies; return the pid, raise `SpawnError`.

        `beside`: another run of the service lives, and stays until this one is ready.
        """

    def signal(self, name: str, run: RunId, signal: int) -> None:
        """Signal the process group of a run, if it is proven to be ours."""

    async def dump(self, name: str, run: RunId) -> bool:
        """Save what a run is doing. True if that ends it, so that it need not be signalled."""

    def kill(self, name: str, run: RunId) -> None:
        """SIGKILL the whole tree of a run."""

    def clear(
        self, name: str, run: RunId, grace: float
    ) -> tuple[str, ...] | Awaitable[tuple[str, ...]]:
        """End the rest of a run's tree. A bare tuple if there was none, as there mostly is."""

    async def probe(
        self, spec: ServiceSpec, run: RunId, kind: ProbeKind, *, even_if_busy: bool
    ) -> ProbeResult:
        """Make one probe of this very run, within its time-out.

        Unless `even_if_busy`, only if the service works on nothing else.
        """

    async def apply(self, spec: ServiceSpec, run: RunId, step: RemedyStep) -> tuple[bool, str]:
        """Take one step of a remedy; tell whether it succeeded, and what came of it in words.

        It is over soon after its time-out at the latest, and at once if it is cancelled.
        """

    def settled(self, unit: Unit, overlap: Unit | None) -> None:
        """Take note, after every change, of what a successor must know of this service."""

    def removed(self, name: str) -> None:
        """Forget a service that is no longer in the configuration, and of which nothing is left."""

    def note(self, name: str, note: Note) -> None:
        """Write the journal."""


class Runtime:
    """Runs a fleet on a host."""

    def __init__(
        self,
        spec: FleetSpec,
        host: Host,
        clock: Callable[[], float],
        past: Mapping[str, Past] | None = None,
        clocks: Clocks | None = None,
    ) -> None:
        """`clock` counts monotonic seconds; without `clocks` sleep goes unnoticed."""
        self.spec = spec
        """What is asked for now."""
        self._host = host
        self._clock = clock
        self._clocks = clocks
        self.fleet: Fleet = fleets.assemble(spec, clock(), past)
        self._inbox: deque[tuple[str, Event]] = deque()
        self._draining = False
        self._round: asyncio.Handle | None = None
        self._deadlines: list[tuple[float, str]] = []
        self._queued: dict[str, float] = {}
        """The deadline of each unit that stands in the heap; others there are out of date."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._awake_since = float("-inf")
        """When time was last found to have stood still; a timer of before then is not late."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._steps: dict[tuple[str, int], asyncio.Task[None]] = {}
        """Steps of remedies that are under way."""
        self._probes: set[asyncio.Task[None]] = set()
        """Those of the tasks that a sleep makes worthless."""
        self._change = asyncio.Event()
        for name in self.fleet.units:
            self._queue(name)  # a restart may be due since an earlier daemon, and nothing else

    # What clients ask ------------------------------------------------------------------------

    def start(self, names: Iterable[str], why: str) -> None:
        """Start services and what they need."""
        self._carry_out(fleets.start(self.fleet, names, why, self._clock()))
        self._drain()

    def stop(self, names: Iterable[str], why: str) -> None:
        """Stop services, dependents first."""
        self._carry_out(fleets.stop(self.fleet, names, why, self._clock()))
        self._drain()

    def restart(self, names: Iterable[str], why: str) -> None:
        """Restart services in order."""
        self._carry_out(fleets.restart(self.fleet, names, why, self._clock()))
        self._drain()

    def roll(self, names: Iterable[str], why: str) -> None:
        """Restart services with the old run in service until the new one is ready."""
        self._carry_out(fleets.roll(self.fleet, names, why, self._clock()))
        self._drain()

    def forget(self, names: Iterable[str], why: str) -> None:
        """Let what remedies have set hold no more from the next start on."""
        self._carry_out(fleets.forget(self.fleet, names, why, self._clock()))
        self._drain()

    def reload(
        self, spec: FleetSpec, restarting: AbstractSet[str], why: str, *, rolling: bool
    ) -> None:
        """Go over to a new specification; the runs of `restarting` do not fit it any more."""
        self.spec = spec
        now = self._clock()
        turn = fleets.reload(self.fleet, spec, restarting, why, now, rolling=rolling)
        self._carry_out(turn)
        self._drain()

    async def changed(self) -> None:
        """Return after the next change of any unit."""
        await self._change.wait()

    def quiet(self) -> bool:
        """Tell whether nothing runs and nothing is to run."""
        units = self.fleet.units.values()
        down = all(unit.run() is None and unit.goal is Goal.DOWN for unit in units)
        return down and not self.fleet.overlaps

    def steady(self) -> bool:
        """Tell whether no process is being started, ended or replaced at this moment."""
        moving = (Spawning, Stopping, Clearing)
        return not self.fleet.overlaps and not any(
            isinstance(unit.phase, moving) for unit in self.fleet.units.values()
        )

    # What the host tells ---------------------------------------------------------------------

    def post(self, name: str, event: Event) -> None:
        """Queue an event; it is handled at once unless another is being handled."""
        self._inbox.append((name, event))
        self._drain()

    def close(self) -> None:
        """Stop the timer and the tasks; the fleet stays as it is."""
        for task in self._tasks:
            task.cancel()
        for handle in (self._timer, self._round):
            if handle is not None:
                handle.cancel()

    # The loop --------------------------------------------------------------------------------

    def _drain(self) -> None:
        if self._draining or self._round is not None:
            return
        self._draining = True
        try:
            self._look_at_clocks()
            now = self._clock()
            until = now + ROUND
            while self._inbox and now < until:
                name, event = self._inbox.popleft()
                self._carry_out(fleets.handle(self.fleet, name, event, now))
                now = self._clock()
        finally:
            self._draining = False
        if self._inbox:
            self._round = asyncio.get_running_loop().call_soon(self._next_round)
        self._arm()

    def _next_round(self) -> None:
        self._round = None
        self._drain()

    def _carry_out(self, turn: Turn) -> None:
        self.fleet = turn.fleet
        for name, effect in turn.effects:
            self._perform(name, effect)
        for name in turn.touched:
            unit = self.fleet.units.get(name)
            if unit is None:
                self._queued.pop(name, None)
                self._host.removed(name)
                continue
            overlap = self.fleet.overlaps.get(name)
            self._host.settled(unit, None if overlap is None else overlap.unit)
            self._queue(name)
        if turn.touched:
            change, self._change = self._change, asyncio.Event()
            change.set()

    def _queue(self, name: str) -> None:
        """Have the deadline of a unit in the heap, if it has one."""
        at = self.fleet.deadline(name)
        if at is None:
            self._queued.pop(name, None)
        elif self._queued.get(name) != at:
            self._queued[name] = at
            heapq.heappush(self._deadlines, (at, name))

    def _perform(self, name: str, effect: Effect) -> None:
        if isinstance(effect, Note):
            self._host.note(name, effect)
            return
        unit, overlap = self.fleet.units[name], self.fleet.overlaps.get(name)
        match effect:
            case Spawn(run=run):
                beside = overlap is not None and overlap.unit.run() == run
                try:
                    pid = self._host.spawn(unit, run, beside=beside)
                except SpawnError as refusal:
                    failed = SpawnFailed(run, refusal.why, retry=refusal.retry)
                    self._inbox.append((name, failed))
                else:
                    self._inbox.append((name, Spawned(run, pid)))
            case Signal(run=run, signal=number, dump=True):
                _ = self._begin(self._dump(name, run, number))
            case Signal(run=run, signal=number):
                self._host.signal(name, run, number)
            case Kill(run=run):
                self._host.kill(name, run)
            case Clear(run=run, grace=grace):
                left = self._host.clear(name, run, grace)
                if isinstance(left, tuple):
                    self._inbox.append((name, Cleared(run, left)))
                else:
                    _ = self._begin(self._clear(name, run, left))
            case Ask(run=run, kind=kind, even_if_busy=even_if_busy):
                if overlap is not None and overlap.unit.run() == run:
                    unit = overlap.unit
                spec = amended(unit.spec, unit.chart.of_run)
                task = self._begin(self._probe(spec, run, kind, even_if_busy))
                self._probes.add(task)
                task.add_done_callback(self._probes.discard)
            case Apply(run=run, number=number, step=step):
                spec = amended(unit.spec, unit.chart.in_force)
                work = self._apply(spec, run, number, step)
                self._steps[name, number] = self._begin(work)
            case Abandon(number=number):
                if (step_of := (name, number)) in self._steps:
                    self._steps.pop(step_of).cancel()
            case _:
                assert_never(effect)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _clear(self, name: str, run: RunId, left: Awaitable[tuple[str, ...]]) -> None:
        try:
            words = await left
        except Exception as error:  # noqa: BLE001 - without an answer the unit would wait for ever
            words = (f"it could not be looked at: {type(error).__name__}: {error}",)
        self.post(name, Cleared(run, words))

    async def _dump(self, name: str, run: RunId, number: int) -> None:
        ends = False
        try:
            ends = await self._host.dump(name, run)
        except Exception as error:  # noqa: BLE001 - what hangs has to be ended whatever is known of it
            text = f"what it was doing is not known: {type(error).__name__}: {error}"
            self._host.note(name, Note(Topic.DUMPED, text, run))
        if not ends:
            self._host.signal(name, run, number)

    async def _probe(
        self, spec: ServiceSpec, run: RunId, kind: ProbeKind, even_if_busy: bool
    ) -> None:
        try:
            result = await self._host.probe(spec, run, kind, even_if_busy=even_if_busy)
        except Exception as error:  # noqa: BLE001 - without an answer it would never be asked again
            result = ProbeResult(None, f"the prober failed: {type(error).__name__}: {error}")
        probe = spec.probe(kind)
        late = 0.0 if probe is None else result.latency - probe.timeout
        if late > LATE:
            # Its time-out was to end it long ago. What this run did meanwhile nobody knows.
            self._resume(f"the supervisor stood still for about {_span(late)}", late)
        else:
            self.post(spec.name, Probed(run, kind, result))

    # Sleep -----------------------------------------------------------------------------------

    def _look_at_clocks(self) -> None:
        lapse = None if self._clocks is None else self._clocks.look()
        if lapse is None:
            return
        if lapse.stepped:
            way = "forward" if lapse.stepped > 0 else "back"
            words = f"the wall clock was set {way} by {_span(abs(lapse.stepped))}"
            self._host.note("", Note(Topic.CLOCK, words))
        if lapse.slept:
            self._awake(f"the machine slept for {_span(lapse.slept)}", 0.0)

    def _resume(self, words: str, lost: float) -> None:
        """Go on after this process stood still; `lost` seconds of that are on our clock."""
        self._awake(words, lost)
        self._drain()

    def _awake(self, words: str, lost: float) -> None:
        words = f"{words}; probes begin anew, and failures meanwhile do not count"
        self._host.note("", Note(Topic.RESUMED, words))
        for task in self._probes:
            task.cancel()
        self._inbox = deque(each for each in self._inbox if not isinstance(each[1], Probed))
        self._awake_since = self._clock()
        self._carry_out(fleets.resume(self.fleet, lost, self._awake_since))

    async def _apply(self, spec: ServiceSpec, run: RunId, number: int, step: RemedyStep) -> None:
        try:
            ok, detail = await self._host.apply(spec, run, step)
        except Exception as error:  # noqa: BLE001 - without an answer the remedy would hang
            ok, detail = False, f"it could not be done: {type(error).__name__}: {error}"
        self._steps.pop((spec.name, number), None)
        self.post(spec.name, Applied(number, ok, detail))

    # The timer -------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Set the one timer to the earliest deadline that still stands."""
        heap = self._deadlines
        while heap and self._queued.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        if not heap:
            return
        at = heap[0][0]
        # An earlier timer than needed only finds nothing to do; it is not worth re-arming.
        if self._timer is not None and self._timer_at <= at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(0.0, at - self._clock()), self._time_passed)

    def _time_passed(self) -> None:
        # A timer may fire a hair early; it still has to make progress (as aioquic does it).
        now = max(self._timer_at, self._clock())
        late = now - max(self._timer_at, self._awake_since)
        self._timer, self._timer_at = None, float("inf")
        heap = self._deadlines
        due = []
        while heap and heap[0][0] <= now:
            at, name = heapq.heappop(heap)
            if self._queued.get(name) == at:
                del self._queued[name]
                due.append(name)
        if late > LATE:
            self._awake(f"the supervisor stood still for about {_span(late)}", late)
        self._look_at_clocks()
        self._carry_out(fleets.pass_time(self.fleet, due, now))
        self._drain()


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
