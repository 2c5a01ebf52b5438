"""What the comparison of voices is given to say, and what it makes of the figures."""

from __future__ import annotations

import pytest

from benchmarks.voices.comparison import ratios, table, verdicts
from benchmarks.voices.texts import SHORTEST, text


@pytest.mark.parametrize("characters", [SHORTEST, 11, 12, 60, 61, 299, 1000])
def test_a_text_is_as_long_as_asked_and_of_each_seed_another(characters: int) -> None:
    texts = [text(characters, seed) for seed in range(50)]
    assert {len(one) for one in texts} == {characters}
    assert all(one.endswith(".") and "  " not in one for one in texts)
    assert len(set(texts)) >= 45, "the phrase cache would answer"
    assert text(characters, 7) == text(characters, 7)


def test_no_sentence_of_a_long_text_is_too_long_for_the_voice() -> None:
    assert max(len(one) for one in text(1000, 1).split(".")) < 150


def test_a_text_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="at least"):
        text(SHORTEST - 1, 0)


def test_ratios_are_taken_turn_by_turn() -> None:
    assert ratios([4.0, 9.0, 1.0], [2.0, 3.0]) == [2.0, 3.0]


def test_a_table_has_medians_ratios_and_their_spread() -> None:
    found = table({"start": {"stock": [10.0, 12.0, 20.0], "ours": [2.0, 3.0, 2.0]}})
    row = found.split("\n")[2]
    assert [cell.strip() for cell in row.split("|")[1:-1]] == [
        "process start to first word spoken, s",
        "12.0",
        "2.00",
        "5.00 ×",
        "4.00 to 10.00, n=3",
    ]
    assert len(found.split("\n")) == 3


def test_the_real_time_factor_is_by_the_audio_of_stock() -> None:
    samples = {
        "60/whole": {"stock": [8.0], "ours": [2.0]},
        "60/audio": {"stock": [4.0], "ours": [5.0]},
    }
    (row,) = [line for line in table(samples).split("\n") if "real-time" in line]
    assert [cell.strip() for cell in row.split("|")[2:4]] == ["2", "0.500"]


@pytest.mark.parametrize(("ours", "word"), [(3.0, "reached"), (3.1, "MISSED")])
def test_a_target_is_reached_from_its_ratio_on(ours: float, word: str) -> None:
    (line,) = verdicts({"start": {"stock": [12.0], "ours": [ours]}})
    assert word in line


def test_nothing_measured_is_no_verdict_and_no_row() -> None:
    assert verdicts({}) == []
    assert len(table({}).split("\n")) == 2
