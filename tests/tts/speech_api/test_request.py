"""Which requests are taken, and what the others are told."""

from __future__ import annotations

import json

import pytest

from services.tts.engine import VOICES
from services.tts.speech_api.failure import FailureError
from services.tts.speech_api.request import VOICE_ALIASES, read


def body(**fields: object) -> bytes:
    return json.dumps({"input": "слово", **fields}).encode()


def test_what_is_not_said_is_as_usual() -> None:
    asked = read(body())
    assert (asked.text, asked.voice, asked.speed) == ("слово", "dmytro", 1.0)
    assert (asked.format.name, asked.events) == ("mp3", False)
    names = ("model", "voice", "speed", "response_format", "stream_format", "instructions")
    assert read(body(**dict.fromkeys(names))) == asked


@pytest.mark.parametrize("model", ["ukrainian-tts", "tts-1", "tts-1-hd", "gpt-4o-mini-tts"])
def test_models_that_clients_name(model: str) -> None:
    assert read(body(model=model)).text == "слово"


@pytest.mark.parametrize(
    ("voice", "ours"),
    [
        ("lada", "lada"),
        ("alloy", "tetiana"),
        ("onyx", "dmytro"),
        ({"id": "oleksa"}, "oleksa"),
        ({"id": "echo"}, "mykyta"),
    ],
)
def test_voices(voice: object, ours: str) -> None:
    assert read(body(voice=voice)).voice == ours


def test_every_alias_is_a_voice_and_every_voice_has_an_alias() -> None:
    assert set(VOICE_ALIASES.values()) == set(VOICES)


def test_fields_that_mean_nothing_here_are_ignored() -> None:
    assert read(body(instructions={"tone": "warm"}, user="u", n=[1])).text == "слово"


@pytest.mark.parametrize(
    ("sent", "status", "param", "says"),
    [
        (b"", 400, None, "JSON body required"),
        (b"{", 400, None, "JSON body required"),
        (b"[]", 400, None, "must be a JSON object"),
        (b"[" * 100_000, 400, None, "JSON body required"),
        (b"{}", 400, "input", "input is required"),
        (body(input=" \n"), 400, "input", "input is required"),
        (body(input=["a"]), 400, "input", "must be a string, not a list"),
        (body(input="а" * 100_001), 413, "input", "100001 characters"),
        (body(input="а" * 50_000, speed=0.25), 413, "input", "limit is 25000"),
        (body(model="whisper-1"), 404, "model", "choose one of ukrainian-tts, tts-1"),
        (body(model=1), 400, "model", "must be a string"),
        (body(voice="bob"), 400, "voice", "tetiana, mykyta, lada, dmytro, oleksa"),
        (body(voice={"id": "bob"}), 400, "voice", 'Unknown voice "bob"'),
        (body(voice={"name": "lada"}), 400, "voice", "Unknown voice"),
        (body(voice={"id": None}), 400, "voice", "Unknown voice"),
        (body(voice={"id": ["lada"]}), 400, "voice", "Unknown voice"),
        (body(voice=["lada"]), 400, "voice", "Unknown voice"),
        (body(speed=0.2), 400, "speed", "0.25 to 4"),
        (body(speed="1"), 400, "speed", "must be a number"),
        (b'{"input": "a", "speed": NaN}', 400, "speed", "out of range"),
        (body(response_format="ogg"), 400, "response_format", "mp3, opus, aac, flac, wav, pcm"),
        (body(response_format={}), 400, "response_format", "choose one of"),
        (body(stream_format="ndjson"), 400, "stream_format", "audio, sse"),
    ],
)
def test_refusals(sent: bytes, status: int, param: str | None, says: str) -> None:
    with pytest.raises(FailureError) as caught:
        read(sent)
    failure = caught.value.failure
    assert (failure.status, failure.param) == (status, param)
    assert says in failure.message
    assert failure.body["error"]["type"] == "invalid_request_error"
