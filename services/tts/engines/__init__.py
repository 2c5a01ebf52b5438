"""The engines, each imported only when it is chosen: their libraries are optional."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from services.tts.engine import Engine

EngineName: TypeAlias = Literal["auto", "ukrainian", "espeak"]
ENGINES: Final[tuple[EngineName, ...]] = ("auto", "ukrainian", "espeak")


@dataclass(frozen=True, slots=True)
class Engines:
    """Engines that are not loaded yet: the preferred ones in order, and the stand-in."""

    preferred: tuple[Engine, ...]
    stand_in: Engine | None


def create(
    name: EngineName, *, device: str, model_dir: str, sentence_limit: float, exact: bool
) -> Engines:
    """The engines that `name` stands for.

    `auto`: the neural voice on `device`, then on the CPU, and eSpeak NG while neither speaks;
    `ukrainian`: the same without eSpeak NG; `espeak`: that alone. `device` is `auto`, `cpu`, `mps`
    or `cuda`; `model_dir` has the files of the neural voice; `sentence_limit` bounds one sentence's
    synthesis, in seconds; `exact` trades no precision for speed.
    """
    from services.tts.engines.espeak import Espeak

    stand_in = None
    if name != "ukrainian":
        stand_in = Espeak(device=device, sentence_limit=sentence_limit)
    if name == "espeak":
        return Engines((), stand_in)
    from services.tts.engines.ukrainian import Ukrainian

    devices = (device,) if device == "cpu" else (device, "cpu")
    return Engines(
        tuple(
            Ukrainian(device=one, model_dir=model_dir, sentence_limit=sentence_limit, exact=exact)
            for one in devices
        ),
        stand_in,
    )
