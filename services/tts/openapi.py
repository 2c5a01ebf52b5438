"""The OpenAPI 3.1 document of every route, served at `/openapi.json`.

Lists of names and limits come from where they are enforced; the rest is written by hand and held to
the truth by a test that sends what it allows, and what it does not, to a running server.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from services.tts import speech_request
from services.tts.audio import EFFECTS
from services.tts.engine import DEFAULT_VOICE, MAX_SPEED, MIN_SPEED, SAMPLE_RATE, VOICES
from services.tts.link import LinkState
from services.tts.speech_api.encoding import FORMATS, PCM_RATE
from services.tts.speech_api.request import (
    MODEL,
    MODEL_ALIASES,
    STREAM_FORMATS,
    VOICE_ALIASES,
)
from services.tts.worker import State

_Json: TypeAlias = dict[str, Any]

API_VERSION: Final = "1.0.0"
"""Version of the contract, not of the program."""


_SPEAKABLE: Final = r"[^\s\u0000-\u001f\u007f-\u009f\ufeff]"
"""Something that is neither blank nor a control character: all that a pattern can say of it."""


_SPEECH_PARAMETERS: Final = [
    {"$ref": f"#/components/parameters/{name}"} for name in ("Prefer", "CacheControl")
]


def document() -> _Json:
    """The document, made anew."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ukrainian text to speech",
            "version": API_VERSION,
            "description": "Speaks Ukrainian text. Paths below /v1/ are as OpenAI has them.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": "speech"}, {"name": "openai"}, {"name": "service"}],
        "paths": {
            "/tts": {"post": _tts("tts")},
            "/speak": {"post": _tts("speak")},
            "/voices": {"get": _get("voices", "The voices", "speech", _json(_ref("Voices")))},
            "/health": {
                "get": _get("health", "What state it is in", "service", _json(_ref("Health")))
            },
            "/metrics": {"get": _get("metrics", "Numbers for Prometheus", "service", _METRICS)},
            "/openapi.json": {
                "get": _get("openapi", "This document", "service", _json({"type": "object"}))
            },
            "/v1/audio/speech": {"post": _speech()},
            "/v1/audio/voices": {
                "get": _get_v1("listVoices", "The voices", _json(_ref("VoiceList")))
            },
            "/v1/models": {"get": _get_v1("listModels", "The models", _json(_ref("ModelList")))},
            "/v1/models/{model}": {"get": _model()},
        },
        "components": {
            "schemas": _schemas(),
            "headers": {
                "RetryAfter": {
                    "description": "Seconds to wait before the next try.",
                    "required": True,
                    "schema": {"type": "integer", "minimum": 1},
                },
                "Engine": {
                    "description": "The engine that speaks the first sentence.",
                    "required": True,
                    "schema": {"type": "string"},
                },
                "Notice": {
                    "description": "Why it is not spoken as it should be, and the cure.",
                    "schema": {"type": "string"},
                },
            },
            "parameters": {
                "Prefer": {
                    "name": "Prefer",
                    "in": "header",
                    "description": "RFC 7240: `wait=SECONDS` waits so long for the preferred "
                    f"engine, {speech_request.MAX_WAIT} s at most.",
                    "schema": {"type": "string"},
                    "example": "wait=30",
                },
                "CacheControl": {
                    "name": "Cache-Control",
                    "in": "header",
                    "description": "RFC 9111: `no-cache` or `no-store` has the text spoken anew, "
                    "and nothing of it is kept. For a probe: kept phrases prove nothing.",
                    "schema": {"type": "string"},
                    "example": "no-store",
                },
            },
        },
    }


def _tts(name: str) -> _Json:
    return {
        "operationId": name,
        "tags": ["speech"],
        "summary": "Speak a text" if name == "tts" else "The same as /tts",
        "description": "Answers with audio when `return_audio` is true, or when it is not said and "
        "Accept prefers audio/wav to application/json; otherwise with JSON about it.",
        "parameters": _SPEECH_PARAMETERS,
        "requestBody": _body("TtsRequest"),
        "responses": {
            "200": {
                "description": "It was spoken.",
                "headers": _SPEECH_HEADERS,
                "content": {
                    "audio/wav": {"schema": _binary(f"PCM, 16 bit, mono, {SAMPLE_RATE} Hz.")},
                    "application/json": {"schema": _ref("TtsResult")},
                },
            },
            **_errors("Error", "400", "403", "413", "500", "503"),
        },
    }


def _speech() -> _Json:
    content = {
        "audio/mpeg": "MP3.",
        "audio/opus": "Opus in Ogg.",
        "audio/aac": "AAC in ADTS frames.",
        "audio/flac": "FLAC.",
        "audio/wav": f"PCM, 16 bit, mono, {SAMPLE_RATE} Hz; its sizes are 0xFFFFFFFF.",
        "audio/pcm": f"Signed 16 bit little endian, mono, {PCM_RATE} Hz, no header.",
    }
    return {
        "operationId": "createSpeech",
        "tags": ["openai"],
        "summary": "Speak a text, sentence by sentence",
        "parameters": _SPEECH_PARAMETERS,
        "requestBody": _body("SpeechRequest"),
        "responses": {
            "200": {
                "description": "Audio that is sent while it is spoken. What fails in the middle "
                "breaks the reply off, or is an event of type `error`.",
                "headers": _SPEECH_HEADERS,
                "content": {
                    **{kind: {"schema": _binary(text)} for kind, text in content.items()},
                    "text/event-stream": {"schema": _ref("SpeechEvent")},
                },
            },
            **_errors("OpenAIError", "400", "403", "404", "413", "500", "503"),
        },
    }


def _model() -> _Json:
    operation = _get_v1("retrieveModel", "One model", _json(_ref("Model")))
    operation["parameters"] = [
        {
            "name": "model",
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
            "example": MODEL,
        }
    ]
    operation["responses"].update(_errors("OpenAIError", "404"))
    return operation


def _get(name: str, summary: str, tag: str, ok: _Json, *, error: str = "Error") -> _Json:
    return {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        "responses": {"200": ok, **_errors(error, "403")},
    }


def _get_v1(name: str, summary: str, ok: _Json) -> _Json:
    return _get(name, summary, "openai", ok, error="OpenAIError")


def _ref(schema: str) -> _Json:
    return {"$ref": f"#/components/schemas/{schema}"}


def _json(schema: _Json) -> _Json:
    return {"description": "As asked.", "content": {"application/json": {"schema": schema}}}


def _body(schema: str) -> _Json:
    return {"required": True, "content": {"application/json": {"schema": _ref(schema)}}}


def _binary(description: str) -> _Json:
    # OpenAPI 3.1: a body that is not JSON has no type.
    return {"description": description}


_REASONS: Final = {
    "400": "The request says something that cannot be meant; the message says what would be right.",
    "403": "The Host header names another machine, and this server answers on loopback only.",
    "404": "There is no such model.",
    "413": "The body or the text is too long.",
    "500": "A real fault: the engines failed at this text.",
    "503": "Loading or overloaded: try again later.",
}


def _errors(schema: str, *statuses: str) -> _Json:
    answers: _Json = {}
    for status in statuses:
        answers[status] = {**_json(_ref(schema)), "description": _REASONS[status]}
        if status == "503":
            answers[status]["headers"] = {
                "Retry-After": {"$ref": "#/components/headers/RetryAfter"}
            }
    return answers


_SPEECH_HEADERS: Final[_Json] = {
    "X-TTS-Engine": {"$ref": "#/components/headers/Engine"},
    "X-TTS-Notice": {"$ref": "#/components/headers/Notice"},
}

_METRICS: Final[_Json] = {
    "description": "The format that Accept asks for.",
    "content": {
        "text/plain": {"schema": {"type": "string"}},
        "application/openmetrics-text": {"schema": {"type": "string"}},
    },
}


def _schemas() -> _Json:
    speed = {"type": ["number", "null"], "minimum": MIN_SPEED, "maximum": MAX_SPEED, "default": 1.0}
    text = {
        "type": "string",
        "minLength": 1,
        "maxLength": speech_request.MAX_CHARACTERS,
        "pattern": _SPEAKABLE,
        "description": "Needs something that can be spoken. Below speed 1 the limit falls with it.",
    }
    stamp = {"type": "number", "description": "Unix seconds."}
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
        "TtsResult": _object(
            status={"const": "success"},
            accented_text={"type": "string", "description": "`+` is before a stressed vowel."},
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


def _health(stamp: _Json) -> _Json:
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


def _openai_schemas(text: _Json, speed: _Json) -> _Json:
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
                            _ref("SpeechAudioDelta"),
                            _ref("SpeechAudioDone"),
                            _ref("SpeechError"),
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
            object={"const": "list"}, data={"type": "array", "items": _ref("Model")}
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


def _object(**properties: _Json) -> _Json:
    """An object that has exactly these keys."""
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }
