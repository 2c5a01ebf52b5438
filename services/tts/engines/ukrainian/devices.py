"""Which device speaks: what there is, whether its sound is right, and which is the faster.

A device is trusted when it has spoken the trial sentence as the CPU does. The sentence lasts over
3 s, because on some pairs of macOS and torch convolutions over more samples than that came out
wrong or were refused, while a warm-up word worked. Where a device is not trusted the CPU speaks,
and `reason` says why.
"""

from __future__ import annotations

import gc
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from services.tts import diagnosis
from services.tts.engine import EngineError, GivenUp
from services.tts.engines.ukrainian.distance import HOP, mel_distances

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.tts.engine import Samples
    from services.tts.engines.ukrainian.model import Line

log = logging.getLogger("tts.ukrainian")

TRIAL_SENTENCE: Final = (
    "ц+е р+ечення д+овше за тр+и сек+унди, щ+об порівн+яти пр+истрої на д+овгому зв+уці."
)
SHORTEST_TRIAL: Final = 3.0
"""Seconds that the trial sentence must last to prove anything."""

TOLERANCE_DB: Final = 2.0
"""Most that any half second may differ from the CPU's, as `distance` measures. Sums in another
order are far below it, weights in 16 bits below it; noise or silence in place of speech above."""

_STRETCH_SECONDS: Final = 0.5
_LENGTH_SHARE: Final = 0.05
"""How much longer or shorter the whole may be: a stop token that fires a few frames off is heard by
nobody."""

_TRIAL_LIMIT: Final = 120.0
"""Seconds for the trial sentence on one device."""

_ACCELERATORS: Final = ("cuda", "mps")


class Voice(Protocol):
    """The model on one device."""

    @property
    def precision(self) -> str:
        """What it computes in."""

    def synthesise(self, lines: Sequence[Line], *, give_up: Callable[[], bool]) -> list[Samples]:
        """Speaks the lines; the same line gives the same dropout on every device."""

    def close(self) -> None:
        """Lets go of its threads."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to speak; `reason` says why it is not on the device that was asked for."""

    voice: Voice
    device: str
    reason: str | None


def absence(device: str) -> str | None:
    """Why there is no such device here; None when there is."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        if torch.version.cuda is None:
            return "this torch is built without CUDA"
        return "torch finds no NVIDIA GPU or no driver for it"
    if device == "mps" and not torch.backends.mps.is_available():
        if not torch.backends.mps.is_built():
            return "this torch is built without MPS, which is for Macs with Apple silicon"
        return "torch finds no GPU of Apple, or a macOS that is too old for it"
    return None


def release(device: str) -> None:
    """Gives back the memory of voices that are gone, which torch keeps for this process."""
    # espnet's modules hold themselves by their hooks.
    gc.collect()
    if device != "cpu":
        import torch

        # A GPU whose kernel has failed an assertion refuses this as it does every other call.
        with suppress(RuntimeError):
            getattr(torch, device).empty_cache()


def choose(
    asked: str,
    *,
    make: Callable[[str], Voice],
    trial: Line,
    rate: int,
    absence: Callable[[str], str | None] = absence,
    release: Callable[[str], None] = release,
    clock: Callable[[], float] = time.perf_counter,
) -> Choice:
    """Makes the voice on the device that was asked for, or on the CPU.

    `asked` is `auto`, `cpu`, `mps` or `cuda`; `auto` is the faster of what is right. `make` builds
    the voice on a device. `trial` is TRIAL_SENTENCE for the model, `rate` its sample rate in Hz.
    `absence` tells of a device why it is not there, `release` frees what is left of the voice that
    is not chosen, `clock` counts seconds. Raises what `make` and the voice raise on the CPU.
    """
    # No machine has more than one of them.
    present = next((device for device in _ACCELERATORS if absence(device) is None), None)
    device = present if asked == "auto" else asked
    if device in (None, "cpu"):
        return Choice(make("cpu"), "cpu", None)
    if device != present:
        reason = f"{absence(device)}; the CPU is used instead of {device}"
        return Choice(make("cpu"), "cpu", reason)
    cpu = make("cpu")
    try:
        reference = _speak(cpu, trial, clock)
        outcome = _try_out(device, make, trial, reference, rate, clock)
    except BaseException:
        cpu.close()
        raise
    if isinstance(outcome, str):
        choice = Choice(cpu, "cpu", outcome)
    else:
        voice, seconds = outcome
        log.info(
            "the trial sentence took %.2f s on %s, %.2f s on the CPU",
            seconds,
            device,
            reference.seconds,
        )
        if asked == "auto" and seconds >= reference.seconds:
            choice, other = Choice(cpu, "cpu", None), voice
        else:
            choice, other = Choice(voice, device, None), cpu
        other.close()
        del voice, other
    del cpu, outcome
    release(device)
    return choice


@dataclass(frozen=True, slots=True)
class _Spoken:
    samples: Samples
    seconds: float


def _speak(voice: Voice, trial: Line, clock: Callable[[], float]) -> _Spoken:
    began = clock()
    try:
        (samples,) = voice.synthesise([trial], give_up=lambda: clock() - began > _TRIAL_LIMIT)
    except GivenUp:
        raise EngineError(f"the trial sentence took over {_TRIAL_LIMIT:g} s") from None
    return _Spoken(samples, clock() - began)


def _try_out(
    device: str,
    make: Callable[[str], Voice],
    trial: Line,
    reference: _Spoken,
    rate: int,
    clock: Callable[[], float],
) -> tuple[Voice, float] | str:
    """The voice on a device and its seconds for the trial sentence, or why it is not to be used."""
    voice: Voice | None = None
    try:
        voice = make(device)
        wrong = difference(_speak(voice, trial, clock).samples, reference.samples, rate)
        if wrong is not None:
            raise EngineError(wrong)
        # The first time was also that of compiling what runs there.
        return voice, _speak(voice, trial, clock).seconds
    except Exception as error:
        if voice is not None:
            voice.close()
        log.warning("%s is not used", device, exc_info=error)
        cure = diagnosis.remedy(error)
        why = f"{device} failed: {diagnosis.reason(error)}"
        return f"{why}; {cure}; the CPU is used" if cure else f"{why}; the CPU is used"


def difference(samples: Samples, reference: Samples, rate: int) -> str | None:
    """What tells a device's sound from the CPU's, in words; None when nobody can hear it.

    `reference` must last SHORTEST_TRIAL, or the device is not proven.
    """
    seconds, wanted = samples.size / rate, reference.size / rate
    if wanted < SHORTEST_TRIAL:
        return f"the trial sentence lasts {wanted:.1f} s only, and proves nothing"
    if not np.isfinite(samples).all():
        return "it makes samples that are no numbers"
    if abs(seconds - wanted) > _LENGTH_SHARE * wanted:
        return f"it makes {seconds:.1f} s of a sentence that lasts {wanted:.1f} s on the CPU"
    distances = mel_distances(samples, reference, rate)
    span = round(_STRETCH_SECONDS * rate / HOP)
    stretches = np.convolve(distances, np.full(span, 1 / span), mode="valid")
    worst = int(stretches.argmax())
    if stretches[worst] <= TOLERANCE_DB:
        return None
    return (
        f"its sound is wrong: {stretches[worst]:.1f} dB from the CPU's, "
        f"{worst * HOP / rate:.1f} s into a sentence"
    )
