"""Turns what is left of numbers, dates, money, units and Latin words into words, by `ukrainian-tn`.

Works a line at a time, so that no number is read across two lines. What the library leaves as
digits (an impossible date, a number glued to a letter) is counted here: no digit is ever lost.
"""

import re
from functools import lru_cache
from typing import Final

import ukrainian_tn

from services.tts.text import lexicon
from services.tts.text.numerals import cardinal

# "нуль цілих п'ять десятих" is how it is taught; the library says "цілих і".
_FRACTION: Final = re.compile(
    r"\b(ціла|цілих) і "
    r"(?=(?:[а-яіїєґ']+ ){1,6}?(?:десят|сот|тисячн|десятитисячн|стотисячн|мільйонн)(?:а|их)\b)"
)
_DIGITS: Final = re.compile(r"[0-9]+")
_POINT: Final = re.compile(r"(?<=[0-9])[.:,](?=[0-9])")
_PLUS: Final = re.compile(r" ?\++ ?")
_NEEDS_READING: Final = re.compile(r"[^а-яіїєґА-ЯІЇЄҐ\u0301' ,.!?:–—-]|[А-ЯІЇЄҐ]{2}|[а-яіїєґ]\.\S")


def verbalised(line: str) -> str:
    """Returns one line in words; Latin words come out in Cyrillic letters."""
    if _NEEDS_READING.search(line):
        read: str = ukrainian_tn.normalize_with(line, _options())
        line = _FRACTION.sub(r"\1 ", read)
    if _DIGITS.search(line):
        line = _DIGITS.sub(lambda found: f" {cardinal(found[0])} ", _POINT.sub(" крапка ", line))
    return _PLUS.sub(" плюс ", line)


def transliterated(latin: str) -> str:
    """Returns a Latin word of ASCII letters in Ukrainian letters, by its spelling."""
    letters: str = ukrainian_tn.transliterate_to_cyrillic(latin)
    return letters


@lru_cache(maxsize=1)
def _options() -> "ukrainian_tn.NormalizeOptions":
    options = ukrainian_tn.NormalizeOptions("tts_friendly")
    # Expanded acronyms come in the nominative whatever the sentence asks for: see `lexicon`.
    options.expand_known_acronyms = False
    options.vocabulary = dict(lexicon.LATIN)
    return options
