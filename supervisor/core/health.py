"""What the probes of one run have shown, and what follows from it.

Startup gates the others. Thresholds count results in a row. A prober's own error
(`ProbeResult.ok is None`) leaves every count as it was. The words and rules are the kubelet's:
kubernetes.io, "Configure Liveness, Readiness and Startup Probes". Beyond them go the transaction,
which is costly and decides as liveness does, and what excuses silence: a server with one thread
cannot answer while it works. It is excused for `busy_deadline`, since a connection that lies idle
looks like work.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf
from typing import assert_never
from zlib import crc32

from supervisor.core.events import Fault, ProbeResult, RunId
from supervisor.core.patience import is_excused, soon
from supervisor.core.spec import ProbeKind, ProbeSpec, ServiceSpec
from supervisor.core.verdicts import (
    BecameReady,
    BecameUnready,
    Dead,
    Excused,
    FirstFailure,
    Noticed,
    Verdict,
)

FIRST_STARTUP_PROBE = 0.05
"""Seconds after spawn, at most, until the first startup probe: a fast service is seen fast."""

RESUME_GRACE = 10.0
"""Seconds after a sleep in which failures do not count: what was swapped out, or has a GPU to wake,
answers late."""

NOTICES = 5
NOTICE_WINDOW = 600.0
"""Changes of its notice that a run may have told within so many seconds: a text with a clock in it,
asked for every 50 ms, would fill the journal within minutes. That silence was excused is told once
in as many seconds."""


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
    """When changes of it were told, within the last NOTICE_WINDOW."""
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


def fraction(*of: object) -> float:
    """Return a number in [0, 1) that only depends on the arguments.

    Jitter without randomness: services differ from each other and runs from each other, and
    a replayed history gives the same delays.
    """
    return crc32(":".join(map(str, of)).encode()) / 2**32


def begin(spec: ServiceSpec, run: RunId, now: float) -> Health:
    """Return the health of a run that was spawned just now."""
    if spec.startup is not None:
        spread = min(spec.startup.every, FIRST_STARTUP_PROBE)
        due = now + spread * fraction(spec.name, run)
        return Health(
            started=False,
            ready=False,
            tallies=((ProbeKind.STARTUP, Tally(due)),),
            started_by=None if spec.startup.budget is None else now + spec.startup.budget,
        )
    return _start_watching(spec, run, now, Health(started=True, ready=False))


def resume(spec: ServiceSpec, run: RunId, now: float) -> Health:
    """Return the health of a run that had started long ago and was adopted just now."""
    return _start_watching(spec, run, now, Health(started=True, ready=False))


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
        started_by=None if health.started_by is None else health.started_by + lost,
        healthy_since=None if health.healthy_since is None else health.healthy_since + lost,
        lenient_until=now + RESUME_GRACE,
    )


def adapt(spec: ServiceSpec, run: RunId, started_at: float, health: Health, now: float) -> Health:
    """Return the health of a run whose probes are described anew while it lives."""
    if not health.started:
        if spec.startup is None:
            return _start_watching(spec, run, now, health)
        budget = spec.startup.budget
        tally = health.tally(ProbeKind.STARTUP) or Tally(now)
        started_by = None if budget is None else started_at + budget
        return replace(health, tallies=((ProbeKind.STARTUP, tally),), started_by=started_by)
    tallies = []
    for kind in (ProbeKind.READINESS, ProbeKind.LIVENESS, ProbeKind.TRANSACTION):
        probe = spec.probe(kind)
        if probe is not None:
            old = health.tally(kind) or Tally(now)
            # A shorter period holds from now on, not after the longer one has passed once more.
            tallies.append((kind, replace(old, due=min(old.due, now + probe.every))))
    health = replace(health, tallies=tuple(tallies))
    if not health.ready and _works(spec, health):
        return replace(health, ready=True, healthy_since=now)
    return health


def _start_watching(spec: ServiceSpec, run: RunId, now: float, health: Health) -> Health:
    tallies: list[tuple[ProbeKind, Tally]] = []
    if spec.readiness is not None:
        tallies.append((ProbeKind.READINESS, Tally(now)))
    if spec.liveness is not None:
        # Spread over the second half of the first period, so that a hundred services that
        # started together are not probed together ever after.
        spread = 0.5 + 0.5 * fraction(spec.name, run, "liveness")
        tallies.append((ProbeKind.LIVENESS, Tally(now + spec.liveness.every * spread)))
    if spec.transaction is not None:
        due = now + _until_next(spec, run) * (0.5 + 0.5 * fraction(spec.name, run, "first"))
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
        (kind, replace(tally, asking=True, due=now + _probe(spec, kind).every))
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
    why = f"did not start within {_seconds(spec.startup.budget or 0)}: {last}"
    return Dead(why, hung=health.spoken is None or _does_not_speak(health.spoken))


def judge(
    spec: ServiceSpec, run: RunId, health: Health, kind: ProbeKind, result: ProbeResult, now: float
) -> tuple[Health, tuple[Verdict, ...]]:
    """Count one result. A result of a probe that is not being asked changes nothing."""
    tally = health.tally(kind)
    if tally is None or not tally.asking:
        return health, ()
    health = replace(health, spoken=result, spoken_kind=kind, spoken_at=now)
    probe = _probe(spec, kind)
    if is_excused(spec.busy_deadline, kind, tally, result, now):
        return _excuse(probe, health, kind, tally, result, now)
    if result.ok is None or (not result.ok and now < health.lenient_until):
        return _put(
            health, kind, replace(tally, asking=False, due=soon(probe, kind, tally, now))
        ), ()
    sign = 1 if result.ok else -1
    streak = tally.streak + sign if tally.streak * sign > 0 else sign
    if kind is ProbeKind.TRANSACTION and result.ok:
        due = tally.due - probe.every + _until_next(spec, run)
    else:
        due = soon(probe, kind, tally, now)
    counted = Tally(
        max(due, now),
        asking=False,
        streak=streak,
        last=result,
        last_at=now,
        notice=result.notice if result.ok else tally.notice,
        # Silence that is past its excuse must not be given another at the next question.
        excused_since=tally.excused_since if result.busy and not result.ok else None,
    )
    health = _put(health, kind, counted)
    if result.ok and result.busy is not None:
        health = replace(health, working=result.busy)
    verdicts: tuple[Verdict, ...]
    match kind:
        case ProbeKind.STARTUP:
            if streak < probe.successes:
                return health, ()
            health = _start_watching(spec, run, now, health)
            return health, (BecameReady(result.detail),) if health.ready else ()
        case ProbeKind.READINESS:
            health, verdicts = _judge_readiness(probe, health, streak, result, now)
        case ProbeKind.LIVENESS:
            verdicts = tuple(_judge_liveness(probe, streak, result))
        case ProbeKind.TRANSACTION:
            health, verdicts = _judge_transaction(spec, probe, health, streak, result, now)
        case _:
            assert_never(kind)
    if not result.ok:
        return health, verdicts
    health, noticed = _notice_change(health, now)
    return health, (*verdicts, *noticed)


def _judge_readiness(
    probe: ProbeSpec, health: Health, streak: int, result: ProbeResult, now: float
) -> tuple[Health, tuple[Verdict, ...]]:
    if not health.ready and streak >= probe.successes and not _transaction_fails(health):
        return replace(health, ready=True, healthy_since=now), (BecameReady(result.detail),)
    if health.ready and -streak >= probe.failures:
        health = replace(health, ready=False, healthy_since=None)
        transaction = health.tally(ProbeKind.TRANSACTION)
        if transaction is not None and not transaction.asking:
            # What answers /health wrongly is probably broken: sooner known, sooner healed.
            health = _put(health, ProbeKind.TRANSACTION, replace(transaction, due=now))
        return health, (BecameUnready(f"{in_a_row(-streak)}: {result.detail}"),)
    return health, (FirstFailure(result.detail),) if health.ready and streak == -1 else ()


def _judge_liveness(probe: ProbeSpec, streak: int, result: ProbeResult) -> Iterator[Verdict]:
    # At least, not equal: a threshold lowered by a reload must still be noticed.
    if -streak >= probe.failures:
        yield _dead(ProbeKind.LIVENESS, streak, result)
    elif streak == -1:
        yield FirstFailure(result.detail)


def _judge_transaction(
    spec: ServiceSpec,
    probe: ProbeSpec,
    health: Health,
    streak: int,
    result: ProbeResult,
    now: float,
) -> tuple[Health, tuple[Verdict, ...]]:
    if result.ok:
        if health.ready or not _works(spec, health):
            return health, ()
        return replace(health, ready=True, healthy_since=now), (BecameReady(result.detail),)
    if -streak >= probe.failures:
        return health, (_dead(ProbeKind.TRANSACTION, streak, result),)
    if health.ready:
        # Once is enough for this: it was tried in earnest, and it did not work.
        why = f"{in_a_row(-streak)}: {result.detail}"
        return replace(health, ready=False, healthy_since=None), (BecameUnready(why),)
    return health, (FirstFailure(result.detail),) if streak == -1 else ()


def _dead(kind: ProbeKind, streak: int, result: ProbeResult) -> Dead:
    why = f"failed its {kind} probe {in_a_row(-streak)}: {result.detail}"
    return Dead(why, hung=_does_not_speak(result))


def _does_not_speak(result: ProbeResult) -> bool:
    return result.ok is False and result.fault in (Fault.SILENT, Fault.UNREACHABLE)


def _works(spec: ServiceSpec, health: Health) -> bool:
    """Tell whether every probe that decides on it says that the run does its work."""
    if _transaction_fails(health):
        return False
    tally = health.tally(ProbeKind.READINESS)
    return spec.readiness is None or (
        tally is not None and tally.streak >= spec.readiness.successes
    )


def _transaction_fails(health: Health) -> bool:
    tally = health.tally(ProbeKind.TRANSACTION)
    return tally is not None and tally.streak < 0


def _notice_change(health: Health, now: float) -> tuple[Health, tuple[Noticed, ...]]:
    """Return what is to be told of the notice: once for each change, and no more than may be."""
    notice = health.notice()
    recent = tuple(at for at in health.notices_at if now - at < NOTICE_WINDOW)
    if notice == health.told_notice or len(recent) >= NOTICES:
        return health, ()
    health = replace(health, told_notice=notice, notices_at=(*recent, now))
    return health, (Noticed(notice or "it works as asked again"),)


def _put(health: Health, kind: ProbeKind, tally: Tally) -> Health:
    tallies = tuple((its, tally if its is kind else old) for its, old in health.tallies)
    return replace(health, tallies=tallies)


def _probe(spec: ServiceSpec, kind: ProbeKind) -> ProbeSpec:
    probe = spec.probe(kind)
    assert probe is not None, f"{spec.name} has no {kind} probe, and yet a tally of it"  # noqa: S101
    return probe


# Work that excuses ---------------------------------------------------------------------------


def _excuse(
    probe: ProbeSpec, health: Health, kind: ProbeKind, tally: Tally, result: ProbeResult, now: float
) -> tuple[Health, tuple[Verdict, ...]]:
    begins = tally.excused_since is None
    since = now if begins else tally.excused_since
    excused = replace(
        tally,
        asking=False,
        due=soon(probe, kind, tally, now),
        excused_since=since if result.busy else None,
    )
    health = _put(health, kind, excused)
    told = result.ok is False and begins and now - health.told_busy_at >= NOTICE_WINDOW
    if not told:
        return health, ()
    return replace(health, told_busy_at=now), (Excused(result.detail),)


def _until_next(spec: ServiceSpec, run: RunId) -> float:
    """Return the seconds from one transaction to the next, while all goes well.

    Less than the period by what it takes to fail as often as decides: within one period from its
    last success a service that broke is known to be broken.
    """
    assert spec.transaction is not None  # noqa: S101 - the caller has looked
    return spec.transaction.every * (0.8 + 0.1 * fraction(spec.name, run, "transaction"))


def in_a_row(count: int) -> str:
    """Return how often something happened, in words."""
    return "once" if count == 1 else f"{count} times in a row"


def _seconds(value: float) -> str:
    return f"{value:g} s"
