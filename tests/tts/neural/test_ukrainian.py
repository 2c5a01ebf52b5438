"""The neural engine on the CPU, with a voice of random weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest

from services.tts import audio
from services.tts.engine import SAMPLE_RATE, VOICES, EngineError, GivenUp, Utterance
from services.tts.engines.ukrainian import Ukrainian
from services.tts.engines.ukrainian.distance import mel_distances
from tests.tts.doubles import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from services.tts.engine import Samples

SENTENCE = "д+обрий день, як спр+ави?"
OTHER = "сл+ово"


@pytest.fixture
def engine(tiny: Path) -> Iterator[Ukrainian]:
    engine = Ukrainian(device="cpu", model_dir=tiny, sentence_limit=PATIENCE)
    engine.load()
    yield engine
    engine.unload()


def say(
    engine: Ukrainian, *sentences: str, voice: str = "dmytro", speed: float = 1.0
) -> Sequence[Samples]:
    batch = [Utterance(sentence, voice, speed) for sentence in sentences]
    return engine.synthesise(batch, give_up=lambda: False)


def test_it_speaks_audibly_and_within_bounds(engine: Ukrainian) -> None:
    (samples,) = say(engine, "привіт")
    assert samples.dtype == np.float32
    assert audio.audible_seconds(samples, SAMPLE_RATE) > 0.2
    assert float(np.abs(samples).max()) <= 1.0
    assert (engine.name, engine.device, engine.device_reason) == ("ukrainian", "cpu", None)
    assert engine.sample_rate == SAMPLE_RATE


@pytest.mark.parametrize("exact", [True, False])
def test_a_phrase_sounds_the_same_whatever_it_is_spoken_beside(tiny: Path, exact: bool) -> None:
    engine = Ukrainian(device="cpu", model_dir=tiny, sentence_limit=PATIENCE, exact=exact)
    engine.load()
    (alone,) = say(engine, SENTENCE)
    (again,) = say(engine, SENTENCE)
    beside = say(engine, OTHER, SENTENCE, "три сл+ова тут", SENTENCE)
    engine.unload()
    np.testing.assert_array_equal(alone, again)
    assert len(beside) == 4
    assert beside[0].size < alone.size
    for other in (beside[1], beside[3]):
        assert other.shape == alone.shape
        # A batch adds in another order, which 16 bits round to one side or the other.
        assert mel_distances(other, alone, SAMPLE_RATE).max() < (0.1 if exact else 2.0)
        if exact:
            np.testing.assert_allclose(other, alone, atol=1e-3)


def test_texts_and_voices_differ(engine: Ukrainian) -> None:
    spoken = [say(engine, SENTENCE, voice=voice)[0] for voice in VOICES]
    spoken.append(say(engine, SENTENCE.replace("ень", "ощ"))[0])
    for at, one in enumerate(spoken):
        for other in spoken[:at]:
            size = min(one.size, other.size)
            assert float(np.abs(one[:size] - other[:size]).max()) > 0.05


@pytest.mark.parametrize("speed", [0.25, 0.8, 1.5, 4.0])
def test_speed_divides_the_duration(engine: Ukrainian, speed: float) -> None:
    (usual,), (changed,) = say(engine, SENTENCE), say(engine, SENTENCE, speed=speed)
    assert usual.size / changed.size == pytest.approx(speed, rel=0.02)


def test_characters_that_it_has_no_token_for_are_left_out(engine: Ukrainian) -> None:
    plain, marked, loud = say(engine, "сл+ово", "сл☃+ово…", "СЛ+ОВО")
    # Of the same tokens, so of the same length; the noise of each text is its own.
    assert plain.size == marked.size == loud.size
    nothing, something = say(engine, "☃…", "сл+ово")
    assert nothing.size == 0
    assert something.size == plain.size
    assert [one.size for one in say(engine, "☃")] == [0]


def test_it_is_given_up_within_the_sentence(engine: Ukrainian) -> None:
    looks = 0

    def give_up() -> bool:
        nonlocal looks
        looks += 1
        return looks > 3

    long = " ".join([SENTENCE] * 8)
    with pytest.raises(GivenUp):
        engine.synthesise([Utterance(long, "lada", 1.0)], give_up=give_up)
    # Frames are looked at one by one, and there would have been 2000.
    assert looks < 100
    assert say(engine, OTHER)[0].size > 0


def test_a_sentence_beyond_the_limit_is_an_error_and_the_next_is_spoken(tiny: Path) -> None:
    engine = Ukrainian(device="cpu", model_dir=tiny, sentence_limit=0.0)
    engine.load()
    try:
        with pytest.raises(EngineError, match="over 0 s"):
            say(engine, SENTENCE)
        with pytest.raises(EngineError, match="over 0 s"):
            say(engine, SENTENCE, OTHER)
    finally:
        engine.unload()


def test_unload_frees_it_and_load_brings_it_back(tiny: Path) -> None:
    engine = Ukrainian(device="cpu", model_dir=tiny, sentence_limit=PATIENCE)
    engine.unload()
    with pytest.raises(EngineError, match="not loaded"):
        say(engine, OTHER)
    engine.load()
    before, fingerprint = say(engine, OTHER)[0], engine.fingerprint
    engine.load()
    engine.unload()
    engine.unload()
    with pytest.raises(EngineError, match="not loaded"):
        say(engine, OTHER)
    engine.load()
    np.testing.assert_array_equal(say(engine, OTHER)[0], before)
    assert engine.fingerprint == fingerprint
    engine.unload()


def test_the_fingerprint_tells_precision_and_model_apart(tiny: Path, tmp_path: Path) -> None:
    from tests.voices import random_model

    random_model.write(tmp_path, "tiny", seed=1)
    prints = set()
    for directory, exact in ((tiny, True), (tmp_path, True), (tiny, False)):
        engine = Ukrainian(device="cpu", model_dir=directory, sentence_limit=1.0, exact=exact)
        engine.load()
        prints.add(engine.fingerprint)
        if not exact:
            assert "ukrainian/" in engine.fingerprint
            # A processor that has no use for 16 bits takes 32 without being asked.
            prints.add("16 bits" if "16" in engine.fingerprint else engine.fingerprint)
        engine.unload()
    assert len(prints) >= 2
    assert all(prints)


def test_a_missing_file_is_an_error_with_the_cure_and_it_may_be_loaded_later(
    tiny: Path, tmp_path: Path
) -> None:
    engine = Ukrainian(device="auto", model_dir=tmp_path, sentence_limit=PATIENCE)
    with pytest.raises(EngineError, match="there is no neural voice in") as raised:
        engine.load()
    assert "make neural" in str(raised.value.remedy)
    for file in tiny.iterdir():
        os.link(file, tmp_path / file.name)
    engine.load()
    assert say(engine, OTHER)[0].size > 0
    engine.unload()


def test_files_of_two_models_are_an_error(tiny: Path, tmp_path: Path) -> None:
    for file in tiny.iterdir():
        if file.name != "config.yaml":
            os.link(file, tmp_path / file.name)
    text = (tiny / "config.yaml").read_text(encoding="utf-8")
    (tmp_path / "config.yaml").write_text(text.replace("dunits: 32", "dunits: 64"))
    engine = Ukrainian(device="cpu", model_dir=tmp_path, sentence_limit=PATIENCE)
    with pytest.raises(EngineError, match="not of one model"):
        engine.load()


def test_without_torch_it_says_how_to_get_it(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    engine = Ukrainian(device="cpu", model_dir=tiny, sentence_limit=PATIENCE)
    with pytest.raises(EngineError, match="libraries are not installed") as raised:
        engine.load()
    assert raised.value.remedy == "run `make neural`"


@pytest.mark.parametrize("device", ["mps", "cuda"])
def test_a_device_that_this_machine_lacks_is_explained(tiny: Path, device: str) -> None:
    from services.tts.engines.ukrainian import devices

    if devices.absence(device) is None:
        pytest.skip(f"this machine has {device}")
    engine = Ukrainian(device=device, model_dir=tiny, sentence_limit=PATIENCE)
    assert engine.device == device
    engine.load()
    assert engine.device == "cpu"
    assert f"the CPU is used instead of {device}" in str(engine.device_reason)
    engine.unload()


@dataclass
class Gpu:
    """A GPU of Apple that computes as the CPU does; what it refuses, and what is on it."""

    lost: bool = False
    """As CUDA is to a process in which a kernel's assertion has failed: every call raises."""
    silent: bool = False
    emptied: int = 0
    models: list[weakref.ref[object]] = field(default_factory=list)

    def refuse_if_lost(self) -> None:
        if self.lost:
            raise RuntimeError("CUDA error: device-side assert triggered\nSearch for `cuda…'")

    def empty_cache(self) -> None:
        self.emptied += 1
        self.refuse_if_lost()


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    import torch

    from services.tts.engines.ukrainian import model

    there = Gpu()

    class OnGpu(model.Model):
        def __init__(
            self, generator: torch.nn.ModuleDict, device: torch.device, *, exact: bool
        ) -> None:
            self._there = there if device.type == "mps" else None
            if self._there:
                there.refuse_if_lost()
                there.models.append(weakref.ref(generator["vocoder"]))
            super().__init__(generator, torch.device("cpu"), exact=exact)

        def synthesise(
            self, lines: Sequence[model.Line], *, give_up: Callable[[], bool]
        ) -> list[Samples]:
            samples = super().synthesise(lines, give_up=give_up)
            if self._there:
                there.refuse_if_lost()
                if there.silent:
                    return [0 * one for one in samples]
            return samples

    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # no machine has both
    monkeypatch.setattr(torch.mps, "empty_cache", there.empty_cache)
    monkeypatch.setattr(model, "Model", OnGpu)
    return there


def test_a_gpu_that_is_not_used_keeps_nothing(gpu: Gpu, tiny: Path) -> None:
    gpu.silent = True
    engine = Ukrainian(device="mps", model_dir=tiny, sentence_limit=PATIENCE)
    engine.load()
    assert engine.device == "cpu"
    assert "sound is wrong" in str(engine.device_reason)
    assert [one() for one in gpu.models] == [None]
    assert gpu.emptied == 1
    engine.unload()


def test_a_gpu_that_is_lost_in_service_is_let_go_and_the_cpu_speaks(gpu: Gpu, tiny: Path) -> None:
    engine = Ukrainian(device="mps", model_dir=tiny, sentence_limit=PATIENCE)
    engine.load()
    assert (engine.device, engine.device_reason) == ("mps", None)
    gpu.lost = True
    with pytest.raises(EngineError, match=r"device-side assert triggered$") as raised:
        say(engine, SENTENCE)
    assert raised.value.remedy == "restart this service to use the GPU again"
    del raised
    # It refuses to empty its cache too, which is no failure of the engine.
    engine.unload()
    assert [one() for one in gpu.models] == [None]
    engine.load()
    assert engine.device == "cpu"
    assert engine.device_reason == (
        "mps failed: RuntimeError: CUDA error: device-side assert triggered; "
        "restart this service to use the GPU again; the CPU is used"
    )
    assert say(engine, OTHER)[0].size > 0
    engine.unload()


_OFFLINE = """
import json, os, socket, sys

def refuse(*arguments, **options):
    raise OSError("the network was asked")

for name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, name, refuse)
socket.getaddrinfo = socket.create_connection = refuse
from services.tts.engine import Utterance
from services.tts.engines.ukrainian import Ukrainian
early = sorted({"torch", "espnet2", "yaml"} & set(sys.modules))
engine = Ukrainian(device="auto", model_dir=sys.argv[1], sentence_limit=60)
engine.load()
(samples,) = engine.synthesise([Utterance("привіт", "dmytro", 1.0)], give_up=lambda: False)
engine.unload()
unwanted = ("espnet2.bin", "espnet2.tasks", "gradio", "nltk", "stanza", "torchaudio", "ukrainian_")
print(json.dumps({
    "early": early,
    "samples": samples.size,
    "fallback": os.environ.get("PYTORCH_ENABLE_MPS_FALLBACK"),
    "unwanted": sorted(name for name in sys.modules if name.startswith(unwanted)),
}))
"""


@pytest.mark.parametrize("fallback", [None, "0"])
def test_it_needs_no_network_and_imports_nothing_that_asks_for_it(
    tiny: Path, fallback: str | None
) -> None:
    environ = {k: v for k, v in os.environ.items() if k != "PYTORCH_ENABLE_MPS_FALLBACK"}
    if fallback is not None:
        environ["PYTORCH_ENABLE_MPS_FALLBACK"] = fallback
    done = subprocess.run(
        [sys.executable, "-c", _OFFLINE, str(tiny)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["samples"] > 0
    assert said["early"] == []
    assert said["unwanted"] == []
    # It must be there before torch is imported, and what the user set stands.
    assert said["fallback"] == (fallback or "1")
