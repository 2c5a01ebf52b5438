"""What the ledger is told of a service: before a run is started, and whenever a turn is over.

A successor has nothing else to go by: `supervisor.succession` reads it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypedDict

from supervisor.core.events import RunId
from supervisor.core.remedy import mark
from supervisor.core.unit import (
    Completed,
    Failed,
    Goal,
    Healing,
    Running,
    Unit,
    Waiting,
)
from supervisor.ledger import Record
from supervisor.posix.identity import boot_id
from supervisor.runs import LiveRun


def intended(
    before: Record | None, unit: Unit, run: RunId, fingerprint: int, environment: int
) -> Record:
    """Return the record of a run that is about to be started; its pid follows with `settled`.

    `fingerprint` is of the spec it is started with, `environment` of its environment.
    """
    return replace(
        before or _first(unit.spec.name, run),
        run=run,
        last_run=run,
        wanted=True,
        pid=None,
        boot=boot_id(),
        intended=True,
        started=False,
        fingerprint=fingerprint,
        environment=environment,
        phase="",
        reason="",
        **_charted(unit),
    )


def beside(before: Record | None, name: str, run: RunId) -> Record:
    """Return the record of a run that is about to be started beside the one that serves."""
    old = before or _first(name, run)
    return replace(old, last_run=run, other_run=run, other_pid=None, other_ticks=0)


def settled(
    before: Record | None,
    unit: Unit,
    overlap: Unit | None,
    live: LiveRun | None,
    other: LiveRun | None,
) -> Record:
    """Return the record of a service after a turn; `live` and `other` are the runs of the two."""
    phase = unit.phase
    return Record(
        unit=unit.spec.name,
        run=unit.last_run if live is None else live.run,
        wanted=unit.goal is Goal.UP,
        pid=None if live is None else live.leader.pid,
        ticks=0 if live is None else live.leader.started,
        boot=boot_id(),
        started=_has_started(unit, before),
        fingerprint=0 if live is None else live.fingerprint,
        environment=0 if live is None else live.environment_mark,
        last_run=max(unit.last_run, 0 if overlap is None else overlap.last_run),
        other_run=0 if other is None else other.run,
        other_pid=None if other is None else other.leader.pid,
        other_ticks=0 if other is None else other.leader.started,
        phase=_PHASES.get(type(phase), "") if unit.goal is Goal.UP else "",
        until=phase.until if isinstance(phase, Waiting) else 0.0,
        reason=unit.reason if type(phase) in _PHASES or unit.goal is Goal.DOWN else "",
        restarts=unit.restarts,
        in_a_row=unit.record.in_a_row,
        recent=unit.record.recent,
        **_charted(unit),
    )


def _first(name: str, run: RunId) -> Record:
    return Record(name, run, wanted=True)


class _Charted(TypedDict):
    in_force: tuple[str, ...]
    of_run: tuple[str, ...]
    rests_on: int
    uses: Mapping[str, tuple[float, ...]]


def _charted(unit: Unit) -> _Charted:
    """Return what the ledger has of remedies."""
    chart = unit.chart
    return {
        "in_force": chart.in_force,
        "of_run": chart.of_run,
        "rests_on": mark(unit.spec, chart) if chart.in_force or chart.of_run else 0,
        "uses": {use.rule: use.times for use in chart.uses},
    }


# The steps of a remedy are not taken twice: the next daemon tries at once whether they have helped.
_PHASES: Mapping[type, str] = {
    Failed: "failed",
    Completed: "completed",
    Waiting: "waiting",
    Healing: "waiting",
}


def _has_started(unit: Unit, before: Record | None) -> bool:
    if isinstance(unit.phase, Running):
        return unit.phase.health.started
    # What is ending was what it was; to write that down anew would only cost time.
    return before is not None and before.started
