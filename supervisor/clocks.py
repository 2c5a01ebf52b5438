"""The clocks of this machine, compared: has it slept, and has somebody set the time?

Three clocks: the *steady* one, which everything is decided by and which stands still while the
machine sleeps (CLOCK_MONOTONIC on Linux, mach_absolute_time on macOS); the *elapsed* one, which
goes on (CLOCK_BOOTTIME; on macOS CLOCK_MONOTONIC_RAW, which is mach_continuous_time); and the
*wall* clock, which only people read.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

NAP = 1.0
"""Seconds of sleep that are worth a look; the clocks are read one after the other."""
STEP = 2.0
"""Seconds by which the wall clock must be set to be told of; NTP moves it slowly by less."""


def elapsed() -> float:
    """Return seconds that go on while the machine sleeps."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.clock_gettime(time.CLOCK_MONOTONIC_RAW)


@dataclass(frozen=True, slots=True)
class Lapse:
    """What the clocks have shown since they were last looked at."""

    slept: float = 0.0
    """Seconds that the machine slept; 0 if it did not."""
    stepped: float = 0.0
    """Seconds by which the wall clock was set forward, or back if negative; 0 if it was not."""


class Clocks:
    """Looks at all three and keeps what they showed before."""

    def __init__(
        self,
        steady: Callable[[], float] = time.monotonic,
        elapsed: Callable[[], float] = elapsed,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.steady = steady
        self._elapsed = elapsed
        self._wall = wall
        self._asleep, self._set_by = self._differences()

    def look(self) -> Lapse | None:
        """Return what has happened since the last look that said something, None for nothing.

        Small differences add up until they are worth it, so nothing is missed by looking often.
        """
        asleep, set_by = self._differences()
        slept, stepped = asleep - self._asleep, set_by - self._set_by
        if slept < NAP and abs(stepped) < STEP:
            return None
        lapse = Lapse(slept if slept >= NAP else 0.0, stepped if abs(stepped) >= STEP else 0.0)
        if lapse.slept:
            self._asleep = asleep
        if lapse.stepped:
            self._set_by = set_by
        return lapse

    def _differences(self) -> tuple[float, float]:
        elapsed = self._elapsed()
        return elapsed - self.steady(), self._wall() - elapsed
