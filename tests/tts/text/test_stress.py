"""Stress by dictionary: known words get their mark, users keep theirs, nothing else is touched."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tts.text import spoken, stress
from services.tts.text.alphabet import ALPHABET
from services.tts.text.stress import with_dictionary_stress

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMON = """
прив+іт с+онце вод+а молок+о земл+я н+ебо м+істо сел+о в+улиця буд+инок кварт+ира вікн+о
люд+ина чолов+ік ж+інка дит+ина д+іти м+ама т+ато сестр+а т+иждень год+ина хвил+ина
нов+ий вел+икий мал+ий черв+оний зел+ений с+иній чот+ири в+ісім один+адцять п'ятдес+ят
дев'ян+осто дв+істі т+исяча мільй+он понед+ілок вівт+орок четв+ер суб+ота нед+іля с+ічень
чит+ати пис+ати говор+ити роб+ити б+ачити сказ+ати ход+ити працюв+ати пит+ання в+ідповідь
сьог+одні з+автра вч+ора теп+ер бер+ізка сист+ема прогр+ама пог+ода температ+ура
"""
ONE_VOWEL = "щ+о н+е +і +є д+ень хл+іб к+іт в+ін ст+о"
NAMES = "укра+їна ки+їв льв+ів х+арків од+еса шевч+енко олекс+андр андр+ій катер+ина петр+о +анна"
APOSTROPHES = "об'+єкт комп'+ютер подв+ір'я здор+ов'я п'+ять в'+язень сім'+я ім'+я"
HYPHENS = "будь-як+ий по-п+ерше що-н+ебудь по-укра+їнськи д+івчинка-студ+ентка"

# Each has several stresses in the dictionary, or a wrong one: the usual reading is wanted.
HOMOGRAPHS = """
вон+а вон+и як+а тог+о том+у цьом+у йог+о ї+ї йом+у бул+а м+аю м+ала од+ин одног+о всьог+о с+аме
кол+и з+араз нік+оли так+ож завжд+и п+еред роб+ота роб+оти вел+ика д+обрий дор+ога з+амість
з+амок
"""


def without_marks(text: str) -> str:
    return text.replace("+", "")


@pytest.fixture
def forgetful() -> Iterator[None]:
    """Nothing is remembered of the dictionary, before the test or after it."""
    caches = (stress._marked, stress._dictionary)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.mark.parametrize(
    "marked", f"{COMMON} {ONE_VOWEL} {NAMES} {APOSTROPHES} {HYPHENS} {HOMOGRAPHS}".split()
)
def test_a_known_word_is_marked_where_it_is_stressed(marked: str) -> None:
    assert with_dictionary_stress(without_marks(marked)) == marked


@pytest.mark.parametrize(
    "text",
    ["з+амок", "зам+ок", "вод+а", "в+ода", "д+івчинка-студентка", "івано-франк+івськ", "прив+іт!"],
)
def test_a_word_that_a_user_marked_is_left_as_it_is(text: str) -> None:
    assert with_dictionary_stress(text) == text


def test_a_mark_of_the_user_does_not_keep_its_neighbours_from_theirs() -> None:
    assert with_dictionary_stress("мій в+ода, вода") == "м+ій в+ода, вод+а"


@pytest.mark.parametrize("text", ["", " ", "в з й", "-", "'", "абракадабрум", "гуглити", "пст!\nв"])
def test_what_is_unknown_or_has_no_vowel_is_left_unmarked(text: str) -> None:
    assert with_dictionary_stress(text) == text


def test_a_word_has_one_mark_though_the_dictionary_gives_variants() -> None:
    assert with_dictionary_stress("користувача") == "кор+истувача"


@given(st.text(alphabet=[*sorted(ALPHABET), "\n"]))
def test_nothing_but_marks_is_added_and_a_second_pass_adds_none(text: str) -> None:
    once = with_dictionary_stress(text)
    assert without_marks(once) == without_marks(text)
    assert with_dictionary_stress(once) == once


@given(st.text())
def test_no_text_is_refused(text: str) -> None:
    assert without_marks(with_dictionary_stress(text)) == without_marks(text)


def test_the_pipeline_marks_words_that_it_makes_and_respects_users() -> None:
    assert spoken("За́мок, м+ука: 5 кг + 2.").text == "з+амок, м+ука: п'+ять кілогр+амів пл+юс дв+а."


def test_a_sentence_is_within_its_limit_with_its_marks() -> None:
    said = spoken("вода молоко земля " * 50, limit=40)
    assert max(map(len, said.sentences)) <= 40
    assert without_marks(said.text).split() == ["вода", "молоко", "земля"] * 50


def test_without_the_library_text_goes_on_and_the_log_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, forgetful: None
) -> None:
    monkeypatch.setitem(sys.modules, "ukrainian_word_stress.stressify_", None)
    with caplog.at_level(logging.WARNING):
        assert with_dictionary_stress("вода і молоко, вікно") == "вода +і молоко, вікно"
        assert with_dictionary_stress("земля") == "земля"
    (told,) = caplog.records
    assert "pip install" in told.getMessage()


def test_neither_torch_nor_a_tagger_is_loaded() -> None:
    check = (
        "import sys; from services.tts.text import spoken; print(spoken('вода').text);"
        "sys.exit(bool({'torch', 'stanza'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", check], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout.strip()) == (0, "вод+а"), done.stderr
