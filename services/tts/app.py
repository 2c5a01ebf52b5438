"""The HTTP contract: paths, bodies and status codes that old clients rely on.

A client retries on 500 up to 25 times and on 503 five times, so 503 (with Retry-After) is for what
passes by itself, 4xx for what the client can mend, and 500 for a real fault alone. Every error body
is `{"error": "<one string>"}` with other keys beside it. No text of a client is ever logged.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException

from services.tts import openapi, origin, reading, speech_api, speech_request, web
from services.tts.audio import WavFile, WavStream
from services.tts.delivery import (
    ClientGoneError,
    Delivery,
    GivenUpError,
    SpeechFailedError,
    cut_off_visibly,
)
from services.tts.engine import DEFAULT_VOICE, SAMPLE_RATE, VOICES
from services.tts.metrics import Metrics
from services.tts.speech_request import RequestError, SpeechRequest
from services.tts.worker import State, UnavailableError, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from services.tts.delivery import Speech
    from services.tts.job import Piece
    from services.tts.link import LinkStatus
    from services.tts.text import Spoken

log = logging.getLogger("tts.request")

_CLIENT_GONE: Final = 499  # nginx's code; nobody reads the reply, the log line is for us
_NOT_READY: Final = "TTS not initialized"


def create_app(
    worker: Worker, *, normalise: Callable[[str], Spoken], loopback_only: bool = True
) -> Flask:
    """The WSGI application over a started worker.

    `normalise` is the text pipeline. `loopback_only` says that every socket is on loopback: then
    requests that name another host are refused.
    """
    app = Flask(__name__, static_folder=None)
    delivery = Delivery(worker, normalise)
    metrics = Metrics(worker)
    app.register_blueprint(metrics.blueprint())
    app.register_blueprint(speech_api.blueprint(delivery, metrics))
    app.register_blueprint(reading.blueprint(normalise))
    app.register_blueprint(web.blueprint())
    app.config["MAX_CONTENT_LENGTH"] = speech_request.MAX_BODY
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    # `/tts/` was never a path; a redirect would turn a client's POST into a GET.
    app.url_map.strict_slashes = True
    app.url_map.redirect_defaults = False

    @app.before_request
    def admit() -> Response | None:
        g.started = time.monotonic()
        host = request.headers.get("Host")
        if loopback_only and host is not None and not origin.is_loopback_host(host):
            return _error(
                "This server answers on loopback only: call it as http://127.0.0.1 or "
                "http://localhost",
                403,
            )
        if request.method == "OPTIONS":
            return Response(status=204)
        return None

    @app.after_request
    def finish(response: Response) -> Response:
        for name, value in origin.cors_headers(
            request.headers.get("Origin"), dict(request.headers)
        ).items():
            if name == "Vary":
                response.vary.add(value)
            else:
                response.headers[name] = value
        _log_request(response)
        return response

    @app.get("/health")
    def health() -> Response:
        now = worker.snapshot()
        return jsonify(
            status="error" if now.state is State.FAILED else "ok",
            tts_ready=now.ready,
            device=now.device,
            timestamp=time.time(),
            state=now.state,
            reason=now.reason,
            engine=now.engine,
            pid=os.getpid(),
            device_reason=now.device_reason,
            notice=now.notice,
            links=[_shown_link(link) for link in now.links],
            cache=asdict(now.cache),
            queued=now.queued,
            busy=now.busy,
            busy_for=round(now.busy_for, 3),
            last_success=now.last_success,
            last_error=now.last_error,
            uptime=round(now.uptime, 3),
            hung=now.hung,
        )

    @app.get("/voices")
    def voices() -> Response:
        return jsonify(voices=list(VOICES), default=DEFAULT_VOICE, timestamp=time.time())

    @app.post("/tts")
    @app.post("/speak")
    def tts() -> Response:
        asked = speech_request.read(request.get_data(cache=False))
        wants_audio = asked.return_audio if asked.return_audio is not None else _accepts_audio()
        streamed = asked.stream and wants_audio
        speech = delivery.open(
            asked.text,
            voice=asked.voice,
            effect=asked.effect,
            speed=asked.speed,
            wait=speech_request.wait_of(request.headers.get("Prefer")),
            streamed=streamed,
            fresh=speech_request.is_fresh(request.headers.get("Cache-Control")),
            is_gone=request.environ.get("waitress.client_disconnected", lambda: False),
        )
        pieces = metrics.counted(speech, since=g.started)
        if streamed:
            return _stream(speech, pieces)
        with speech:
            return _whole(asked, speech, pieces, wants_audio=wants_audio)

    @app.get("/openapi.json")
    def document() -> Response:
        return jsonify(openapi.document())

    @app.errorhandler(RequestError)
    def refused(error: RequestError) -> Response:
        return _error(str(error), error.status, error.details)

    @app.errorhandler(UnavailableError)
    def unavailable(error: UnavailableError) -> Response:
        if error.overloaded:
            return _unavailable(f"Overloaded: {error}", retry_after=error.retry_after)
        return _unavailable(
            _NOT_READY, retry_after=error.retry_after, details={"reason": str(error)}
        )

    @app.errorhandler(SpeechFailedError)
    def failed(error: SpeechFailedError) -> Response:
        return _error(f"Synthesis failed: {error}", 500)

    @app.errorhandler(GivenUpError)
    def given_up(error: GivenUpError) -> Response:
        return _unavailable(f"Synthesis was given up: {error}", retry_after=error.retry_after)

    @app.errorhandler(ClientGoneError)
    def client_gone(_: ClientGoneError) -> Response:
        return Response(status=_CLIENT_GONE)

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        code = error.code or 500
        if code == 404:
            return _error("Endpoint not found", 404)
        if code == 413:
            return _error(
                f"Body is too large: the limit is {speech_request.MAX_BODY} bytes",
                413,
                {"limit": speech_request.MAX_BODY},
            )
        response = _error(f"{error.name}: {request.method} {request.path}", code)
        for name, value in error.get_headers():
            if name == "Allow":
                response.headers[name] = value
        return response

    @app.errorhandler(Exception)
    def fault(error: Exception) -> Response:
        log.exception("%s %s failed", request.method, _shown_path())
        return _error(f"Internal error: {type(error).__name__}", 500)

    return app


def _whole(
    asked: SpeechRequest, speech: Speech, pieces: Iterator[Piece], *, wants_audio: bool
) -> Response:
    """The reply that is made when everything is spoken."""
    started = time.monotonic()
    spoken = list(pieces)
    seconds = time.monotonic() - started
    file = WavFile(tuple(piece.samples for piece in spoken), SAMPLE_RATE, speech.pause)
    g.spoken = f" characters={len(speech.text)} audio={file.seconds:.2f}s voice={asked.voice}"
    now = time.time()
    if wants_audio:
        response = Response(file.chunks(), content_type="audio/wav")
        response.content_length = file.size
        response.headers["Content-Disposition"] = f"attachment; filename=tts_{int(now)}.wav"
    else:
        response = jsonify(
            status="success",
            accented_text=speech.text,
            synthesis_time=round(seconds, 4),
            audio_duration=round(file.seconds, 4),
            sample_rate=SAMPLE_RATE,
            voice=asked.voice,
            fx=asked.effect,
            timestamp=now,
        )
    response.headers.update(speech.headers(spoken[0]))
    return response


def _stream(speech: Speech, pieces: Iterator[Piece]) -> Response:
    """The reply that begins with the first sentence; what fails before it is an error as usual."""
    with ExitStack() as place:
        place.callback(speech.close)
        first = next(pieces)
        body = cut_off_visibly(_wav_stream(speech, first, pieces))
        response = Response(body, content_type="audio/wav")
        response.headers["Content-Disposition"] = f"attachment; filename=tts_{int(time.time())}.wav"
        response.headers.update(speech.headers(first))
        g.spoken = f" characters={len(speech.text)} streamed"
        response.call_on_close(place.pop_all().close)
        return response


def _wav_stream(speech: Speech, first: Piece, rest: Iterator[Piece]) -> Iterator[bytes]:
    wav = WavStream(SAMPLE_RATE, speech.pause)
    for number, piece in enumerate(itertools.chain([first], rest), start=1):
        # A sentence without a sound is no piece: then the last one is followed by a pause too.
        yield wav.chunk(piece.samples, more=number < speech.sentences)


def _shown_link(link: LinkStatus) -> dict[str, object]:
    retry_in = None if link.retry_in is None else round(link.retry_in, 1)
    return {**asdict(link), "retry_in": retry_in}


def _accepts_audio() -> bool:
    """Whether Accept asks for audio more than for JSON; `*/*` and none keep JSON."""
    accepted = request.accept_mimetypes
    wanted = [
        quality
        for kind, quality in accepted
        if kind.lower() in ("audio/*", "audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave")
    ]
    return bool(wanted) and max(wanted) > 0 and max(wanted) >= accepted["application/json"]


def _error(message: str, status: int, details: Mapping[str, object] | None = None) -> Response:
    if speech_api.covers(request.path):
        return speech_api.Failure(message, status).response()
    response = jsonify({"error": message, **(details or {})})
    response.status_code = status
    return response


def _unavailable(
    message: str, *, retry_after: int, details: Mapping[str, object] | None = None
) -> Response:
    response = _error(message, 503, details)
    response.headers["Retry-After"] = str(retry_after)
    return response


def _log_request(response: Response) -> None:
    milliseconds = (time.monotonic() - g.get("started", time.monotonic())) * 1000
    log.info(
        "%s %s %d %.0fms%s",
        request.method,
        _shown_path(),
        response.status_code,
        milliseconds,
        g.get("spoken", ""),
    )


def _shown_path() -> str:
    """The path without its query, on one line whatever the client put in it."""
    return ascii(request.path[:100])[1:-1]
