"""What the probes of one run have shown, and what follows from it.

Startup gates readiness and liveness. Thresholds count results in a row. A prober's own error
(`ProbeResult.ok is None`) leaves every count as it was. The words and rules are the kubelet's:
kubernetes.io, "Configure Liveness, Readiness and Startup Probes".
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import assert_never
from zlib import crc32

from supervisor.core.events import ProbeResult, RunId
from supervisor.core.spec import ProbeKind, ProbeSpec, ServiceSpec

FIRST_STARTUP_PROBE = 0.05
"""Seconds after spawn, at most, until the first startup probe: a fast service is seen fast."""

RESUME_GRACE = 10.0
"""Seconds after a sleep in which failures do not count: what was swapped out, or has a GPU to wake,
answers late."""

NOTICES = 5
NOTICE_WINDOW = 600.0
"""Changes of its notice that a run may have told within so many seconds: a text with a clock in it,
asked for every 50 ms, would fill the journal within minutes."""


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

    def notice(self) -> str | None:
        """Return in what the run works otherwise than asked, or None."""
        return next((tally.notice for _, tally in self.tallies if tally.notice), None)

    def tally(self, kind: ProbeKind) -> Tally | None:
        """Return what is known of this probe, or None if it is not being asked."""
        return next((tally for its, tally in self.tallies if its is kind), None)


@dataclass(frozen=True, slots=True)
class BecameReady:
    """The run does its work now."""

    why: str


@dataclass(frozen=True, slots=True)
class BecameUnready:
    """The run lives, and does not do its work."""

    why: str


@dataclass(frozen=True, slots=True)
class FirstFailure:
    """A probe that had succeeded failed once; nothing follows from it yet."""

    why: str


@dataclass(frozen=True, slots=True)
class Noticed:
    """The run has something else, or nothing more, to tell people; it works as before."""

    words: str


@dataclass(frozen=True, slots=True)
class Dead:
    """The run must be replaced."""

    why: str


Verdict = BecameReady | BecameUnready | FirstFailure | Noticed | Dead


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
        (kind, replace(tally, due=now, asking=False, streak=max(0, tally.streak)))
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
    for kind in (ProbeKind.READINESS, ProbeKind.LIVENESS):
        probe = spec.probe(kind)
        if probe is not None:
            old = health.tally(kind) or Tally(now)
            # A shorter period holds from now on, not after the longer one has passed once more.
            tallies.append((kind, replace(old, due=min(old.due, now + probe.every))))
    health = replace(health, tallies=tuple(tallies))
    if spec.readiness is None and not health.ready:
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
    return Dead(f"did not start within {_seconds(spec.startup.budget or 0)}: {last}")


def judge(
    spec: ServiceSpec, run: RunId, health: Health, kind: ProbeKind, result: ProbeResult, now: float
) -> tuple[Health, tuple[Verdict, ...]]:
    """Count one result. A result of a probe that is not being asked changes nothing."""
    tally = health.tally(kind)
    if tally is None or not tally.asking:
        return health, ()
    if result.ok is None or (not result.ok and now < health.lenient_until):
        told = replace(health, spoken=result, spoken_kind=kind, spoken_at=now)
        return _put(told, kind, replace(tally, asking=False)), ()
    sign = 1 if result.ok else -1
    streak = tally.streak + sign if tally.streak * sign > 0 else sign
    counted = Tally(
        max(tally.due, now),
        asking=False,
        streak=streak,
        last=result,
        last_at=now,
        notice=result.notice if result.ok else tally.notice,
    )
    health = replace(_put(health, kind, counted), spoken=result, spoken_kind=kind, spoken_at=now)
    probe = _probe(spec, kind)
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
        case _:
            assert_never(kind)
    if not result.ok:
        return health, verdicts
    health, noticed = _notice_change(health, now)
    return health, (*verdicts, *noticed)


def _judge_readiness(
    probe: ProbeSpec, health: Health, streak: int, result: ProbeResult, now: float
) -> tuple[Health, tuple[Verdict, ...]]:
    if not health.ready and streak >= probe.successes:
        return replace(health, ready=True, healthy_since=now), (BecameReady(result.detail),)
    if health.ready and -streak >= probe.failures:
        why = f"{_times(-streak)} in a row: {result.detail}"
        return replace(health, ready=False, healthy_since=None), (BecameUnready(why),)
    return health, (FirstFailure(result.detail),) if health.ready and streak == -1 else ()


def _judge_liveness(probe: ProbeSpec, streak: int, result: ProbeResult) -> Iterator[Verdict]:
    # At least, not equal: a threshold lowered by a reload must still be noticed.
    if -streak >= probe.failures:
        yield Dead(f"failed its liveness probe {_times(-streak)} in a row: {result.detail}")
    elif streak == -1:
        yield FirstFailure(result.detail)


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


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _seconds(value: float) -> str:
    return f"{value:g} s"
