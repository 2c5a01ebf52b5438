"""The stock voice, which ours is compared with: `python -m tests.voices.stock OUT_DIR`.

`ukrainian_tts` and espnet's `Text2Speech` as published, over the same four files. They import much
that no synthesis calls, from packages that are large, need another torch, or download when they are
imported; those get stand-ins. Nothing that runs in a synthesis is replaced.

Reads one JSON object a line, `{"directory", "text", "voice", "seed", "frames"}`, where the last is
the most frames a token, and writes OUT_DIR/0.npy, 1.npy … Paths are absolute: each directory in
turn is the working directory.
"""

from __future__ import annotations

import importlib.machinery
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import MagicMock

if TYPE_CHECKING:
    from collections.abc import Sequence

_NEVER_CALLED: Final = frozenset(
    {
        "g2p_en",
        "h5py",
        "jaconv",
        "jamo",
        "nltk",
        "num2words",
        "pyworld",
        "sentencepiece",
        "stanza",
        "tacotron_cleaner",
        "torchaudio",
    }
)


class _StandIns:
    """Answers every import of _NEVER_CALLED with a module whose every name exists."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        if name.partition(".")[0] not in _NEVER_CALLED:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to run."""


class _StandIn(ModuleType):
    def __getattr__(self, name: str) -> Any:
        # Python itself asks for dunders, and takes a wrong one for an answer.
        if name.startswith("__"):
            raise AttributeError(name)
        return MagicMock(name=f"{self.__name__}.{name}")


def load(directory: Path) -> Any:
    """A `ukrainian_tts.TTS` on the CPU.

    Call it with `directory` as the working directory: `feats_stats.npz` is opened there.
    """
    if not any(isinstance(finder, _StandIns) for finder in sys.meta_path):
        sys.meta_path.insert(0, _StandIns())
    from ukrainian_tts.tts import TTS

    return TTS(cache_folder=str(directory))


def main() -> None:
    """The command line."""
    import numpy as np
    import torch

    out = Path(sys.argv[1])
    loaded: dict[str, Any] = {}
    for index, line in enumerate(sys.stdin):
        order = json.loads(line)
        directory = order["directory"]
        if directory not in loaded:
            os.chdir(directory)
            loaded[directory] = load(Path(directory))
        tts = loaded[directory]
        torch.manual_seed(order["seed"])
        spoken = tts.synthesizer(
            order["text"],
            spembs=tts.xvectors[order["voice"]][0],
            decode_conf={"maxlenratio": order["frames"]},
        )
        np.save(out / f"{index}.npy", spoken["wav"].view(-1).numpy())


if __name__ == "__main__":
    main()
