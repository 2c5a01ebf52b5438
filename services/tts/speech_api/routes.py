"""The routes below `/v1/`, as OpenAI has them."""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from typing import TYPE_CHECKING

from flask import Blueprint, Response, g, jsonify, request

from services.tts.delivery import MID_STREAM, cut_off_visibly
from services.tts.engine import DEFAULT_VOICE, VOICES
from services.tts.speech_api import encoding, events
from services.tts.speech_api.failure import FailureError, failure_of
from services.tts.speech_api.request import MODEL, VOICE_ALIASES, is_model, no_such_model, read
from services.tts.speech_request import is_fresh, wait_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.tts.delivery import Delivery, Speech
    from services.tts.engine import Samples
    from services.tts.job import Piece
    from services.tts.metrics import Metrics
    from services.tts.speech_api.request import SpeechRequest


def blueprint(delivery: Delivery, metrics: Metrics) -> Blueprint:
    """The routes, over what speaks and what counts."""
    routes = Blueprint("speech_api", __name__)

    @routes.post("/v1/audio/speech")
    def speech() -> Response:
        asked = read(request.get_data(cache=False))
        with ExitStack() as held:
            speech = held.enter_context(
                delivery.open(
                    asked.text,
                    voice=asked.voice,
                    speed=asked.speed,
                    wait=wait_of(request.headers.get("Prefer")),
                    fresh=is_fresh(request.headers.get("Cache-Control")),
                    is_gone=request.environ.get("waitress.client_disconnected", lambda: False),
                )
            )
            pieces = metrics.counted(speech, since=g.started)
            held.callback(pieces.close)
            return _reply(asked, speech, pieces, held)

    @routes.get("/v1/models")
    def models() -> Response:
        return jsonify(object="list", data=[_model(MODEL)])

    @routes.get("/v1/models/<model>")
    def retrieve_model(model: str) -> Response:
        if not is_model(model):
            raise FailureError(no_such_model(model))
        return jsonify(_model(model))

    @routes.get("/v1/audio/voices")
    def voices() -> Response:
        return jsonify(
            object="list",
            default=DEFAULT_VOICE,
            voices=[
                {
                    "id": voice,
                    "name": voice.capitalize(),
                    "object": "audio.voice",
                    "aliases": [alias for alias, ours in VOICE_ALIASES.items() if ours == voice],
                }
                for voice in VOICES
            ],
        )

    @routes.errorhandler(Exception)
    def failed(error: Exception) -> Response:
        return failure_of(error).response()

    return routes


class _Samples:
    """The samples of pieces, and how many there were; the first piece stays at hand."""

    def __init__(self, pieces: Iterator[Piece]) -> None:
        self._pieces = pieces
        self.first: Piece | None = None
        self.count = 0

    def __iter__(self) -> Iterator[Samples]:
        for piece in self._pieces:
            self.first = self.first or piece
            self.count += piece.samples.size
            yield piece.samples


def _reply(
    asked: SpeechRequest, speech: Speech, pieces: Iterator[Piece], held: ExitStack
) -> Response:
    """A reply that is sent while it is spoken and closes `held` at its end.

    Its first bytes are waited for here, so that what fails before them still gets its status.
    """
    samples = _Samples(pieces)
    chunks = encoding.stream(samples, asked.format, pause=speech.pause)
    held.callback(chunks.close)
    first = next(chunks)
    if asked.events:
        response = Response(
            _as_events(first, chunks, speech, samples), content_type=events.CONTENT_TYPE
        )
    else:
        body = cut_off_visibly(itertools.chain([first], chunks))
        response = Response(body, content_type=asked.format.content_type)
    g.spoken = f" characters={len(speech.text)} voice={asked.voice} streamed"
    if samples.first is not None:
        response.headers.extend(speech.headers(samples.first))
    response.call_on_close(held.pop_all().close)
    return response


def _as_events(
    first: bytes, rest: Iterator[bytes], speech: Speech, samples: _Samples
) -> Iterator[bytes]:
    yield events.delta(first)
    try:
        for chunk in rest:
            yield events.delta(chunk)
    except MID_STREAM as error:
        # The reply ends in order, for its reader looks for this event.
        yield events.error(failure_of(error).body)
    else:
        yield events.done(characters=len(speech.text), samples=samples.count)


def _model(name: str) -> dict[str, object]:
    # When it was made is not known here; the field must be a number.
    return {"id": name, "object": "model", "created": 0, "owned_by": "atlasctl"}
