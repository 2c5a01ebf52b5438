"""Texts of an exact length, each another, so that no cache can know one."""

import random
from typing import Final

_SAID: Final = (
    "вода молоко сонце земля місто вулиця будинок дорога людина дитина година хвилина система "
    "програма погода температура говорити читати писати робити працювати новий великий зелений "
    "червоний сьогодні завтра зараз дуже швидко повільно добре разом знову голос слово мова "
    "книга школа робота питання відповідь вікно дерево річка море небо хмара вітер осінь зима "
    "весна літо ранок вечір ніч день рік час ми ви він я і та до на за від під над"
)
_WORDS: Final = tuple(_SAID.split())
_BY_LENGTH: Final = {
    length: [word for word in _WORDS if len(word) == length] for length in range(2, 6)
}
_SENTENCE: Final = 60
"""Characters after which a sentence ends with its next word."""

SHORTEST: Final = 10


def text(characters: int, seed: int) -> str:
    """Returns sentences of about 60 to 130 characters, in all exactly `characters` of them.

    Raises ValueError below `SHORTEST`.
    """
    if characters < SHORTEST:
        raise ValueError(f"a text of {characters} characters: give at least {SHORTEST}")
    choose = random.Random(f"{seed} {characters}")  # noqa: S311 - texts, no secrets
    said = ""
    sentence = 0
    # Down to a last word of 2 to 5 letters: there are many, so that short texts differ as well.
    while (left := characters - len(said)) > 6:
        word = choose.choice([word for word in _WORDS if len(word) <= left - 4])
        ends = sentence > _SENTENCE and left > _SENTENCE
        said += f"{word}{'.' if ends else ''} "
        sentence = 0 if ends else sentence + len(word) + 1
    return f"{said}{choose.choice(_BY_LENGTH[left - 1])}."
