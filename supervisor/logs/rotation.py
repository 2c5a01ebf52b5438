"""The names of rotated logs, and the renames that make room for a new one. Pure.

Kept true: the steps of a plan may be cut short after any one of them, and still no file that `keep`
covers is gone, no two files have swapped their order, and the next plan finishes the work. Only
the sink carries plans out, so a name found once stays valid until the sink itself changes it.

Names, newest first: `tts.log`, `tts.log.1`, `tts.log.2.gz`, ... Times are in `.times/` beside them.
NamedTuple and not dataclass, because the sink imports this: `dataclasses` brings `inspect`, which
costs 1.6 MB of the sink's 9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

PACKED = ".gz"
UNFINISHED = ".gz.tmp"
TIMES_FOLDER = ".times"
LARGEST_NUMBER = 999_999


class Rename(NamedTuple):
    """Give a file of the log's folder a new name there."""

    old: str
    new: str


class Remove(NamedTuple):
    """Delete a file of the log's folder."""

    name: str


Step = Rename | Remove


class Rotated(NamedTuple):
    """A log that was rotated away: its number (1 is the newest) and whether it is gzipped."""

    number: int
    packed: bool

    def name(self, base: str) -> str:
        """Return the file name of this log in the family of `base`."""
        return f"{base}.{self.number}{PACKED if self.packed else ''}"


def parse(name: str, base: str) -> Rotated | None:
    """Return what `name` is in the family of `base`; None for a file that is none of ours."""
    if not name.startswith(base + "."):
        return None
    rest = name[len(base) + 1 :]
    packed = rest.endswith(PACKED)
    digits = rest.removesuffix(PACKED)
    # isdigit alone accepts "²"; a leading zero would make two names of one number.
    if not (digits.isascii() and digits.isdigit()) or digits[0] == "0" or len(digits) > 6:
        return None
    return Rotated(int(digits), packed)


def family(names: Iterable[str], base: str) -> list[Rotated]:
    """Return the rotated logs of `base` among `names`, oldest first, raw before gzipped."""
    # A folder may hold the logs of a thousand services: no call for each of their names.
    prefix = f"{base}."
    near = [name for name in names if name.startswith(prefix)]
    found = [rotated for name in near if (rotated := parse(name, base)) is not None]
    return sorted(found, key=lambda rotated: (-rotated.number, rotated.packed))


def reading_order(names: Iterable[str], base: str) -> list[str]:
    """Return the names that hold the log of `base`, oldest first, the current file last.

    Where a raw file and its finished gzip are both there, the two hold the same: one is named.
    """
    present = list(names)
    form = {rotated.number: rotated for rotated in reversed(family(present, base))}
    order = [form[number].name(base) for number in sorted(form, reverse=True)]
    return [*order, base] if base in present else order


def times_name(name: str) -> str:
    """Return the path, relative to the log's folder, of the time index of the log `name`."""
    return f"{TIMES_FOLDER}/{name.removesuffix(PACKED)}.times"


def plan_rotation(names: Iterable[str], base: str, keep: int) -> list[Step]:
    """Return the steps that move `base` to number 1 and leave at most `keep` older logs.

    Logs move up only as far as the first unused number, so a gap that an interrupted plan left
    is closed and nothing is moved without need. Too old ones go first: that frees the disk.
    """
    logs = family(names, base)
    taken = {rotated.number for rotated in logs}
    gap = next(number for number in range(1, len(taken) + 2) if number not in taken)
    steps: list[Step] = []
    for rotated in logs:
        after = rotated.number + (1 if rotated.number < gap else 0)
        if after > keep:
            steps.append(Remove(rotated.name(base)))
        elif after != rotated.number:
            steps.append(Rename(rotated.name(base), Rotated(after, rotated.packed).name(base)))
    steps.append(Rename(base, Rotated(1, packed=False).name(base)) if keep else Remove(base))
    return steps


def plan_repair(names: Iterable[str], base: str, keep: int) -> list[Step]:
    """Return the steps that clear away what a crash, or a smaller `keep`, left too much.

    A `.gz` gets its name only when it is complete, so a raw file of the same number is a leftover.
    """
    present = list(names)
    logs = family(present, base)
    packed = {rotated.number for rotated in logs if rotated.packed}
    steps: list[Step] = [
        Remove(name)
        for name in sorted(name for name in present if name.startswith(f"{base}."))
        if name.endswith(UNFINISHED)
    ]
    steps.extend(
        Remove(rotated.name(base))
        for rotated in logs
        if rotated.number > keep or (not rotated.packed and rotated.number in packed)
    )
    return steps


def unpacked(names: Iterable[str], base: str) -> list[str]:
    """Return the rotated logs that are not gzipped yet, newest first.

    The newest is compressed first: in a flood the oldest may be deleted before it is its turn.
    """
    logs = family(names, base)
    packed = {rotated.number for rotated in logs if rotated.packed}
    return [
        rotated.name(base)
        for rotated in reversed(logs)
        if not rotated.packed and rotated.number not in packed
    ]
