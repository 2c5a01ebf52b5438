"""The HTTP contract: paths, bodies and status codes that old clients rely on.

A client retries on 500 up to 25 times and on 503 five times, so 503 (with Retry-After) is for what
passes by itself, 4xx for what the client can mend, and 500 for a real fault alone. Every error body
is `{"error": "<one string>"}` with other keys beside it. No text of a client is ever logged.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Final, assert_never

from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException

from services.tts import origin, speech_request
from services.tts.audio import WavFile
from services.tts.engine import DEFAULT_VOICE, SAMPLE_RATE, VOICES
from services.tts.speech_request import RequestError, SpeechRequest
from services.tts.worker import (
    Broken,
    Cancelled,
    Order,
    Outcome,
    Refused,
    Speech,
    State,
    UnavailableError,
    Worker,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from services.tts.engine import Samples
    from services.tts.text import Spoken

log = logging.getLogger("tts.request")

JOB_SECONDS: Final = 600.0
"""How long one request may wait and be spoken, in seconds."""

PAUSE_SECONDS: Final = 0.25
"""Silence between two sentences at speed 1."""

_CLIENT_CHECK_SECONDS: Final = 0.25
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
            queued=now.queued,
            busy=now.busy,
            busy_for=round(now.busy_for, 3),
            last_success=now.last_success,
            last_error=now.last_error,
            uptime=round(now.uptime, 3),
        )

    @app.get("/voices")
    def voices() -> Response:
        return jsonify(voices=list(VOICES), default=DEFAULT_VOICE, timestamp=time.time())

    @app.post("/tts")
    @app.post("/speak")
    def tts() -> Response:
        asked = speech_request.read(request.get_data(cache=False))
        with worker.slot():
            text = normalise(asked.text)
            if not text.sentences:
                return _error(
                    "Text has nothing that can be spoken: it needs letters or digits", 400
                )
            # Digits grow into words, so the length is bounded again behind the pipeline.
            speech_request.check_length(len(text.text), asked.speed)
            started = time.monotonic()
            outcome = _speak(worker, Order(text.sentences, asked.voice, asked.effect, asked.speed))
            match outcome:
                case Speech(pieces):
                    return _reply(asked, text.text, pieces, time.monotonic() - started)
                case Broken(reason):
                    return _error(f"Synthesis failed: {reason}", 500)
                case Refused(reason):
                    return _unavailable(f"Synthesis was given up: {reason}", retry_after=2)
                case Cancelled():
                    return Response(status=_CLIENT_GONE)
                case _:
                    assert_never(outcome)

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


def _speak(worker: Worker, asked: Order) -> Outcome:
    """Has an order spoken, and gives it up when the client has gone away."""
    job = worker.submit(asked, within=JOB_SECONDS)
    is_gone: Callable[[], bool] = request.environ.get("waitress.client_disconnected", lambda: False)
    while True:
        outcome = job.wait(_CLIENT_CHECK_SECONDS)
        if outcome is not None:
            return outcome
        if is_gone():
            job.cancel()
        worker.fail_if_hung()


def _reply(
    asked: SpeechRequest, accented: str, pieces: tuple[Samples, ...], seconds: float
) -> Response:
    file = WavFile(pieces, SAMPLE_RATE, PAUSE_SECONDS / asked.speed)
    g.spoken = f" characters={len(accented)} audio={file.seconds:.2f}s voice={asked.voice}"
    now = time.time()
    if asked.return_audio if asked.return_audio is not None else _accepts_audio():
        response = Response(file.chunks(), content_type="audio/wav")
        response.content_length = file.size
        response.headers["Content-Disposition"] = f"attachment; filename=tts_{int(now)}.wav"
        return response
    return jsonify(
        status="success",
        accented_text=accented,
        synthesis_time=round(seconds, 4),
        audio_duration=round(file.seconds, 4),
        sample_rate=SAMPLE_RATE,
        voice=asked.voice,
        fx=asked.effect,
        timestamp=now,
    )


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
