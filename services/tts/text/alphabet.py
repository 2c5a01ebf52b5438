"""Brings words to the letters that the voice knows, by sound, and keeps nothing else.

The alphabet is the 48 tokens of ukrainian-tts v6.0.0 without the special ones; of its
punctuation we use `. , ! ? : - '`. Letters of Russian, Belarusian, Serbian, Greek and the Latin
languages of Europe become the nearest Ukrainian ones. Scripts that cannot be read letter by letter,
or that we have no table for (Chinese, Japanese, Korean, Arabic, Hebrew, Devanagari), are dropped.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Final

from services.tts.text.characters import STRESS
from services.tts.text.verbalisation import transliterated

LETTERS: Final = "оаинвтісрдлукмпязбьгчйжхшюцщїєфґе"
VOWELS: Final = "аеєиіїоуюя"
PUNCTUATION: Final = ".,!?:-'"
ALPHABET: Final = frozenset(f"{LETTERS}{PUNCTUATION} +")

_SYMBOLS: Final[Mapping[str, str]] = {
    "&": "і",
    "%": "відсотків",
    "‰": "проміле",
    "$": "доларів",
    "€": "євро",
    "₴": "гривень",
    "£": "фунтів",
    "¥": "єн",
    "₽": "рублів",
    "§": "параграф",
    "№": "номер",
    "°": "градусів",
    "=": "дорівнює",
    "≠": "не дорівнює",
    "×": "на",
    "÷": "поділити на",
    "±": "плюс мінус",
    "−": "мінус",
    "∞": "нескінченність",
    "√": "корінь",
    "∑": "сума",
    "@": "ет",
}
_SYMBOL: Final = re.compile(f"([{re.escape(''.join(_SYMBOLS))}])\\1*")

_CYRILLIC: Final = {
    "ъ": "'",
    "ы": "и",
    "э": "е",
    "ў": "в",
    "ѣ": "і",
    "ј": "й",
    "љ": "ль",
    "њ": "нь",
    "ђ": "дж",
    "ћ": "ч",
    "џ": "дж",
    "ќ": "кь",
    "ѓ": "гь",
    "ѕ": "дз",
    "қ": "к",
    "ғ": "г",
    "ә": "е",
    "ө": "е",
    "ү": "ю",
    "ұ": "у",
    "ң": "н",
    "һ": "х",
}
_GREEK: Final = dict(
    zip(
        "αβγδεζηθικλμνξοπρσςτυφχψω",
        [
            "а",
            "в",
            "г",
            "д",
            "е",
            "з",
            "і",
            "т",
            "і",
            "к",
            "л",
            "м",
            "н",
            "кс",
            "о",
            "п",
            "р",
            "с",
            "с",
            "т",
            "і",
            "ф",
            "х",
            "пс",
            "о",
        ],
        strict=True,
    )
)
_GREEK_NAMES: Final = dict(
    zip(
        "αβγδεζηθικλμνξοπρστυφχψω",
        [
            "альфа",
            "бета",
            "гамма",
            "дельта",
            "епсилон",
            "дзета",
            "ета",
            "тета",
            "йота",
            "каппа",
            "лямбда",
            "мю",
            "ню",
            "ксі",
            "омікрон",
            "пі",
            "ро",
            "сигма",
            "тау",
            "іпсилон",
            "фі",
            "хі",
            "псі",
            "омега",
        ],
        strict=True,
    )
)
# Letters that lose their sound when only the accent is taken away.
_LATIN: Final = {
    "ä": "е",
    "ö": "е",
    "ü": "ю",
    "ß": "с",
    "æ": "е",
    "œ": "е",
    "ø": "е",
    "å": "о",
    "ą": "он",
    "ę": "ен",
    "ł": "л",
    "ó": "о",
    "ś": "сь",
    "š": "ш",
    "ş": "ш",
    "ș": "ш",
    "ć": "ч",
    "č": "ч",
    "ç": "с",
    "ź": "зь",
    "ż": "ж",
    "ž": "ж",
    "ń": "нь",
    "ñ": "нь",
    "ň": "нь",
    "ř": "рж",
    "ě": "є",
    "ð": "д",
    "þ": "т",
    "đ": "д",
    "ğ": "г",
    "ı": "и",
    "ț": "ц",
    "ţ": "ц",
    "ï": "ї",
    "ë": "е",
    "ĳ": "ей",
}
_DIGRAPHS: Final = {"sch": "ш", "sz": "ш", "cz": "ч", "rz": "ж", "ch": "х", "th": "т", "ph": "ф"}
_PLAIN_LATIN: Final = dict(
    zip(
        "abcdefghijklmnopqrstuvwxyz",
        [
            "а",
            "б",
            "к",
            "д",
            "е",
            "ф",
            "г",
            "г",
            "і",
            "й",
            "к",
            "л",
            "м",
            "н",
            "о",
            "п",
            "к",
            "р",
            "с",
            "т",
            "у",
            "в",
            "в",
            "кс",
            "и",
            "з",
        ],
        strict=True,
    )
)

_ACCENTED_WORD: Final = re.compile(
    r"(?<![A-Za-z])[A-Za-z]*+[\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u024F\u1E00-\u1EFF][A-Za-z\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u024F\u1E00-\u1EFF]*"
)
_LATIN_RUN: Final = re.compile("[a-z]+")
_GREEK_WORD: Final = re.compile("[\u0370-\u03ff\u1f00-\u1fff]+")
_STRESSED: Final = re.compile(f"([{VOWELS}]){STRESS}")
_PLUS: Final = re.compile(f"\\+(?![{VOWELS}])")
_YO_SOFT: Final = re.compile("(?<=[бвгґджзклмнпрстфхцчшщ])ё")

_ELLIPSIS_INSIDE: Final = re.compile(r"(?:…|(?<!\.)\.{2,}+)(?=\s+[^\W\d_A-ZА-ЯІЇЄҐ])")
_ELLIPSIS: Final = re.compile(r"…|\.{2,}")
_PAUSE: Final = re.compile(r"[;()\[\]{}|→←↔⇒•·●▪■◦/\\]+")
_DASH: Final = re.compile(r"\s+[-‐‑‒–—―−]+\s+|[–—―]+|-{2,}")
_HYPHEN: Final = re.compile("[‐‑‒−]")
_LOOSE_APOSTROPHE: Final = re.compile(f"(?<![{LETTERS}])'+|'+(?![{LETTERS}+])|(?<=')'+")
_OUTSIDE: Final = re.compile(f"[^{re.escape(''.join(ALPHABET))}\n]+")
_LOOSE_HYPHEN: Final = re.compile(r"(?<![\w ])-+|-+(?![\w +])|(?<=[.,!?:] )-+ ?")
_SPACE_BEFORE: Final = re.compile(r"\s+(?=[.,!?:])")
_MARKS: Final = re.compile(r"[.,!?:](?:[\s-]*[.,!?:])+")
_TIGHT: Final = re.compile(r"([.,!?:])(?=[^\s.,!?:])")
_OPENING: Final = re.compile(r"^[\s.,!?:'-]+")
_SPACES: Final = re.compile(r"\s+")
_STRONGEST: Final = "?!.:,"


def without_accented_latin(text: str) -> str:
    """Returns the text with each Latin word that has an accented letter in Ukrainian letters.

    These go before `verbalisation`, which reads "Müller" as "em-üller"; plain ASCII words stay.
    """
    return _ACCENTED_WORD.sub(lambda found: _accented(found[0]), text)


def in_alphabet(line: str) -> str:
    """Returns one line in small letters of the alphabet; a stress is a `+` before its vowel."""
    line = _ELLIPSIS.sub(".", _ELLIPSIS_INSIDE.sub(",", line))
    line = _YO_SOFT.sub("ьо", line.lower()).replace("ё", "йо")
    line = _SYMBOL.sub(lambda found: f" {_SYMBOLS[found[1]]} ", line)
    line = _GREEK_WORD.sub(_greek, line)
    line = _STRESSED.sub(r"+\1", line).replace(STRESS, "")
    line = "".join(_CYRILLIC.get(character, character) for character in line)
    line = _LATIN_RUN.sub(lambda found: transliterated(found[0]).lower(), line)
    line = _HYPHEN.sub("-", _DASH.sub(" - ", _PAUSE.sub(" , ", line)))
    return _tidy(_OUTSIDE.sub(" ", _decomposed(line)))


def only_alphabet(text: str) -> str:
    """Returns the text with every character outside the alphabet taken out: the last gate."""
    return "".join(character for character in text if character in ALPHABET)


def _accented(word: str) -> str:
    letters = word.lower()
    for digraph, sound in _DIGRAPHS.items():
        letters = letters.replace(digraph, sound)
    sounds = "".join(map(_latin_sound, letters))
    return sounds.capitalize() if word[0].isupper() else sounds


def _latin_sound(letter: str) -> str:
    if letter in _LATIN:
        return _LATIN[letter]
    base = unicodedata.normalize("NFD", letter)[0]
    return _PLAIN_LATIN.get(base, letter)


def _greek(found: re.Match[str]) -> str:
    word = "".join(unicodedata.normalize("NFD", letter)[0] for letter in found[0])
    if len(word) == 1:
        return f" {_GREEK_NAMES.get(word, ' ')} "
    return "".join(_GREEK.get(letter, "") for letter in word)


def _decomposed(line: str) -> str:
    """Returns the line with each rare accented letter as its plain one: ѐ is said as е."""
    return "".join(
        character
        if character in ALPHABET or character == "\n"
        else _plain_letter(unicodedata.normalize("NFD", character)[0])
        for character in line
    )


def _plain_letter(base: str) -> str:
    return _PLAIN_LATIN.get(base, _CYRILLIC.get(base, base))


def _tidy(line: str) -> str:
    line = _PLUS.sub(" ", line)
    line = _LOOSE_APOSTROPHE.sub(" ", line)
    line = _LOOSE_HYPHEN.sub(" ", line)
    line = _SPACE_BEFORE.sub("", line)
    line = _MARKS.sub(
        lambda found: min(found[0].replace(" ", "").replace("-", ""), key=_STRONGEST.index), line
    )
    line = _TIGHT.sub(r"\1 ", line)
    line = _OPENING.sub("", line)
    return _SPACES.sub(" ", line).rstrip(" -,")
