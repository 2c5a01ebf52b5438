"""Numbers for Prometheus at `/metrics`: what was asked, how fast it was spoken, and the state now.

Every label has a fixed set of values, whatever clients send. What only the worker knows is read
when it is asked for, so a scrape never shows an old state.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import psutil
from flask import Blueprint, Response, request
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from services.tts.delivery import ClientGoneError
from services.tts.engine import SAMPLE_RATE
from services.tts.link import LinkState
from services.tts.worker import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from prometheus_client.metrics_core import Metric

    from services.tts.cache import CacheStats
    from services.tts.delivery import Speech
    from services.tts.job import Piece
    from services.tts.link import LinkStatus
    from services.tts.worker import Worker

_METHODS: Final = ("GET", "HEAD", "OPTIONS", "POST")
_SECONDS: Final = (
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
)


class Metrics:
    """Counts for one server; any thread may use it."""

    def __init__(self, worker: Worker) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_State(worker))
        self._registry.register(_Process())
        self._requests = Counter(
            "tts_http_requests",
            "Requests by the path's template, method and status.",
            ("path", "method", "status"),
            registry=self._registry,
        )
        self._speech = Counter(
            "tts_speech",
            "Texts that were taken to be spoken, by how that ended.",
            ("outcome",),
            registry=self._registry,
        )
        for outcome in ("spoken", "failed", "given_up", "client_gone"):
            self._speech.labels(outcome)
        self._synthesis = Histogram(
            "tts_synthesis_seconds",
            "From a request to the last audio of its text.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._first_audio = Histogram(
            "tts_first_audio_seconds",
            "From a request to the audio of its first sentence.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._audio = Counter(
            "tts_audio_seconds",
            "Audio made, in seconds, by the engine that spoke.",
            ("engine",),
            registry=self._registry,
        )
        self._characters = Counter(
            "tts_characters",
            "Characters of text that were spoken to the end.",
            registry=self._registry,
        )

    def blueprint(self) -> Blueprint:
        """The route `/metrics`, and the count of every reply of the application."""
        routes = Blueprint("metrics", __name__)

        @routes.get("/metrics")
        def metrics() -> Response:
            body, content_type = self._exposition(request.headers.get("Accept", ""))
            return Response(body, content_type=content_type)

        @routes.after_app_request
        def count(response: Response) -> Response:
            rule = request.url_rule
            path = "other" if rule is None else rule.rule
            method = request.method if request.method in _METHODS else "other"
            self._requests.labels(path, method, str(response.status_code)).inc()
            return response

        return routes

    def counted(self, speech: Speech, *, since: float) -> Generator[Piece]:
        """The pieces of `speech`, counted; `since` is when its request came (`time.monotonic`)."""
        outcome = "client_gone"  # also what a generator that is closed halfway is left by
        first = True
        try:
            for piece in speech.pieces():
                if first:
                    first = False
                    self._first_audio.observe(time.monotonic() - since)
                self._audio.labels(piece.engine).inc(piece.samples.size / SAMPLE_RATE)
                yield piece
            outcome = "spoken"
            self._synthesis.observe(time.monotonic() - since)
            self._characters.inc(len(speech.text))
        except ClientGoneError:
            raise
        except UnavailableError:
            outcome = "given_up"
            raise
        except Exception:
            outcome = "failed"
            raise
        finally:
            self._speech.labels(outcome).inc()

    def _exposition(self, accept: str) -> tuple[bytes, str]:
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):
            # The library compares versions that are no numbers.
            encode, content_type = choose_encoder("")
        return encode(self._registry), content_type


class _State(Collector):
    """What the worker is like at the moment of the scrape."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def collect(self) -> Iterator[Metric]:
        now = self._worker.snapshot()
        yield GaugeMetricFamily("tts_ready", "1 when a text would be spoken now.", now.ready)
        yield GaugeMetricFamily("tts_busy", "1 while a text is being spoken.", now.busy)
        yield GaugeMetricFamily("tts_queued", "Texts that wait for the engine.", now.queued)
        yield InfoMetricFamily(
            "tts_engine",
            "Which engine speaks.",
            {"engine": now.engine, "device": now.device},
        )
        yield _states(now.links)
        yield from _cache(now.cache)
        yield GaugeMetricFamily(
            "tts_last_success_timestamp_seconds",
            "When an engine last spoke, in unix seconds; 0 for never.",
            now.last_success or 0.0,
        )


def _states(links: Sequence[LinkStatus]) -> Metric:
    family = GaugeMetricFamily(
        "tts_engine_state",
        "1 for the state that an engine is in, 0 for every other.",
        labels=("engine", "device", "state"),
    )
    # The device that was chosen may be the CPU, which is a link of its own too. A scrape must not
    # have a series twice: the better link counts.
    places = {(link.name, link.device): link for link in reversed(links)}
    for link in reversed(places.values()):
        for state in LinkState:
            family.add_metric((link.name, link.device, state), float(state is link.state))
    return family


def _cache(cache: CacheStats) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "tts_cache_hits", "Sentences that were found in the phrase cache.", cache.hits
    )
    yield CounterMetricFamily("tts_cache_misses", "Sentences that had to be spoken.", cache.misses)
    yield GaugeMetricFamily("tts_cache_entries", "Sentences in memory.", cache.entries)
    size = GaugeMetricFamily("tts_cache_bytes", "Size of the phrase cache.", labels=("place",))
    size.add_metric(("memory",), cache.memory_bytes)
    size.add_metric(("disk",), cache.disk_bytes)
    yield size


class _Process(Collector):
    """This process, under the names that Prometheus' own clients use.

    By psutil: the client library's own collector reads /proc, which macOS lacks.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()

    def collect(self) -> Iterator[Metric]:
        process = self._process
        with process.oneshot():
            cpu = process.cpu_times()
            memory = process.memory_info()
            yield CounterMetricFamily(
                "process_cpu_seconds", "User and system time used.", cpu.user + cpu.system
            )
            yield GaugeMetricFamily("process_resident_memory_bytes", "Memory in RAM.", memory.rss)
            yield GaugeMetricFamily(
                "process_virtual_memory_bytes", "Address space in use.", memory.vms
            )
            yield GaugeMetricFamily(
                "process_start_time_seconds",
                "When the process began, in unix seconds.",
                process.create_time(),
            )
            yield GaugeMetricFamily("process_open_fds", "Open file descriptors.", process.num_fds())
            yield GaugeMetricFamily("process_threads", "Threads.", process.num_threads())
