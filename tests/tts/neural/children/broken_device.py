"""The speech server on a Mac whose GPU fails: `python -m tests.tts.neural.children.broken_device`.

Takes the options of `python -m services.tts`, and before them `--works N`: how many syntheses the
GPU does before each one raises the text of the incident (default: 0). Its sound is that of the CPU.
"""

from __future__ import annotations

import runpy
import sys
from typing import TYPE_CHECKING

from services.tts.engines.ukrainian import Ukrainian
from tests.tts.neural.devices_doubles import INCIDENT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.tts.engine import Samples
    from services.tts.engines.ukrainian.model import Line

_load = Ukrainian.load
_left = 0


def _put_gpu_in(engine: Ukrainian) -> None:
    """Stands before `load`, so that torch is imported no sooner than the server would."""
    import torch

    from services.tts.engines.ukrainian import model

    class FailingModel(model.Model):
        def __init__(
            self, generator: torch.nn.ModuleDict, device: torch.device, *, exact: bool
        ) -> None:
            self._fails = device.type == "mps"
            super().__init__(generator, torch.device("cpu"), exact=exact or self._fails)

        def synthesise(
            self, lines: Sequence[Line], *, give_up: Callable[[], bool]
        ) -> list[Samples]:
            global _left
            if self._fails:
                if _left == 0:
                    raise NotImplementedError(INCIDENT)
                _left -= 1
            return super().synthesise(lines, give_up=give_up)

    true_model = model.Model
    torch.backends.mps.is_available = lambda: True  # type: ignore[assignment]
    torch.cuda.is_available = lambda: False  # no machine has both
    torch.mps.empty_cache = lambda: None
    model.Model = FailingModel  # type: ignore[misc, assignment]
    try:
        _load(engine)
    finally:
        model.Model = true_model  # type: ignore[misc]


def main() -> None:
    """Puts the GPU in, and runs the server."""
    global _left
    if sys.argv[1:2] == ["--works"]:
        _left = int(sys.argv[2])
        del sys.argv[1:3]
    Ukrainian.load = _put_gpu_in  # type: ignore[method-assign, assignment]
    runpy.run_module("services.tts", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
