"""What a terminal needs: colour only where it is wanted, widths in cells, lines drawn again.

Text from services (reasons, log lines) passes through `printable` before it reaches a terminal,
so that no service can move the cursor or change the title of somebody's window.
"""

import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TextIO

ColorChoice = Literal["auto", "always", "never"]

_SGR = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}
_COLOR = re.compile(r"(\x1b\[[0-9;]{0,40}m)")
"""ECMA-48 Select Graphic Rendition: harmless, as opposed to every other control sequence."""
SERVICE_COLORS = ("cyan", "magenta", "blue", "yellow", "green")
"""In turn, for the names before lines of several services."""


@dataclass(frozen=True, slots=True)
class Paint:
    """Colours text, or leaves it as it is."""

    on: bool

    def __call__(self, text: str, *styles: str) -> str:
        """Return text in these styles (`red`, `bold`, …)."""
        if not self.on or not styles or not text:
            return text
        codes = ";".join(_SGR[style] for style in styles)
        return f"\x1b[{codes}m{text}\x1b[0m"


PLAIN = Paint(on=False)


def paint_for(stream: TextIO, choice: ColorChoice, environ: Mapping[str, str]) -> Paint:
    """Return the painter for a stream: colours on a terminal, unless NO_COLOR or dumb.

    `--color always` and `never` win over the environment (no-color.org asks for that).
    """
    if choice != "auto":
        return Paint(on=choice == "always")
    quiet = bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"
    return Paint(on=not quiet and is_terminal(stream))


def is_terminal(stream: TextIO) -> bool:
    """Tell whether a person looks at this stream."""
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def printable(text: str) -> str:
    """Return text without control characters: each becomes `\\x1b`-like text; tabs one space."""
    if text.isprintable():
        return text
    # Combining marks and joiners are not "printable" to Python in part, and belong to words.
    return "".join(
        " " if c == "\t" else c if c.isprintable() or _is_joining(c) else _escape(c) for c in text
    )


def tame(text: str, *, colors: bool) -> str:
    """Return a line of a log fit for a terminal: tabs and, if wanted, colours; nothing else.

    Colours end with the line.
    """
    if text.isprintable():
        return text
    parts = _COLOR.split(text)
    shown = "".join(
        (part if colors else "") if at % 2 else "\t".join(map(printable, part.split("\t")))
        for at, part in enumerate(parts)
    )
    return f"{shown}\x1b[0m" if colors and len(parts) > 1 else shown


def _is_joining(char: str) -> bool:
    return char in "\u200c\u200d" or unicodedata.category(char) in ("Mn", "Mc", "Me", "Zs")


def _escape(char: str) -> str:
    return char.encode("unicode_escape", "replace").decode("ascii")


def width(text: str) -> int:
    """Return how many cells of a terminal the text takes (Unicode UAX #11; escapes count as 0)."""
    if text.isascii() and "\x1b" not in text:
        return len(text)
    cells, escaped = 0, False
    for char in text:
        if escaped:
            escaped = char != "m"
        elif char == "\x1b":
            escaped = True
        elif unicodedata.category(char) in ("Mn", "Me", "Cf"):
            pass
        else:
            cells += 2 if unicodedata.east_asian_width(char) in "WF" else 1
    return cells


def pad(text: str, cells: int, *, right: bool = False) -> str:
    """Return text filled with spaces to `cells`; `right` puts the text at the right."""
    fill = " " * max(0, cells - width(text))
    return fill + text if right else text + fill


def crop(text: str, cells: int) -> str:
    """Return at most `cells` cells of the text, ending in … where something was cut."""
    if width(text) <= cells:
        return text
    kept: list[str] = []
    used, escaped, coloured = 0, False, False
    for char in text:
        if escaped or char == "\x1b":
            kept.append(char)
            escaped, coloured = char != "m", True
            continue
        used += width(char)
        if used > cells - 1:
            break
        kept.append(char)
    return "".join(kept) + "…" + ("\x1b[0m" if coloured else "")


def crop_middle(text: str, cells: int) -> str:
    """Return at most `cells` cells of plain text, cut in the middle: its last two thirds stay.

    For what says first what is wrong, then quotes at length, and last what helps.
    """
    if width(text) <= cells:
        return text
    head = crop(text, cells // 3)
    room = cells - width(head) - 1
    at = len(text)
    while width(text[at - 1 :]) <= room:
        at -= 1
    tail = text[at:]
    word = tail.find(" ") + 1
    return f"{head} {tail[word:] if width(tail[:word]) <= room // 3 else tail}"


def columns(rows: Sequence[Sequence[str]], rights: frozenset[int] = frozenset()) -> list[str]:
    """Return rows of cells as lines with aligned columns; `rights` are aligned at the right."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(pad(cell, widths[at], right=at in rights) for at, cell in enumerate(row)).rstrip()
        for row in rows
    ]


class Canvas:
    """Lines at the bottom of a terminal that are drawn over and over."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn = 0

    def draw(self, lines: Sequence[str]) -> None:
        """Replace what was drawn before; what does not fit the window is left out and counted."""
        across, down = window(self._stream)
        room = max(1, down - 1)
        if len(lines) > room:
            left_out = len(lines) - room + 1
            lines = [*lines[: room - 1], f"… and {left_out} more lines"]
        fresh = "".join(f"{crop(line, across - 1)}\x1b[K\n" for line in lines)
        # One write: a terminal never shows a half-drawn picture.
        self._stream.write(self._back() + fresh + "\x1b[J")
        self._stream.flush()
        self._drawn = len(lines)

    def clear(self) -> None:
        """Take away what was drawn, so that other lines can be printed."""
        if self._drawn:
            self._stream.write(self._back() + "\x1b[J")
            self._stream.flush()
        self._drawn = 0

    def _back(self) -> str:
        return f"\x1b[{self._drawn}F" if self._drawn else ""


def window(stream: TextIO) -> tuple[int, int]:
    """Return columns and lines of the terminal behind a stream, 80 × 24 if it does not say."""
    try:
        found = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        found = shutil.get_terminal_size()
    return (found.columns or 80, found.lines or 24)


def warn(message: str) -> None:
    """Print one line to standard error."""
    print(f"atlasctl: {message}", file=sys.stderr)
