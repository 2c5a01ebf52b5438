"""What a client may ask for in `POST /v1/audio/speech`.

`null` stands for "as usual", as clients with typed optional fields send it. Fields that mean
nothing here, such as `instructions`, are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar

from services.tts import speech_request
from services.tts.speech_api import encoding
from services.tts.speech_api.failure import Failure, FailureError, failure_of
from services.tts.speech_request import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from services.tts.speech_api.encoding import Format

_Value = TypeVar("_Value")

MODEL: Final = "ukrainian-tts"
MODEL_ALIASES: Final = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
"""Names that clients have built in; all of them are the one model here."""

VOICE_ALIASES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "alloy": "tetiana",
        "ash": "mykyta",
        "ballad": "oleksa",
        "cedar": "dmytro",
        "coral": "lada",
        "echo": "mykyta",
        "fable": "oleksa",
        "marin": "tetiana",
        "nova": "lada",
        "onyx": "dmytro",
        "sage": "tetiana",
        "shimmer": "lada",
        "verse": "oleksa",
    }
)
"""OpenAI's voices and the one of ours that is nearest: a woman's for a woman's, a man's for a
man's."""

STREAM_FORMATS: Final = ("audio", "sse")


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """One request; `events` says that the audio goes out as server-sent events."""

    text: str
    voice: str
    speed: float
    format: Format
    events: bool


def read(body: bytes) -> SpeechRequest:
    """Reads a request body. Raises FailureError."""
    fields = _read(None, lambda: speech_request.fields_of(body))
    _check_model(fields.get("model"))
    speed = _read("speed", lambda: speech_request.speed_of(fields.get("speed")))
    return SpeechRequest(
        text=_read(
            "input", lambda: speech_request.text_of(fields.get("input"), speed, name="input")
        ),
        voice=_read("voice", lambda: _voice(fields.get("voice"))),
        speed=speed,
        format=_format(fields.get("response_format")),
        events=_choice("stream_format", fields.get("stream_format"), STREAM_FORMATS) == "sse",
    )


def is_model(name: str) -> bool:
    """Whether requests may name this model."""
    return name == MODEL or name in MODEL_ALIASES


def no_such_model(name: object) -> Failure:
    """What to answer to any other."""
    shown = speech_request.shown(name)
    known = ", ".join((MODEL, *MODEL_ALIASES))
    return Failure(
        f"The model {shown} does not exist: choose one of {known}",
        404,
        param="model",
        code="model_not_found",
    )


def _read(param: str | None, read: Callable[[], _Value]) -> _Value:
    try:
        return read()
    except RequestError as error:
        failure = failure_of(error)
        raise FailureError(replace(failure, param=param)) from error


def _check_model(value: object) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise FailureError(Failure("model must be a string", 400, param="model"))
    if not is_model(value):
        raise FailureError(no_such_model(value))


def _voice(value: object) -> str:
    if isinstance(value, dict) and value.get("id") is not None:
        value = value["id"]
    return speech_request.voice_of(
        VOICE_ALIASES.get(value, value) if isinstance(value, str) else value
    )


def _format(value: object) -> Format:
    name = _choice("response_format", value, encoding.FORMATS) or "mp3"
    try:
        return encoding.find(name)
    except encoding.MissingEncoderError as error:
        raise FailureError(
            Failure(str(error), 400, param="response_format", code="format_not_installed")
        ) from error


_Name = TypeVar("_Name", bound=str)


def _choice(param: str, value: object, choices: tuple[_Name, ...]) -> _Name | None:
    if value is None:
        return None
    for choice in choices:
        if value == choice:
            return choice
    raise FailureError(
        Failure(
            f"{param} is {speech_request.shown(value)}: choose one of {', '.join(choices)}",
            400,
            param=param,
        )
    )
