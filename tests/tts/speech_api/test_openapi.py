"""The document against the specification, against the routes, and against a running server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import requests
import schemathesis
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.config import GenerationConfig, SchemathesisConfig
from schemathesis.engine import events, from_schema

from services.tts import openapi
from services.tts.app import create_app
from services.tts.text import Spoken
from tests.tts.doubles import PATIENCE, FakeEngine, plain_text, tone

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.tts.conftest import Harness


def test_it_is_a_valid_openapi_document() -> None:
    OpenAPIV31SpecValidator(openapi.document()).validate()


def test_it_is_served(serve: Callable[..., Harness]) -> None:
    answer = requests.get(f"{serve().url}/openapi.json", timeout=PATIENCE)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == openapi.document()


def test_it_has_every_route_and_no_other(serve: Callable[..., Harness]) -> None:
    app = create_app(serve().worker, normalise=plain_text)
    served = {
        (re.sub(r"<(?:path:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    documented = {
        (path, method) for path, item in openapi.document()["paths"].items() for method in item
    }
    assert documented == served


def as_documented(raw: str) -> Spoken:
    """A text pipeline that can speak exactly what the document says can be spoken."""
    schema = openapi.document()["components"]["schemas"]["TtsRequest"]["properties"]["text"]
    speakable = re.search(schema["pattern"], raw)
    return Spoken(text=raw, sentences=(raw,)) if speakable else Spoken(text="", sentences=())


def test_the_server_keeps_to_it(serve: Callable[..., Harness]) -> None:
    """Requests that the document allows, and ones that it does not, each get what it promises."""
    engine = FakeEngine()
    engine.answer = lambda _: tone(0.05, 200.0)
    server = serve(engine, normalise=as_documented)
    schema = schemathesis.openapi.from_dict(
        requests.get(f"{server.url}/openapi.json", timeout=PATIENCE).json(),
        config=SchemathesisConfig(seed=1),
    )
    config = schema.config
    config.base_url = server.url
    # Its own connections would stay open in a pool that nobody closes.
    config.headers = {"Connection": "close"}
    config.request_timeout = PATIENCE
    config.continue_on_failure = True
    config.generation = GenerationConfig(
        max_examples=25, deterministic=True, database="none", no_shrink=True
    )
    config.phases.update(phases=["examples", "coverage", "fuzzing"])
    # Too long is 413, which the checks do not know as a refusal; and below speed 1 the limit is
    # lower than the schema can say.
    config.checks.negative_data_rejection.expected_statuses.append("413")
    config.checks.positive_data_acceptance.expected_statuses.append("413")

    wrong: list[str] = []
    tried: dict[str, int] = {}
    for event in from_schema(schema).execute():
        match event:
            case events.ScenarioFinished():
                label = event.recorder.label
                tried[label] = tried.get(label, 0) + len(event.recorder.interactions)
                wrong += [
                    f"{label}: {check.name}: {check.failure_info.failure.message}\n"
                    f"{check.failure_info.code_sample[:500]}"
                    for checks in event.recorder.checks.values()
                    for check in checks
                    if check.failure_info is not None
                ]
            case events.NonFatalError():
                wrong.append(f"{event.label}: {event.value}")
            case events.FatalError():
                raise event.exception
            case _:
                pass
    assert not wrong, "\n\n".join(wrong)
    assert len(tried) == len(openapi.document()["paths"])
    assert min(tried.values()) > 5, tried
    assert "POST /v1/audio/speech" in tried
