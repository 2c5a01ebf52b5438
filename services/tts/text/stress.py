"""Marks the stressed vowel of every word that the dictionary knows: `прив+іт`.

The neural voice was trained on text whose every word has one mark, words of one vowel included; how
an unmarked word comes out is chance. The dictionary is that of `ukrainian-word-stress`, 2.9 million
word forms, without the tagger that it can use: that wants 500 MB of models from the network.

Where the dictionary has several stresses, the grammar would have to decide. Without it the usual
reading is taken: a word of the table below, else a pronoun, adverb, conjunction, particle,
preposition or numeral before a noun or verb that is spelled alike (`яка` is hardly ever the
genitive of a yak), else a base form before an oblique one (`велика` is great, not of the hooves),
else the dictionary's first. A word that it does not know is left unmarked. The accentor network of
ukrainian-tts would mark it, but it needs torch, so that the same text would be said in two ways
depending on what is installed, and it is no authority: it was right in 333 of 487 common words.
"""

from __future__ import annotations

import logging
import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

log = logging.getLogger("tts.text")

_VOWELS: Final = "аеєиіїоуюя"
_WORD: Final = re.compile(r"[а-яіїєґ'+]+(?:-[а-яіїєґ'+]+)*")
_CACHED_WORDS: Final = 16_384  # a few MB

# First what the dictionary lacks or has wrong, then words whose usual reading is not what the order
# of readings gives. Words that may as well be said the other way are not here.
_USUAL: Final = (
    "йог+о йом+у ї+ї ког+о ком+у нь+ого н+ими рок+и рок+ів держ+ава держ+ави пом+илка так+ож "
    "завжд+и с+ереду "
    "бул+а м+аю м+ала прийшл+а с+аме одног+о одном+у всьог+о усьог+о нік+оли бр+ати гр+оші "
    "нар+оду сім'+я сім'+ї роб+оти земл+і війн+и м+іста зел+енський богд+ан будь-щ+о"
)
_TABLE: Final = {marked.replace("+", ""): marked for marked in _USUAL.split()}

_CASES: Final = "Case=Nom|Case=Gen|Case=Dat|Case=Acc|Case=Ins|Case=Loc|Case=Voc"
_FORMS: Final = "Number=Sing|Number=Plur|Gender=Masc|Gender=Fem|Gender=Neut|VerbForm=Inf"
# What a tagger would say of the word, from the likeliest on: the library keeps the dictionary's
# readings that agree with it, and answers if they have one stress.
_LIKELY: Final = (
    f"{_CASES}|{_FORMS}|upos=PRON|upos=ADV|upos=CCONJ|upos=PART|upos=ADP|upos=NUM|upos=INTJ",
    f"Case=Nom|{_FORMS}|upos=NOUN|upos=PROPN|upos=ADJ|upos=VERB",
)


def with_dictionary_stress(text: str) -> str:
    """Returns the text with `+` before the stressed vowel of each known word.

    `text` is in the voice's alphabet. A word that has a mark is left as it is, a hyphenated one as
    a whole; no other character changes. Without the library only the table's words and those of one
    vowel are marked, and the log says so once.
    """
    return _WORD.sub(lambda found: _marked(found[0]), text)


@lru_cache(maxsize=_CACHED_WORDS)
def _marked(word: str) -> str:
    if "+" in word:
        return word
    whole = _stressed(word)
    if whole == word and "-" in word:
        return "-".join(map(_stressed, word.split("-")))
    return whole


def _stressed(word: str) -> str:
    if word in _TABLE:
        return _TABLE[word]
    vowels = [place for place, letter in enumerate(word) if letter in _VOWELS]
    if len(vowels) == 1:
        place = vowels[0]
    else:
        # The first of several: they are variants, or the lesser stresses of a long compound, and
        # the voice was trained with the first. The dictionary counts to behind the vowel.
        place = next(iter(_dictionary()(word)), 0) - 1
        if place not in vowels:
            return word
    return f"{word[:place]}+{word[place:]}"


@cache
def _dictionary() -> Callable[[str], Sequence[int]]:
    try:
        from ukrainian_word_stress.stressify_ import (
            Disambiguation,
            OnAmbiguity,
            Stressifier,
            find_accent_positions,
        )

        trie = Stressifier(disambiguation=Disambiguation.Dictionary).dict
    except (ImportError, OSError, RuntimeError) as error:
        log.warning(
            "words are spoken without dictionary stress (%s): run "
            "`pip install marisa-trie` and `pip install --no-deps ukrainian-word-stress`",
            error,
        )
        return _knows_nothing

    def found(word: str) -> Sequence[int]:
        for features in _LIKELY:
            parse = {"text": word, "feats": features}
            if places := find_accent_positions(trie, parse, OnAmbiguity.Skip):
                return places
        return find_accent_positions(trie, {"text": word}, OnAmbiguity.First)

    return found


def _knows_nothing(word: str) -> Sequence[int]:
    del word
    return ()
