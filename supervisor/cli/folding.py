"""What happens again and again, told once: a crash loop of fifty runs in a few lines. Pure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from supervisor.core.effects import Topic
from supervisor.journal import Entry

LONGEST_ROUND = 10
"""Entries of the longest round that is recognised: a hang has eight, from start to restart."""
_WORTH = 2
"""Lines that a fold must save: one to say "the same again" saves nothing by itself."""
_VARIES = re.compile(
    r"\b(?:run|pid|restart|failure) \d+|\d+\.\d+|\d+(?= ?(?:[kMG]i?B|ms|s|min|h|bytes?)\b)"
)
"""What differs between two of a kind; the code of an exit or of HTTP makes them two kinds."""


@dataclass(frozen=True, slots=True)
class Again:
    """The entries before it came again, so often, in the same order."""

    times: int
    entries: tuple[Entry, ...]
    """All of them, oldest first."""


def fold(entries: Sequence[Entry]) -> Iterator[Entry | Again]:
    """Yield entries, and an `Again` in place of each round that repeats the one before it."""
    shapes = [_shape(entry) for entry in entries]
    at = 0
    while at < len(entries):
        length, rounds = _longest(shapes, at)
        yield from entries[at : at + length]
        end = at + length * rounds
        if rounds > 1:
            yield Again(rounds - 1, tuple(entries[at + length : end]))
        at = end


def _longest(shapes: Sequence[tuple[str, ...]], at: int) -> tuple[int, int]:
    """Return length and number of the equal rounds from here that save most; (1, 1) if none."""
    best, most = (1, 1), 0
    for length in range(1, LONGEST_ROUND + 1):
        rounds = 1
        begin = at + length
        while shapes[begin : begin + length] == shapes[at : at + length]:
            rounds += 1
            begin += length
        saved = (rounds - 1) * length - 1
        if saved >= _WORTH and saved > most:
            best, most = (length, rounds), saved
    return best


def _shape(entry: Entry) -> tuple[str, ...]:
    match entry.topic:
        case Topic.STARTED:
            return (entry.unit, entry.topic)
        case Topic.RESTARTING:
            # How long it waits grows from one to the next.
            return (entry.unit, entry.topic, _VARIES.sub("#", entry.text.rpartition("; ")[0]))
        case _:
            return (entry.unit, entry.topic, _VARIES.sub("#", entry.text))
