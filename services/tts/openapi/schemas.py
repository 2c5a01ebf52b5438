"""What the bodies of the OpenAPI document are like."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from services.tts import reading, speech_request
from services.tts.audio import EFFECTS
from services.tts.engine import DEFAULT_VOICE, MAX_SPEED, MIN_SPEED, SAMPLE_RATE, VOICES
from services.tts.link import LinkState
from services.tts.speech_api.encoding import FORMATS
from services.tts.speech_api.request import (
    MODEL,
    MODEL_ALIASES,
    STREAM_FORMATS,
    VOICE_ALIASES,
)
from services.tts.worker import State

Json: TypeAlias = dict[str, Any]

_SPEAKABLE: Final = r"[^\s\u0000-\u001f\u007f-\u009f\ufeff]"
"""Something that is neither blank nor a control character: all that a pattern can say of it."""


def ref(schema: str) -> Json:
    """A reference to one of the schemas."""
    return {"$ref": f"#/components/schemas/{schema}"}


def schemas() -> Json:
    """The schemas by their names, made anew."""
    speed = {"type": ["number", "null"], "minimum": MIN_SPEED, "maximum": MAX_SPEED, "default": 1.0}
    text = {
        "type": "string",
        "minLength": 1,
        "maxLength": speech_request.MAX_CHARACTERS,
        "pattern": _SPEAKABLE,
        "description": "Needs something that can be spoken. Below speed 1 the limit falls with it.",
    }
    stamp = {"type": "number", "description": "Unix seconds."}
    accented_text = {"type": "string", "description": "`+` is before a stressed vowel."}
    voice = {"enum": list(VOICES)}
    flag = {"type": ["boolean", "null"]}
    return {
        "TtsRequest": {
            "type": "object",
            "required": ["text"],
            "description": "Keys that are not named here are ignored; null is the default.",
            "properties": {
                "text": text,
                "voice": {"enum": [*VOICES, None], "default": DEFAULT_VOICE},
                "fx": {"enum": [*EFFECTS, None], "default": "none"},
                "speed": speed,
                "return_audio": flag,
                "stream": {
                    **flag,
                    "description": "Send audio sentence by sentence: its sizes are 0xFFFFFFFF.",
                },
            },
        },
        "TextRequest": {
            "type": "object",
            "required": ["text"],
            "properties": {"text": {**text, "maxLength": reading.MAX_CHARACTERS}},
        },
        "Text": _object(
            accented_text=accented_text,
            sentences={"type": "array", "minItems": 1, "items": accented_text},
        ),
        "TtsResult": _object(
            status={"const": "success"},
            accented_text=accented_text,
            synthesis_time={"type": "number", "minimum": 0},
            audio_duration={"type": "number", "minimum": 0},
            sample_rate={"const": SAMPLE_RATE},
            voice=voice,
            fx={"enum": list(EFFECTS)},
            timestamp=stamp,
        ),
        "Voices": _object(voices={"type": "array", "items": voice}, default=voice, timestamp=stamp),
        "Health": _health(stamp),
        "Error": {
            "type": "object",
            "required": ["error"],
            "properties": {"error": {"type": "string"}},
        },
        **_openai_schemas(text, speed),
    }


def _health(stamp: Json) -> Json:
    number = {"type": "number", "minimum": 0}
    count = {"type": "integer", "minimum": 0}
    text = {"type": "string"}
    optional_text = {"type": ["string", "null"]}
    optional_stamp = {**stamp, "type": ["number", "null"]}
    link = _object(
        name=text,
        device=text,
        state={"enum": [str(state) for state in LinkState]},
        reason=optional_text,
        last_success=optional_stamp,
        last_error=optional_text,
        retry_in={"type": ["number", "null"], "description": "Seconds until it is tried again."},
    )
    return _object(
        status={"enum": ["ok", "error"]},
        tts_ready={"type": "boolean"},
        device=text,
        timestamp=stamp,
        state={"enum": [str(state) for state in State]},
        reason=optional_text,
        engine=text,
        pid={"type": "integer"},
        device_reason=optional_text,
        notice={
            **optional_text,
            "description": "Why it speaks other than it was asked to, and the cure.",
        },
        links={"type": "array", "items": link, "description": "The engines, the best first."},
        cache=_object(
            hits=count, misses=count, entries=count, memory_bytes=count, disk_bytes=count
        ),
        queued=count,
        busy={"type": "boolean"},
        busy_for=number,
        last_success=optional_stamp,
        last_error=optional_text,
        uptime=number,
        hung={"type": "boolean"},
    )


def _openai_schemas(text: Json, speed: Json) -> Json:
    voice_names = [*VOICES, *VOICE_ALIASES]
    failure = _object(
        message={"type": "string"},
        type={"enum": ["invalid_request_error", "server_error"]},
        param={"type": ["string", "null"]},
        code={"type": ["string", "null"]},
    )
    model = _object(
        id={"type": "string"},
        object={"const": "model"},
        created={"type": "integer"},
        owned_by={"type": "string"},
    )
    return {
        "SpeechRequest": {
            "type": "object",
            "required": ["input"],
            "description": "Keys that are not named here are ignored; null is the default.",
            "properties": {
                "input": text,
                "model": {"enum": [MODEL, *MODEL_ALIASES, None], "default": MODEL},
                "voice": {
                    "default": DEFAULT_VOICE,
                    "description": "OpenAI's voices are spoken by ours: "
                    + ", ".join(f"{name} by {ours}" for name, ours in VOICE_ALIASES.items()),
                    "oneOf": [
                        {"enum": [*voice_names, None]},
                        {
                            "type": "object",
                            "required": ["id"],
                            "properties": {"id": {"enum": voice_names}},
                        },
                    ],
                },
                "response_format": {"enum": [*FORMATS, None], "default": "mp3"},
                "speed": speed,
                "stream_format": {"enum": [*STREAM_FORMATS, None], "default": "audio"},
                "instructions": {"description": "Ignored."},
            },
        },
        "SpeechEvent": {
            "type": "object",
            "required": ["data"],
            "description": "One event of the stream: deltas, then done or an error.",
            "properties": {
                "data": {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "contentSchema": {
                        "oneOf": [
                            ref("SpeechAudioDelta"),
                            ref("SpeechAudioDone"),
                            ref("SpeechError"),
                        ]
                    },
                },
            },
        },
        "SpeechAudioDelta": _object(
            type={"const": "speech.audio.delta"},
            audio={"type": "string", "contentEncoding": "base64"},
        ),
        "SpeechAudioDone": _object(
            type={"const": "speech.audio.done"},
            usage=_object(
                input_tokens={"type": "integer"},
                output_tokens={"type": "integer"},
                total_tokens={"type": "integer"},
            ),
        ),
        "SpeechError": _object(type={"const": "error"}, error=failure),
        "OpenAIError": _object(error=failure),
        "Model": model,
        "ModelList": _object(
            object={"const": "list"}, data={"type": "array", "items": ref("Model")}
        ),
        "VoiceList": _object(
            object={"const": "list"},
            default={"enum": list(VOICES)},
            voices={
                "type": "array",
                "items": _object(
                    id={"enum": list(VOICES)},
                    name={"type": "string"},
                    object={"const": "audio.voice"},
                    aliases={"type": "array", "items": {"enum": list(VOICE_ALIASES)}},
                ),
            },
        ),
    }


def _object(**properties: Json) -> Json:
    """An object that has exactly these keys."""
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }
