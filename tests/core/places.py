"""What the fake system of a simulation knows of each service."""

from dataclasses import dataclass, field

from supervisor.core.events import Exit, RunId
from supervisor.core.spec import ProbeKind


@dataclass(slots=True)
class Process:
    """A process of the fake system."""

    run: RunId
    signals: list[int] = field(default_factory=list)
    ended: Exit | None = None
    """How it ended, if it has; the core may not have been told yet."""

    @property
    def stubborn(self) -> bool:
        """Every third run ignores SIGTERM."""
        return self.run % 3 == 0

    @property
    def must_die(self) -> bool:
        """Tell whether it would end if it were let."""
        return 9 in self.signals or (bool(self.signals) and not self.stubborn)


@dataclass(slots=True)
class Slot:
    """What the world knows of one run."""

    spawning: RunId | None = None
    process: Process | None = None
    clearing: RunId | None = None

    def has(self) -> tuple[RunId | None, RunId | None, RunId | None]:
        """Return the run as it is being started, as it lives, and as it is being cleared."""
        return (
            self.spawning,
            self.process.run if self.process is not None else None,
            self.clearing,
        )


@dataclass(slots=True)
class Place(Slot):
    """What the world knows of one service."""

    second: Slot = field(default_factory=Slot)
    """The other of two runs that live at once."""
    probes: list[tuple[RunId, ProbeKind]] = field(default_factory=list)
    """In flight, those of older runs included."""
    patient: set[tuple[RunId, ProbeKind]] = field(default_factory=set)
    """Those of them that are put off if the service is busy."""
    highest: int = 0
    """No run has had a higher number."""
    asked_to_end: RunId | None = None
    """The run that an operator wants ended, until it has."""
    restart_asked: bool = False
    retries: list[float] = field(default_factory=list)
    """When failures were retried since an operator last forgave."""
    not_before: float = 0.0
    """The next spawn may not come earlier, unless an operator asks."""
    left_over: bool = False
    steps: list[int] = field(default_factory=list)
    """Steps of remedies that are being taken."""
    lived: set[RunId] = field(default_factory=set)
    spawns: list[float] = field(default_factory=list)
    """Since an operator last forgave."""
