"""What came of one try to tell somebody."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Delivered:
    """It has arrived; `words` say what was answered."""

    words: str


@dataclass(frozen=True, slots=True)
class Missed:
    """It has not; `words` say why, without any secret."""

    words: str
    again: bool
    """Another try may help."""
    after: float | None = None
    """Seconds that the other side wants to be left alone."""


Outcome = Delivered | Missed
