import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.config.interpolation import expand_text
from supervisor.config.quantities import SpellingError

VARIABLES = {"A": "one", "EMPTY": "", "NESTED": "${A}", "BIG": "x" * 10_000}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${A}", "one"),
        ("x${A}y${A}z", "xoneyonez"),
        ("${EMPTY}", ""),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${NO:-d}", "d"),
        ("${NO-d}", "d"),
        ("${NO:-}", ""),
        ("${A:-d}", "one"),
        ("${A:?must}", "one"),
        ("${NO:-${A}}", "one"),
        ("${NO:-<${NO:-${A}}>}", "<one>"),
        ("${NO:-a}b}", "ab}"),
        ("${NESTED}", "${A}"),
        ("$$", "$"),
        ("$${A}", "${A}"),
        ("$$${A}", "$one"),
        ("$A $ $(x) $1 {A}", "$A $ $(x) $1 {A}"),
        ("${NO:-$$}", "$"),
        ("${NO:-a:-b-c:?d}", "a:-b-c:?d"),
    ],
)
def test_forms(text: str, expected: str) -> None:
    assert expand_text(text, VARIABLES) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("${NO}", r"\$NO is not set"),
        ("${NO:-${NO2}}", r"\$NO2 is not set"),
        ("${EMPTY:?tell me}", r"\$EMPTY is not set: tell me"),
        ("${", "never closed"),
        ("${A", "never closed"),
        ("${NO:-${A}", "never closed"),
        ("${}", "names no variable"),
        ("${1}", "names no variable"),
        ("${A B}", "not a form"),
        ("${A:+x}", "not a form"),
        ("${A:=x}", "not a form"),
        ("${BIG}" * 30, "longer than 256 KiB"),
        ("${N:-" * 12 + "}" * 12, "more than 8 deep"),
    ],
)
def test_errors(text: str, said: str) -> None:
    with pytest.raises(SpellingError, match=said) as caught:
        expand_text(text, VARIABLES)
    assert caught.value.hint


@given(st.text())
def test_text_without_a_dollar_is_itself(text: str) -> None:
    assert expand_text(text.replace("$", ""), {}) == text.replace("$", "")


@given(st.text())
def test_doubling_dollars_keeps_any_text(text: str) -> None:
    assert expand_text(text.replace("$", "$$"), {}) == text


@given(st.text(alphabet="${}:-?AB$", max_size=40))
def test_any_text_expands_or_is_refused(text: str) -> None:
    try:
        expanded = expand_text(text, {"A": "1", "B": ""})
    except SpellingError:
        return
    # Both values are shorter than what names them, so nothing can grow.
    assert len(expanded) <= len(text)
