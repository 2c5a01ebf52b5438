"""HiFi-GAN in pieces: mel frames to samples, on all cores, with no thread waiting for another.

A generator of convolutions hears only so far: a piece of frames with `OVERLAP` more on each side
gives the samples that the whole would (largest difference 3e-8). So a sentence is cut into pieces,
and each is computed by one thread. torch's own threads meet at a barrier after every layer; when
another program takes a core away, all wait there: measured with two threads on two busy cores, one
second of audio took 0.5 to 2.4 s that way.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from services.tts.engine import GivenUp

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.tts.engine import Samples

PIECE: Final = 128
"""Frames in a piece: 1.5 s. Longer ones gain nothing, shorter ones compute more overlap."""

OVERLAP: Final = 16
"""Frames on each side that are computed for nothing but their neighbours' sake."""

_MOST_THREADS: Final = 8


def threads() -> int:
    """How many pieces are computed at once: the processors this process may use, at most 8."""
    if sys.platform == "linux":
        usable = len(os.sched_getaffinity(0))
    else:
        usable = os.cpu_count() or 1
    return min(_MOST_THREADS, usable)


def takes_bfloat16() -> bool:
    """Whether this processor computes with bfloat16 itself; emulated it is slower than float32."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            flags = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return False
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags.split())


class Vocoder:
    """A HiFi-GAN generator whose weight norm is folded, with the threads that it computes on."""

    def __init__(self, generator: torch.nn.Module, *, hop: int, bfloat16: bool) -> None:
        """Takes the generator over where it is; `hop` is the samples of one frame."""
        self._dtype = torch.bfloat16 if bfloat16 else torch.float32
        self._generator = generator.to(self._dtype)
        self._hop = hop
        self._device = next(generator.parameters()).device
        # A GPU has one queue, and more threads would only take turns at it.
        workers = threads() if self._device.type == "cpu" else 1
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="tts-vocoder")

    def close(self) -> None:
        """Ends the threads, after what they are at."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def start(self, mel: Callable[[], torch.Tensor], give_up: Callable[[], bool]) -> Sound:
        """Begins with one sentence; `mel` gives (frames, mels) and is called in the pool."""
        return Sound(self._pool.submit(self._begin, mel, give_up))

    def _begin(
        self, mel: Callable[[], torch.Tensor], give_up: Callable[[], bool]
    ) -> list[Future[Samples]]:
        with torch.inference_mode():
            frames = mel().T.unsqueeze(0).to(self._dtype)
        count = frames.shape[2]
        return [
            self._pool.submit(self._piece, frames, at, min(count, at + PIECE), give_up)
            for at in range(0, count, PIECE)
        ]

    def _piece(
        self, frames: torch.Tensor, begin: int, end: int, give_up: Callable[[], bool]
    ) -> Samples:
        if give_up():
            raise GivenUp
        first, last = max(0, begin - OVERLAP), min(frames.shape[2], end + OVERLAP)
        with torch.inference_mode():
            sound = self._generator(frames[:, :, first:last])[0, 0]
            cut = sound[(begin - first) * self._hop : (end - first) * self._hop]
            samples: Samples = cut.float().cpu().numpy()
        return samples


class Sound:
    """One sentence that is on its way through the vocoder."""

    def __init__(self, pieces: Future[list[Future[Samples]]]) -> None:
        self._pieces = pieces

    def samples(self) -> Samples:
        """Waits for all of it. Raises GivenUp, or what went wrong."""
        return np.concatenate([piece.result() for piece in self._pieces.result()])
