"""What a step asks the shell to do: the whole output of `supervisor.core.step`.

The shell performs effects in order, after the step. An effect that has an answer gets it as
exactly one event, queued and never delivered from within the effect.
"""

from dataclasses import dataclass
from enum import StrEnum

from supervisor.core.events import RunId
from supervisor.core.spec import ProbeKind, RemedyStep


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start the service's command. Answer: `Spawned` or `SpawnFailed`."""

    run: RunId


@dataclass(frozen=True, slots=True)
class Signal:
    """Send the signal, and SIGCONT after it, to the run's process group. No answer."""

    run: RunId
    signal: int
    dump: bool = False
    """First save what the run is doing, which may take `supervisor.core.ending.DUMP_TIME`."""


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL the run's whole tree. No answer but the `Exited` that it causes."""

    run: RunId


@dataclass(frozen=True, slots=True)
class Clear:
    """End what is left of the run's tree and see that its ports are free. Answer: `Cleared`.

    The rest gets SIGTERM now and SIGKILL after `grace` seconds.
    """

    run: RunId
    grace: float


@dataclass(frozen=True, slots=True)
class Ask:
    """Make one probe. Answer: `Probed`, within the probe's time-out."""

    run: RunId
    kind: ProbeKind
    even_if_busy: bool = True
    """False: only if the service works on nothing; if it does, the answer is that."""


@dataclass(frozen=True, slots=True)
class Apply:
    """Take one step of a remedy. Answer: `Applied`, soon after the step's time-out at the latest.

    `run` is the run that called for it, which may be gone.
    """

    run: RunId
    number: int
    step: RemedyStep


@dataclass(frozen=True, slots=True)
class Abandon:
    """End what was begun by `Apply`; its answer is wanted no more."""

    number: int


class Topic(StrEnum):
    """What a note is about: the vocabulary of the journal."""

    ASKED = "asked"
    BLOCKED = "blocked"
    STARTED = "started"
    ADOPTED = "adopted"
    SPAWN_FAILED = "spawn-failed"
    READY = "ready"
    UNREADY = "unready"
    PROBE_FAILED = "probe-failed"
    NOTICE = "notice"
    BUSY = "busy"
    """A run is silent because it works, and that is no failure."""
    DUMPED = "dumped"
    """What a run that hung was doing is saved."""
    REMEDY = "remedy"
    REMEDY_SKIPPED = "remedy-skipped"
    STOPPING = "stopping"
    KILLED = "killed"
    EXITED = "exited"
    LEFT_OVER = "left-over"
    RESTARTING = "restarting"
    GAVE_UP = "gave-up"
    STOPPED = "stopped"
    COMPLETED = "completed"
    ROLLING = "rolling"
    ROLLED = "rolled"
    ROLL_FAILED = "roll-failed"
    RETIRED = "retired"
    REMOVED = "removed"
    STALE = "stale"
    """A run is of an older configuration than the one that holds."""
    PID_FILE = "pid-file"
    TROUBLE = "trouble"

    # Of no service (unit ""): what befalls or is asked of the supervisor or the machine.
    BEGAN = "daemon-started"
    UPGRADED = "upgraded"
    UPGRADE_REFUSED = "upgrade-refused"
    RELOADED = "reloaded"
    DAEMON = "daemon"
    ENDED = "daemon-stopped"
    """In order: nothing was left running."""
    RESUMED = "resumed"
    """The machine slept, or the supervisor was stopped."""
    CLOCK = "clock"
    """The wall clock was set."""


@dataclass(frozen=True, slots=True)
class Note:
    """Write a line into the journal: what happened or was decided, and why."""

    topic: Topic
    text: str
    run: RunId | None = None


Effect = Spawn | Signal | Kill | Clear | Ask | Apply | Abandon | Note
