"""The seam between the server and whatever speaks.

An engine turns sentences into samples and knows nothing of queues, HTTP or long text. The unit is
the sentence so that a caller can hand on the first one while the next is being made, put sentences
of several clients into one batch, or try another engine for those that failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
    """The engine cannot speak; the message says why and what to do.

    `remedy` is the known cure in words, where there is one.
    """

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.remedy = remedy


class NotInstalledError(EngineError):
    """What the engine needs was never put here; nothing is broken, and the message says it all."""


class GivenUp(Exception):  # noqa: N818 - the caller's wish, no error
    """Synthesis was left unfinished because `give_up` said so."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One sentence and how to say it.

    `sentence` is text of the pipeline: `+` stands before a stressed vowel. `voice` is one of
    VOICES. `speed` is MIN_SPEED..MAX_SPEED and divides the duration.
    """

    sentence: str
    voice: str
    speed: float


class Engine(Protocol):
    """One synthesiser. No two of its methods ever run at once; the properties any thread reads."""

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

    @property
    def batch(self) -> int:
        """Most utterances that `synthesise` may be given at once; at least 1."""

    @property
    def fingerprint(self) -> str:
        """Names everything of the engine that changes the sound; valid after `load`.

        Library or model, precision, and the device where it is heard: audio made under one
        fingerprint is never played under another. Empty where nothing is worth keeping, because
        speaking it again is as quick.
        """

    def load(self) -> None:
        """Gets ready to speak; may be called again after it failed, and after `unload`.

        Raises EngineError when that is impossible.
        """

    def unload(self) -> None:
        """Frees what `load` took; does nothing where nothing is loaded."""

    def synthesise(
        self, batch: Sequence[Utterance], *, give_up: Callable[[], bool]
    ) -> list[Samples]:
        """Speaks 1 to `batch` utterances: one Samples for each, in their order.

        Looks at `give_up` every few frames and raises GivenUp when it is true. Raises EngineError.
        """
