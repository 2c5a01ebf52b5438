"""Looks for patterns in what one service prints, which comes in pieces of any size.

Kept true: every line is looked at once, whatever pieces it came in; what is kept of an unfinished
line is bounded; and the time for a piece is linear in its size.

A line ends at a newline or a carriage return: what stands after a progress bar is a line of its
own. Escape sequences of terminals are taken out before, since services colour their errors. Of a
long line the first `LONGEST_LINE` bytes are looked at (escapes may count or not).

The bytes are not cut into lines, which takes longer than all the rest: the longest piece of a
pattern is looked for in all of them at once, and a line is cut out only where that is found.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.core.pattern import Pattern

LONGEST_LINE = 8 * 1024

_ESCAPE = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    rb"|\][^\x07\x1b\n]*(?:\x07|\x1b\\)"  # OSC: titles, links
    rb"|[ -/]+[0-~]|[0-Z\\^-~])"  # character sets and the like
)


class Scanner:
    """The patterns of one service, and its unfinished line."""

    def __init__(self, found: Callable[[Pattern, int | None, bytes, int], None]) -> None:
        """`found` gets a pattern, whose run it was, the first line that matches, and how many.

        It is called at most twice for each pattern and piece.
        """
        self.patterns: tuple[Pattern, ...] = ()
        self.run: int | None = None
        """Which run prints what is fed; None: not known."""
        self._found = found
        self._rest = bytearray()
        self._skipping = False  # as much of the line as is to be looked at was looked at

    def look_for(self, patterns: tuple[Pattern, ...], tail: bytes) -> None:
        """Look for these from now on, and for nothing else.

        `tail` is the end of what was printed before. From it one that looked for nothing knows its
        unfinished line; if that is too long already, an earlier sink may have looked at it.
        """
        if not self.patterns:
            self._resume(tail)
        self.patterns = patterns

    def _resume(self, tail: bytes) -> None:
        lines = tail[-LONGEST_LINE:].replace(b"\r", b"\n")
        self._rest = bytearray(lines[lines.rfind(b"\n") + 1 :])
        self._skipping = len(self._rest) == LONGEST_LINE
        if self._skipping:
            self._rest.clear()

    def feed(self, piece: bytes) -> None:
        """Take what was printed next."""
        if b"\r" in piece:
            piece = piece.replace(b"\r", b"\n")
        start, end = 0, piece.rfind(b"\n")
        if end >= 0 and (self._rest or self._skipping):
            start = piece.index(b"\n") + 1
            self._keep(piece[: start - 1])
            self.end_line()
        if end > start:
            self._look(piece, start, end)
        self._keep(piece[end + 1 : end + 1 + LONGEST_LINE])

    def end_line(self) -> None:
        """Take what came last for the end of its line."""
        if self._rest:
            self._look(bytes(self._rest), 0, len(self._rest))
            self._rest.clear()
        self._skipping = False

    def _keep(self, part: bytes) -> None:
        if self._skipping:
            return
        self._rest += part[: LONGEST_LINE - len(self._rest)]
        if len(self._rest) == LONGEST_LINE:
            self.end_line()
            self._skipping = True

    def _look(self, text: bytes, start: int, end: int) -> None:
        if text.find(b"\x1b", start, end) >= 0:
            text = _ESCAPE.sub(b"", text[start:end])
            start, end = 0, len(text)
        for pattern in self.patterns:
            count, first = _matching(pattern, text, start, end)
            if count:
                self._found(pattern, self.run, first, count)


def _matching(pattern: Pattern, text: bytes, start: int, end: int) -> tuple[int, bytes]:
    """Return how many of the lines between `start` and `end` match, and the first that does.

    Without slices: to copy a piece of 1 MiB takes as long as to look through it.
    """
    needle = pattern.needle
    count, first = 0, b""
    found = text.find(needle, start, end)
    while found >= 0:
        line_start = max(start, text.rfind(b"\n", start, found) + 1)
        line_end = text.find(b"\n", found, end)
        if line_end < 0:
            line_end = end
        line = text[line_start : min(line_end, line_start + LONGEST_LINE)]
        if pattern.matches(line):
            first = first if count else line
            count += 1
        found = text.find(needle, line_end, end)
    return count, first
