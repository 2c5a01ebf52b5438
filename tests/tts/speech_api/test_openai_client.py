"""The official `openai` package against a running server: what it hears, and what it is told."""

from __future__ import annotations

import base64
import json
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import openai
import pytest
import requests
from openai import APIError, BadRequestError, InternalServerError, NotFoundError, OpenAI, Stream

from services.tts.engine import SAMPLE_RATE, VOICES, EngineError
from services.tts.speech_api.encoding import FORMATS
from tests.tts.doubles import PATIENCE, FakeEngine, until
from tests.tts.processes import health
from tests.tts.speech_api.decoding import decoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.tts.engine import Samples
    from services.tts.speech_api.encoding import FormatName
    from tests.tts.conftest import Harness

CONTENT_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}


@pytest.fixture
def connect() -> Iterator[Callable[[Harness], OpenAI]]:
    """A factory of clients that try once, so that a test sees what the server said."""
    clients: list[OpenAI] = []

    def make(server: Harness) -> OpenAI:
        client = OpenAI(
            base_url=f"{server.url}/v1",
            api_key="not-needed",
            max_retries=0,
            timeout=PATIENCE,
            http_client=openai.DefaultHttpxClient(trust_env=False),
        )
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


class Stage:
    """Answers each sentence when the test says so, with one second of a tone or with an error."""

    def __init__(self, engine: FakeEngine) -> None:
        self._allowed = threading.Semaphore(0)
        self._usual = engine.answer
        engine.answer = self._answer

    def allow(self, sentences: int = 1) -> None:
        self._allowed.release(sentences)

    def _answer(self, sentence: str) -> Samples:
        assert self._allowed.acquire(timeout=PATIENCE), "the test allowed no more sentences"
        if sentence == "збій":
            raise EngineError("the operator is not implemented")
        return self._usual(sentence)


def events_of(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line:
            assert line.startswith("data: ")
            yield json.loads(line.removeprefix("data: "))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format(
    serve: Callable[..., Harness], connect: Callable[[Harness], OpenAI], name: FormatName
) -> None:
    client = connect(serve())
    answer = client.audio.speech.with_raw_response.create(
        model="tts-1", voice="alloy", input="Один. Два слова. Три.", response_format=name
    )
    assert answer.headers["Content-Type"] == CONTENT_TYPES[name]
    assert answer.headers["X-TTS-Engine"] == "fake"
    samples, rate = decoded(answer.content, name)
    # Four words and two pauses; codecs add whole frames, and resampling rounds.
    assert 4.5 - 0.001 <= samples.size / rate <= 4.65
    # A codec's own delay is in front: 76 ms for MP3.
    pause = samples[round(1.1 * rate) : round(1.22 * rate)]
    assert float(np.abs(pause).max()) < 0.05, "the first pause is not where it belongs"


def test_mp3_is_what_comes_when_nothing_is_said(
    serve: Callable[..., Harness], connect: Callable[[Harness], OpenAI]
) -> None:
    answer = connect(serve()).audio.speech.create(
        model="gpt-4o-mini-tts", voice="lada", input="Слово", instructions="Speak slowly."
    )
    samples, rate = decoded(answer.content, "mp3")
    assert rate == SAMPLE_RATE
    assert 1.0 <= samples.size / rate <= 1.15


@pytest.mark.parametrize("name", ["mp3", "wav", "flac", "pcm", "aac", "opus"])
def test_the_first_bytes_come_before_the_second_sentence(
    serve: Callable[..., Harness], connect: Callable[[Harness], OpenAI], name: FormatName
) -> None:
    engine = FakeEngine()
    stage = Stage(engine)
    client = connect(serve(engine))
    stage.allow()
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input="Перше. Друге.", response_format=name
    ) as answer:
        chunks = answer.iter_bytes()
        content = next(chunks)
        assert engine.spoken[0] == "перше"
        assert len(engine.spoken) < 3
        assert len(content) > 100
        stage.allow()
        content += b"".join(chunks)
    samples, rate = decoded(content, name)
    assert 2.25 - 0.001 <= samples.size / rate <= 2.4


def test_events(serve: Callable[..., Harness], connect: Callable[[Harness], OpenAI]) -> None:
    engine = FakeEngine()
    stage = Stage(engine)
    client = connect(serve(engine))
    stage.allow()
    with client.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts",
        voice="nova",
        input="Перше. Друге.",
        response_format="wav",
        stream_format="sse",
    ) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        events = events_of(answer.iter_lines())
        heard = [next(events)]
        stage.allow()
        heard.extend(events)
    *deltas, done = heard
    assert {event["type"] for event in deltas} == {"speech.audio.delta"}
    samples, rate = decoded(b"".join(base64.b64decode(one["audio"]) for one in deltas), "wav")
    assert samples.size / rate == pytest.approx(2.25, abs=0.001)
    assert done == {
        "type": "speech.audio.done",
        "usage": {
            "input_tokens": len("перше. друге"),
            "output_tokens": 173,
            "total_tokens": 185,
        },
    }


def test_a_failure_in_the_middle_of_audio_is_an_error_of_the_client(
    serve: Callable[..., Harness], connect: Callable[[Harness], OpenAI]
) -> None:
    engine = FakeEngine()
    stage = Stage(engine)
    client = connect(serve(engine))
    stage.allow()
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input="Перше. Збій. Третє.", response_format="pcm"
    ) as answer:
        chunks = answer.iter_bytes()
        assert len(next(chunks)) > 10_000
        stage.allow(2)
        with pytest.raises(Exception, match=r"(?i)incomplete|closed|peer") as caught:
            list(chunks)
    assert "Protocol" in type(caught.value).__name__ or isinstance(caught.value, APIError)


def test_a_failure_in_the_middle_of_events_is_an_event(
    serve: Callable[..., Harness], connect: Callable[[Harness], OpenAI]
) -> None:
    engine = FakeEngine()
    stage = Stage(engine)
    client = connect(serve(engine))
    stage.allow()
    stream: Stream[Any] = client.post(
        "/audio/speech",
        body={"input": "Перше. Збій.", "stream_format": "sse", "response_format": "pcm"},
        cast_to=object,
        stream=True,
        stream_cls=Stream[Any],
    )
    with closing(stream):
        events = iter(stream)
        assert next(events)["type"] == "speech.audio.delta"
        stage.allow()
        with pytest.raises(APIError, match="Synthesis failed: the operator is not implemented"):
            list(events)


def test_a_failure_before_any_audio_has_its_status(
    serve: Callable[..., Harness], connect: Callable[[Harness], OpenAI]
) -> None:
    engine = FakeEngine()
    Stage(engine).allow()
    with pytest.raises(InternalServerError) as caught:
        connect(serve(engine)).audio.speech.create(model="tts-1", voice="alloy", input="Збій.")
    assert caught.value.status_code == 500
    assert (caught.value.type, caught.value.code) == ("server_error", "synthesis_failed")
    assert "the operator is not implemented" in caught.value.message


def test_a_client_that_leaves_stops_the_engine(
    serve: Callable[..., Harness], connect: Callable[[Harness], OpenAI]
) -> None:
    engine = FakeEngine()
    stage = Stage(engine)
    server = serve(engine, queue=1)
    stage.allow()
    with connect(server).audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input="Раз. Два. Три. Чотири.", response_format="pcm"
    ) as answer:
        next(answer.iter_bytes())
    until(lambda: 'outcome="client_gone"} 1.0' in scrape(server), "the job was cancelled")
    stage.allow(5)
    until(lambda: health(server.url)["busy"] is False, "the engine is free again")
    connect(server).audio.speech.create(model="tts-1", voice="alloy", input="Інше.")
    assert "чотири" not in engine.spoken


def test_a_full_queue_says_when_to_come_again(
    serve: Callable[..., Harness], connect: Callable[[Harness], OpenAI]
) -> None:
    engine = FakeEngine()
    engine.hold()
    server = serve(engine, queue=1)
    client = connect(server)
    answers: list[int] = []

    def ask(word: str) -> None:
        answers.append(
            len(client.audio.speech.create(model="tts-1", voice="alloy", input=word).content)
        )

    asking = [threading.Thread(target=ask, args=(word,)) for word in ("Раз.", "Два.")]
    for thread in asking:
        thread.start()
    engine.wait_until_inside()
    until(lambda: health(server.url)["queued"] == 1, "the second one waits")
    with pytest.raises(InternalServerError) as caught:
        client.audio.speech.create(model="tts-1", voice="alloy", input="Три.")
    assert caught.value.status_code == 503
    assert int(caught.value.response.headers["Retry-After"]) >= 1
    assert (caught.value.type, caught.value.code) == ("server_error", "overloaded")
    engine.release()
    for thread in asking:
        thread.join(PATIENCE)
    assert len(answers) == 2


def test_what_the_client_got_wrong(
    serve: Callable[..., Harness], connect: Callable[[Harness], OpenAI]
) -> None:
    client = connect(serve())
    with pytest.raises(BadRequestError) as voice:
        client.audio.speech.create(model="tts-1", voice="bob", input="Слово")
    assert (voice.value.param, voice.value.type) == ("voice", "invalid_request_error")
    assert ", ".join(VOICES) in voice.value.message
    with pytest.raises(BadRequestError) as text:
        client.audio.speech.create(model="tts-1", voice="lada", input="...")
    assert text.value.param == "input"
    with pytest.raises(NotFoundError) as model:
        client.audio.speech.create(model="whisper-1", voice="lada", input="Слово")
    assert model.value.code == "model_not_found"
    with pytest.raises(openai.APIStatusError) as large:
        client.audio.speech.create(model="tts-1", voice="lada", input="а" * 600_000)
    assert large.value.status_code == 413
    with pytest.raises(NotFoundError, match="Endpoint not found") as url:
        client.images.generate(prompt="кіт", model="x")
    assert url.value.type == "invalid_request_error"


def test_models(serve: Callable[..., Harness], connect: Callable[[Harness], OpenAI]) -> None:
    client = connect(serve())
    listed = [model.id for model in client.models.list()]
    assert listed == ["ukrainian-tts"]
    for name in (*listed, "tts-1", "gpt-4o-mini-tts"):
        assert client.models.retrieve(name).id == name
    with pytest.raises(NotFoundError, match="choose one of ukrainian-tts"):
        client.models.retrieve("gpt-5")


def scrape(server: Harness) -> str:
    return requests.get(
        f"{server.url}/metrics", headers={"Connection": "close"}, timeout=PATIENCE
    ).text
