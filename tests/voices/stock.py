"""The stock voice, which ours is compared with: `python -m tests.voices.stock VOICE_DIR OUT_DIR`.

`ukrainian_tts` and espnet's `Text2Speech` as published, over the same four files. They import much
that no synthesis calls, from packages that are large, need another torch, or download when they are
imported; those get stand-ins. Nothing that runs in a synthesis is replaced.

Reads one JSON object a line, `{"text", "voice", "seed", "frames": frames a token}`, and writes
OUT_DIR/0.npy, 1.npy … The working directory must be VOICE_DIR: `feats_stats.npz` is opened there.
"""

from __future__ import annotations

import importlib.machinery
import json
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
    """A `ukrainian_tts.TTS` on the CPU; call it with `directory` as the working directory."""
    sys.meta_path.insert(0, _StandIns())
    from ukrainian_tts.tts import TTS

    return TTS(cache_folder=str(directory))


def main() -> None:
    """The command line."""
    import numpy as np
    import torch

    directory, out = map(Path, sys.argv[1:])
    tts = load(directory)
    synthesiser = tts.synthesizer
    for index, line in enumerate(sys.stdin):
        order = json.loads(line)
        torch.manual_seed(order["seed"])
        spoken = synthesiser(
            order["text"],
            spembs=tts.xvectors[order["voice"]][0],
            decode_conf={"maxlenratio": order["frames"]},
        )
        np.save(out / f"{index}.npy", spoken["wav"].view(-1).numpy())


if __name__ == "__main__":
    main()
