"""What another configuration would change in what runs now."""

from dataclasses import replace

from supervisor.core.plan import Change, ChangeKind, fingerprint, plan
from supervisor.core.remedy import amended, kept
from supervisor.core.spec import FleetSpec, ServiceSpec
from supervisor.core.unit import Running
from supervisor.machine import Machine
from supervisor.posix.spawn import SpawnError
from supervisor.runtime import Runtime


class Planner:
    """Compares a configuration with the runs there are: their specs, environments, remedies."""

    def __init__(self, runtime: Runtime, machine: Machine) -> None:
        self._runtime = runtime
        self._machine = machine

    def plan(self, spec: FleetSpec) -> tuple[Change, ...]:
        """Return what going by another configuration would do to each service, old or new."""
        units = self._runtime.fleet.units
        leaving = self._runtime.fleet.leaving
        # As the runs were started, and as they would be: a remedy is no change of configuration.
        old = {
            name: amended(unit.spec, unit.chart.of_run)
            for name, unit in units.items()
            if name not in leaving
        }
        new = {one.name: self._as_amended(one) for one in spec.services}
        running: dict[str, dict[str, str]] = {}
        wanted: dict[str, dict[str, str]] = {}
        for name, unit in units.items():
            live = self._machine.runs.get(name, unit.run())
            if live is None or name not in new:
                continue
            try:
                wanted[name] = self._machine.environment(new[name], live.run)
            except SpawnError:
                continue
            running[name] = self._machine.running_environment(live, wanted[name])
        return tuple(map(self._as_it_runs, plan(old, new, running, wanted)))

    def _as_amended(self, spec: ServiceSpec) -> ServiceSpec:
        """Return a new spec of a service with what remedies have set, if that would stay."""
        unit = self._runtime.fleet.units.get(spec.name)
        if unit is None:
            return spec
        return amended(spec, kept(unit.chart, unit.spec, spec).of_run)

    def _as_it_runs(self, change: Change) -> Change:
        """Return the change as it is for a run that an earlier configuration has started."""
        name = change.service
        if change.kind not in (ChangeKind.NONE, ChangeKind.LIVE):
            return change
        unit = self._runtime.fleet.units[name]
        overlap = self._runtime.fleet.overlaps.get(name)
        if overlap is not None and overlap.incoming:
            unit = overlap.unit
        # What is on its way out is being replaced already.
        live = self._machine.runs.get(name, unit.run() if isinstance(unit.phase, Running) else None)
        started_with = amended(unit.spec, unit.chart.of_run)
        if live is None or live.fingerprint in (0, fingerprint(started_with)):
            return change
        why = "its run was started with an earlier configuration"
        return replace(change, kind=ChangeKind.RESTART, why=(*change.why, why))
