"""Cuts spoken text into sentences that an engine can take, and loses no word on the way.

Every sentence is at most `limit` characters and has a letter in it. The cut falls at the best place
there is: the end of a sentence or line, then a comma or colon, then a dash, then a space, and only
inside a word that is longer than the limit by itself.
"""

import re
from collections.abc import Iterator
from typing import Final

SHORTEST_LIMIT: Final = 2
"""In characters: a stress mark and its vowel are never parted."""

_END: Final = re.compile(r"(?<=[.!?])\s+")
_LESSER_ENDS: Final = (re.compile(r"(?<=[,:;])\s+"), re.compile(r"(?<= -)\s+"), re.compile(r"\s+"))
_LETTER: Final = re.compile(r"[^\W\d_]")
_CLOSED: Final = ".!?,:"


def split(text: str, limit: int) -> tuple[str, ...]:
    """Returns the sentences of `text`, each at most `limit` characters.

    A line that ends in no punctuation is closed with a full stop, but for the last one: a title or
    an item of a list must not run into what follows.

    Raises ValueError if `limit` is below `SHORTEST_LIMIT`.
    """
    if limit < SHORTEST_LIMIT:
        raise ValueError(f"limit is {limit} characters: give at least {SHORTEST_LIMIT}")
    lines = [line for line in map(str.strip, text.split("\n")) if _LETTER.search(line)]
    closed = [line if line[-1] in _CLOSED else f"{line}." for line in lines[:-1]]
    sentences = (
        sentence
        for line in [*closed, *lines[-1:]]
        for whole in _END.split(line)
        for sentence in _fitting(whole.strip(), limit, _LESSER_ENDS)
    )
    return tuple(sentence for sentence in sentences if _LETTER.search(sentence))


def _fitting(text: str, limit: int, ends: tuple[re.Pattern[str], ...]) -> Iterator[str]:
    if len(text) <= limit:
        yield text
        return
    if not ends:
        yield from _slices(text, limit)
        return
    packed = ""
    for part in ends[0].split(text):
        longer = f"{packed} {part}" if packed else part
        if len(longer) <= limit:
            packed = longer
            continue
        if packed:
            yield packed
        *whole, packed = _fitting(part, limit, ends[1:])
        yield from whole
    if packed:
        yield packed


def _slices(word: str, limit: int) -> Iterator[str]:
    start = 0
    while start < len(word):
        end = start + limit
        if end < len(word) and word[end - 1] == "+":
            end -= 1
        yield word[start:end]
        start = end
