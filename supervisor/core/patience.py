"""What is made of a service that works on something: what is excused, put off, and for how long.

A server with one thread cannot answer while it works, and a costly question should not compete with
somebody's. Both have a bound, `busy_deadline`, since a connection that lies idle looks like work.
"""

from typing import Final

from supervisor.core.events import Fault, ProbeResult
from supervisor.core.health import Tally
from supervisor.core.spec import ProbeKind, ProbeSpec, ServiceSpec

SOONEST: Final = 0.05
LATEST: Final = 10.0
"""Seconds, at least and at most, until a transaction that failed or was put off is asked again."""


def waits_for_idleness(spec: ServiceSpec, kind: ProbeKind, tally: Tally | None, now: float) -> bool:
    """Tell whether a question that is due is put off if the service works on something now.

    Not one that has failed already: whether it was right must be known.
    """
    if tally is None or tally.streak < 0:
        return False
    since = tally.excused_since
    return spec.asked(kind).idle and (since is None or now - since < spec.busy_deadline)


def is_excused(
    deadline: float, kind: ProbeKind, tally: Tally, result: ProbeResult, now: float
) -> bool:
    """Tell whether a result counts for nothing because the service works on something."""
    since = tally.excused_since
    if result.busy is None or result.ok or kind is ProbeKind.STARTUP:
        return False
    if result.ok is None:
        return result.busy
    if result.fault is Fault.REFUSED:
        # "Too much to do" from one that has much to do: the truth, for as long as it lasts.
        return result.busy and kind is ProbeKind.TRANSACTION
    in_time = since is None or now - since < deadline
    # Work may have ended after the question came and before anybody looked for it.
    worked = result.busy or since is not None
    return result.fault is Fault.SILENT and worked and in_time


def soon(probe: ProbeSpec, kind: ProbeKind, tally: Tally, now: float) -> float:
    """Return when to ask next where the last answer was no success."""
    if kind is not ProbeKind.TRANSACTION:
        return max(tally.due, now)
    between = probe.every / 10 / max(1, probe.failures - 1)
    return now + max(SOONEST, min(LATEST, between))
