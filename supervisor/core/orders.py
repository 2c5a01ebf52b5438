"""What operators ask of a unit, and what its configuration says anew: moves of `step`."""

from dataclasses import replace
from typing import assert_never

from supervisor.core import healing
from supervisor.core import health as probes
from supervisor.core import remedy as remedies
from supervisor.core.ailments import ailment, first_reason
from supervisor.core.effects import Abandon, Clear, Effect, Note, Topic
from supervisor.core.ending import end
from supervisor.core.events import Restart, RunId, Start, Stop
from supervisor.core.restart import Record
from supervisor.core.spec import ServiceSpec
from supervisor.core.unit import (
    Blocked,
    Clearing,
    Completed,
    Failed,
    Goal,
    Healing,
    Running,
    Spawning,
    Step,
    Stopped,
    Stopping,
    Unit,
    Waiting,
)


def obey(unit: Unit, event: Start | Stop | Restart, now: float) -> Step:
    """Do what was asked; it goes before what a remedy is about to do."""
    begun = healing.interrupted(unit)
    if unit.beside is not None and not isinstance(event, Start):
        begun += (Abandon(unit.beside.number),)
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
    return unit, (*begun, *effects)


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
        case Running():
            return end(_clean(unit), unit.phase, words, now, failure=None)
        case Stopping() | Clearing():
            return _as_asked(_clean(unit), unit.phase, words)
        case _:
            assert_never(unit.phase)


def _stop(unit: Unit, words: str, now: float) -> Step:
    if isinstance(unit.phase, Failed) and unit.phase.left is not None:
        # What could not be ended then may be endable now; if not, it stays failed.
        return _clear_again(replace(unit, goal=Goal.DOWN), unit.phase.left, words, now)
    if unit.goal is Goal.DOWN:
        return unit, ()
    unit = replace(unit, goal=Goal.DOWN)
    match unit.phase:
        case Stopped() | Blocked() | Waiting() | Healing() | Failed() | Completed():
            return unit.entering(Stopped(), words, now), (Note(Topic.STOPPED, words),)
        case Spawning():
            return unit, (Note(Topic.ASKED, words),)
        case Running():
            return end(unit, unit.phase, words, now, failure=None)
        case Stopping() | Clearing():
            return _as_asked(unit, unit.phase, words)
        case _:
            assert_never(unit.phase)


def _as_asked(unit: Unit, ending: Stopping | Clearing, words: str) -> Step:
    """Let an ending that is under way be the operator's: no failure, and no remedy follows it."""
    if isinstance(ending, Clearing):
        ending = replace(ending, asked=True)
    phase = replace(ending, failure=None, remedy=None)
    return replace(unit, phase=phase, reason=words), (Note(Topic.ASKED, words),)


def _clean(unit: Unit) -> Unit:
    """An operator's word: the goal is UP and what went wrong before is forgiven."""
    return replace(unit, goal=Goal.UP, record=Record(), restarts=0)


def _begin_anew(unit: Unit, words: str, now: float) -> Step:
    return _clean(unit).entering(Blocked(), words, now), (Note(Topic.ASKED, words),)


def _clear_again(unit: Unit, run: RunId, words: str, now: float) -> Step:
    phase = Clearing(run, None, asked=True)
    return unit.entering(phase, words, now), (Note(Topic.ASKED, words), Clear(run, 0.0))


def forget(unit: Unit, why: str) -> Step:
    """Let what remedies have set hold no more from the next start on."""
    gone = ", ".join(unit.chart.in_force)
    chart = replace(unit.chart, in_force=(), uses=())
    if chart == unit.chart:
        return unit, ()
    text = f"remedies forgotten {why}: from its next start on it runs as it is configured"
    if gone:
        text += f", without what {gone} has set"
    return replace(unit, chart=chart), (Note(Topic.REMEDY, text),)


def respec(unit: Unit, spec: ServiceSpec, now: float) -> Step:
    """Go by another description; what runs goes on as it was started."""
    chart = remedies.kept(unit.chart, unit.spec, spec)
    notes: tuple[Effect, ...] = ()
    if gone := [name for name in unit.chart.in_force if name not in chart.in_force]:
        text = f"remedies in force no more, for what they rest on was changed: {', '.join(gone)}"
        notes = (Note(Topic.REMEDY, text),)
    unit = replace(unit, spec=spec, chart=chart)
    if isinstance(unit.phase, Running):
        unit, more = _probed_anew(unit, unit.phase, now)
        notes = (*notes, *more)
    return unit, notes


def _probed_anew(unit: Unit, phase: Running, now: float) -> Step:
    """Let a run be judged by other probes: what stood in its way may be asked no more."""
    before, run = phase.health, phase.run
    health = probes.adapt(unit.spec, run, before, now)
    unit = replace(unit, phase=replace(phase, health=health))
    if health.ready and not before.ready:
        proven = health.is_proven(unit.spec)
        words = "works by the probes that it has now" if proven else first_reason(health)
        return replace(unit, reason=words, since=now), (Note(Topic.READY, words, run),)
    if not health.ready and (health.started, ailment(health)) != (before.started, ailment(before)):
        return replace(unit, reason=ailment(health)[1] or first_reason(health), since=now), ()
    return unit, ()
