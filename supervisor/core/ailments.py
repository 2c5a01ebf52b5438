"""What is wrong with a run that does not do its work, in one word and in a sentence. Pure."""

from supervisor.core.events import Fault
from supervisor.core.health import Health, in_a_row
from supervisor.core.spec import ProbeKind

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
    # The dearest question first: its answer says most.
    failing.reverse()
    for word, fault, kinds in _AILMENTS:
        for kind, tally in failing:
            if tally.last is not None and tally.last.fault is fault and kind in kinds:
                return word, f"{kind} probe failed {in_a_row(-tally.streak)}: {tally.last.detail}"
    return "unready", ""
