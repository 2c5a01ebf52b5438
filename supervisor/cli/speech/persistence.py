"""Trying again what may succeed a little later: so many times, and further apart each time."""

import random
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from supervisor.cli.speech.failure import CancelledError, SpeechError

RETRIES: Final = 6
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 8.0
"""Seconds, of which by chance up to half is left out: many clients must not come together."""

T = TypeVar("T")


def persist(
    attempt: Callable[[], T],
    tell: Callable[[str], None],
    cancelled: threading.Event,
    chance: Callable[[], float] = random.random,
) -> T:
    """Return what the first attempt that succeeds does; `tell` is told of each that does not.

    Raises SpeechError when it is no use, and CancelledError.
    """
    failures = 0
    while True:
        try:
            return attempt()
        except SpeechError as error:
            if not error.passes or failures == RETRIES:
                raise
            failures += 1
            longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (failures - 1))
            pause = error.retry_after + longest * (1 - chance() / 2)
            tell(f"{error.message}; trying again in {pause:.1f} s")
        if cancelled.wait(pause):
            raise CancelledError
