"""Ours against stock: `ukrainian_tts` and espnet's Text2Speech over the same files, one seed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from services.tts.engine import SAMPLE_RATE
from services.tts.engines.ukrainian import files, model
from services.tts.engines.ukrainian.distance import mel_distances
from tests.voices import random_model

ROOT = Path(__file__).resolve().parents[3]

ORDERS = [
    {"text": "добрий день, як справи?", "voice": "dmytro", "seed": 1},
    {"text": "сл+ово", "voice": "lada", "seed": 2},
    {"text": "це речення довше за три секунди - щоб почути, чи воно таке саме до кінця!",
     "voice": "tetiana", "seed": 3},
    {"text": "добрий день, як справи?", "voice": "dmytro", "seed": 4},
]  # fmt: skip


STOPS = -0.09
"""Where the stop token of the random voice fires at frame 8 of the second sentence, about 160 of
the first and last, and never of the third; the logit is 3e-4 from its threshold or more."""

KINDS = {"never": random_model.NEVER_STOPS, "by-itself": STOPS}


@dataclass(frozen=True, slots=True)
class Case:
    """A voice that goes on to its limit or stops by itself, and what stock makes of ORDERS."""

    kind: str
    directory: Path
    stock: list[np.ndarray]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    """Made in one process of its own: stock imports ten seconds of espnet."""
    out = tmp_path_factory.mktemp("stock")
    directories = {kind: tmp_path_factory.mktemp("voice") for kind in KINDS}
    for kind, directory in directories.items():
        random_model.write(directory, "tiny", stop_bias=KINDS[kind])
    lines = "".join(
        json.dumps({**order, "directory": str(directory), "frames": model.FRAMES_PER_TOKEN}) + "\n"
        for directory in directories.values()
        for order in ORDERS
    )
    done = subprocess.run(
        [sys.executable, "-m", "tests.voices.stock", str(out)],
        input=lines,
        # With more threads, each of which waits for the others in every layer, other tests on the
        # same cores make this last minutes.
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = [np.load(out / f"{index}.npy") for index in range(len(KINDS) * len(ORDERS))]
    return {
        kind: Case(kind, directory, made[at * len(ORDERS) : (at + 1) * len(ORDERS)])
        for at, (kind, directory) in enumerate(directories.items())
    }


@pytest.fixture(params=KINDS)
def case(request: pytest.FixtureRequest, cases: dict[str, Case]) -> Case:
    return cases[request.param]


def ours(directory: Path, *, exact: bool) -> list[np.ndarray]:
    found = files.read(directory)
    generator = model.build(found.weights, found.conf, idim=len(found.tokens), odim=found.mels)
    voice = model.Model(generator, torch.device("cpu"), exact=exact)
    numbers = {token: number for number, token in enumerate(found.tokens)}
    lines = [
        model.Line(
            tuple(numbers["<space>" if one == " " else one] for one in str(order["text"])),
            found.speakers[str(order["voice"])],
            seed=int(str(order["seed"])),
        )
        for order in ORDERS
    ]
    try:
        return voice.synthesise(lines, give_up=lambda: False)
    finally:
        voice.close()


def test_the_same_samples_as_stock(case: Case) -> None:
    made = ours(case.directory, exact=True)
    for index, (one, other) in enumerate(zip(made, case.stock, strict=True)):
        assert one.shape == other.shape, index
        np.testing.assert_allclose(one, other, atol=1e-3, err_msg=str(index))


def test_16_bits_are_not_heard(case: Case) -> None:
    for one, other in zip(ours(case.directory, exact=False), case.stock, strict=True):
        # A stop token on the brink may fire some frames off, as it may in any other precision.
        size = min(one.size, other.size)
        assert mel_distances(one[:size], other[:size], SAMPLE_RATE).mean() < 1.0


def test_a_seed_of_its_own_makes_another_sound(case: Case) -> None:
    first, last = case.stock[0], case.stock[3]
    size = min(first.size, last.size)
    assert float(np.abs(first[:size] - last[:size]).max()) > 0.01


def test_sentences_stop_by_themselves_where_they_may(case: Case) -> None:
    limits = [256 * model.FRAMES_PER_TOKEN * (len(str(order["text"])) + 1) for order in ORDERS]
    at_limit = [one.size == limit for one, limit in zip(case.stock, limits, strict=True)]
    never = case.kind == "never"
    assert at_limit == ([True] * 4 if never else [False, False, True, False])
