"""Two runs of one service at once: the second unit, and how the two change places.

In a rolling restart a second unit of the service, the *overlap*, is first the one that comes in;
when that is ready the two change places, and the overlap is the one that goes out. When is decided
in `supervisor.core.work`.
"""

from dataclasses import dataclass, replace
from math import inf

from supervisor.core.effects import Effect, Note, Topic
from supervisor.core.spec import ServiceSpec
from supervisor.core.unit import Unit

ROLL_TIMEOUT = 120.0
"""Seconds that an incoming run may be unready, beyond the budget of its startup probe: it holds
memory twice, and whoever waits for the rolling restart."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """The second unit of a service of which two runs live."""

    unit: Unit
    incoming: bool
    """It is to take the place of the first; otherwise it is on its way out."""
    until: float = inf
    """When the incoming one must have become ready."""

    def deadline(self) -> float | None:
        """Return when time would change something of this unit."""
        at = self.unit.deadline()
        return min(inf if at is None else at, self.until) if self.incoming else at


def can_overlap(spec: ServiceSpec) -> bool:
    """Tell whether two runs may live at once: not if both would have to bind the same port."""
    return not spec.ports


def time_to_roll(spec: ServiceSpec) -> float:
    """Return the seconds that an incoming run has to become ready: to start, and some more."""
    budget = None if spec.startup is None else spec.startup.budget
    return ROLL_TIMEOUT if budget is None else budget + ROLL_TIMEOUT


def of_second_run(effect: Effect) -> Effect:
    """Return the effect as it is said of a second run: the service itself has not stopped."""
    if isinstance(effect, Note) and effect.topic is Topic.STOPPED:
        return Note(Topic.RETIRED, f"run {effect.run}: no process of it is left", effect.run)
    return effect


def heir(unit: Unit, old: Unit) -> Unit:
    """Return the unit that takes the place of another of the same service."""
    return replace(
        unit,
        restarts=old.restarts,
        record=old.record,
        last_exit=old.last_exit,
        chart=replace(old.chart, of_run=unit.chart.of_run),
        heals=True,
        steps=old.steps,
        beside=old.beside,
    )
