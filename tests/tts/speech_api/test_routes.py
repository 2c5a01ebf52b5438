"""What the routes ask of the delivery and how they tell its failures; and the paths around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import requests
from flask import Flask, g

from services.tts import speech_api
from services.tts.delivery import Delivery, GivenUpError, SpeechFailedError
from services.tts.metrics import Metrics
from services.tts.speech_request import RequestError
from services.tts.worker import UnavailableError
from tests.tts.doubles import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.tts.conftest import Harness


class RefusingDelivery(Delivery):
    """Notes what it was asked for, and refuses."""

    def __init__(self, refusal: Exception) -> None:
        self.asked: dict[str, Any] = {}
        self._refusal = refusal

    def open(self, text: str, **asked: Any) -> NoReturn:
        self.asked = {"text": text, **asked}
        raise self._refusal


@pytest.fixture
def post(serve: Callable[..., Harness]) -> Callable[..., Any]:
    """Sends a body to the routes over a delivery that is given."""
    metrics = Metrics(serve().worker)

    def send(delivery: Delivery, headers: dict[str, str] | None = None, **body: object) -> Any:
        app = Flask(__name__)

        @app.before_request
        def begin() -> None:
            g.started = 0.0

        app.register_blueprint(speech_api.blueprint(delivery, metrics))
        return app.test_client().post("/v1/audio/speech", json=body, headers=headers)

    return send


def test_what_is_asked_reaches_the_delivery(post: Callable[..., Any]) -> None:
    delivery = RefusingDelivery(RequestError("no"))
    headers = {"Prefer": "wait=7", "Cache-Control": "no-cache"}
    post(delivery, headers, input="Слово", voice="echo", speed=2)
    del delivery.asked["is_gone"]
    asked = {"text": "Слово", "voice": "mykyta", "speed": 2.0, "wait": 7.0, "fresh": True}
    assert delivery.asked == asked


@pytest.mark.parametrize(
    ("refusal", "status", "error", "retry_after"),
    [
        (
            RequestError("nothing to speak"),
            400,
            ("nothing to speak", "invalid_request_error", "input", None),
            None,
        ),
        (
            RequestError("too long", status=413),
            413,
            ("too long", "invalid_request_error", "input", None),
            None,
        ),
        (
            UnavailableError("the engine is loading", retry_after=2, overloaded=False),
            503,
            (
                "Speech is not available: the engine is loading",
                "server_error",
                None,
                "not_ready",
            ),
            "2",
        ),
        (
            UnavailableError("3 requests wait", retry_after=9, overloaded=True),
            503,
            ("Overloaded: 3 requests wait", "server_error", None, "overloaded"),
            "9",
        ),
        (
            GivenUpError("it is stopping"),
            503,
            ("Synthesis was given up: it is stopping", "server_error", None, "given_up"),
            "2",
        ),
        (
            SpeechFailedError("no such operator"),
            500,
            ("Synthesis failed: no such operator", "server_error", None, "synthesis_failed"),
            None,
        ),
        (
            ZeroDivisionError("secret"),
            500,
            ("Internal error: ZeroDivisionError", "server_error", None, None),
            None,
        ),
    ],
)
def test_failures(
    post: Callable[..., Any],
    refusal: Exception,
    status: int,
    error: tuple[str | None, ...],
    retry_after: str | None,
) -> None:
    answer = post(RefusingDelivery(refusal), input="Слово")
    assert answer.status_code == status
    assert answer.json == {
        "error": dict(zip(("message", "type", "param", "code"), error, strict=True))
    }
    assert answer.headers.get("Retry-After") == retry_after


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/v1/nowhere", {}, 404),
        ("GET", "/v1/audio/speech", {}, 405),
        ("DELETE", "/v1/models/tts-1", {}, 405),
        ("GET", "/v1/models/none", {}, 404),
        ("GET", "/v1/models", {"Host": "evil.example"}, 403),
    ],
)
def test_every_error_below_v1_has_the_shape_of_openai(
    serve: Callable[..., Harness], method: str, path: str, headers: dict[str, str], status: int
) -> None:
    answer = requests.request(method, f"{serve().url}{path}", headers=headers, timeout=PATIENCE)
    assert answer.status_code == status
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
    assert ("Allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize("path", ["/nowhere", "/v1", "/v1nowhere"])
def test_other_paths_keep_their_errors(serve: Callable[..., Harness], path: str) -> None:
    answer = requests.get(f"{serve().url}{path}", timeout=PATIENCE)
    assert (answer.status_code, answer.json()) == (404, {"error": "Endpoint not found"})


def test_voices(serve: Callable[..., Harness]) -> None:
    body = requests.get(f"{serve().url}/v1/audio/voices", timeout=PATIENCE).json()
    assert body["default"] == "dmytro"
    assert [voice["id"] for voice in body["voices"]] == [
        "tetiana",
        "mykyta",
        "lada",
        "dmytro",
        "oleksa",
    ]
    assert body["voices"][2]["name"] == "Lada"
    assert body["voices"][2]["aliases"] == ["coral", "nova", "shimmer"]


def test_a_page_may_send_the_headers_of_its_client(serve: Callable[..., Harness]) -> None:
    answer = requests.options(
        f"{serve().url}/v1/audio/speech",
        headers={
            "Origin": "http://localhost:5173",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,x-stainless-lang",
        },
        timeout=PATIENCE,
    )
    assert answer.status_code == 204
    allowed = answer.headers["Access-Control-Allow-Headers"].lower().replace(" ", "").split(",")
    assert {"authorization", "content-type", "x-stainless-lang", "prefer"} <= set(allowed)
