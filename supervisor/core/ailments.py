"""What is wrong with a run that does not do its work, in one word and in a sentence. Pure."""

from supervisor.core.events import Fault, Probed
from supervisor.core.health import Health, in_a_row
from supervisor.core.spec import ProbeKind

WAITING = "waiting for the readiness probe"

_ANY = tuple(ProbeKind)
_AILMENTS = (
    ("unreachable", Fault.UNREACHABLE, _ANY),
    ("hung", Fault.SILENT, _ANY),
    ("broken", Fault.WRONG, (ProbeKind.TRANSACTION, ProbeKind.LIVENESS)),
    ("unready", Fault.REFUSED, _ANY),
    ("unready", Fault.WRONG, _ANY),
)
"""Which fault of which probe makes which state, what weighs more first."""


def ailment(health: Health) -> tuple[str, str]:
    """Return what is wrong with a run that has started and is not ready: one word, and a sentence.

    The word is unreachable, hung, broken or unready; the sentence is empty where no probe has
    failed yet.
    """
    failing = [(kind, tally) for kind, tally in health.tallies if tally.streak < 0]
    for word, fault, kinds in _AILMENTS:
        for kind, tally in failing:
            if tally.last is not None and tally.last.fault is fault and kind in kinds:
                return word, f"{kind} probe failed {in_a_row(-tally.streak)}: {tally.last.detail}"
    return "unready", ""


def change_of_reason(before: Health, now: Health, event: Probed) -> str | None:
    """Return the words that fit the state into which an answer has brought a run.

    None if the state is what it was, and where health itself has told of the change.
    """
    if now.ready and before.ready and now.busy() != before.busy():
        if now.working:
            return "works on something, by its own word"
        detail = event.result.detail
        return f"{event.kind} probe: {detail}" if now.busy() else detail
    if now.started and not now.ready and not before.ready:
        word, why = ailment(now)
        if word != ailment(before)[0]:
            return why or WAITING
    return None


def first_reason(health: Health) -> str:
    """Return the words for a run of which no probe has said anything yet."""
    if health.ready:
        return "running; it has no probe that could say whether it works"
    return WAITING if health.started else "waiting for the startup probe"
