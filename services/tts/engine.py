"""The seam between the server and whatever speaks.

An engine turns one sentence into samples and knows nothing of queues, HTTP or long text. The unit
is the sentence so that a caller can hand on the first one while the next is being made, stop
between two, or try another engine for the one that failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Samples: TypeAlias = npt.NDArray[np.float32]
    """Mono audio, shape (n,), nominally within -1..1; the rate is the engine's."""

VOICES: Final = ("tetiana", "mykyta", "lada", "dmytro", "oleksa")
DEFAULT_VOICE: Final = "dmytro"

SAMPLE_RATE: Final = 22_050
"""Hz; clients were promised this rate, so an engine that speaks at another cannot be used."""

MIN_SPEED: Final = 0.25
MAX_SPEED: Final = 4.0


class EngineError(Exception):
    """The engine cannot speak; the message says why and, where it is known, what to do."""


class Engine(Protocol):
    """One synthesiser. Every method but the properties is called from one thread only."""

    @property
    def name(self) -> str:
        """Short name for `/health` and logs, such as `espeak`."""

    @property
    def device(self) -> str:
        """What it computes on: `cpu`, `mps` or `cuda`."""

    @property
    def device_reason(self) -> str | None:
        """Why `device` is not the one that was asked for; None when it is."""

    @property
    def sample_rate(self) -> int:
        """Rate of what `synthesise` returns, in Hz."""

    def load(self) -> None:
        """Gets ready to speak; may be called again after it failed.

        Raises EngineError when that is impossible.
        """

    def synthesise(self, sentence: str, *, voice: str, speed: float) -> Samples:
        """Speaks one sentence.

        `sentence` is text of the pipeline: `+` stands before a stressed vowel. `voice` is one of
        VOICES. `speed` is MIN_SPEED..MAX_SPEED and divides the duration. Raises EngineError.
        """
