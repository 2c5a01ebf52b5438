"""The one place where the fate of a service is decided: `step(unit, event, now)`.

Pure and total: every event is accepted in every phase, and what does not concern the unit
(an older run, a probe nobody asked) leaves it as it was. `tests/core/test_step_table.py` names
what is expected of each phase and event.
"""

from dataclasses import replace
from typing import assert_never

from supervisor.core import ending, healing, orders, restart
from supervisor.core import health as probes
from supervisor.core.ailments import change_of_reason, first_reason
from supervisor.core.effects import Ask, Effect, Note, Spawn, Topic
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
from supervisor.core.judgement import judge
from supervisor.core.patience import waits_for_idleness
from supervisor.core.remedy_words import Failing, Printed, Seen, title
from supervisor.core.unit import (
    Blocked,
    Failed,
    Goal,
    Healing,
    Phase,
    Running,
    Spawning,
    Step,
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


def step(unit: Unit, event: Event, now: float) -> Step:
    """Return the unit as it is after `event`, and what is to be done about it."""
    match event:
        case Start() | Stop() | Restart():
            return orders.obey(unit, event, now)
        case Forget(why=why):
            return orders.forget(unit, why)
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
            return orders.respec(unit, spec, now)
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
            return ending.exited(unit, event, now)
        case Cleared(left=left):
            return ending.cleared(unit, left, now)
        case Probed():
            return _probed(unit, event, now)
        case Exceeded(why=why):
            return _exceeded(unit, why, now)
        case _:
            assert_never(event)


# What the fleet says -------------------------------------------------------------------------


def _admitted(unit: Unit, now: float) -> Step:
    if not isinstance(unit.phase, Blocked):
        return unit, ()
    run = RunId(unit.last_run + 1)
    chart = replace(unit.chart, of_run=unit.chart.in_force)
    unit = replace(unit, last_run=run, chart=chart)
    return unit.entering(Spawning(run), "starting", now), (Spawn(run),)


def _held(unit: Unit, why: str) -> Step:
    if not isinstance(unit.phase, Blocked) or unit.reason == why:
        return unit, ()
    return replace(unit, reason=why), (Note(Topic.BLOCKED, why),)


# What the system says ------------------------------------------------------------------------


def _spawned(unit: Unit, run: RunId, pid: int, now: float) -> Step:
    if not isinstance(unit.phase, Spawning):
        return unit, ()
    note = Note(Topic.STARTED, f"run {run} started, pid {pid}", run)
    living = Running(run, pid, now, probes.begin(unit.spec, run, now))
    if unit.goal is Goal.DOWN:
        unit, effects = ending.end(unit, living, "stop asked while starting", now, failure=None)
        return unit, (note, *effects)
    return unit.entering(living, first_reason(living.health), now), (note,)


def _spawn_failed(unit: Unit, event: SpawnFailed, now: float) -> Step:
    if not isinstance(unit.phase, Spawning):
        return unit, ()
    note = Note(Topic.SPAWN_FAILED, event.why, event.run)
    if unit.goal is Goal.DOWN:
        return unit.entering(Stopped(), f"stopped; {event.why}", now), (note,)
    if not event.retry:
        # In the words of every giving up: who waits for that must not have to know this case.
        words = f"could not be started: {event.why}; not tried again before somebody starts it"
        gave_up = Note(Topic.GAVE_UP, words, event.run)
        return unit.entering(Failed(), event.why, now), (note, gave_up)
    record, verdict = restart.after_failure(
        unit.spec.restart,
        unit.record,
        unit.spec.name,
        event.run,
        f"could not be started: {event.why}",
        now,
    )
    unit, effects = ending.follow(replace(unit, record=record), verdict, event.run, now)
    return unit, (note, *effects)


def _adopted(unit: Unit, event: Adopted, now: float) -> Step:
    if unit.run() is not None:
        return unit, ()
    # Loading goes on from where it was; only its budget begins again.
    begin = probes.resume if event.started else probes.begin
    health = begin(unit.spec, event.run, now)
    begun = healing.interrupted(unit)
    unit = replace(unit, goal=Goal.UP, last_run=RunId(max(unit.last_run, event.run)))
    phase = Running(event.run, event.pid, event.started_at, health)
    text = f"run {event.run} adopted, pid {event.pid}: it outlived the daemon that started it"
    return unit.entering(phase, text, now), (*begun, Note(Topic.ADOPTED, text, event.run))


def _probed(unit: Unit, event: Probed, now: float) -> Step:
    phase = unit.phase
    if not isinstance(phase, Running):
        return unit, ()
    run = phase.run
    health, verdicts = judge(unit.spec, run, phase.health, event.kind, event.result, now)
    living = replace(phase, health=health)
    unit = replace(unit, phase=living)
    if health.started and not phase.health.started:
        unit = replace(unit, reason=first_reason(health))
    effects: list[Effect] = []
    for verdict in verdicts:
        match verdict:
            case BecameReady(why=why):
                unit = replace(unit, reason=why, since=now)
                effects.append(Note(Topic.READY, f"{event.kind} probe: {why}", run))
            case BecameUnready(why=why):
                # What hangs fails readiness before liveness: its hours of health must count now.
                unit = ending.proven(unit, phase.health, now)
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
                unit, more = ending.end(unit, living, why, now, failure=why, dump=hung)
                effects.extend(more)
            case _:
                assert_never(verdict)
    tally, asked = health.tally(event.kind), health is not phase.health
    if asked and tally is not None and tally.last is event.result and not event.result.ok:
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
    if rule.ends_the_run and isinstance(unit.phase, Running):
        words, why = f"to apply {title(rule.name)}", healing.needed(rule)
        unit, more = ending.end(unit, unit.phase, words, now, failure=why)
        effects = (*effects, *more)
    unit, more = healing.treat(unit, rule, now)
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
    if not isinstance(unit.phase, Running):
        return unit, ()
    return ending.end(unit, unit.phase, why, now, failure=why)


def _time_passed(unit: Unit, now: float) -> Step:
    match unit.phase:
        case Running(run=run, health=health):
            late = probes.overdue(unit.spec, health, now)
            if late is not None:
                why = late.why
                return ending.end(unit, unit.phase, why, now, failure=why, dump=late.hung)
            health, due = probes.ask(unit.spec, health, now)
            unit = replace(unit, phase=replace(unit.phase, health=health))
            waits = (waits_for_idleness(unit.spec, kind, health.tally(kind), now) for kind in due)
            return unit, tuple(Ask(run, k, not wait) for k, wait in zip(due, waits, strict=True))
        case Stopping(kill_at=kill_at) if now >= kill_at:
            return ending.kill(unit, unit.phase, now)
        case Waiting(until=until) if now >= until:
            return unit.entering(Blocked(), unit.reason, now), ()
        case Healing(until=until) if now >= until:
            begun = healing.interrupted(unit)
            unit, effects = healing.fall_back(unit, "there was no answer in time", now)
            return unit, (*begun, *effects)
        case _:
            return unit, ()
