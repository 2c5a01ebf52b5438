"""Text laid out for a width and a height: wrapped, cut and left out in the middle. Pure.

Widths are cells of a terminal, so what is wide (CJK) or takes no room (combining marks) counts so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from supervisor.cli.terminal import Paint, crop, width

_FIRST = 2
"""Items that stay at the beginning where the middle is left out."""
_TALLEST = 3
"""Lines that one item may take."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a list: what stands before it, itself, and its colours."""

    head: str
    text: str
    styles: tuple[str, ...] = ()
    weighty: bool = False
    """It is given room before others."""
    telling: bool = False
    """It stays before what is not, where not all can."""


def wrap(text: str, columns: int, most: int) -> list[str]:
    """Return text in lines of `columns` cells, broken between words where possible.

    At most so many lines; what does not fit them is cut, and the last one ends in … then.
    """
    lines: list[str] = []
    rest = text
    while len(lines) < most - 1 and width(rest) > columns:
        end = _fitting(rest, columns)
        if rest[end] != " ":
            broken = rest.rfind(" ", 0, end)
            end = broken if broken > 0 else end
        lines.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    lines.append(crop(rest, columns))
    return lines


def _fitting(text: str, columns: int) -> int:
    """Return how many characters of a text that is too wide fit; one at least."""
    used = 0
    for at, char in enumerate(text):
        used += width(char)
        if used > columns:
            return max(1, at)
    return len(text)


def lines_of(item: Item, columns: int) -> int:
    """Return how many lines an item takes where there is room."""
    return len(wrap(item.text, columns - width(item.head), _TALLEST))


def list_items(
    items: Sequence[Item], columns: int, room: int, left_out: str, paint: Paint
) -> list[str]:
    """Return at most `room` lines (4 or more) with the items in order.

    Each gets a line. Lines that are to spare go to those that need more: the weighty first, then
    the latest. Where items do not fit, what tells least is left out and `left_out` says so at the
    first gap, `{}` in it being their number.
    """
    shown = _chosen(items, room, left_out) if len(items) > room else list(items)
    spare = room - len(shown)
    blocks: dict[int, list[str]] = {}
    for at in sorted(range(len(shown)), key=lambda at: (shown[at].weighty, at), reverse=True):
        across = columns - width(shown[at].head)
        blocks[at] = wrap(shown[at].text, across, min(_TALLEST, 1 + spare))
        spare -= len(blocks[at]) - 1
    return [line for at, item in enumerate(shown) for line in _painted(item, blocks[at], paint)]


def _chosen(items: Sequence[Item], room: int, left_out: str) -> list[Item]:
    """Return what is shown of too many items, with a line for each gap."""
    last = len(items) - 1
    by_worth = sorted(range(len(items)), key=lambda at: (_worth(items[at], at, last), at))
    most = room - 1
    while True:
        kept = sorted(by_worth[-most:]) if most else [last]
        gaps = sum(b - a > 1 for a, b in zip([-1, *kept], kept, strict=False))
        if len(kept) + gaps <= room or most <= 1:
            break
        most -= 1
    shown: list[Item] = []
    note = left_out.format(len(items) - len(kept))
    for before, at in zip([-1, *kept], kept, strict=False):
        if at - before > 1:
            shown.append(Item("", note, ("dim",)))
            note = "…"
        shown.append(items[at])
    return shown


def _worth(item: Item, at: int, last: int) -> int:
    if at == last:
        return 3
    return 2 if item.weighty else 1 if item.telling or at < _FIRST else 0


def _painted(item: Item, texts: Sequence[str], paint: Paint) -> list[str]:
    indent = " " * width(item.head)
    heads = [paint(item.head.rstrip(), "dim") + item.head[len(item.head.rstrip()) :]]
    heads += [indent] * (len(texts) - 1)
    return [head + paint(text, *item.styles) for head, text in zip(heads, texts, strict=True)]
