"""How far our sound is from stock's for the same tokens and the same random numbers.

`python -m benchmarks.voices.likeness MODEL_DIR FRAMES SENTENCE…` prints one JSON object,
`{"exact": [dB of each sentence], "default": […], "precision": what the default keeps weights in}`.
Raises AssertionError when one made more samples than another.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.voices.ours import limited
from services.tts.engine import Utterance
from services.tts.engines.ukrainian import Ukrainian
from services.tts.engines.ukrainian.distance import mel_distances

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.tts.engine import Samples

_VOICE = "dmytro"


def main() -> None:
    """The command line."""
    model, frames, *sentences = sys.argv[1:]
    limited(int(frames))
    rendered: dict[str, list[Samples]] = {}
    precision = ""
    seeds: list[int] = []
    for name, exact in (("exact", True), ("default", False)):
        engine = Ukrainian(device="cpu", model_dir=model, sentence_limit=900.0, exact=exact)
        engine.load()
        rendered[name] = [
            engine.synthesise([Utterance(one, _VOICE, 1.0)], give_up=lambda: False)[0]
            for one in sentences
        ]
        seeds = [engine._line(one, _VOICE).seed for one in sentences]
        precision = engine.fingerprint.split("/")[2]
        engine.unload()
    stock = _stock(Path(model), float(frames), sentences, seeds)
    found: dict[str, object] = {"precision": precision}
    for name, ours in rendered.items():
        found[name] = [_apart(one, other) for one, other in zip(ours, stock, strict=True)]
    print(json.dumps(found))


def _apart(ours: Samples, stock: Samples) -> float:
    assert ours.size == stock.size, f"ours has {ours.size} samples, stock {stock.size}"  # noqa: S101
    return float(mel_distances(ours, stock, 22_050).mean())


def _stock(
    model: Path, frames: float, sentences: Sequence[str], seeds: Sequence[int]
) -> list[Samples]:
    orders = "".join(
        json.dumps(
            {
                "directory": str(model.resolve()),
                "text": text,
                "voice": _VOICE,
                "seed": seed,
                "frames": frames,
            }
        )
        + "\n"
        for text, seed in zip(sentences, seeds, strict=True)
    )
    with tempfile.TemporaryDirectory() as out:
        subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "tests.voices.stock", out],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            input=orders,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
            timeout=900,
        )
        return [np.load(f"{out}/{number}.npy") for number in range(len(sentences))]


if __name__ == "__main__":
    main()
