"""What the answer of a probe means, and what follows from it.

Thresholds count results in a row. A prober's own error (`ProbeResult.ok is None`) leaves every
count as it was. Beyond the kubelet's rules go the transaction, which is costly and decides as
liveness does, and what excuses silence: a server with one thread cannot answer while it works
(`supervisor.core.patience`).
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import assert_never

from supervisor.core.causes import AS_ASKED_AGAIN
from supervisor.core.events import ProbeResult, RunId
from supervisor.core.health import Health, Tally, in_a_row, until_next, watched
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

NOTICES = 5
NOTICE_WINDOW = 600.0
"""Changes of its notice that a run may have told within so many seconds: a text with a clock in it,
asked for every 50 ms, would fill the journal within minutes. That silence was excused is told once
in as many seconds."""


def judge(
    spec: ServiceSpec, run: RunId, health: Health, kind: ProbeKind, result: ProbeResult, now: float
) -> tuple[Health, tuple[Verdict, ...]]:
    """Count one result. A result of a probe that is not being asked changes nothing."""
    tally = health.tally(kind)
    if tally is None or not tally.asking:
        return health, ()
    health = replace(health, spoken=result, spoken_kind=kind, spoken_at=now)
    probe = spec.asked(kind)
    if is_excused(spec.busy_deadline, kind, tally, result, now):
        return _excuse(probe, health, kind, tally, result, now)
    if result.ok is None or (not result.ok and now < health.lenient_until):
        again = soon(probe, kind, tally, now)
        return health.put(kind, replace(tally, asking=False, due=again)), ()
    sign = 1 if result.ok else -1
    streak = tally.streak + sign if tally.streak * sign > 0 else sign
    if kind is ProbeKind.TRANSACTION and result.ok:
        due = tally.due - probe.every + until_next(spec, run)
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
    health = health.put(kind, counted)
    if result.ok and result.busy is not None:
        health = replace(health, working=result.busy)
    verdicts: tuple[Verdict, ...]
    match kind:
        case ProbeKind.STARTUP:
            if streak < probe.successes:
                return health, ()
            health = watched(spec, run, now, health)
            return health, (BecameReady(result.detail),) if health.ready else ()
        case ProbeKind.READINESS:
            health, verdicts = _judge_readiness(spec, health, streak, result, now)
        case ProbeKind.LIVENESS:
            verdicts = tuple(_judge_liveness(probe, streak, result))
        case ProbeKind.TRANSACTION:
            health, verdicts = _judge_transaction(spec, health, streak, result, now)
        case _:
            assert_never(kind)
    if not result.ok:
        return health, verdicts
    health, noticed = _notice_change(health, now)
    return health, (*verdicts, *noticed)


def _judge_readiness(
    spec: ServiceSpec, health: Health, streak: int, result: ProbeResult, now: float
) -> tuple[Health, tuple[Verdict, ...]]:
    if result.ok:
        return _perhaps_ready(spec, health, result, now)
    if health.ready and -streak >= spec.asked(ProbeKind.READINESS).failures:
        health = replace(health, ready=False, healthy_since=None)
        transaction = health.tally(ProbeKind.TRANSACTION)
        if transaction is not None and not transaction.asking:
            # What answers /health wrongly is probably broken: sooner known, sooner healed.
            health = health.put(ProbeKind.TRANSACTION, replace(transaction, due=now))
        return health, (BecameUnready(f"{in_a_row(-streak)}: {result.detail}"),)
    return health, (FirstFailure(result.detail),) if health.ready and streak == -1 else ()


def _judge_liveness(probe: ProbeSpec, streak: int, result: ProbeResult) -> Iterator[Verdict]:
    # At least, not equal: a threshold lowered by a reload must still be noticed.
    if -streak >= probe.failures:
        yield _dead(ProbeKind.LIVENESS, streak, result)
    elif streak == -1:
        yield FirstFailure(result.detail)


def _judge_transaction(
    spec: ServiceSpec, health: Health, streak: int, result: ProbeResult, now: float
) -> tuple[Health, tuple[Verdict, ...]]:
    if result.ok:
        return _perhaps_ready(spec, health, result, now)
    if -streak >= spec.asked(ProbeKind.TRANSACTION).failures:
        return health, (_dead(ProbeKind.TRANSACTION, streak, result),)
    if health.ready:
        # Once is enough for this: it was tried in earnest, and it did not work.
        why = f"{in_a_row(-streak)}: {result.detail}"
        return replace(health, ready=False, healthy_since=None), (BecameUnready(why),)
    return health, (FirstFailure(result.detail),) if streak == -1 else ()


def _perhaps_ready(
    spec: ServiceSpec, health: Health, result: ProbeResult, now: float
) -> tuple[Health, tuple[Verdict, ...]]:
    """Let a success make the run ready, if no other probe has anything against it."""
    if health.ready or not health.works(spec):
        return health, ()
    return replace(health, ready=True, healthy_since=now), (BecameReady(result.detail),)


def _dead(kind: ProbeKind, streak: int, result: ProbeResult) -> Dead:
    why = f"failed its {kind} probe {in_a_row(-streak)}: {result.detail}"
    return Dead(why, hung=result.is_mute())


def _notice_change(health: Health, now: float) -> tuple[Health, tuple[Noticed, ...]]:
    """Return what is to be told of the notice: once for each change, and no more than may be."""
    notice = health.notice()
    recent = tuple(at for at in health.notices_at if now - at < NOTICE_WINDOW)
    if notice == health.told_notice or len(recent) >= NOTICES:
        return health, ()
    health = replace(health, told_notice=notice, notices_at=(*recent, now))
    return health, (Noticed(notice or AS_ASKED_AGAIN),)


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
    health = health.put(kind, excused)
    told = result.ok is False and begins and now - health.told_busy_at >= NOTICE_WINDOW
    if not told:
        return health, ()
    return replace(health, told_busy_at=now), (Excused(result.detail),)
