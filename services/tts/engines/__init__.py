"""The engines, each imported only when it is chosen: their libraries are optional."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from services.tts.engine import Engine

EngineName: TypeAlias = Literal["auto", "espeak"]
ENGINES: Final[tuple[EngineName, ...]] = ("auto", "espeak")


def create(name: EngineName, *, device: str, sentence_limit: float) -> Engine:
    """An engine that is not loaded yet.

    `auto` is eSpeak NG, the only one there is. `device` is `auto`, `cpu`, `mps` or `cuda`;
    `sentence_limit` bounds one sentence's synthesis, in seconds.
    """
    from services.tts.engines.espeak import Espeak

    del name
    return Espeak(device=device, sentence_limit=sentence_limit)
