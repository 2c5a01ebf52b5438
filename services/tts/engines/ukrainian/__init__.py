"""The voice of ukrainian-tts: Tacotron 2 and HiFi-GAN, on a GPU or the CPU.

The only place that imports torch and espnet, and only when the engine is loaded: the server
listens long before.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from services.tts.engine import (
    DEFAULT_VOICE,
    SAMPLE_RATE,
    EngineError,
    GivenUp,
    NotInstalledError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from services.tts.engine import Samples, Utterance
    from services.tts.engines.ukrainian.devices import Voice
    from services.tts.engines.ukrainian.model import Line

BATCH: Final = 8
"""Sentences that are spoken side by side: one reading of the decoder's weights serves all."""

_REVISION: Final = 1
"""Goes up when a change of this package is heard, so that no cache plays the sound of before."""

_SPACE: Final = "<space>"


@contextmanager
def _explained() -> Iterator[None]:
    """Turns whatever torch raises into an EngineError that says what to do where that is known."""
    try:
        yield
    except (EngineError, GivenUp):
        raise
    except Exception as error:
        from services.tts import diagnosis

        raise EngineError(diagnosis.reason(error), remedy=diagnosis.remedy(error)) from error


class Ukrainian:
    """The Engine over the neural model; see `devices` for where it runs."""

    name: str = "ukrainian"
    batch: int = BATCH

    def __init__(
        self, *, device: str, model_dir: str | Path, sentence_limit: float, exact: bool = False
    ) -> None:
        """Makes an engine that is not loaded.

        `device` is `auto`, `cpu`, `mps` or `cuda`. `model_dir` has the four files. `sentence_limit`
        bounds one sentence's synthesis in seconds. `exact` keeps every weight in 32 bits.
        """
        self.device: str = "cpu" if device == "auto" else device
        self.device_reason: str | None = None
        self.sample_rate: int = SAMPLE_RATE
        self.fingerprint: str = ""
        self._asked = device
        self._directory = Path(model_dir)
        self._sentence_limit = sentence_limit
        self._exact = exact
        self._speakers: Mapping[str, npt.NDArray[np.float32]] = {}
        self._numbers: dict[str, int] = {}
        self._voice: Voice | None = None

    def load(self) -> None:
        """Builds the model and chooses its device.

        Takes 3 s on the CPU, and on a GPU as long again as the trial sentences of `devices` take.
        """
        self.unload()
        from services.tts.engines.ukrainian import files

        # Before torch is imported, which looks only then; what the user set stands.
        os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
        # oneDNN keeps the code that it made for the last 1024 shapes, up to 0.8 MB each. The pieces
        # of the vocoder have few shapes, and take 370 places.
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "512")
        try:
            found = files.read(self._directory)
            import torch

            from services.tts.engines.ukrainian import devices, model
        except ImportError as error:
            remedy = "run `make neural`"
            raise NotInstalledError(
                f"the neural voice's libraries are not installed ({error}): {remedy}",
                remedy=remedy,
            ) from error

        def make(device: str) -> Voice:
            generator = model.build(
                found.weights, found.conf, idim=len(found.tokens), odim=found.mels
            )
            # No GPU of Apple takes float64, and a trainer leaves such buffers now and then.
            return model.Model(generator.float(), torch.device(device), exact=self._exact)

        self.sample_rate = found.sample_rate
        self._speakers = found.speakers
        self._numbers = {token: number for number, token in enumerate(found.tokens)}
        with _explained():
            choice = devices.choose(
                self._asked,
                make=make,
                trial=self._line(devices.TRIAL_SENTENCE, DEFAULT_VOICE),
                rate=self.sample_rate,
            )
        self._voice = choice.voice
        self.device, self.device_reason = choice.device, choice.reason
        precision = choice.voice.precision
        self.fingerprint = f"{self.name}/{found.fingerprint}/{precision}/{_REVISION}"

    def unload(self) -> None:
        """Frees the model; does nothing where none is loaded."""
        if self._voice is None:
            return
        from services.tts.engines.ukrainian import devices

        self._voice.close()
        self._voice = None
        devices.release(self.device)

    def synthesise(
        self, batch: Sequence[Utterance], *, give_up: Callable[[], bool]
    ) -> list[Samples]:
        """Speaks the utterances side by side; see Engine.

        A sentence in which no token of the model is has no samples.
        """
        import numpy as np

        voice = self._voice
        if voice is None:
            raise EngineError("the neural voice is not loaded")
        lines = [self._line(one.sentence, one.voice) for one in batch]
        spoken = [index for index, line in enumerate(lines) if line.tokens]
        limit = self._sentence_limit * len(batch)
        give_up_at = time.monotonic() + limit
        results: list[Samples] = [np.zeros(0, dtype=np.float32) for _ in batch]
        if not spoken:
            return results
        try:
            with _explained():
                made = voice.synthesise(
                    [lines[index] for index in spoken],
                    give_up=lambda: give_up() or time.monotonic() >= give_up_at,
                )
        except GivenUp:
            if give_up():
                raise
            raise EngineError(
                f"{len(batch)} sentences took the neural voice on {self.device} over {limit:g} s"
            ) from None
        from services.tts import audio

        for index, samples in zip(spoken, made, strict=True):
            speed = batch[index].speed
            results[index] = (
                samples if speed == 1.0 else audio.stretch(samples, self.sample_rate, 1.0 / speed)
            )
        return results

    def _line(self, sentence: str, voice: str) -> Line:
        from services.tts.engines.ukrainian.model import Line

        # A character that the model never saw would be spoken as a noise of its own.
        tokens = tuple(
            self._numbers[token]
            for character in sentence.lower()
            if (token := _SPACE if character == " " else character) in self._numbers
        )
        # A seed of its own: the same phrase sounds the same, whatever it is spoken beside.
        digest = hashlib.sha256(f"{voice}\0{sentence}".encode()).digest()
        return Line(
            tokens=tokens,
            speaker=self._speakers[voice],
            seed=int.from_bytes(digest[:8], "big") >> 1,
        )
