"""How far apart two renderings of one sentence are, for the ear rather than for the samples.

Two devices add in another order, so their samples differ while they sound the same. What is heard
is compared: the energies of 80 mel bands every 12 ms, in dB, down to 60 dB below the loudest.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from services.tts.engine import Samples

WINDOW: Final = 1024
HOP: Final = 256
BANDS: Final = 80

_LOWEST_HZ: Final = 80.0
_HIGHEST_HZ: Final = 7600.0
_DEPTH_DB: Final = 60.0


def mel_distances(one: Samples, other: Samples, rate: int) -> npt.NDArray[np.float64]:
    """Mean difference of the bands in dB, for each frame of HOP samples that both have.

    Empty when either is shorter than WINDOW. `rate` is in Hz.
    """
    size = min(one.size, other.size)
    if size < WINDOW:
        return np.zeros(0)
    energies = [_mel(samples[:size], rate) for samples in (one, other)]
    floor = max(float(each.max()) for each in energies) * 10 ** (-_DEPTH_DB / 10)
    first, second = (10 * np.log10(np.maximum(each, max(floor, 1e-30))) for each in energies)
    distances: npt.NDArray[np.float64] = np.abs(first - second).mean(axis=1)
    return distances


def _mel(samples: Samples, rate: int) -> npt.NDArray[np.float64]:
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW))) ** 2
    bands: npt.NDArray[np.float64] = power @ _filters(rate)
    return bands


@functools.cache
def _filters(rate: int) -> npt.NDArray[np.float64]:
    """Triangles that are evenly spaced on the mel scale, shape (WINDOW // 2 + 1, BANDS)."""
    lowest, highest = (_to_mel(hertz) for hertz in (_LOWEST_HZ, min(_HIGHEST_HZ, rate / 2)))
    centres = 700 * (10 ** (np.linspace(lowest, highest, BANDS + 2) / 2595) - 1)
    bins = np.arange(WINDOW // 2 + 1)[:, None] * rate / WINDOW
    rising = (bins - centres[:-2]) / (centres[1:-1] - centres[:-2])
    falling = (centres[2:] - bins) / (centres[2:] - centres[1:-1])
    triangles: npt.NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
    return triangles


def _to_mel(hertz: float) -> float:
    return 2595 * math.log10(1 + hertz / 700)
