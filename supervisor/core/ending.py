"""How a run ends: asked to, then killed, then cleared; and what restart policy makes of it.

The moves of `step` from a living run to none. What of them remedies make is in
`supervisor.core.healing`.
"""

from dataclasses import replace
from typing import assert_never

from supervisor.core import healing, restart
from supervisor.core.effects import Clear, Effect, Kill, Note, Signal, Topic
from supervisor.core.events import Exited, RunId
from supervisor.core.exits import describe_exit, signal_words
from supervisor.core.health import Health
from supervisor.core.restart import Again, Done, Enough
from supervisor.core.unit import (
    Blocked,
    Clearing,
    Completed,
    Failed,
    Goal,
    Phase,
    Running,
    Spawning,
    Step,
    Stopped,
    Stopping,
    Unit,
    Waiting,
)

ORPHAN_GRACE = 1.0
"""Seconds that the children of a crashed process get between SIGTERM and SIGKILL."""

DUMP_TIME = 5.0
"""Seconds that saving what a hung run is doing may take, before it is asked to end."""

KILL_AGAIN = 5.0
"""Seconds between SIGKILLs of a process that the kernel does not let die (state D)."""


def end(
    unit: Unit, living: Running, words: str, now: float, *, failure: str | None, dump: bool = False
) -> Step:
    """Ask a living run to end; `failure` says why that counts against it, if it does.

    `dump`: what it is doing is saved first.
    """
    if failure is not None:
        unit = proven(unit, living.health, now)
    run, stop = living.run, unit.spec.stop
    kill_at = now + stop.timeout + (DUMP_TIME if dump else 0.0)
    phase = Stopping(run, living.pid, living.started_at, kill_at, failure=failure)
    effects = (Note(Topic.STOPPING, words, run), Signal(run, stop.signal, dump))
    return unit.entering(phase, words, now), effects


def kill(unit: Unit, phase: Stopping, now: float) -> Step:
    """End what has not ended in the time that it had."""
    if phase.killed:
        text = "SIGKILL has not ended it: it waits inside the kernel; trying again"
    else:
        timeout, asked = unit.spec.stop.timeout, signal_words(unit.spec.stop.signal)
        text = f"did not end within {timeout:g} s of {asked}: SIGKILL to the whole tree"
    unit = replace(unit, phase=replace(phase, kill_at=now + KILL_AGAIN, killed=True))
    return unit, (Note(Topic.KILLED, text, phase.run), Kill(phase.run))


def exited(unit: Unit, event: Exited, now: float) -> Step:
    """Let what is left of a run be cleared, whose first process has ended."""
    words = describe_exit(event.exit)
    note = Note(Topic.EXITED, words, event.run)
    grace = min(unit.spec.stop.timeout, ORPHAN_GRACE)
    match unit.phase:
        case Running(health=health):
            unit = proven(unit, health, now)
            phase = Clearing(event.run, event.exit, asked=False)
        case Spawning():
            # The shell queues `Spawned` first; were it ever not so, a hang would be the price.
            phase = Clearing(event.run, event.exit, asked=unit.goal is Goal.DOWN)
        case Stopping(failure=failure, remedy=rule, kill_at=kill_at, killed=killed):
            asked = failure is None
            phase = Clearing(event.run, event.exit, asked=asked, failure=failure, remedy=rule)
            # No more than that: saving what it did may have left it more time than it was to have.
            grace = 0.0 if killed else min(unit.spec.stop.timeout, max(0.0, kill_at - now))
            words = unit.reason
        case _:
            return unit, ()
    unit = replace(unit, last_exit=event.exit)
    return unit.entering(phase, words, now), (note, Clear(event.run, grace))


def cleared(unit: Unit, left: tuple[str, ...], now: float) -> Step:
    """Decide what comes after a run that is over."""
    phase = unit.phase
    if not isinstance(phase, Clearing):
        return unit, ()
    notes: tuple[Effect, ...] = ()
    if left:
        notes = (Note(Topic.LEFT_OVER, f"could not be ended: {'; '.join(left)}", phase.run),)
    if unit.goal is Goal.DOWN:
        if left:
            failed = Failed(left=phase.run)
            return unit.entering(failed, f"not wholly stopped: {'; '.join(left)}", now), notes
        note = Note(Topic.STOPPED, "no process of it is left and its ports are free", phase.run)
        return unit.entering(Stopped(), unit.reason, now), (*notes, note)
    if phase.asked or phase.exit is None:
        return unit.entering(Blocked(), unit.reason, now), notes
    name, policy = unit.spec.name, unit.spec.restart
    verdict: restart.Verdict
    if phase.failure is None:
        record, verdict = restart.after_exit(policy, unit.record, name, phase.run, phase.exit, now)
    else:
        record, verdict = restart.after_failure(
            policy, unit.record, name, phase.run, phase.failure, now
        )
    unit, effects = follow(replace(unit, record=record), verdict, phase.run, now)
    unit, effects = healing.after_end(unit, phase, effects, now)
    return unit, (*notes, *effects)


def follow(unit: Unit, verdict: restart.Verdict, run: RunId, now: float) -> Step:
    """Do what restart policy has decided on a run that is over, or never began."""
    match verdict:
        case Again(delay=delay, why=why):
            unit = replace(unit, restarts=unit.restarts + 1)
            count = unit.record.in_a_row
            text = f"{why}; restart {unit.restarts} in {delay:.2g} s (failure {count} in a row)"
            note = Note(Topic.RESTARTING, text, run)
            phase: Phase = Waiting(now + delay) if delay > 0 else Blocked()
            return unit.entering(phase, text, now), (note,)
        case Done(why=why):
            return unit.entering(Completed(), why, now), (Note(Topic.COMPLETED, why, run),)
        case Enough(why=why):
            return unit.entering(Failed(), why, now), (Note(Topic.GAVE_UP, why, run),)
        case _:
            assert_never(verdict)


def proven(unit: Unit, health: Health, now: float) -> Unit:
    """Forget earlier failures if this run has been healthy for long enough until now."""
    healthy_for = None if health.healthy_since is None else now - health.healthy_since
    return replace(unit, record=restart.proven(unit.record, unit.spec.restart, healthy_for))
