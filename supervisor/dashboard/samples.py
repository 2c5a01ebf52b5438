"""What was measured lately, for the charts: a ring for each service, of a fixed size."""

import math
from array import array
from collections.abc import Iterable, Mapping
from typing import Final, TypedDict

KEPT: Final = 300
"""Samples: ten minutes, while somebody looks."""
SPACING: Final = 2.0
"""Seconds between two."""
FAILED: Final = -1.0
"""Stands for the latency of a probe that failed."""

Sample = tuple[float | None, float | None, float | None]
"""Percent of a core, bytes of memory, and seconds that the last probe took."""


class Series(TypedDict):
    """The samples of one service, oldest first; None: not known."""

    count: int
    """How many there have ever been; the number of the last one."""
    at: list[float]
    """Unix seconds."""
    cpu: list[float | None]
    memory: list[float | None]
    latency: list[float | None]
    """Seconds; `FAILED` for a failure."""


class Samples:
    """The rings; all services are sampled at the same moments."""

    def __init__(self) -> None:
        self._count = 0
        self._at = array("d", bytes(8 * KEPT))
        self._rings: dict[str, array[float]] = {}
        """Three values for each moment."""

    @property
    def last_at(self) -> float:
        """When the last sample was taken, in Unix seconds; 0.0 before the first."""
        return self._at[(self._count - 1) % KEPT] if self._count else 0.0

    def add(self, at: float, services: Mapping[str, Sample]) -> None:
        """Take a sample of everything; what is not in it any more is forgotten."""
        place = self._count % KEPT
        self._at[place] = at
        for name in [name for name in self._rings if name not in services]:
            del self._rings[name]
        for name, sample in services.items():
            ring = self._rings.get(name)
            if ring is None:
                ring = self._rings[name] = array("f", [math.nan] * 3 * KEPT)
            for offset, value in enumerate(sample):
                ring[3 * place + offset] = math.nan if value is None else value
        self._count += 1

    def series(self, name: str, after: int) -> Series:
        """Return the samples of a service that came after number `after`."""
        first = max(0, after, self._count - KEPT)
        places = [number % KEPT for number in range(first, self._count)]
        ring = self._rings.get(name) or array("f", [math.nan] * 3 * KEPT)
        return {
            "count": self._count,
            "at": [round(self._at[place], 1) for place in places],
            "cpu": _known(ring[3 * place] for place in places),
            "memory": _known(ring[3 * place + 1] for place in places),
            "latency": _known(ring[3 * place + 2] for place in places),
        }


def _known(values: Iterable[float]) -> list[float | None]:
    return [None if math.isnan(value) else float(f"{value:.5g}") for value in values]
