"""What follows from the results of probes: what `supervisor.core.judgement` tells the unit."""

from dataclasses import dataclass


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
class Excused:
    """The run is silent because it works; nothing follows from it."""

    why: str


@dataclass(frozen=True, slots=True)
class Dead:
    """The run must be replaced."""

    why: str
    hung: bool = False
    """It does not speak, so only a look into it can tell what it does."""


Verdict = BecameReady | BecameUnready | FirstFailure | Noticed | Excused | Dead
