r"""Patterns that are looked for in what services print. Pure.

A pattern is text that stands anywhere in a line, upper and lower case as written, in which `*`
stands for anything within the line, also for nothing. A star itself is written `\*`, a backslash
before a star or a backslash `\\`; before anything else a backslash is just one: `C:\temp`. There is
nothing more to know, and above all nothing that could take long: who writes a regular expression
into a YAML does not want to learn of backtracking from a supervisor that hangs.
NamedTuple and not dataclass, because the sink imports this (see `logs/rotation.py`).
"""

from __future__ import annotations

import re
from typing import NamedTuple

LONGEST_PATTERN = 500
"""Characters."""
MOST_PATTERNS = 32
"""Of one service. Each is looked for in all that the service prints."""

_PART = re.compile(r"\\[\\*]|\*|[^\\*]+|\\")


class PatternError(ValueError):
    """A text is no pattern: `message` says what is wrong, `hint` what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{message}: {hint}")
        self.message = message
        self.hint = hint


class Pattern(NamedTuple):
    """What is looked for; made by `parse`, from which `text` gives the same again."""

    text: str
    pieces: tuple[bytes, ...]
    """What stands between the stars, in UTF-8; at least one, none empty."""

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Return the pattern that is written as `text`; PatternError."""
        if len(text) > LONGEST_PATTERN:
            message = f"a pattern of {len(text)} characters"
            hint = f"give the part that tells the line from others, {LONGEST_PATTERN} at most"
            raise PatternError(message, hint)
        if "\n" in text or "\r" in text:
            raise PatternError("a pattern with a line break", "give what stands on one line")
        pieces = [""]
        for part in _PART.findall(text):
            if part == "*":
                pieces.append("")
            else:
                pieces[-1] += part[1:] if part in ("\\\\", "\\*") else part
        if not "".join(pieces).strip():
            empty = "an empty pattern" if not text.strip() else "a pattern of nothing but stars"
            hint = "it would match every line: give some of the text (a star itself is \\*)"
            raise PatternError(empty, hint)
        try:
            return cls(text, tuple(piece.encode() for piece in pieces if piece))
        except UnicodeEncodeError:
            message = "a pattern that is not valid Unicode"
            raise PatternError(message, "give text as it is printed, in UTF-8") from None

    @property
    def needle(self) -> bytes:
        """The longest piece: no line without it matches."""
        return max(self.pieces, key=len)

    def matches(self, line: bytes) -> bool:
        """Tell whether a line, without its end, matches.

        To take the first place of each piece is enough: what a later place leaves, it leaves too.
        So each byte of the line is passed once, at no more than the length of a piece each.
        """
        at = 0
        for piece in self.pieces:
            found = line.find(piece, at)
            if found < 0:
                return False
            at = found + len(piece)
        return True
