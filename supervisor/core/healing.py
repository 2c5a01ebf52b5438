"""What a unit goes through while a remedy is applied: the moves of `step` that only remedies make.

A remedy ends the run that calls for it as a failure, waits until that is cleared like any other,
takes its steps, and starts the service at once where restart policy would have it wait or give up.
It never goes before an operator's word. If a step fails, restart policy has its way after all.
"""

from dataclasses import replace
from typing import assert_never

from supervisor.core import remedy as remedies
from supervisor.core import remedy_words as words
from supervisor.core.effects import Abandon, Apply, Effect, Note, Topic
from supervisor.core.events import Applied, RunId
from supervisor.core.exits import describe_exit
from supervisor.core.remedy_words import Ended, Seen
from supervisor.core.spec import Remedy
from supervisor.core.unit import (
    Beside,
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

ANSWER_GRACE = 10.0
"""Seconds beyond its own time-out that a step of a remedy has to be answered."""


def choose(unit: Unit, seen: Seen, now: float) -> tuple[Unit, tuple[Effect, ...], Remedy | None]:
    """Let a rule count as applied, if one is called for and may be; return it."""
    if not unit.spec.remedies or not _can_be_treated(unit):
        return unit, (), None
    busy = unit.beside is not None
    choice = remedies.choose(unit.spec, unit.chart, seen, now, busy=busy)
    notes = tuple(Note(topic, text, unit.last_run) for topic, text in choice.notes)
    return replace(unit, chart=choice.chart), notes, choice.rule


def _can_be_treated(unit: Unit) -> bool:
    """Tell whether a remedy may do something now.

    Not while an operator's word is being carried out, or another remedy.
    """
    if unit.goal is Goal.DOWN or not unit.heals:
        return False
    match unit.phase:
        case Stopping(failure=failure, remedy=rule):
            return failure is not None and rule is None
        case Clearing(asked=asked, remedy=rule):
            return not asked and rule is None
        case Failed(left=left):
            return left is None
        case Running() | Waiting() | Blocked() | Completed():
            return True
        case Stopped() | Spawning() | Healing():
            return False
        case _:
            assert_never(unit.phase)


def treat(unit: Unit, rule: Remedy, now: float) -> Step:
    """Begin with what a chosen rule does; a run that it ends is being ended already."""
    phase = unit.phase
    match phase:
        case Stopping() | Clearing() if rule.ends_the_run:
            return replace(unit, phase=replace(phase, remedy=rule)), ()
        case Waiting() | Blocked() | Failed() | Completed():
            return _mend(unit, rule, unit.last_run, needed(rule), (), now)
        case _:
            return _run_beside(unit, rule)


def after_end(unit: Unit, ended: Clearing, policy: tuple[Effect, ...], now: float) -> Step:
    """Let a remedy decide on a run that has failed, where one is called for.

    The unit is where restart policy has put it, and `policy` is what would be told of that.
    """
    rule, why = ended.remedy if unit.heals else None, ended.failure
    notes: tuple[Effect, ...] = ()
    if rule is None and ended.failure is None and ended.exit is not None:
        # What the supervisor ended itself, because it hung, says nothing by how it ended.
        unit, notes, rule = choose(unit, Ended(ended.exit), now)
        if rule is not None:
            why = f"{describe_exit(ended.exit)}, which {words.title(rule.name)} is for"
    if rule is None:
        return unit, (*notes, *policy)
    unit, effects = _mend(unit, rule, ended.run, why or needed(rule), policy, now)
    return unit, (*notes, *effects)


def needed(rule: Remedy) -> str:
    """Return why a run that called for a rule is ended, or followed by another."""
    return f"needed {words.title(rule.name)}"


def _mend(
    unit: Unit, rule: Remedy, run: RunId, why: str, policy: tuple[Effect, ...], now: float
) -> Step:
    """Do what a rule says of a service of which no run lives."""
    phase = unit.phase
    assert isinstance(phase, Waiting | Blocked | Failed | Completed), "no run lives"  # noqa: S101
    if rule.give_up is not None:
        text = f"{rule.give_up} ({words.title(rule.name)})"
        # The restart that policy has counted is neither told nor made.
        untold = sum(isinstance(e, Note) and e.topic is Topic.RESTARTING for e in policy)
        unit = replace(unit, restarts=unit.restarts - untold)
        return unit.entering(Failed(), text, now), (Note(Topic.GAVE_UP, text, run),)
    if not rule.restart:
        unit, effects = _run_beside(unit, rule)
        return unit, (*policy, *effects)
    notes = tuple(effect for effect in policy if isinstance(effect, Note))
    healing = Healing(rule, why, 0, rule.steps(), now, phase, unit.reason, now, notes)
    return _go_on(unit, healing, run, now)


def _go_on(unit: Unit, healing: Healing, run: RunId, now: float) -> Step:
    """Take the next step of a remedy; after the last the service starts."""
    if not healing.left:
        return _start_mended(unit, healing, run, now)
    step, *left = healing.left
    number = unit.steps + 1
    until = now + step.timeout + ANSWER_GRACE
    phase = replace(healing, number=number, left=tuple(left), until=until)
    text = f"{words.title(healing.rule.name)}: {words.doing(step)}"
    unit = replace(unit, steps=number).entering(phase, text, now)
    return unit, (Apply(run, number, step),)


def _start_mended(unit: Unit, healing: Healing, run: RunId, now: float) -> Step:
    notes: tuple[Effect, ...] = ()
    given_up = isinstance(healing.otherwise, Failed | Completed)
    if given_up:
        unit = replace(unit, restarts=unit.restarts + 1)
    text = f"{healing.why}; restart {unit.restarts} at once"
    if given_up or healing.notes:
        # Else that it would be restarted was told already, and now it only comes sooner.
        notes = (Note(Topic.RESTARTING, text, run),)
    if isinstance(unit.phase, Blocked):
        return unit, notes
    return unit.entering(Blocked(), text, now), notes


def interrupted(unit: Unit) -> tuple[Effect, ...]:
    """Return what ends the step of a remedy that is being taken, where the unit leaves it."""
    return (Abandon(unit.phase.number),) if isinstance(unit.phase, Healing) else ()


def fall_back(unit: Unit, detail: str, now: float) -> Step:
    """Leave a remedy of which a step has failed: restart policy has its way."""
    phase = unit.phase
    assert isinstance(phase, Healing), "the caller has looked"  # noqa: S101
    text = f"{words.title(phase.rule.name)} did not succeed: {detail}"
    otherwise = phase.otherwise
    if isinstance(otherwise, Waiting):
        # It has not waited yet.
        otherwise = Waiting(otherwise.until + now - phase.began)
    unit = unit.entering(otherwise, phase.because, now)
    return unit, (Note(Topic.REMEDY_SKIPPED, text, unit.last_run), *phase.notes)


def _run_beside(unit: Unit, rule: Remedy) -> Step:
    """Run the command of a rule that does not restart the service, if it has one."""
    if rule.run is None:
        return unit, ()
    number = unit.steps + 1
    unit = replace(unit, steps=number, beside=Beside(number, rule.name))
    return unit, (Apply(unit.last_run, number, rule.run),)


def applied(unit: Unit, event: Applied, now: float) -> Step:
    """Go on after a step; an answer that nobody waits for any more changes nothing."""
    phase, beside = unit.phase, unit.beside
    if isinstance(phase, Healing) and event.number == phase.number:
        if not event.ok:
            return fall_back(unit, event.detail, now)
        note = Note(Topic.REMEDY, f"{words.title(phase.rule.name)}: {event.detail}", unit.last_run)
        unit, effects = _go_on(unit, phase, unit.last_run, now)
        return unit, (note, *effects)
    if beside is not None and event.number == beside.number:
        topic = Topic.REMEDY if event.ok else Topic.REMEDY_SKIPPED
        text = f"{words.title(beside.rule)}: {event.detail}"
        return replace(unit, beside=None), (Note(topic, text, unit.last_run),)
    return unit, ()
