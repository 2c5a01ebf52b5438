"""What a client may ask for in `POST /tts`, read strictly where a mistake would be heard.

Old clients send keys that mean nothing here, wrong content types and `null` for "as usual"; those
are taken. A value that cannot be meant is refused in words that say what would be right.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from services.tts.audio import EFFECTS, Effect
from services.tts.engine import DEFAULT_VOICE, MAX_SPEED, MIN_SPEED, VOICES

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BODY: Final = 1024 * 1024
"""Bytes of a request body."""

MAX_CHARACTERS: Final = 100_000
"""Characters of one text at speed 1 or faster; slower speech may have as many fewer, because what
is bounded is the audio: about two hours, 300 MB."""

MAX_WAIT: Final = 120
"""Seconds that a request may wait for the preferred engine."""

NOTHING_TO_SPEAK: Final = "Text has nothing that can be spoken: it needs letters or digits"


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """One request to speak, in the contract's terms; `return_audio` is None when not said.

    `stream` asks for audio sentence by sentence.
    """

    text: str
    voice: str
    effect: Effect
    speed: float
    return_audio: bool | None
    stream: bool


class RequestError(Exception):
    """The client can mend it; `status` is the HTTP code, `details` stand beside the message."""

    def __init__(
        self, message: str, *, status: int = 400, details: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.details: Mapping[str, object] = details or {}


def read(body: bytes) -> SpeechRequest:
    """Reads a request body. Raises RequestError."""
    fields = fields_of(body)
    speed = speed_of(fields.get("speed"))
    return SpeechRequest(
        text=text_of(fields.get("text"), speed),
        voice=voice_of(fields.get("voice")),
        effect=_effect(fields.get("fx")),
        speed=speed,
        return_audio=_flag("return_audio", fields.get("return_audio")),
        stream=_flag("stream", fields.get("stream")) or False,
    )


def wait_of(header: str | None) -> float:
    """Seconds that a `Prefer` header (RFC 7240) lets a request wait, MAX_WAIT at most.

    0.0 when it says nothing of that, or nonsense: preferences are no reason to refuse.
    """
    for preference in (header or "").lower().split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        digits = value.strip().strip('"')
        if name.strip() == "wait" and digits.isascii() and digits.isdigit():
            return float(min(MAX_WAIT, int(digits[:9])))
    return 0.0


def is_fresh(header: str | None) -> bool:
    """Whether a `Cache-Control` header (RFC 9111) asks for speech that no cache has a part in."""
    directives = {part.partition("=")[0].strip() for part in (header or "").lower().split(",")}
    return not directives.isdisjoint(("no-cache", "no-store"))


def check_length(characters: int, speed: float) -> None:
    """Raises RequestError (413) for more text than one reply can hold."""
    most = int(MAX_CHARACTERS * min(1.0, speed))
    if characters > most:
        raise RequestError(
            f"Text has {characters} characters; at speed {speed:g} the limit is {most}: "
            "send it in parts",
            status=413,
            details={"limit": most},
        )


def fields_of(body: bytes) -> Mapping[str, object]:
    """The JSON object of a body. Raises RequestError."""
    try:
        # json takes bytes in UTF-8, -16 and -32. The recursion limit is what deep nesting meets.
        fields: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(
            "JSON body required", details={"detail": f"the body is not JSON: {error}"}
        ) from error
    if not isinstance(fields, dict):
        raise RequestError(
            "JSON body required", details={"detail": "the body must be a JSON object"}
        )
    return fields


def text_of(value: object, speed: float, *, name: str = "Text") -> str:
    """What to say, called `name` in errors. Raises RequestError."""
    if value is None:
        raise RequestError(f"{name} is required")
    if not isinstance(value, str):
        raise RequestError(f"{name} must be a string, not {_kind(value)}")
    if not value.strip():
        raise RequestError(f"{name} is required")
    check_length(len(value), speed)
    # JSON can carry half a surrogate pair, which no encoder downstream would take.
    return value.encode("utf-8", "replace").decode("utf-8")


def voice_of(value: object) -> str:
    """One of VOICES. Raises RequestError."""
    if value is None:
        return DEFAULT_VOICE
    if isinstance(value, str) and value in VOICES:
        return value
    raise RequestError(
        f"Unknown voice {shown(value)}: choose one of {', '.join(VOICES)}",
        details={"voices": list(VOICES)},
    )


def _effect(value: object) -> Effect:
    if value is None:
        return "none"
    for effect in EFFECTS:
        if value == effect:
            return effect
    raise RequestError(
        f"Unknown fx {shown(value)}: choose one of {', '.join(EFFECTS)}",
        details={"fx": list(EFFECTS)},
    )


def speed_of(value: object) -> float:
    """MIN_SPEED..MAX_SPEED. Raises RequestError."""
    if value is None:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RequestError(
            f"speed must be a number from {MIN_SPEED:g} to {MAX_SPEED:g}, not {_kind(value)}"
        )
    # Compared before any conversion: a NaN fails both, and a huge integer never becomes a float.
    if not MIN_SPEED <= value <= MAX_SPEED:
        raise RequestError(f"speed {shown(value)} is out of range: {MIN_SPEED:g} to {MAX_SPEED:g}")
    return float(value)


def _flag(name: str, value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise RequestError(f"{name} must be true or false, not {_kind(value)}")


def shown(value: object) -> str:
    """A value as JSON, cut so that a message stays one line."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _kind(value: object) -> str:
    match value:
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case dict():
            return "an object"
        case _:
            return "null"
