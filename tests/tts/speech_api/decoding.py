"""Reads back what the speech API wrote, with decoders that know nothing of its encoders."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import av
import numpy as np

if TYPE_CHECKING:
    from services.tts.engine import Samples


def decoded(content: bytes, name: str) -> tuple[Samples, int]:
    """Samples and their rate in Hz."""
    if name == "pcm":
        return (np.frombuffer(content, dtype="<i2") / 32_768).astype(np.float32), 24_000
    blocks = []
    with av.open(io.BytesIO(content), "r") as container:
        stream = container.streams.audio[0]
        for frame in container.decode(stream):
            block = frame.to_ndarray().reshape(-1)
            scale = 32_768 if block.dtype == np.int16 else 1
            blocks.append(block.astype(np.float32) / scale)
        return np.concatenate(blocks), stream.rate
