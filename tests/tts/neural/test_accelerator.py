"""The neural voice on this machine's own GPU: skipped where torch finds none."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch

from services.tts.engine import SAMPLE_RATE, Utterance
from services.tts.engines.ukrainian import Ukrainian, devices
from services.tts.engines.ukrainian.distance import mel_distances
from tests.tts.doubles import PATIENCE
from tests.tts.processes import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from services.tts.engine import Samples

GPU = next((one for one in ("cuda", "mps") if devices.absence(one) is None), None)

pytestmark = pytest.mark.skipif(GPU is None, reason="torch finds no GPU here")
cuda_alone = pytest.mark.skipif(GPU != "cuda", reason="torch finds no NVIDIA GPU here")

SENTENCES = ("д+обрий день, як спр+ави?", "сл+ово", "це р+ечення д+овше за тр+и сек+унди зв+уку.")


def loaded(device: str, directory: Path) -> Ukrainian:
    engine = Ukrainian(device=device, model_dir=directory, sentence_limit=PATIENCE, exact=True)
    engine.load()
    assert (engine.device, engine.device_reason) == (device, None)
    return engine


def say(engine: Ukrainian, *sentences: str) -> list[Samples]:
    batch = [Utterance(sentence, "dmytro", 1.0) for sentence in sentences]
    return engine.synthesise(batch, give_up=lambda: False)


def test_it_sounds_as_the_cpu_does_alone_and_beside_others(tiny: Path) -> None:
    assert GPU is not None
    cpu, gpu = loaded("cpu", tiny), loaded(GPU, tiny)
    wanted, made = say(cpu, *SENTENCES), say(gpu, *SENTENCES)
    made.extend(say(gpu, SENTENCES[0]))
    gpu.unload()
    cpu.unload()
    for one, reference in zip(made, [*wanted, wanted[0]], strict=True):
        assert one.shape == reference.shape
        assert mel_distances(one, reference, SAMPLE_RATE).max() < 1.0
    assert gpu.fingerprint != cpu.fingerprint or GPU == "mps"


@cuda_alone
def test_what_it_took_of_the_card_it_gives_back(tiny: Path) -> None:
    engine = loaded("cuda", tiny)
    say(engine, *SENTENCES)
    held, taken = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    engine.unload()
    assert torch.cuda.memory_allocated() < held
    assert torch.cuda.memory_reserved() < taken


_LOST = """
import json, sys
from services.tts.engine import EngineError, Utterance
from services.tts.engines.ukrainian import Ukrainian

def say():
    (samples,) = engine.synthesise([Utterance("привіт", "dmytro", 1.0)], give_up=lambda: False)
    return samples.size

engine = Ukrainian(device="cuda", model_dir=sys.argv[1], sentence_limit=60)
engine.load()
told = {"before": engine.device, "length": say()}
import torch
try:
    torch.zeros(1, device="cuda")[torch.tensor([9], device="cuda")].cpu()
except RuntimeError:
    pass
try:
    say()
except EngineError as error:
    told |= {"error": str(error), "remedy": error.remedy}
engine.unload()
engine.load()
print(json.dumps({**told, "again": say(), "after": engine.device, "why": engine.device_reason}))
"""


@cuda_alone
def test_a_process_that_has_lost_the_gpu_speaks_on_the_cpu_and_says_what_helps(tiny: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LOST, str(tiny)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["before"], told["after"]) == ("cuda", "cpu")
    assert told["again"] == told["length"] > 0
    assert "device-side assert triggered" in told["error"]
    for cure in (told["remedy"], told["why"]):
        assert "restart this service to use the GPU again" in cure
