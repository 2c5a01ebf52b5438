"""Whether an ended run is followed by another, when, and why: pure policy, no process needed.

The window of failures follows Erlang/OTP's restart intensity (`supervisor.erl`); the delays are
an exponential backoff whose jitter is a function of unit and run, not of chance.
"""

from dataclasses import dataclass
from math import inf

from supervisor.core.events import Exit, RunId
from supervisor.core.exits import describe_exit, succeeded
from supervisor.core.jitter import fraction
from supervisor.core.spec import Backoff, GiveUp, RestartSpec


@dataclass(frozen=True, slots=True)
class Record:
    """What has gone wrong with a unit lately."""

    in_a_row: int = 0
    """Failures since a run was last proven healthy; it sets the delay."""
    recent: tuple[float, ...] = ()
    """When runs failed, oldest first, within the give-up window."""


@dataclass(frozen=True, slots=True)
class Again:
    """Start another run after `delay` seconds."""

    delay: float
    why: str


@dataclass(frozen=True, slots=True)
class Done:
    """The service has done its work and is not started again."""

    why: str


@dataclass(frozen=True, slots=True)
class Enough:
    """No more attempts until an operator asks."""

    why: str


Verdict = Again | Done | Enough


def delay(backoff: Backoff, attempt: int, *of: object) -> float:
    """Return the seconds to wait before restart `attempt` (from 1).

    `of` names what is delayed; equal names give equal jitter.
    """
    try:
        growth = backoff.factor ** (attempt - 1)
    except OverflowError:
        # 2.0 ** 1100 does; a service that never gives up gets there within a day.
        growth = inf
    plain = min(backoff.max, backoff.first * growth) if backoff.first > 0 else 0.0
    return max(0.0, plain * (1 + backoff.jitter * (2 * fraction(*of) - 1)))


def prune(recent: tuple[float, ...], give_up: GiveUp | None, now: float) -> tuple[float, ...]:
    """Return the failures that still count."""
    if give_up is None:
        return ()
    return tuple(at for at in recent if now - at < give_up.within)[-give_up.after :]


def after_exit(
    spec: RestartSpec, record: Record, name: str, run: RunId, ending: Exit, now: float
) -> tuple[Record, Verdict]:
    """Decide on a run that ended though nobody asked it to."""
    words = describe_exit(ending)
    if succeeded(ending) and spec.policy != "always":
        return record, Done(words)
    return after_failure(spec, record, name, run, words, now)


def after_failure(
    spec: RestartSpec, record: Record, name: str, run: RunId, words: str, now: float
) -> tuple[Record, Verdict]:
    """Decide on a run that failed, whatever the policy says of exits."""
    if spec.policy == "never":
        return record, Enough(f"{words}; its restart policy is never")
    recent = prune((*record.recent, now), spec.give_up, now)
    record = Record(record.in_a_row + 1, recent)
    if spec.give_up is not None and len(recent) >= spec.give_up.after:
        within = (
            f"{now - recent[0]:.1f} s (limit {spec.give_up.after} in {spec.give_up.within:g} s)"
        )
        return record, Enough(
            f"failed {len(recent)} times within {within}; the last time it {words}"
        )
    wait = delay(spec.backoff, record.in_a_row, name, run)
    return record, Again(wait, words)


def proven(record: Record, spec: RestartSpec, healthy_for: float | None) -> Record:
    """Forget failures once a run has been healthy for long enough."""
    if healthy_for is not None and healthy_for >= spec.proven_after:
        return Record()
    return record
