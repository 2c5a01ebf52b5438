"""Brings any string to the characters that the later stages reckon with.

After this stage: NFC, no lone surrogates, no control or invisible characters (but for the newline),
one apostrophe (`'`), one space, digits 0-9 only, and a user's stress as U+0301 after its vowel, so
that a `+` left in the text is arithmetic.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Final

STRESS: Final = "\u0301"
VOWELS: Final = "аеєиіїоуюяАЕЄИІЇОУЮЯ"
LETTER: Final = "а-яіїєґА-ЯІЇЄҐ"

_LETTERS_AROUND: Final = rf"(?<=[{LETTER}A-Za-z{STRESS}])[’ʼ`´‘′ʹ＇ꞌ‛](?=[{LETTER}A-Za-z])"
_APOSTROPHE: Final = re.compile(_LETTERS_AROUND)
_QUOTE: Final = re.compile("[’ʼ‘＇ꞌ‛]")
_MINUTES: Final = re.compile(r"(?<=\d)′")
_PLUS_STRESS: Final = re.compile(rf"(?<![0-9A-Za-z+{STRESS})\]])\+([{VOWELS}])(?!{STRESS})")
_LONE_STRESS: Final = re.compile(
    rf"(?<![{VOWELS}A-Za-z\u00C0-\u024F]){STRESS}+|(?<={STRESS}){STRESS}+"
)
_PLAIN: Final = re.compile(r"[\x20-\x7e\nА-Яа-яІЇЄҐіїєґ]*")

# A compatibility form is unfolded only where the plain form is said the same way. "№", "½", "²" and
# "…" are compatibility characters as well, and unfolding them would lose what they mean.
_UNFOLDED: Final = ("<wide>", "<narrow>", "<font>", "<circle>", "<initial>", "<medial>", "<final>")
_LIGATURES: Final = "ﬀﬁﬂﬃﬄﬅﬆ℃℉"
_KEPT_CONTROLS: Final = "\n"
_LINE_BREAKS: Final = "\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"


def clean(text: str) -> str:
    """Returns the text in NFC without what cannot be seen; line ends become a newline."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n"))
    if not _PLAIN.fullmatch(text):
        text = "".join(map(_plain, text))
        text = unicodedata.normalize("NFC", text)
    return text.replace("\t", "    ")


def with_apostrophes(text: str) -> str:
    """Returns the text with `'` for every sign that stands for a Ukrainian apostrophe.

    A backtick counts only between two letters: elsewhere it marks inline code.
    """
    return _QUOTE.sub("'", _APOSTROPHE.sub("'", _MINUTES.sub("'", text)))


def with_stress_marks(text: str) -> str:
    """Returns the text with a user's `+vowel` as vowel and U+0301; a stray U+0301 is dropped."""
    return _LONE_STRESS.sub("", _PLUS_STRESS.sub(rf"\1{STRESS}", text))


@lru_cache(maxsize=4096)
def _plain(character: str) -> str:
    if character == STRESS or character in _KEPT_CONTROLS:
        return character
    if character in _LINE_BREAKS:
        return "\n"
    category = unicodedata.category(character)
    if category == "Zs" or character == "\t":
        return " "
    if category in ("Cc", "Cf", "Cs", "Co", "Cn"):
        return ""
    if category in ("Nd", "No", "Nl"):
        return _plain_number(character, category)
    decomposition = unicodedata.decomposition(character)
    if decomposition.startswith(_UNFOLDED) or character in _LIGATURES:
        return unicodedata.normalize("NFKC", character)
    return character


def _plain_number(character: str, category: str) -> str:
    if category == "Nd":
        return str(unicodedata.decimal(character))
    decomposition = unicodedata.decomposition(character)
    if category == "Nl" or decomposition.startswith("<circle>"):  # Ⅻ, ①
        plain = unicodedata.normalize("NFKC", character)
        return plain if plain.isascii() else character
    return character
