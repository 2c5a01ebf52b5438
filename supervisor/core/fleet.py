"""All units together: who may start when, and who must end first.

The fleet adds three rules to what a unit decides for itself. A unit starts when each of its
dependencies holds and fewer than `start_limit` others are starting. A unit that is to end waits
until those that depend on it, and are to end too, have ended. A rolling restart starts the new
run first and ends the old one when that is ready. All are looked at again after every event
(`Work.settle`), so no notice can be missed.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace

from supervisor.core.events import Event, Forget, Restart, Stop
from supervisor.core.spec import FleetSpec, ServiceSpec
from supervisor.core.turn import Fleet, Turn, shaped
from supervisor.core.unit import Failed, Goal, Past, Unit, Waiting
from supervisor.core.work import Work


def assemble(spec: FleetSpec, now: float, past: Mapping[str, Past] | None = None) -> Fleet:
    """Return the fleet of a specification, with every unit stopped or as it was in the `past`."""
    known = past or {}
    units = {s.name: _unit(s, known.get(s.name, Past()), now) for s in spec.services}
    return shaped(Fleet(units, start_limit=spec.start_limit))


def _unit(spec: ServiceSpec, past: Past, now: float) -> Unit:
    first = "not started yet" if spec.enabled else "disabled in the configuration"
    unit = Unit(
        spec, reason=past.reason or first, since=now, last_run=past.last_run, record=past.record
    )
    unit = replace(unit, restarts=past.restarts, chart=past.chart)
    if past.phase is None:
        return unit
    return replace(unit, goal=Goal.UP, phase=past.phase, reason=past.reason)


def handle(fleet: Fleet, name: str, event: Event, now: float) -> Turn:
    """Let one unit take one event, and everything that follows from it in the fleet.

    An event about a service that has left the configuration changes nothing.
    """
    work = Work(fleet, now)
    if name in fleet.units:
        work.deliver(name, event)
    return work.settle()


def pass_time(fleet: Fleet, names: Iterable[str], now: float) -> Turn:
    """Let those of `names` whose deadline has come act on it."""
    work = Work(fleet, now)
    for name in names:
        if name in fleet.units:
            work.pass_time(name)
    return work.settle()


def resume(fleet: Fleet, lost: float, now: float) -> Turn:
    """Let every unit know that the machine slept; `lost` seconds of it passed on this clock."""
    work = Work(fleet, now)
    for name in fleet.units:
        work.resume(name, lost)
    return work.settle()


def start(fleet: Fleet, names: Iterable[str], why: str, now: float) -> Turn:
    """Start these services and all that they need, which may have been stopped on purpose."""
    work = Work(fleet, now)
    work.start(set(names), why)
    return work.settle()


def stop(fleet: Fleet, names: Iterable[str], why: str, now: float) -> Turn:
    """Stop these services, each after those of them that depend on it."""
    work = Work(fleet, now)
    for name in names:
        work.rolls.pop(name, None)
        work.held_back[name] = Stop(why)
    return work.settle()


def restart(fleet: Fleet, names: Iterable[str], why: str, now: float) -> Turn:
    """Restart these services: down in reverse order, up again in order."""
    work = Work(fleet, now)
    for name in names:
        if name not in fleet.leaving:
            work.rolls.pop(name, None)
            work.held_back[name] = Restart(why)
    return work.settle()


def roll(fleet: Fleet, names: Iterable[str], why: str, now: float) -> Turn:
    """Replace the runs of these services one by one by new ones, none of which is down meanwhile.

    One that is not ready, or that binds a port itself, is restarted the plain way.
    """
    work = Work(fleet, now)
    for name in names:
        if name not in fleet.leaving and not isinstance(work.held_back.get(name), Restart):
            work.held_back.pop(name, None)
            work.rolls[name] = why
    return work.settle()


def forget(fleet: Fleet, names: Iterable[str], why: str, now: float) -> Turn:
    """Let what remedies have set for these services hold no more from their next start on."""
    work = Work(fleet, now)
    for name in names:
        work.deliver(name, Forget(why))
    return work.settle()


def reload(
    fleet: Fleet,
    spec: FleetSpec,
    restarting: AbstractSet[str],
    why: str,
    now: float,
    *,
    rolling: bool = False,
) -> Turn:
    """Make the fleet that of a new specification, all at once.

    `restarting` names the services whose run does not fit the new description any more. What is
    new and enabled starts, what is gone stops and is forgotten then, everything else goes on.
    """
    wanted = {s.name: s for s in spec.services}
    leaving = frozenset(name for name in fleet.units if name not in wanted)
    added = {n: _unit(s, Past(), now) for n, s in wanted.items() if n not in fleet.units}
    units = {name: added.get(name) or fleet.units[name] for name in wanted}
    units.update({name: fleet.units[name] for name in fleet.units if name in leaving})
    starting = {name for name in added if wanted[name].enabled}
    before = {name: unit.spec for name, unit in fleet.units.items()}
    work = Work(replace(fleet, units=units, leaving=leaving), now)
    work.touched.update(added)
    for name, one in wanted.items():
        if name not in added and before[name] != one:
            work.respec(name, one)
    work.fleet = shaped(replace(work.fleet, units=work.units, start_limit=spec.start_limit))
    for name in leaving:
        work.rolls.pop(name, None)
        work.held_back[name] = Stop(f"{why}: it is in the configuration no more")
    for name, one in wanted.items():
        if name in added:
            continue
        unit, old, back = work.units[name], before[name], name in fleet.leaving
        if not one.enabled and (old.enabled or back):
            work.rolls.pop(name, None)
            work.held_back[name] = Stop(f"{why}: it is disabled in the configuration")
            continue
        if one.enabled and (back or not old.enabled):
            starting.add(name)
        if unit.goal is Goal.UP:
            if name in restarting and rolling:
                work.rolls[name] = why
            elif name in restarting:
                work.held_back[name] = Restart(why)
            elif isinstance(unit.phase, Failed | Waiting) and old != one:
                # It may have been mended by this.
                starting.add(name)
    work.start(starting, why)
    return work.settle()
