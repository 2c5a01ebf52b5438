"""A service as it is now: goal, phase, and what led there.

    Stopped ──Start──▶ Blocked ──Admitted──▶ Spawning ──Spawned──▶ Running
       ▲                  ▲                     │                   │   │
       │                  │ until          SpawnFailed     Exited ──┘   └── Stop, Restart,
       │               Waiting ◀────────────────┤             │             Dead probe
       │                  ▲                     ▼             │               │
       │                  └──────────────── Clearing ◀────────┴── Exited ◀─ Stopping
       └──────────────────────────────────────┘ │
                    Failed, Completed ◀─────────┘

From Waiting, Blocked, Failed and Completed a remedy may go by way of Healing, in which it takes
its time with no run alive, to Blocked.

The *goal* is what the operator wants; the *phase* is where the machine is on the way. A restart
is a stop with the goal still UP. Only `supervisor.core.step` makes new units from old ones.
"""

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import assert_never

from supervisor.core import health as probes
from supervisor.core.ailments import ailment
from supervisor.core.effects import Effect, Note
from supervisor.core.events import Exit, RunId
from supervisor.core.health import Health
from supervisor.core.remedy import Chart
from supervisor.core.restart import Record
from supervisor.core.spec import Remedy, RemedyStep, ServiceSpec

NO_RUN = RunId(0)
"""Runs count from 1: this unit has had none."""


class Goal(Enum):
    """What the operator wants of a unit."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Stopped:
    """No process, and none wanted."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """Wanted, and waiting for dependencies or for room to start."""


@dataclass(frozen=True, slots=True)
class Spawning:
    """A process was asked for."""

    run: RunId


@dataclass(frozen=True, slots=True)
class Running:
    """A process lives; `health` says what it is worth."""

    run: RunId
    pid: int
    started_at: float
    health: Health


@dataclass(frozen=True, slots=True)
class Stopping:
    """The process was asked to end and lives."""

    run: RunId
    pid: int
    started_at: float
    kill_at: float
    killed: bool = False
    failure: str | None = None
    """Why this ending counts as a failure of the run; None if an operator asked for it."""
    remedy: Remedy | None = None
    """What is to follow instead of what restart policy says; only of a failure."""


@dataclass(frozen=True, slots=True)
class Clearing:
    """The process is gone; what is left of its tree and its ports is being cleared."""

    run: RunId
    exit: Exit | None
    asked: bool
    """The ending was asked for, so it is no failure and restart policy does not apply."""
    failure: str | None = None
    remedy: Remedy | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """No process; the next attempt comes at `until`."""

    until: float


@dataclass(frozen=True, slots=True)
class Failed:
    """No further attempt until somebody asks."""

    left: RunId | None = None
    """The run of which something could not be ended; None: there is no process."""


@dataclass(frozen=True, slots=True)
class Completed:
    """The service has done its work and ended."""


@dataclass(frozen=True, slots=True)
class Healing:
    """No process; a step of a remedy is being taken, and then the service is started again."""

    rule: Remedy
    why: str
    """What the last run did, or needed: "exited with code 78"."""
    number: int
    """Of the `Apply` that is under way."""
    left: tuple[RemedyStep, ...]
    """Steps that follow it."""
    until: float
    """When it must have been answered."""
    otherwise: "Waiting | Blocked | Failed | Completed"
    """Where the unit goes if a step fails: what restart policy says, without the remedy."""
    because: str
    """The reason for that."""
    began: float = 0.0
    notes: tuple[Note, ...] = ()
    """What is told then."""


@dataclass(frozen=True, slots=True)
class Beside:
    """A remedy's command that runs while the service goes on as it does."""

    number: int
    rule: str


Phase = (
    Stopped
    | Blocked
    | Spawning
    | Running
    | Stopping
    | Clearing
    | Waiting
    | Healing
    | Failed
    | Completed
)

Live = Spawning | Running | Stopping | Clearing
"""The phases in which something of the run may exist."""


@dataclass(frozen=True, slots=True)
class Past:
    """What an earlier daemon of this boot knew of a unit, for its successor to go on from."""

    last_run: RunId = NO_RUN
    restarts: int = 0
    record: Record = field(default_factory=Record)
    phase: Failed | Completed | Waiting | None = None
    """Where it was, if no process was there and it was meant to be up."""
    reason: str = ""
    chart: Chart = field(default_factory=Chart)


@dataclass(frozen=True, slots=True)
class Unit:
    """One service: what it should be, what it is, and why."""

    spec: ServiceSpec
    goal: Goal = Goal.DOWN
    phase: Phase = field(default_factory=Stopped)
    reason: str = "not started yet"
    """Why the unit is in this phase, for people."""
    since: float = 0.0
    """When it entered the phase, on the monotonic clock."""
    last_run: RunId = NO_RUN
    last_exit: Exit | None = None
    restarts: int = 0
    """Automatic restarts since an operator last started it."""
    record: Record = field(default_factory=Record)
    chart: Chart = field(default_factory=Chart)
    heals: bool = True
    """No remedy may begin if False: of a run that is to take over from one which serves, whose
    failure is final, and while an operator's word waits for others to be done."""
    steps: int = 0
    """Steps of remedies that were ever begun; their numbers."""
    beside: Beside | None = None

    def entering(self, phase: Phase, reason: str, now: float) -> "Unit":
        """Return the unit as it enters a phase."""
        return replace(self, phase=phase, reason=reason, since=now)

    def deadline(self) -> float | None:
        """Return when `TimePassed` would change something, or None."""
        match self.phase:
            case Running(health=health):
                return probes.deadline(health)
            case Stopping(kill_at=kill_at):
                return kill_at
            case Waiting(until=until) | Healing(until=until):
                return until
            case Stopped() | Blocked() | Spawning() | Clearing() | Failed() | Completed():
                return None
            case _:
                assert_never(self.phase)

    def run(self) -> RunId | None:
        """Return the run of which something may exist, or None."""
        return self.phase.run if isinstance(self.phase, Live) else None

    def pid(self) -> int | None:
        """Return the pid of the run's first process while it lives."""
        return self.phase.pid if isinstance(self.phase, Running | Stopping) else None

    def started_at(self) -> float | None:
        """Return when the run's process started, on the monotonic clock, while it lives."""
        return self.phase.started_at if isinstance(self.phase, Running | Stopping) else None

    def ready(self) -> bool:
        """Tell whether the service does its work."""
        return isinstance(self.phase, Running) and self.phase.health.ready

    def notice(self) -> str | None:
        """Return in what a service that works does so otherwise than asked, or None."""
        if isinstance(self.phase, Running) and self.phase.health.ready:
            return self.phase.health.notice()
        return None

    def starting(self) -> bool:
        """Tell whether the service is on its way up and uses its place among those starting."""
        match self.phase:
            case Spawning():
                return True
            case Running(health=health):
                return not health.started
            case _:
                return False

    def settled(self) -> bool:
        """Tell whether, with no further event, the unit will stay as it is."""
        match self.phase:
            case Stopped() | Failed() | Completed():
                return True
            case Running(health=health):
                return self.goal is Goal.UP and health.ready
            case _:
                return False

    def state(self) -> str:
        """Return the one word that people see."""
        match self.phase:
            case Stopped():
                return "stopped"
            case Blocked():
                return "blocked"
            case Spawning():
                return "starting"
            case Running(health=health):
                if not health.started:
                    return "loading"
                if not health.ready:
                    return ailment(health)[0]
                if health.busy():
                    return "busy"
                return "healthy" if health.is_proven(self.spec) else "running"
            case Stopping() | Clearing():
                return "stopping"
            case Waiting():
                return "backoff"
            case Healing():
                return "healing"
            case Failed():
                return "failed"
            case Completed():
                return "completed"
            case _:
                assert_never(self.phase)


Step = tuple[Unit, tuple[Effect, ...]]
"""What an event makes of a unit: the unit as it is after it, and what is to be done about it."""
