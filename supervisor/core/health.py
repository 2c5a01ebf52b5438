"""What the probes of one run have shown, and when each is asked next.

Startup gates the others. The words and rules are the kubelet's: kubernetes.io, "Configure Liveness,
Readiness and Startup Probes". What an answer means is in `supervisor.core.judgement`.
"""

from dataclasses import dataclass, replace
from math import inf

from supervisor.core.events import ProbeResult, RunId
from supervisor.core.jitter import fraction
from supervisor.core.spec import ProbeKind, ServiceSpec
from supervisor.core.verdicts import Dead

FIRST_STARTUP_PROBE = 0.05
"""Seconds after spawn, at most, until the first startup probe: a fast service is seen fast."""

RESUME_GRACE = 10.0
"""Seconds after a sleep in which failures do not count: what was swapped out, or has a GPU to wake,
answers late."""

_AFTER_START = (ProbeKind.READINESS, ProbeKind.LIVENESS, ProbeKind.TRANSACTION)


@dataclass(frozen=True, slots=True)
class Tally:
    """What is known of one probe of one run."""

    due: float
    """When to ask next, on the monotonic clock."""
    asking: bool = False
    streak: int = 0
    """Successes in a row if positive, failures in a row if negative."""
    last: ProbeResult | None = None
    last_at: float = 0.0
    notice: str | None = None
    """What the latest success had to say; a failure says nothing about it."""
    excused_since: float | None = None
    """Since when it was silence excused by work, or put off for it, and no answer in between."""


@dataclass(frozen=True, slots=True)
class Health:
    """The state of all probes of one run."""

    started: bool
    """The startup probe has succeeded, or there is none."""
    ready: bool
    tallies: tuple[tuple[ProbeKind, Tally], ...] = ()
    """Only the probes that are being asked now."""
    loading_since: float = 0.0
    """From when its time to start counts: not while it slept, nor under another supervisor."""
    started_by: float | None = None
    """When the startup probe must have succeeded."""
    healthy_since: float | None = None
    """When the run last became ready."""
    spoken: ProbeResult | None = None
    """The latest result of any probe, for people."""
    spoken_kind: ProbeKind | None = None
    spoken_at: float = 0.0
    told_notice: str | None = None
    """The notice as the journal has it."""
    notices_at: tuple[float, ...] = ()
    """When changes of it were told, within the last `judgement.NOTICE_WINDOW`."""
    lenient_until: float = 0.0
    """Until when failures do not count, after a sleep."""
    working: bool = False
    """By its own latest word it works on something."""
    told_busy_at: float = -inf
    """When the journal was last told that silence is excused."""

    def busy(self) -> bool:
        """Tell whether the run works on something, so far as is known."""
        return self.working or any(t.excused_since is not None for _, t in self.tallies)

    def notice(self) -> str | None:
        """Return in what the run works otherwise than asked, or None."""
        return next((tally.notice for _, tally in self.tallies if tally.notice), None)

    def is_proven(self, spec: ServiceSpec) -> bool:
        """Tell whether any probe has shown that a ready run does its work."""
        transaction = self.tally(ProbeKind.TRANSACTION)
        succeeded = transaction is not None and transaction.streak > 0
        return spec.startup is not None or spec.readiness is not None or succeeded

    def tally(self, kind: ProbeKind) -> Tally | None:
        """Return what is known of this probe, or None if it is not being asked."""
        return next((tally for its, tally in self.tallies if its is kind), None)

    def put(self, kind: ProbeKind, tally: Tally) -> "Health":
        """Return the health with this known of a probe that is being asked."""
        tallies = tuple((its, tally if its is kind else old) for its, old in self.tallies)
        return replace(self, tallies=tallies)

    def works(self, spec: ServiceSpec) -> bool:
        """Tell whether every probe that decides on it says that the run does its work."""
        transaction = self.tally(ProbeKind.TRANSACTION)
        if transaction is not None and transaction.streak < 0:
            return False
        readiness = self.tally(ProbeKind.READINESS)
        return spec.readiness is None or (
            readiness is not None and readiness.streak >= spec.readiness.successes
        )


def begin(spec: ServiceSpec, run: RunId, now: float) -> Health:
    """Return the health of a run that was spawned just now."""
    if spec.startup is not None:
        spread = min(spec.startup.every, FIRST_STARTUP_PROBE)
        due = now + spread * fraction(spec.name, run)
        return Health(
            started=False,
            ready=False,
            tallies=((ProbeKind.STARTUP, Tally(due)),),
            loading_since=now,
            started_by=None if spec.startup.budget is None else now + spec.startup.budget,
        )
    return watched(spec, run, now, Health(started=True, ready=False))


def resume(spec: ServiceSpec, run: RunId, now: float) -> Health:
    """Return the health of a run that had started long ago and was adopted just now."""
    return watched(spec, run, now, Health(started=True, ready=False))


def awake(health: Health, lost: float, now: float) -> Health:
    """Return the health of a run after a sleep in which `lost` seconds passed on this clock.

    Every probe is asked at once, and no failure from before counts: it may be of the sleep. The
    shell gives up the probes that were under way.
    """
    tallies = tuple(
        (
            kind,
            replace(tally, due=now, asking=False, streak=max(0, tally.streak), excused_since=None),
        )
        for kind, tally in health.tallies
    )
    return replace(
        health,
        tallies=tallies,
        loading_since=health.loading_since + lost,
        started_by=None if health.started_by is None else health.started_by + lost,
        healthy_since=None if health.healthy_since is None else health.healthy_since + lost,
        lenient_until=now + RESUME_GRACE,
    )


def adapt(spec: ServiceSpec, run: RunId, health: Health, now: float) -> Health:
    """Return the health of a run whose probes are described anew while it lives."""
    if not health.started and spec.startup is None:
        return watched(spec, run, now, health)
    kinds = _AFTER_START if health.started else (ProbeKind.STARTUP,)
    tallies = []
    for kind in kinds:
        probe = spec.probe(kind)
        if probe is not None:
            old = health.tally(kind) or Tally(now)
            # A shorter period holds from now on, not after the longer one has passed once more.
            tallies.append((kind, replace(old, due=min(old.due, now + probe.every))))
    health = replace(health, tallies=tuple(tallies))
    if not health.started:
        budget = None if spec.startup is None else spec.startup.budget
        return replace(health, started_by=None if budget is None else health.loading_since + budget)
    if not health.ready and health.works(spec):
        return replace(health, ready=True, healthy_since=now)
    return health


def watched(spec: ServiceSpec, run: RunId, now: float, health: Health) -> Health:
    """Return the health of a run that has started just now: the other probes are asked."""
    tallies: list[tuple[ProbeKind, Tally]] = []
    if spec.readiness is not None:
        tallies.append((ProbeKind.READINESS, Tally(now)))
    if spec.liveness is not None:
        # Spread over the second half of the first period, so that a hundred services that
        # started together are not probed together ever after.
        spread = 0.5 + 0.5 * fraction(spec.name, run, "liveness")
        tallies.append((ProbeKind.LIVENESS, Tally(now + spec.liveness.every * spread)))
    if spec.transaction is not None:
        due = now + until_next(spec, run) * (0.5 + 0.5 * fraction(spec.name, run, "first"))
        tallies.append((ProbeKind.TRANSACTION, Tally(due)))
    # Without a readiness probe, having started is all that can be known.
    ready = spec.readiness is None
    return replace(
        health,
        started=True,
        ready=ready,
        healthy_since=now if ready else None,
        tallies=tuple(tallies),
        started_by=None,
    )


def deadline(health: Health) -> float | None:
    """Return when `ask` or `overdue` has something to say next."""
    times = [tally.due for _, tally in health.tallies if not tally.asking]
    if health.started_by is not None:
        times.append(health.started_by)
    return min(times, default=None)


def ask(spec: ServiceSpec, health: Health, now: float) -> tuple[Health, tuple[ProbeKind, ...]]:
    """Return the probes that are due, marked as being asked."""
    due = tuple(k for k, tally in health.tallies if not tally.asking and tally.due <= now)
    if not due:
        return health, ()
    tallies = tuple(
        (kind, replace(tally, asking=True, due=now + spec.asked(kind).every))
        if kind in due
        else (kind, tally)
        for kind, tally in health.tallies
    )
    return replace(health, tallies=tallies), due


def overdue(spec: ServiceSpec, health: Health, now: float) -> Dead | None:
    """Return the verdict on a run that should have started by now and has not."""
    if health.started_by is None or now < health.started_by or spec.startup is None:
        return None
    last = health.spoken.detail if health.spoken else "the startup probe had no answer"
    why = f"did not start within {spec.startup.budget or 0:g} s: {last}"
    return Dead(why, hung=health.spoken is None or health.spoken.is_mute())


def until_next(spec: ServiceSpec, run: RunId) -> float:
    """Return the seconds from one transaction to the next, while all goes well.

    Less than the period by what it takes to fail as often as decides: within one period from its
    last success a service that broke is known to be broken.
    """
    assert spec.transaction is not None  # noqa: S101 - the caller has looked
    return spec.transaction.every * (0.8 + 0.1 * fraction(spec.name, run, "transaction"))


def in_a_row(count: int) -> str:
    """Return how often something happened, in words."""
    return "once" if count == 1 else f"{count} times in a row"
