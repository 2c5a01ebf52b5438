"""Checks that numbered lines arrived complete, in order and once. Pure.

The lines are those of `children/beacon.c`: twelve digits, a space, filler, 100 bytes in all.
"""

from collections.abc import Iterable
from dataclasses import dataclass

WIDTH = 100
_DIGITS = 12
_FILLER = b" " + b"x" * (WIDTH - _DIGITS - 2)


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of `count` lines."""

    count: int
    lost: int
    """Numbers that are in no whole line."""
    doubled: int
    """Lines beyond the first of their number."""
    misplaced: int
    """Lines that follow one of a higher number."""
    broken: int
    """Lines that are neither whole nor a remark."""
    remarks: int
    """The supervisor's own lines between them."""

    def perfect(self) -> bool:
        """Tell whether every line is there once, whole and in its place."""
        return not (self.lost or self.doubled or self.misplaced or self.broken)


def tally(chunks: Iterable[bytes], count: int, remark: bytes = b"") -> Tally:
    """Count the lines of a log that is given in pieces of any size, oldest first.

    Lines may be cut anywhere between two pieces. `remark` begins the lines that the supervisor
    adds of its own; empty if it adds none.
    """
    seen = bytearray(count)
    doubled = misplaced = broken = remarks = 0
    highest = -1
    rest = b""

    def take(line: bytes) -> None:
        nonlocal doubled, misplaced, broken, remarks, highest
        number = _number(line)
        if number is not None and number < count:
            doubled += seen[number]
            seen[number] = 1
            misplaced += number < highest
            highest = max(highest, number)
        elif remark and line.startswith(remark):
            remarks += 1
        else:
            broken += 1

    for chunk in chunks:
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        for line in lines:
            take(line)
    if rest:
        take(rest)
    return Tally(count, count - sum(seen), doubled, misplaced, broken, remarks)


def is_last(tail: bytes, count: int) -> bool:
    """Tell whether the end of a log holds the last of `count` lines."""
    return b"%012d" % (count - 1) + _FILLER + b"\n" in tail


def _number(line: bytes) -> int | None:
    if line[_DIGITS:] == _FILLER and line[:_DIGITS].isdigit():
        return int(line[:_DIGITS])
    return None
