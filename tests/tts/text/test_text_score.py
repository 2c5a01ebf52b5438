"""The cases of the text pipeline, and how they are compared."""

from __future__ import annotations

import pytest

from services.tts.text.score import CASES, agree, main, read_cases


def test_every_category_of_the_cases_passes(capsys: pytest.CaptureFixture[str]) -> None:
    status = main([])
    assert status == 0, capsys.readouterr().out


def test_every_case_with_a_stress_is_among_them() -> None:
    assert any("+" in accepted for case in read_cases(CASES) for accepted in case.accepted)


@pytest.mark.parametrize(
    ("said", "accepted", "equal"),
    [
        ("вод+а", "вода", True),
        ("вод+а", "вод+а", True),
        ("вода", "вод+а", False),
        ("в+ода", "вод+а", False),
        ("вод+а і хл+іб.", "Вода  і хліб", True),
        ("вод+а і хл+іб", "вода і", False),
        ("вод+а", "вода і", False),
        ("вод+и", "вода", False),
    ],
)
def test_a_mark_counts_where_the_case_has_one(said: str, accepted: str, equal: bool) -> None:
    assert agree(said, accepted) is equal
