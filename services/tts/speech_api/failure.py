"""What went wrong, in the shape that OpenAI's clients read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import jsonify

if TYPE_CHECKING:
    from flask import Response

PREFIX = "/v1/"
"""Paths below it answer in this shape, whether they exist or not."""


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
