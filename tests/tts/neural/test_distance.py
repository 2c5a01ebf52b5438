"""The distance between two sounds is 0 for one sound, and grows with what the ear tells apart."""

from __future__ import annotations

import numpy as np
import pytest

from services.tts.engine import SAMPLE_RATE
from services.tts.engines.ukrainian.distance import HOP, WINDOW, mel_distances
from tests.tts.neural.devices_doubles import babble


def test_a_sound_is_no_distance_from_itself() -> None:
    distances = mel_distances(babble(1.0), babble(1.0), SAMPLE_RATE)
    assert distances.shape == ((SAMPLE_RATE - WINDOW) // HOP + 1,)
    assert float(distances.max()) == 0.0


@pytest.mark.parametrize("decibels", [1.0, 6.0, 12.0])
def test_a_gain_is_its_distance(decibels: float) -> None:
    sound = np.random.default_rng(2).standard_normal(SAMPLE_RATE).astype(np.float32)
    louder = (sound * 10 ** (decibels / 20)).astype(np.float32)
    assert mel_distances(sound, louder, SAMPLE_RATE).mean() == pytest.approx(decibels, rel=0.01)


def test_samples_that_differ_in_the_last_places_are_close_and_other_sounds_are_not() -> None:
    sound = babble(2.0)
    rounded = (np.round(sound * 32_767) / 32_767).astype(np.float32)
    assert mel_distances(sound, rounded, SAMPLE_RATE).max() < 0.5
    backwards = sound[::-1].copy()
    assert mel_distances(sound, backwards, SAMPLE_RATE).mean() > 2.0
    assert mel_distances(sound, np.zeros_like(sound), SAMPLE_RATE).mean() > 10.0


def test_what_lies_60_db_below_is_not_heard() -> None:
    sound = babble(1.0)
    sound[sound.size // 2 :] *= 1e-4
    silent = sound.copy()
    silent[silent.size // 2 :] = 0.0
    assert mel_distances(sound, silent, SAMPLE_RATE).max() < 0.1


def test_the_common_part_is_compared_and_less_than_a_window_is_nothing() -> None:
    long, short = babble(2.0), babble(2.0)[:SAMPLE_RATE]
    assert mel_distances(long, short, SAMPLE_RATE).max() == 0.0
    assert mel_distances(long, short[: WINDOW - 1], SAMPLE_RATE).size == 0
    assert mel_distances(np.zeros(9000, np.float32), np.zeros(9000, np.float32), 22_050).max() == 0
