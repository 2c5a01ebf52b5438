"""What went wrong, in the shape that OpenAI's clients read."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flask import jsonify, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from services.tts import speech_request
from services.tts.delivery import ClientGoneError, GivenUpError, SpeechFailedError
from services.tts.speech_request import RequestError
from services.tts.worker import UnavailableError

if TYPE_CHECKING:
    from flask import Response

log = logging.getLogger("tts.request")

CLIENT_GONE: Final = 499
"""nginx's code; nobody reads the reply, the log line is for us."""

_PREFIX: Final = "/v1/"


@dataclass(frozen=True, slots=True)
class Failure:
    """One error body; `param` is the field at fault, `retry_after` is in seconds."""

    message: str
    status: int
    param: str | None = None
    code: str | None = None
    retry_after: int | None = None

    @property
    def body(self) -> dict[str, dict[str, str | None]]:
        """`{"error": {…}}`; also what an event of a stream carries."""
        return {
            "error": {
                "message": self.message,
                "type": "server_error" if self.status >= 500 else "invalid_request_error",
                "param": self.param,
                "code": self.code,
            }
        }

    def response(self) -> Response:
        """The reply."""
        response = jsonify(self.body)
        response.status_code = self.status
        if self.retry_after is not None:
            response.headers["Retry-After"] = str(self.retry_after)
        return response


class FailureError(Exception):
    """Carries a Failure to where it is answered."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def covers(path: str) -> bool:
    """Whether a path, known or not, answers with errors of this shape."""
    return path.startswith(_PREFIX)


def failure_of(error: Exception) -> Failure:
    """How any error on a path of this API is told; one that is nobody's fault is logged."""
    match error:
        case FailureError():
            return error.failure
        case RequestError():
            detail = error.details.get("detail")
            message = f"{error}: {detail}" if detail else str(error)
            return Failure(message, error.status, param="input")
        case UnavailableError(overloaded=True):
            return Failure(
                f"Overloaded: {error}", 503, code="overloaded", retry_after=error.retry_after
            )
        case GivenUpError():
            return Failure(
                f"Synthesis was given up: {error}",
                503,
                code="given_up",
                retry_after=error.retry_after,
            )
        case UnavailableError():
            return Failure(
                f"Speech is not available: {error}",
                503,
                code="not_ready",
                retry_after=error.retry_after,
            )
        case SpeechFailedError():
            return Failure(f"Synthesis failed: {error}", 500, code="synthesis_failed")
        case ClientGoneError():
            return Failure("The client closed the connection", CLIENT_GONE)
        case RequestEntityTooLarge():
            limit = speech_request.MAX_BODY
            return Failure(f"Body is too large: the limit is {limit} bytes", 413)
        case HTTPException():
            return Failure(f"{error.name}: {request.method} {request.path}", error.code or 500)
        case _:
            log.error("%s failed", ascii(request.path[:100])[1:-1], exc_info=error)
            return Failure(f"Internal error: {type(error).__name__}", 500)
