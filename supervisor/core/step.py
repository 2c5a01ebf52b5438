"""The one place where the fate of a service is decided: `step(unit, event, now)`.

Pure and total: every event is accepted in every phase, and what does not concern the unit
(an older run, a probe nobody asked) leaves it as it was. `tests/core/test_step_table.py` names
what is expected of each phase and event.
"""

from dataclasses import replace
from typing import assert_never

from supervisor.core import healing, restart
from supervisor.core import health as probes
from supervisor.core import remedy as remedies
from supervisor.core.ailments import change_of_reason
from supervisor.core.effects import (
    Abandon,
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
    Admitted,
    Adopted,
    Applied,
    Cleared,
    Event,
    Exceeded,
    Exited,
    Forget,
    Held,
    Matched,
    Probed,
    Respec,
    Restart,
    Resumed,
    RunId,
    Spawned,
    SpawnFailed,
    Start,
    Stop,
    TimePassed,
)
from supervisor.core.exits import describe_exit, signal_words
from supervisor.core.health import Health
from supervisor.core.patience import waits_for_idleness
from supervisor.core.remedy_words import Failing, Printed, Seen, title
from supervisor.core.restart import Again, Done, Enough, Record
from supervisor.core.spec import ProbeKind, ServiceSpec
from supervisor.core.unit import (
    Blocked,
    Clearing,
    Completed,
    Failed,
    Goal,
    Healing,
    Phase,
    Running,
    Spawning,
    Stopped,
    Stopping,
    Unit,
    Waiting,
)
from supervisor.core.verdicts import (
    BecameReady,
    BecameUnready,
    Dead,
    Excused,
    FirstFailure,
    Noticed,
)

Step = tuple[Unit, tuple[Effect, ...]]

ORPHAN_GRACE = 1.0
"""Seconds that the children of a crashed process get between SIGTERM and SIGKILL."""

DUMP_TIME = 5.0
"""Seconds that saving what a hung run is doing may take, before it is asked to end."""

KILL_AGAIN = 5.0
"""Seconds between SIGKILLs of a process that the kernel does not let die (state D)."""


def step(unit: Unit, event: Event, now: float) -> Step:
    """Return the unit as it is after `event`, and what is to be done about it."""
    match event:
        case Start() | Stop() | Restart():
            return _operators_word(unit, event, now)
        case Forget(why=why):
            return _forget(unit, why)
        case Matched():
            return _matched(unit, event, now)
        case Applied():
            return healing.applied(unit, event, now)
        case Admitted():
            return _admitted(unit, now)
        case Held(why=why):
            return _held(unit, why)
        case Adopted():
            return _adopted(unit, event, now)
        case Respec(spec=spec):
            return _respec(unit, spec, now)
        case Resumed(lost=lost):
            return _resumed(unit, lost, now)
        case TimePassed():
            return _time_passed(unit, now)
        case Spawned() | SpawnFailed() | Exited() | Cleared() | Probed() | Exceeded():
            # Dropped here and nowhere else: whatever an older run still has to say.
            return (unit, ()) if event.run != unit.run() else _of_this_run(unit, event, now)
        case _:
            assert_never(event)


def _of_this_run(
    unit: Unit, event: Spawned | SpawnFailed | Exited | Cleared | Probed | Exceeded, now: float
) -> Step:
    match event:
        case Spawned(pid=pid):
            return _spawned(unit, event.run, pid, now)
        case SpawnFailed():
            return _spawn_failed(unit, event, now)
        case Exited():
            return _exited(unit, event, now)
        case Cleared(left=left):
            return _cleared(unit, left, now)
        case Probed():
            return _probed(unit, event, now)
        case Exceeded(why=why):
            return _exceeded(unit, why, now)
        case _:
            assert_never(event)


def _enter(unit: Unit, phase: Phase, reason: str, now: float) -> Unit:
    return unit.entering(phase, reason, now)


# What operators ask --------------------------------------------------------------------------


def _operators_word(unit: Unit, event: Start | Stop | Restart, now: float) -> Step:
    """Do what was asked; it goes before what a remedy is about to do."""
    begun = [unit.phase.number] if isinstance(unit.phase, Healing) else []
    if unit.beside is not None and not isinstance(event, Start):
        begun.append(unit.beside.number)
        unit = replace(unit, beside=None)
    match event:
        case Start(why=why):
            unit, effects = _start(unit, why, now)
        case Stop(why=why, asked=asked):
            unit, effects = _stop(unit, f"stop asked: {why}" if asked else why, now)
        case Restart(why=why):
            unit, effects = _restart(unit, why, now)
        case _:
            assert_never(event)
    return unit, (*map(Abandon, begun), *effects)


def _start(unit: Unit, why: str, now: float) -> Step:
    match unit.phase:
        case Failed(left=run) if run is not None:
            return _clear_again(_clean(unit), run, f"start asked: {why}", now)
        case Stopped() | Failed() | Completed() | Waiting() | Healing():
            return _begin_anew(unit, f"start asked: {why}", now)
        case Blocked() | Running():
            return unit, ()
        case Spawning() | Stopping() | Clearing() if unit.goal is Goal.UP:
            return unit, ()
        case Spawning() | Stopping() | Clearing():
            return _clean(unit), (Note(Topic.ASKED, f"start asked: {why}"),)
        case _:
            assert_never(unit.phase)


def _restart(unit: Unit, why: str, now: float) -> Step:
    words = f"restart asked: {why}"
    match unit.phase:
        case Failed(left=run) if run is not None:
            return _clear_again(_clean(unit), run, words, now)
        case Stopped() | Failed() | Completed() | Waiting() | Healing() | Blocked():
            return _begin_anew(unit, words, now)
        case Spawning():
            return _clean(unit), (Note(Topic.ASKED, words),)
        case Running(run=run, pid=pid, started_at=started_at):
            return _end(_clean(unit), run, pid, started_at, words, now, failure=None)
        case Stopping():
            phase: Phase = replace(unit.phase, failure=None, remedy=None)
        case Clearing():
            phase = replace(unit.phase, asked=True, failure=None, remedy=None)
        case _:
            assert_never(unit.phase)
    return _clean(replace(unit, phase=phase, reason=words)), (Note(Topic.ASKED, words),)


def _stop(unit: Unit, words: str, now: float) -> Step:
    if isinstance(unit.phase, Failed) and unit.phase.left is not None:
        # What could not be ended then may be endable now; if not, it stays failed.
        return _clear_again(replace(unit, goal=Goal.DOWN), unit.phase.left, words, now)
    if unit.goal is Goal.DOWN:
        return unit, ()
    unit = replace(unit, goal=Goal.DOWN)
    match unit.phase:
        case Stopped() | Blocked() | Waiting() | Healing() | Failed() | Completed():
            return _enter(unit, Stopped(), words, now), (Note(Topic.STOPPED, words),)
        case Spawning():
            return unit, (Note(Topic.ASKED, words),)
        case Running(run=run, pid=pid, started_at=started_at):
            return _end(unit, run, pid, started_at, words, now, failure=None)
        case Stopping():
            phase: Phase = replace(unit.phase, failure=None, remedy=None)
        case Clearing():
            phase = replace(unit.phase, asked=True, failure=None, remedy=None)
        case _:
            assert_never(unit.phase)
    return replace(unit, phase=phase, reason=words), (Note(Topic.ASKED, words),)


def _clean(unit: Unit) -> Unit:
    """An operator's word: the goal is UP and what went wrong before is forgiven."""
    return replace(unit, goal=Goal.UP, record=Record(), restarts=0)


def _begin_anew(unit: Unit, words: str, now: float) -> Step:
    return _enter(_clean(unit), Blocked(), words, now), (Note(Topic.ASKED, words),)


def _clear_again(unit: Unit, run: RunId, words: str, now: float) -> Step:
    phase = Clearing(run, None, asked=True)
    return _enter(unit, phase, words, now), (Note(Topic.ASKED, words), Clear(run, 0.0))


def _respec(unit: Unit, spec: ServiceSpec, now: float) -> Step:
    phase = unit.phase
    if isinstance(phase, Running):
        health = probes.adapt(spec, phase.run, phase.started_at, phase.health, now)
        phase = replace(phase, health=health)
    chart = remedies.kept(unit.chart, unit.spec, spec)
    notes: tuple[Effect, ...] = ()
    if gone := [name for name in unit.chart.in_force if name not in chart.in_force]:
        text = f"remedies in force no more, for what they rest on was changed: {', '.join(gone)}"
        notes = (Note(Topic.REMEDY, text),)
    return replace(unit, spec=spec, phase=phase, chart=chart), notes


def _forget(unit: Unit, why: str) -> Step:
    gone = ", ".join(unit.chart.in_force)
    chart = replace(unit.chart, in_force=(), uses=())
    if chart == unit.chart:
        return unit, ()
    text = f"remedies forgotten {why}: from its next start on it runs as it is configured"
    if gone:
        text += f", without what {gone} has set"
    return replace(unit, chart=chart), (Note(Topic.REMEDY, text),)


# What the fleet says -------------------------------------------------------------------------


def _admitted(unit: Unit, now: float) -> Step:
    if not isinstance(unit.phase, Blocked):
        return unit, ()
    run = RunId(unit.last_run + 1)
    chart = replace(unit.chart, of_run=unit.chart.in_force)
    unit = replace(unit, last_run=run, chart=chart)
    return _enter(unit, Spawning(run), "starting", now), (Spawn(run),)


def _held(unit: Unit, why: str) -> Step:
    if not isinstance(unit.phase, Blocked) or unit.reason == why:
        return unit, ()
    return replace(unit, reason=why), (Note(Topic.BLOCKED, why),)


# What the system says ------------------------------------------------------------------------


def _spawned(unit: Unit, run: RunId, pid: int, now: float) -> Step:
    if not isinstance(unit.phase, Spawning):
        return unit, ()
    note = Note(Topic.STARTED, f"run {run} started, pid {pid}", run)
    if unit.goal is Goal.DOWN:
        unit, effects = _end(unit, run, pid, now, "stop asked while starting", now, failure=None)
        return unit, (note, *effects)
    health = probes.begin(unit.spec, run, now)
    unit = _enter(unit, Running(run, pid, now, health), _running_reason(health), now)
    return unit, (note,)


def _running_reason(health: Health) -> str:
    if health.ready:
        return "running; it has no probe that could say whether it works"
    return "waiting for the readiness probe" if health.started else "waiting for the startup probe"


def _spawn_failed(unit: Unit, event: SpawnFailed, now: float) -> Step:
    if not isinstance(unit.phase, Spawning):
        return unit, ()
    note = Note(Topic.SPAWN_FAILED, event.why, event.run)
    if unit.goal is Goal.DOWN:
        return _enter(unit, Stopped(), f"stopped; {event.why}", now), (note,)
    if not event.retry:
        # In the words of every giving up: who waits for that must not have to know this case.
        words = f"could not be started: {event.why}; not tried again before somebody starts it"
        gave_up = Note(Topic.GAVE_UP, words, event.run)
        return _enter(unit, Failed(), event.why, now), (note, gave_up)
    record, verdict = restart.after_failure(
        unit.spec.restart,
        unit.record,
        unit.spec.name,
        event.run,
        f"could not be started: {event.why}",
        now,
    )
    unit, effects = _follow(replace(unit, record=record), verdict, event.run, now)
    return unit, (note, *effects)


def _adopted(unit: Unit, event: Adopted, now: float) -> Step:
    if unit.run() is not None:
        return unit, ()
    # Loading goes on from where it was; only its budget begins again.
    begin = probes.resume if event.started else probes.begin
    health = begin(unit.spec, event.run, now)
    unit = replace(unit, goal=Goal.UP, last_run=RunId(max(unit.last_run, event.run)))
    phase = Running(event.run, event.pid, event.started_at, health)
    text = f"run {event.run} adopted, pid {event.pid}: it outlived the daemon that started it"
    return _enter(unit, phase, text, now), (Note(Topic.ADOPTED, text, event.run),)


def _exited(unit: Unit, event: Exited, now: float) -> Step:
    words = describe_exit(event.exit)
    note = Note(Topic.EXITED, words, event.run)
    match unit.phase:
        case Running(health=health):
            unit = _proven(unit, health, now)
            phase = Clearing(event.run, event.exit, asked=False)
            grace = min(unit.spec.stop.timeout, ORPHAN_GRACE)
        case Spawning():
            # The shell queues `Spawned` first; were it ever not so, a hang would be the price.
            phase = Clearing(event.run, event.exit, asked=unit.goal is Goal.DOWN)
            grace = ORPHAN_GRACE
        case Stopping(failure=failure, remedy=rule, kill_at=kill_at, killed=killed):
            asked = failure is None
            phase = Clearing(event.run, event.exit, asked=asked, failure=failure, remedy=rule)
            # No more than that: saving what it did may have left it more time than it was to have.
            grace = 0.0 if killed else min(unit.spec.stop.timeout, max(0.0, kill_at - now))
            words = unit.reason
        case _:
            return unit, ()
    unit = replace(unit, last_exit=event.exit)
    return _enter(unit, phase, words, now), (note, Clear(event.run, grace))


def _cleared(unit: Unit, left: tuple[str, ...], now: float) -> Step:
    phase = unit.phase
    if not isinstance(phase, Clearing):
        return unit, ()
    notes: tuple[Effect, ...] = ()
    if left:
        notes = (Note(Topic.LEFT_OVER, f"could not be ended: {'; '.join(left)}", phase.run),)
    if unit.goal is Goal.DOWN:
        if left:
            failed = Failed(left=phase.run)
            return _enter(unit, failed, f"not wholly stopped: {'; '.join(left)}", now), notes
        note = Note(Topic.STOPPED, "no process of it is left and its ports are free", phase.run)
        reason = unit.reason if phase.asked else f"stopped; the last run {unit.reason}"
        return _enter(unit, Stopped(), reason, now), (*notes, note)
    if phase.asked or phase.exit is None:
        return _enter(unit, Blocked(), unit.reason, now), notes
    name, policy = unit.spec.name, unit.spec.restart
    verdict: restart.Verdict
    if phase.failure is None:
        record, verdict = restart.after_exit(policy, unit.record, name, phase.run, phase.exit, now)
    else:
        record, verdict = restart.after_failure(
            policy, unit.record, name, phase.run, phase.failure, now
        )
    unit, effects = _follow(replace(unit, record=record), verdict, phase.run, now)
    unit, effects = healing.after_end(unit, phase, effects, now)
    return unit, (*notes, *effects)


def _follow(unit: Unit, verdict: restart.Verdict, run: RunId, now: float) -> Step:
    """Do what restart policy has decided on a run that is over."""
    match verdict:
        case Again(delay=delay, why=why):
            unit = replace(unit, restarts=unit.restarts + 1)
            count = unit.record.in_a_row
            text = f"{why}; restart {unit.restarts} in {delay:.2g} s (failure {count} in a row)"
            note = Note(Topic.RESTARTING, text, run)
            phase: Phase = Waiting(now + delay) if delay > 0 else Blocked()
            return _enter(unit, phase, text, now), (note,)
        case Done(why=why):
            return _enter(unit, Completed(), why, now), (Note(Topic.COMPLETED, why, run),)
        case Enough(why=why):
            return _enter(unit, Failed(), why, now), (Note(Topic.GAVE_UP, why, run),)
        case _:
            assert_never(verdict)


def _probed(unit: Unit, event: Probed, now: float) -> Step:
    phase = unit.phase
    if not isinstance(phase, Running):
        return unit, ()
    run = phase.run
    health, verdicts = probes.judge(unit.spec, run, phase.health, event.kind, event.result, now)
    unit = replace(unit, phase=replace(phase, health=health))
    if health.started and not phase.health.started:
        unit = replace(unit, reason=_running_reason(health))
    effects: list[Effect] = []
    for verdict in verdicts:
        match verdict:
            case BecameReady(why=why):
                unit = replace(unit, reason=why, since=now)
                effects.append(Note(Topic.READY, f"{event.kind} probe: {why}", run))
            case BecameUnready(why=why):
                # What hangs fails readiness before liveness: its hours of health must count now.
                unit = _proven(unit, phase.health, now)
                words = f"{event.kind} probe failed {why}"
                unit = replace(unit, reason=words, since=now)
                effects.append(Note(Topic.UNREADY, words, run))
            case FirstFailure(why=why):
                effects.append(Note(Topic.PROBE_FAILED, f"{event.kind} probe: {why}", run))
            case Noticed(words=words):
                effects.append(Note(Topic.NOTICE, words, run))
            case Excused(why=why):
                text = f"{event.kind} probe: {why}: busy, not hung"
                effects.append(Note(Topic.BUSY, text, run))
            case Dead(why=why, hung=hung):
                unit, more = _end(
                    unit, run, phase.pid, phase.started_at, why, now, failure=why, dump=hung
                )
                effects.extend(more)
            case _:
                assert_never(verdict)
    tally = health.tally(event.kind)
    counted = health is not phase.health and tally is not None and tally.last is event.result
    if counted and tally is not None and event.result.ok is False:
        # Else nobody had asked, or work or a sleep excused it.
        seen = Failing(event.kind, -tally.streak, event.result.detail)
        unit, more = _treat(unit, seen, now)
        effects.extend(more)
    if isinstance(unit.phase, Running):
        reason = change_of_reason(phase.health, unit.phase.health, event)
        if reason is not None:
            # What works and is busy is as healthy as before, and since then.
            unit = replace(unit, reason=reason, since=unit.since if unit.ready() else now)
    return unit, tuple(effects)


def _matched(unit: Unit, event: Matched, now: float) -> Step:
    # What a run printed last is read when it is gone: it counts until the next one begins.
    run = unit.run()
    if event.run != (unit.last_run if run is None else run):
        return unit, ()
    return _treat(unit, Printed(event.pattern, event.line), now)


def _treat(unit: Unit, seen: Seen, now: float) -> Step:
    """Apply the rule that is called for by what the latest run has shown, if there is one."""
    unit, effects, rule = healing.choose(unit, seen, now)
    if rule is None:
        return unit, effects
    why, phase = f"needed {title(rule.name)}", unit.phase
    if rule.ends_the_run and isinstance(phase, Running):
        words = f"to apply {title(rule.name)}"
        unit, more = _end(unit, phase.run, phase.pid, phase.started_at, words, now, failure=why)
        effects = (*effects, *more)
    unit, more = healing.treat(unit, rule, why, now)
    return unit, (*effects, *more)


def _resumed(unit: Unit, lost: float, now: float) -> Step:
    match unit.phase:
        case Running(health=health):
            phase: Phase = replace(unit.phase, health=probes.awake(health, lost, now))
        case Stopping(kill_at=kill_at):
            # What is to end may have slept as well: it gets the time that it was to have.
            phase = replace(unit.phase, kill_at=kill_at + lost)
        case Healing(until=until):
            phase = replace(unit.phase, until=until + lost)
        case _:
            return unit, ()
    return replace(unit, phase=phase), ()


def _exceeded(unit: Unit, why: str, now: float) -> Step:
    phase = unit.phase
    if not isinstance(phase, Running):
        return unit, ()
    return _end(unit, phase.run, phase.pid, phase.started_at, why, now, failure=why)


def _proven(unit: Unit, health: Health, now: float) -> Unit:
    """Forget earlier failures if this run has been healthy for long enough until now."""
    healthy_for = None if health.healthy_since is None else now - health.healthy_since
    return replace(unit, record=restart.proven(unit.record, unit.spec.restart, healthy_for))


def _time_passed(unit: Unit, now: float) -> Step:
    match unit.phase:
        case Running(run=run, pid=pid, started_at=started_at, health=health):
            late = probes.overdue(unit.spec, health, now)
            if late is not None:
                return _end(
                    unit, run, pid, started_at, late.why, now, failure=late.why, dump=late.hung
                )
            health, due = probes.ask(unit.spec, health, now)
            unit = replace(unit, phase=replace(unit.phase, health=health))
            return unit, tuple(
                Ask(run, kind, not _waits_for_idleness(unit.spec, health, kind, now))
                for kind in due
            )
        case Stopping(run=run, kill_at=kill_at, killed=killed) if now >= kill_at:
            if killed:
                text = "SIGKILL has not ended it: it waits inside the kernel; trying again"
            else:
                timeout = unit.spec.stop.timeout
                asked = signal_words(unit.spec.stop.signal)
                text = f"did not end within {timeout:g} s of {asked}: SIGKILL to the whole tree"
            phase = replace(unit.phase, kill_at=now + KILL_AGAIN, killed=True)
            return replace(unit, phase=phase), (Note(Topic.KILLED, text, run), Kill(run))
        case Waiting(until=until) if now >= until:
            return _enter(unit, Blocked(), unit.reason, now), ()
        case Healing(until=until, number=number) if now >= until:
            unit, effects = healing.fall_back(unit, "there was no answer in time", now)
            return unit, (Abandon(number), *effects)
        case _:
            return unit, ()


def _waits_for_idleness(spec: ServiceSpec, health: Health, kind: ProbeKind, now: float) -> bool:
    probe = spec.probe(kind)
    return probe is not None and waits_for_idleness(
        probe, health.tally(kind), spec.busy_deadline, now
    )


def _end(
    unit: Unit,
    run: RunId,
    pid: int,
    started_at: float,
    words: str,
    now: float,
    *,
    failure: str | None,
    dump: bool = False,
) -> Step:
    """Ask a living run to end; `failure` says why that counts against it, if it does.

    `dump`: what it is doing is saved first.
    """
    if failure is not None and isinstance(unit.phase, Running):
        unit = _proven(unit, unit.phase.health, now)
    kill_at = now + unit.spec.stop.timeout + (DUMP_TIME if dump else 0.0)
    phase = Stopping(run, pid, started_at, kill_at, failure=failure)
    effects = (Note(Topic.STOPPING, words, run), Signal(run, unit.spec.stop.signal, dump))
    return _enter(unit, phase, words, now), effects
