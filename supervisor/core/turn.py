"""Every unit of a fleet with what is still to be done, and what one turn makes of them.

Besides its unit a service may have an *overlap* (`supervisor.core.overlap`), for as long as two of
its runs live at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from supervisor.core import graph
from supervisor.core.effects import Effect
from supervisor.core.events import Restart, Stop
from supervisor.core.overlap import Overlap
from supervisor.core.unit import Unit

Named = tuple[str, Effect]
"""An effect and the unit that it is for."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Every unit by name, and what is still to be done with them."""

    units: Mapping[str, Unit]
    edges: graph.Edges = field(default_factory=dict)
    dependents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    start_limit: int = 8
    held_back: Mapping[str, Stop | Restart] = field(default_factory=dict)
    """Stops and restarts that wait until the dependents have ended."""
    overlaps: Mapping[str, Overlap] = field(default_factory=dict)
    rolls: Mapping[str, str] = field(default_factory=dict)
    """Rolling restarts that wait for room to start, with why they were asked."""
    leaving: frozenset[str] = frozenset()
    """No longer in the configuration: forgotten when nothing of them is left."""

    def deadline(self, name: str) -> float | None:
        """Return when `TimePassed` would change something of this service, or None."""
        at = self.units[name].deadline()
        other = self.overlaps[name].deadline() if name in self.overlaps else None
        return min((t for t in (at, other) if t is not None), default=None)

    def settled(self, name: str) -> bool:
        """Tell whether, with no further event, the service will stay as it is."""
        waits = name in self.overlaps or name in self.rolls or name in self.held_back
        return self.units[name].settled() and not waits and name not in self.leaving


@dataclass(frozen=True, slots=True)
class Turn:
    """What became of the fleet, what is to be done, and whose deadlines may have changed."""

    fleet: Fleet
    effects: tuple[Named, ...]
    touched: frozenset[str]
    """Names of changed services, and of those that left."""


def shaped(fleet: Fleet) -> Fleet:
    """Return the fleet with the graph that its units' specs draw.

    What leaves may need what has left already.
    """
    edges = {
        name: tuple(d.on for d in unit.spec.depends_on if d.on in fleet.units)
        for name, unit in fleet.units.items()
    }
    return replace(fleet, edges=edges, dependents=graph.dependents(edges))
