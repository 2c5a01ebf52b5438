"""From what a client sends to what the voice says: pure, total, and nothing speakable is lost.

`STAGES` is the whole pipeline, in order. A stage takes text and returns text; those of `_PER_LINE`
see one line at a time, so that nothing is read across the end of a line.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from services.tts.text.addresses import with_addresses_named
from services.tts.text.alphabet import in_alphabet, only_alphabet, without_accented_latin
from services.tts.text.characters import clean, with_apostrophes, with_stress_marks
from services.tts.text.lexicon import expanded
from services.tts.text.markdown import plain_text
from services.tts.text.numerals import with_contextual_numerals
from services.tts.text.pictographs import without_emoji
from services.tts.text.roman import with_roman_ordinals
from services.tts.text.sentences import split
from services.tts.text.stress import with_dictionary_stress
from services.tts.text.verbalisation import verbalised

__all__ = ["STAGES", "Spoken", "spoken", "warm"]

_Stage = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Spoken:
    """Text as the voice says it; `sentences` joined with one space are `text`."""

    text: str
    sentences: tuple[str, ...]


_PER_LINE: Final[tuple[_Stage, ...]] = (
    with_roman_ordinals,
    with_contextual_numerals,
    expanded,
    without_accented_latin,
    verbalised,
    in_alphabet,
)


def _line_by_line(text: str) -> str:
    lines = []
    for line in text.split("\n"):
        for stage in _PER_LINE:
            line = stage(line)
        lines.append(line)
    return "\n".join(lines)


STAGES: Final[tuple[_Stage, ...]] = (
    without_emoji,  # sequences, while their joiners are there
    clean,
    with_apostrophes,
    with_stress_marks,
    plain_text,
    with_addresses_named,
    _line_by_line,
    with_dictionary_stress,  # whole words in the alphabet, with the user's own marks
)


def spoken(raw: str, *, limit: int = 250) -> Spoken:
    """Returns how `raw` is said, in sentences of at most `limit` characters.

    Never fails on any string. Text with nothing to say gives no sentences and the text "".

    Raises ValueError if `limit` is below 2.
    """
    text = raw
    for stage in STAGES:
        text = stage(text)
    sentences = tuple(only_alphabet(sentence) for sentence in split(text, limit))
    return Spoken(text=" ".join(sentences), sentences=sentences)


def warm() -> None:
    """Makes the first call as quick as the others: loads vocabularies, parser and dictionary."""
    spoken("**Google** о 14:30, XX ст.: 5 кг і $10.")
