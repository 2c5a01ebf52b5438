"""What can happen to a unit: the whole input of `supervisor.core.step`.

Every event about a process carries the `RunId` of the run it is about; `step` drops those of an
older run in one place. Operator commands carry none: they are about the unit.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from supervisor.core.spec import ProbeKind, ServiceSpec

RunId = NewType("RunId", int)
"""Counts the spawns of one unit over its whole life, daemon restarts included; from 1."""


@dataclass(frozen=True, slots=True)
class ExitCode:
    """The process ended by itself."""

    code: int


@dataclass(frozen=True, slots=True)
class ExitSignal:
    """The process was ended by a signal."""

    signal: int
    core_dumped: bool = False


@dataclass(frozen=True, slots=True)
class ExitUnknown:
    """The process is gone, and the kernel would not say how (an adopted process, usually)."""


Exit = ExitCode | ExitSignal | ExitUnknown


class Fault(StrEnum):
    """What kind of failure a probe met."""

    UNREACHABLE = "unreachable"
    """Nobody accepts, or the connection was reset before anything came."""
    SILENT = "silent"
    """Somebody accepts, and there was no answer, or not the whole of it, in time."""
    REFUSED = "refused"
    """The service says itself that it takes no work now: 429 or 503."""
    WRONG = "wrong"
    """An answer, and another than was expected."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One answer of one probe.

    `ok` is None when the prober itself failed (no descriptor left, its own bug): that says
    nothing of the service and is never counted against it.
    """

    ok: bool | None
    detail: str
    """Why, in words fit for `status`: "503 Service Unavailable", "connection refused"."""
    latency: float = 0.0
    """Seconds, from the first system call to the verdict."""
    notice: str | None = None
    """Of a success: in what the service works otherwise than asked, and the remedy, in its own
    words, on one short line. None: it works as asked, or the probe names no place for a notice."""
    fault: Fault = Fault.WRONG
    """Of a failure: its kind."""
    busy: bool | None = None
    """Whether the service works on something: by its own word in an answer, or, where there is no
    answer, by the connections that others have to it. None: not known."""

    def is_mute(self) -> bool:
        """Tell whether it failed without a word: only a look into the service can tell why."""
        return self.ok is False and self.fault in (Fault.SILENT, Fault.UNREACHABLE)


# Operator commands ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """Make the goal UP; a failed or waiting unit tries at once, with a clean record."""

    why: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Make the goal DOWN."""

    why: str
    asked: bool = True
    """It is somebody's wish; otherwise it follows from a decision of ours."""


@dataclass(frozen=True, slots=True)
class Restart:
    """End the present run, if any, and begin another; the goal is UP afterwards."""

    why: str


@dataclass(frozen=True, slots=True)
class Respec:
    """The configuration describes the unit anew; a run under way goes on as it was started."""

    spec: ServiceSpec


@dataclass(frozen=True, slots=True)
class Forget:
    """What remedies have set holds no more from the next start on, and their limits begin anew."""

    why: str


# What the fleet tells a unit -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Admitted:
    """Every dependency holds and there is room to start: a blocked unit may spawn."""


@dataclass(frozen=True, slots=True)
class Held:
    """A blocked unit goes on waiting, and this is for what."""

    why: str


# What the system tells a unit ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spawned:
    """The process exists; its executable was found and started."""

    run: RunId
    pid: int


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    """There is no process, and this is why."""

    run: RunId
    why: str
    retry: bool = True
    """False: trying again cannot help until somebody changes something (no such command)."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """A process of an earlier daemon was proven to be this unit's run and is watched again."""

    run: RunId
    pid: int
    started_at: float
    """Monotonic seconds, on this daemon's clock."""
    started: bool = True
    """It had passed its startup probe; if not, that is asked again."""


@dataclass(frozen=True, slots=True)
class Exited:
    """The first process of the run ended. Others of its tree may still live."""

    run: RunId
    exit: Exit


@dataclass(frozen=True, slots=True)
class Cleared:
    """The rest of the run's tree was looked for and killed; `left` is what could not be ended.

    Empty `left` is the proof: no process of the tree exists and the ports are free.
    """

    run: RunId
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Probed:
    """A probe that was asked for has its answer."""

    run: RunId
    kind: ProbeKind
    result: ProbeResult


@dataclass(frozen=True, slots=True)
class Exceeded:
    """The run uses more of something than its limits allow."""

    run: RunId
    why: str


@dataclass(frozen=True, slots=True)
class Matched:
    """The run printed a line that fits a pattern of a remedy.

    It may come when the run is gone already: what it printed last is why it is.
    """

    run: RunId
    pattern: str
    line: str


@dataclass(frozen=True, slots=True)
class Applied:
    """A step of a remedy is over."""

    number: int
    """Of the `Apply` that this answers."""
    ok: bool
    detail: str
    """What came of it, in words: "rm exited with code 0"."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The machine slept, or the daemon could not act for a while: nothing seen meanwhile counts."""

    lost: float
    """Seconds that passed on the daemon's clock meanwhile; 0 if that clock slept as well."""


@dataclass(frozen=True, slots=True)
class TimePassed:
    """The unit's own deadline may have come. Always harmless, however early or often."""


Event = (
    Start
    | Stop
    | Restart
    | Respec
    | Forget
    | Admitted
    | Held
    | Spawned
    | SpawnFailed
    | Adopted
    | Exited
    | Cleared
    | Probed
    | Exceeded
    | Matched
    | Applied
    | Resumed
    | TimePassed
)
