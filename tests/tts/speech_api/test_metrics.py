"""What a scrape of a running server shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse

from services.tts import metrics
from services.tts.engine import SAMPLE_RATE, EngineError
from services.tts.link import LinkState, LinkStatus
from tests.tts.doubles import PATIENCE, FakeEngine, until
from tests.tts.processes import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.tts.engine import Samples
    from tests.tts.conftest import Harness

Numbers = dict[tuple[str, frozenset[tuple[str, str]]], float]


def get(url: str, accept: str = "") -> requests.Response:
    return requests.get(
        f"{url}/metrics", headers={"Connection": "close", "Accept": accept}, timeout=PATIENCE
    )


def scrape(url: str) -> Numbers:
    answer = get(url)
    assert answer.status_code == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(answer.text)
        for sample in family.samples
    }


def number(numbers: Numbers, name: str, **labels: str) -> float:
    return numbers[name, frozenset(labels.items())]


def test_two_links_of_one_place_are_one_series() -> None:
    def link(state: LinkState) -> LinkStatus:
        return LinkStatus("ukrainian", "cpu", state, None, None, None, None)

    family = metrics._states([link(LinkState.READY), link(LinkState.WAITING)])
    values = {sample.labels["state"]: sample.value for sample in family.samples}
    assert len(family.samples) == len(LinkState)
    assert values["ready"] == 1.0
    assert sum(values.values()) == 1.0


def test_speech_is_counted(serve: Callable[..., Harness]) -> None:
    url = serve().url
    say(url, "Один два. Три.", return_audio=True)
    say(url, "Один два три.", return_audio=False)
    requests.post(
        f"{url}/v1/audio/speech",
        json={"input": "чотири", "response_format": "pcm"},
        timeout=PATIENCE,
    )
    now = scrape(url)
    assert number(now, "tts_speech_total", outcome="spoken") == 3
    assert number(now, "tts_audio_seconds_total", engine="fake") == pytest.approx(7.0)
    assert number(now, "tts_characters_total") == sum(
        map(len, ("один два. три", "один два три", "чотири"))
    )
    for name in ("tts_synthesis_seconds", "tts_first_audio_seconds"):
        assert number(now, f"{name}_count") == 3
        assert 0 < number(now, f"{name}_sum") < 3 * PATIENCE
        assert number(now, f"{name}_bucket", le="+Inf") == 3


def test_failures_are_counted(serve: Callable[..., Harness]) -> None:
    def fail(sentence: str) -> Samples:
        raise EngineError("broken")

    engine = FakeEngine()
    engine.answer = fail
    url = serve(engine).url
    assert say(url, "слово").status_code == 500
    now = scrape(url)
    assert number(now, "tts_speech_total", outcome="failed") == 1
    assert number(now, "tts_speech_total", outcome="spoken") == 0
    assert number(now, "tts_synthesis_seconds_count") == 0


def test_requests_are_counted_by_template_whatever_is_asked(serve: Callable[..., Harness]) -> None:
    url = serve().url
    for path in ("/v1/models/tts-1", "/v1/models/other", "/nowhere/1", "/nowhere/2"):
        requests.get(f"{url}{path}", timeout=PATIENCE)
    requests.request("BREW", f"{url}/health", timeout=PATIENCE)
    now = scrape(url)
    counted = {
        tuple(sorted(labels)): value
        for (name, labels), value in now.items()
        if name == "tts_http_requests_total"
    }

    def row(method: str, path: str, status: str) -> tuple[tuple[str, str], ...]:
        return (("method", method), ("path", path), ("status", status))

    assert counted == {
        row("GET", "/v1/models/<model>", "200"): 1,
        row("GET", "/v1/models/<model>", "404"): 1,
        row("GET", "other", "404"): 2,
        row("other", "other", "405"): 1,
    }


def test_the_state_is_that_of_the_moment(serve: Callable[..., Harness]) -> None:
    engine = FakeEngine()
    engine.hold_warm_up()
    server = serve(engine)
    assert number(scrape(server.url), "tts_ready") == 0
    engine.release()
    say(server.url, "слово")
    now = scrape(server.url)
    assert number(now, "tts_ready") == 1
    assert number(now, "tts_queued") == 0
    # The reply is sent a moment before the engine is let go of.
    until(lambda: number(scrape(server.url), "tts_busy") == 0, "the engine is free again")
    assert number(now, "tts_engine_info", engine="fake", device="cpu") == 1
    assert number(now, "tts_last_success_timestamp_seconds") > 1e9
    for state in LinkState:
        is_in = number(now, "tts_engine_state", engine="fake", device="cpu", state=state)
        assert is_in == (state is LinkState.READY)


def test_the_phrase_cache_is_counted(serve: Callable[..., Harness]) -> None:
    url = serve().url
    for _ in range(3):
        say(url, "Слово. Інше.")
    now = scrape(url)
    assert (number(now, "tts_cache_hits_total"), number(now, "tts_cache_misses_total")) == (4, 2)
    assert number(now, "tts_cache_entries") == 2
    assert number(now, "tts_cache_bytes", place="memory") >= 2 * 4 * SAMPLE_RATE
    assert number(now, "tts_cache_bytes", place="disk") == 0


def test_the_process_is_described(serve: Callable[..., Harness]) -> None:
    now = scrape(serve().url)
    assert number(now, "process_resident_memory_bytes") > 10e6
    assert number(now, "process_cpu_seconds_total") > 0
    assert number(now, "process_start_time_seconds") > 1e9
    assert number(now, "process_open_fds") >= 3


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text"),
        ("text/html", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain; version=abc", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
def test_the_format_is_negotiated(
    serve: Callable[..., Harness], accept: str, content_type: str
) -> None:
    answer = get(serve().url, accept)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith(content_type)
    read = parse_openmetrics if "openmetrics" in content_type else parse
    assert "tts_ready" in {family.name for family in read(answer.text)}
