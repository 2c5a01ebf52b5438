"""`POST /text`: how a text will be read, without speaking it.

Costs a tenth of a second for a page of text, all of it Python, during which nobody else computes.
So the text is bounded, and so is how many are read at once.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from flask import Blueprint, Response, jsonify, request

from services.tts import speech_request
from services.tts.speech_request import NOTHING_TO_SPEAK, RequestError
from services.tts.worker import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.tts.text import Spoken

MAX_CHARACTERS: Final = 10_000
"""Characters of one text: a second of work."""

_AT_ONCE: Final = 2
_WAIT_SECONDS: Final = 1.0  # each who waits holds one of the server's threads


def blueprint(normalise: Callable[[str], Spoken]) -> Blueprint:
    """The route, over the text pipeline."""
    routes = Blueprint("reading", __name__)
    places = threading.BoundedSemaphore(_AT_ONCE)

    @routes.post("/text")
    def text() -> Response:
        fields = speech_request.fields_of(request.get_data(cache=False))
        asked = speech_request.text_of(fields.get("text"), 1.0)
        if len(asked) > MAX_CHARACTERS:
            raise RequestError(
                f"Text has {len(asked)} characters; the limit here is {MAX_CHARACTERS}",
                status=413,
                details={"limit": MAX_CHARACTERS},
            )
        if not places.acquire(timeout=_WAIT_SECONDS):
            raise UnavailableError("other texts are being read", retry_after=1, overloaded=True)
        try:
            read = normalise(asked)
        finally:
            places.release()
        if not read.sentences:
            raise RequestError(NOTHING_TO_SPEAK)
        return jsonify(accented_text=read.text, sentences=list(read.sentences))

    return routes
