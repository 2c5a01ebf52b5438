"""What an entry of the journal means to those who are told: pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from supervisor.core.effects import Topic
from supervisor.core.notify import Target, Transition


@dataclass(frozen=True, slots=True)
class Happening:
    """One entry of the journal, as far as it is told."""

    seq: int
    at: float
    """Unix seconds."""
    service: str
    """Empty: the supervisor itself."""
    topic: str
    text: str
    run: int | None = None


TROUBLE: Final = frozenset(
    {Transition.FAILED, Transition.CRASHED, Transition.UNREADY, Transition.HUNG}
)
"""From which a service recovers."""

_OF_SERVICES: Final[Mapping[str, Transition]] = {
    Topic.GAVE_UP: Transition.FAILED,
    Topic.LEFT_OVER: Transition.FAILED,
    Topic.RESTARTING: Transition.CRASHED,
    Topic.UNREADY: Transition.UNREADY,
    Topic.DUMPED: Transition.HUNG,
    Topic.REMEDY: Transition.REMEDY,
    Topic.NOTICE: Transition.NOTICE,
    Topic.STARTED: Transition.STARTED,
    Topic.ADOPTED: Transition.STARTED,
    Topic.READY: Transition.RECOVERED,
    Topic.ROLLED: Transition.RECOVERED,
    Topic.COMPLETED: Transition.COMPLETED,
    Topic.STOPPED: Transition.STOPPED,
}
_OF_THE_SUPERVISOR: Final = frozenset(
    {Topic.BEGAN, Topic.UPGRADED, Topic.RELOADED, Topic.ENDED, Topic.RESUMED}
)


def meaning(happening: Happening, unproven: Collection[str]) -> tuple[Transition, ...]:
    """Return what it is to be told as, if at all.

    `unproven` are services without a probe that could say that they work: these have recovered
    when they run again.
    """
    if not happening.service:
        return (Transition.DAEMON,) if happening.topic in _OF_THE_SUPERVISOR else ()
    transition = _OF_SERVICES.get(happening.topic)
    if transition is None:
        return ()
    works = transition is Transition.COMPLETED or (
        transition is Transition.STARTED and happening.service in unproven
    )
    return (transition, Transition.RECOVERED) if works else (transition,)


def hear(
    target: Target, troubled: frozenset[str], transition: Transition, service: str
) -> tuple[frozenset[str], bool]:
    """Return which services are in trouble as the target knows it, and whether to tell it this.

    Only a trouble that it was told of is one from which a service recovers: nobody wants to hear
    that all is well again who has not heard that it was not.
    """
    relevant = TROUBLE.intersection(target.when) or TROUBLE
    if transition is Transition.RECOVERED:
        recovers = service in troubled
        return troubled - {service}, recovers and target.wants(transition, service)
    if transition in relevant and (target.services is None or service in target.services):
        troubled |= {service}
    elif transition is Transition.STOPPED:
        # Somebody has taken it in hand.
        troubled -= {service}
    return troubled, target.wants(transition, service)
