"""The OpenAPI 3.1 document of every route, served at `/openapi.json`.

Lists of names and limits come from where they are enforced; the rest is written by hand and held to
the truth by a test that sends what it allows, and what it does not, to a running server.
"""

from __future__ import annotations

from typing import Final

from services.tts import speech_request
from services.tts.engine import SAMPLE_RATE
from services.tts.openapi import schemas
from services.tts.openapi.schemas import Json, ref
from services.tts.speech_api.encoding import PCM_RATE
from services.tts.speech_api.request import MODEL

API_VERSION: Final = "1.0.0"
"""Version of the contract, not of the program."""


_SPEECH_PARAMETERS: Final = [
    {"$ref": f"#/components/parameters/{name}"} for name in ("Prefer", "CacheControl")
]


def document() -> Json:
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
            "/text": {"post": _text()},
            "/voices": {"get": _get("voices", "The voices", "speech", _json(ref("Voices")))},
            "/health": {
                "get": _get("health", "What state it is in", "service", _json(ref("Health")))
            },
            "/metrics": {"get": _get("metrics", "Numbers for Prometheus", "service", _METRICS)},
            "/openapi.json": {
                "get": _get("openapi", "This document", "service", _json({"type": "object"}))
            },
            "/v1/audio/speech": {"post": _speech()},
            "/v1/audio/voices": {
                "get": _get_v1("listVoices", "The voices", _json(ref("VoiceList")))
            },
            "/v1/models": {"get": _get_v1("listModels", "The models", _json(ref("ModelList")))},
            "/v1/models/{model}": {"get": _model()},
            "/": {"get": _page()},
            "/static/{file}": {"get": _static()},
        },
        "components": {
            "schemas": schemas.schemas(),
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


def _tts(name: str) -> Json:
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
                    "application/json": {"schema": ref("TtsResult")},
                },
            },
            **_errors("Error", "400", "403", "413", "500", "503"),
        },
    }


def _text() -> Json:
    return {
        "operationId": "readText",
        "tags": ["speech"],
        "summary": "How a text will be read: normalised, with stress marks, not spoken",
        "requestBody": _body("TextRequest"),
        "responses": {
            "200": _json(ref("Text")),
            **_errors("Error", "400", "403", "413", "503"),
        },
    }


def _page() -> Json:
    operation = _get("page", "The speech page", "service", _file("text/html"))
    operation["responses"].update(_errors("Error", "404"))
    operation["responses"]["404"]["description"] = "Accept does not name text/html."
    return operation


def _static() -> Json:
    operation = _get(
        "static",
        "A file of the speech page",
        "service",
        _file("text/css", "text/javascript", "image/svg+xml"),
    )
    operation["parameters"] = [
        {
            "name": "file",
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
            "example": "js/modules/tts-manager.js",
        }
    ]
    operation["responses"].update(_errors("Error", "404"))
    operation["responses"]["404"]["description"] = "There is no such file."
    return operation


def _speech() -> Json:
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
                    "text/event-stream": {"schema": ref("SpeechEvent")},
                },
            },
            **_errors("OpenAIError", "400", "403", "404", "413", "500", "503"),
        },
    }


def _model() -> Json:
    operation = _get_v1("retrieveModel", "One model", _json(ref("Model")))
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


def _get(name: str, summary: str, tag: str, ok: Json, *, error: str = "Error") -> Json:
    return {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        "responses": {"200": ok, **_errors(error, "403")},
    }


def _get_v1(name: str, summary: str, ok: Json) -> Json:
    return _get(name, summary, "openai", ok, error="OpenAIError")


def _json(schema: Json) -> Json:
    return {"description": "As asked.", "content": {"application/json": {"schema": schema}}}


def _file(*kinds: str) -> Json:
    return {
        "description": "With an ETag; 304 to who has it.",
        "content": {kind: {"schema": {"type": "string"}} for kind in kinds},
    }


def _body(schema: str) -> Json:
    return {"required": True, "content": {"application/json": {"schema": ref(schema)}}}


def _binary(description: str) -> Json:
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


def _errors(schema: str, *statuses: str) -> Json:
    answers: Json = {}
    for status in statuses:
        answers[status] = {**_json(ref(schema)), "description": _REASONS[status]}
        if status == "503":
            answers[status]["headers"] = {
                "Retry-After": {"$ref": "#/components/headers/RetryAfter"}
            }
    return answers


_SPEECH_HEADERS: Final[Json] = {
    "X-TTS-Engine": {"$ref": "#/components/headers/Engine"},
    "X-TTS-Notice": {"$ref": "#/components/headers/Notice"},
}

_METRICS: Final[Json] = {
    "description": "The format that Accept asks for.",
    "content": {
        "text/plain": {"schema": {"type": "string"}},
        "application/openmetrics-text": {"schema": {"type": "string"}},
    },
}
