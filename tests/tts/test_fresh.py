"""Speech without the phrase cache, as probes ask for it: words that are kept prove nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import pytest
import requests

from services.tts.speech_request import is_fresh
from tests.tts.doubles import PATIENCE, FakeEngine

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.tts.conftest import Harness


@pytest.mark.parametrize(
    ("header", "fresh"),
    [
        (None, False),
        ("", False),
        ("max-age=0", False),
        ("no-transform", False),
        ("x-no-cache", False),
        ("no-cache", True),
        ("no-store", True),
        ("max-age=0, No-Store", True),
        (' no-cache="Set-Cookie" ,', True),
    ],
)
def test_which_headers_ask_for_it(header: str | None, fresh: bool) -> None:
    assert is_fresh(header) is fresh


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tts", {"text": "раз. два", "return_audio": True}),
        ("/tts", {"text": "раз. два", "return_audio": True, "stream": True}),
        ("/v1/audio/speech", {"input": "раз. два", "response_format": "wav"}),
    ],
    ids=["whole", "streamed", "as OpenAI's"],
)
def test_it_is_spoken_anew_and_not_kept(
    serve: Callable[..., Harness], path: str, body: dict[str, object]
) -> None:
    engine = FakeEngine()
    harness = serve(engine)

    def say(**headers: str) -> bytes:
        answer = requests.post(f"{harness.url}{path}", json=body, headers=headers, timeout=PATIENCE)
        assert answer.status_code == 200, answer.text
        return answer.content

    fresh = {"Cache-Control": "no-store"}
    heard = say(**fresh)
    assert engine.spoken == ["раз", "два"]
    assert harness.worker.snapshot().cache.entries == 0, "nothing of it is kept"
    assert say() == heard
    assert say() == heard
    assert engine.spoken == ["раз", "два"] * 2, "the second time from the cache"
    assert say(**fresh) == heard
    assert engine.spoken == ["раз", "два"] * 3
    engine.answer = _broken
    assert say() == heard, "what is kept hides that the engine is broken"
    answer = requests.post(f"{harness.url}{path}", json=body, headers=fresh, timeout=PATIENCE)
    assert answer.status_code == 500


def _broken(_: str) -> NoReturn:
    raise RuntimeError("the operator is not implemented")
