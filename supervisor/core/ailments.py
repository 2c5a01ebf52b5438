"""What is wrong with a run that does not do its work, in one word and in a sentence. Pure."""

from supervisor.core.events import Fault
from supervisor.core.health import Health, in_a_row
from supervisor.core.spec import ProbeKind

_ANY = tuple(ProbeKind)
_AILMENTS = (
    ("unreachable", Fault.UNREACHABLE, _ANY),
    ("hung", Fault.SILENT, _ANY),
    ("broken", Fault.WRONG, (ProbeKind.TRANSACTION, ProbeKind.LIVENESS)),
    ("broken", Fault.REFUSED, (ProbeKind.LIVENESS,)),
    ("unready", Fault.REFUSED, _ANY),
    ("unready", Fault.WRONG, _ANY),
)
"""Which fault of which probe makes which state, what weighs more first."""


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


def ailment(health: Health) -> tuple[str, str]:
    """Return what is wrong with a run that has started and is not ready: one word, and a sentence.

    The word is unreachable, hung, broken or unready; the sentence is empty where no probe has
    failed yet.
    """
    failing = [(kind, tally) for kind, tally in health.tallies if tally.streak < 0]
    # The dearest question first: its answer says most.
    failing.reverse()
    for word, fault, kinds in _AILMENTS:
        for kind, tally in failing:
            if tally.last is not None and tally.last.fault is fault and kind in kinds:
                return word, f"{kind} probe failed {in_a_row(-tally.streak)}: {tally.last.detail}"
    return "unready", ""
