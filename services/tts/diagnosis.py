"""What errors of engines mean to people: one line that says why, and the known cure."""

from __future__ import annotations

import re
from typing import Final

from services.tts.engine import EngineError

REASON_CHARACTERS: Final = 240

_FOR_DEBUGGING: Final = re.compile(
    r"\s*(Search for `cuda|CUDA kernel errors might|For debugging consider|Compile with `TORCH_).*",
    re.DOTALL,
)
"""What torch adds to each "CUDA error: …": five lines about debuggers, and none about this one."""

_REMEDIES: Final = (
    (
        r"not currently implemented for the MPS device",
        "set PYTORCH_ENABLE_MPS_FALLBACK=1 before the start (config/services.yaml, env of tts)",
    ),
    (
        r"out of memory|can't allocate memory|STATUS_ALLOC_FAILED|^MemoryError",
        "free memory on this device and start again, or with --device cpu (TTS_DEVICE=cpu)",
    ),
    (
        # After these every call that this process makes to its GPU fails; the next process has the
        # GPU back. The rule `gpu-fault` in config/services.yaml looks for this text.
        r"CUDA error: (device-side assert|an illegal|misaligned|unspecified launch|the launch timed"
        r"|uncorrectable|hardware stack|invalid program)",
        "restart this service to use the GPU again",
    ),
    (
        r"MPS.*float64|not compiled with CUDA|no kernel image|CUDA driver|CUDA error|cuDNN error",
        "start with --device cpu (TTS_DEVICE=cpu)",
    ),
    (r"No module named '(torch|espnet\w*|kaldiio)\b", "run `make neural`"),
)


def reason(error: BaseException) -> str:
    """Why it failed, on one line of at most REASON_CHARACTERS."""
    text = str(error) if isinstance(error, EngineError) else _named(error)
    line = " ".join(_FOR_DEBUGGING.sub("", text).split()).rstrip(".:; ")
    return line if len(line) <= REASON_CHARACTERS else f"{line[: REASON_CHARACTERS - 1]}…"


def remedy(error: BaseException) -> str | None:
    """What to do about it, where that is known; what the engine itself says comes first."""
    if isinstance(error, EngineError) and error.remedy is not None:
        return error.remedy
    text = _named(error)
    # The text of an EngineError may be that of what it wraps.
    cause = (
        "" if error.__cause__ is None else f"{type(error.__cause__).__name__}: {error.__cause__}"
    )
    for pattern, cure in _REMEDIES:
        if re.search(pattern, text) or re.search(pattern, cause):
            return cure
    return None


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
