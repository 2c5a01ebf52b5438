"""Pieces are the whole: wherever a sentence is cut, and in whatever parts its frames come."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from services.tts.engine import GivenUp
from services.tts.engines.ukrainian import files, model, vocoder
from services.tts.engines.ukrainian.vocoder import Sound, Vocoder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from services.tts.engine import Samples

HOP = 256
MELS = 80
PIECE = vocoder._PIECE


@pytest.fixture(params=["cpu", "gpu"])
def made(request: pytest.FixtureRequest, tiny: Path) -> Iterator[tuple[Vocoder, Any]]:
    """A vocoder in its way of computing, and the modules that it must agree with, untouched."""
    found = files.read(tiny)
    parts: list[Any] = [
        model.build(found.weights, found.conf, idim=len(found.tokens), odim=found.mels)
        for _ in range(2)
    ]
    taken = Vocoder(
        parts[0]["text2mel"].dec.postnet,
        parts[0]["vocoder"],
        on_cpu=request.param == "cpu",
        bfloat16=False,
    )
    yield taken, parts[1]
    taken.close()


def whole(generator: Any, mel: torch.Tensor) -> Samples:
    with torch.inference_mode():
        refined = mel.T[None]
        refined = refined + generator["text2mel"].dec.postnet(refined)
        samples: Samples = generator["vocoder"](refined)[0, 0].numpy()
    return samples


def random_mel(frames: int) -> torch.Tensor:
    return torch.randn(frames, MELS, generator=torch.Generator().manual_seed(frames))


@pytest.mark.parametrize("part", [1, 32, 1000])
@pytest.mark.parametrize("frames", [1, 7, 40, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 25, 400])
def test_pieces_are_the_whole(made: tuple[Vocoder, Any], frames: int, part: int) -> None:
    taken, generator = made
    mel = random_mel(frames)
    sound = Sound(taken, lambda: False)
    for at in range(0, frames, part):
        sound.feed(mel[at : at + part], last=at + part >= frames)
    samples = sound.samples()
    assert samples.shape == (HOP * frames,)
    assert np.abs(samples - whole(generator, mel)).max() < 1e-5


def test_the_first_pieces_are_made_before_the_last_frames_come(made: tuple[Vocoder, Any]) -> None:
    taken, _ = made
    began = threading.Event()

    def give_up() -> bool:
        began.set()
        return False

    sound = Sound(taken, give_up)
    sound.feed(random_mel(PIECE + taken.overlap + taken.reach), last=False)
    assert began.wait(20)
    sound.feed(random_mel(5), last=True)
    assert sound.samples().size == HOP * (PIECE + taken.overlap + taken.reach + 5)


def test_the_shapes_that_are_computed_are_few(
    made: tuple[Vocoder, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, _ = made
    shapes: set[tuple[int, int, int]] = set()

    def render(mel: torch.Tensor, left: int, right: int, give_up: object) -> Samples:
        shapes.add((len(mel), left, right))
        return np.zeros((len(mel) - left - right) * HOP, dtype=np.float32)

    monkeypatch.setattr(taken, "render", render)
    for frames in range(3 * PIECE, 5 * PIECE):
        sound = Sound(taken, lambda: False)
        sound.feed(random_mel(frames), last=True)
        assert sound.samples().size == HOP * frames
    # The first, those in the middle, and the last of 1 to 4 grains.
    assert len(shapes) <= 6


def test_it_is_given_up_between_two_stages(made: tuple[Vocoder, Any]) -> None:
    taken, _ = made
    asked = 0

    def give_up() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    sound = Sound(taken, give_up)
    # Where there are no threads it is told at once.
    with pytest.raises(GivenUp):  # noqa: PT012
        sound.feed(random_mel(30), last=True)
        sound.samples()
    assert asked == 3
