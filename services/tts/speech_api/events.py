"""Speech as server-sent events: `speech.audio.delta` with each part, then `speech.audio.done`.

A line of data is all that an event has: its type is inside, where clients look for it.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTENT_TYPE: Final = "text/event-stream"

_TOKEN_SAMPLES: Final = 256


def delta(audio: bytes) -> bytes:
    """One part of the file."""
    return _event({"type": "speech.audio.delta", "audio": base64.b64encode(audio).decode()})


def done(*, characters: int, samples: int) -> bytes:
    """The end, with what it cost.

    Clients expect tokens. The model's own are meant: a character of text, and a frame of 256
    samples of audio.
    """
    spoken = -(-samples // _TOKEN_SAMPLES)
    return _event(
        {
            "type": "speech.audio.done",
            "usage": {
                "input_tokens": characters,
                "output_tokens": spoken,
                "total_tokens": characters + spoken,
            },
        }
    )


def error(body: Mapping[str, object]) -> bytes:
    """What went wrong in the middle; `body` is the error body that a reply would have had."""
    return _event({"type": "error", **body})


def _event(data: Mapping[str, object]) -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"
