"""The supervisor's figures as Prometheus reads them (text format 0.0.4).

One function for `atlasctl metrics`, the file of `metrics:` and the dashboard. It runs in their
processes, never in the daemon. Labels are names of the configuration and words of ours, so there
is no end of series only where there is no end of services.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from supervisor.control.messages import Metrics, ProbeCounts, ServiceMetrics

STATES: Final = (
    "stopped",
    "blocked",
    "starting",
    "loading",
    "unready",
    "unreachable",
    "broken",
    "hung",
    "busy",
    "healthy",
    "running",
    "stopping",
    "backoff",
    "healing",
    "failed",
    "completed",
)
"""Each is a series that is 1 or 0, as Prometheus' own client does it."""


class Told(Protocol):
    """What is known of one target of notifications."""

    @property
    def delivered(self) -> int:
        """Happenings that it was told of."""

    @property
    def given_up(self) -> int:
        """Those that it could not be told of."""

    @property
    def dropped(self) -> int:
        """Those that found no room."""

    @property
    def letters(self) -> tuple[object, ...]:
        """What waits."""


def exposition(metrics: Metrics, told: Mapping[str, Told] | None = None) -> str:
    """Return the text for a collector; `told` says how notifications fare."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families((*_families(metrics), *_of_targets(told or {}))))
    return generate_latest(registry).decode()


class _Families:
    """What is to be collected, collected already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = tuple(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def _families(metrics: Metrics) -> Iterator[Metric]:
    daemon, services = metrics["daemon"], metrics["services"]
    yield _gauge("atlas_up", "Whether the supervisor runs and answers.", 1)
    info = {"version": daemon["version"]}
    yield InfoMetricFamily("atlas_supervisor", "The supervisor that runs.", info)
    text = "When the supervisor began, or was last upgraded, in Unix seconds."
    yield _gauge("atlas_supervisor_start_time_seconds", text, daemon["started_at"])
    text = "Upgrades of the supervisor in place."
    yield CounterMetricFamily("atlas_supervisor_upgrades", text, daemon["upgrades"])
    text = "Entries of the journal over the life of the state folder."
    yield CounterMetricFamily("atlas_journal_entries", text, daemon["journal_seq"])
    text = "Entries of the journal that could not be written."
    yield CounterMetricFamily("atlas_journal_lost_entries", text, daemon["journal_lost"])
    yield from _of_states(services)
    yield from _of_processes(services)
    yield from _counters(services)
    yield _of_probes(services)
    yield _latencies(services, metrics["latency_bounds"])


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def _of_states(services: list[ServiceMetrics]) -> Iterator[Metric]:
    state = GaugeMetricFamily(
        "atlas_service_state",
        "1 for the state that the service is in.",
        labels=["service", "state"],
    )
    ready = GaugeMetricFamily(
        "atlas_service_ready", "Whether the service does its work.", labels=["service"]
    )
    wanted = GaugeMetricFamily(
        "atlas_service_wanted", "Whether the service is meant to be up.", labels=["service"]
    )
    noticed = GaugeMetricFamily(
        "atlas_service_noticed", "Whether it works, but not as asked.", labels=["service"]
    )
    for service in services:
        name, now = service["name"], service["state"]
        for each in STATES if now in STATES else (*STATES, now):
            state.add_metric([name, each], each == now)
        ready.add_metric([name], service["ready"])
        wanted.add_metric([name], service["wanted"])
        noticed.add_metric([name], service["noticed"])
    yield from (state, ready, wanted, noticed)


def _of_processes(services: list[ServiceMetrics]) -> Iterator[Metric]:
    started = GaugeMetricFamily(
        "atlas_service_start_time_seconds",
        "When its present run began, in Unix seconds.",
        labels=["service"],
    )
    memory = GaugeMetricFamily(
        "atlas_service_resident_memory_bytes",
        "Resident memory of all its processes.",
        labels=["service"],
    )
    cpu = CounterMetricFamily(
        "atlas_service_cpu_seconds",
        "Processor time of its processes.",
        labels=["service"],
    )
    processes = GaugeMetricFamily("atlas_service_processes", "Its processes.", labels=["service"])
    for service in services:
        name = [service["name"]]
        if service["started_at"] is not None:
            started.add_metric(name, service["started_at"])
        if service["memory"] is not None:
            memory.add_metric(name, service["memory"])
        cpu.add_metric(name, service["cpu_seconds"])
        processes.add_metric(name, service["processes"])
    yield from (started, memory, cpu, processes)


def _counters(services: list[ServiceMetrics]) -> Iterator[Metric]:
    lost = CounterMetricFamily(
        "atlas_service_log_lost_bytes",
        "Bytes of its output that could not be written.",
        labels=["service"],
    )
    starts = CounterMetricFamily(
        "atlas_service_starts", "Processes started for it.", labels=["service"]
    )
    exits = CounterMetricFamily(
        "atlas_service_exits", "Ends of its runs, by how.", labels=["service", "kind"]
    )
    restarts = CounterMetricFamily(
        "atlas_service_restarts",
        "Restarts that nobody asked for, by cause.",
        labels=["service", "cause"],
    )
    transitions = CounterMetricFamily(
        "atlas_service_transitions",
        "Entries of the journal about it, by topic.",
        labels=["service", "topic"],
    )
    for service in services:
        name = service["name"]
        lost.add_metric([name], service["log_lost"])
        starts.add_metric([name], service["starts"])
        for kind in ("success", "error", "signal", "unknown"):
            exits.add_metric([name, kind], service["exits"].get(kind, 0))
        for cause in ("exit", "probe", "limit", "spawn", "remedy"):
            restarts.add_metric([name, cause], service["restarts"].get(cause, 0))
        for topic, count in service["transitions"].items():
            transitions.add_metric([name, topic], count)
    yield from (lost, starts, exits, restarts, transitions)


def _of_probes(services: list[ServiceMetrics]) -> Metric:
    probes = CounterMetricFamily(
        "atlas_probe_results",
        "Answers of probes; an error is the prober's own.",
        labels=["service", "probe", "result"],
    )
    for name, kind, counts in _each_probe(services):
        probes.add_metric([name, kind, "ok"], counts["ok"])
        probes.add_metric([name, kind, "failed"], counts["failed"])
        probes.add_metric([name, kind, "error"], counts["error"])
    return probes


def _latencies(services: list[ServiceMetrics], bounds: list[float]) -> Metric:
    latencies = HistogramMetricFamily(
        "atlas_probe_duration_seconds",
        "Time from the first system call of a probe to its verdict.",
        labels=["service", "probe"],
    )
    for name, kind, counts in _each_probe(services):
        buckets: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip(bounds, counts["buckets"], strict=True):
            total += count
            buckets.append((repr(bound), total))
        buckets.append(("+Inf", counts["ok"] + counts["failed"]))
        latencies.add_metric([name, kind], buckets, counts["seconds"])
    return latencies


def _each_probe(services: list[ServiceMetrics]) -> Iterator[tuple[str, str, ProbeCounts]]:
    for service in services:
        for kind, counts in service["probes"].items():
            yield service["name"], kind, counts


def _of_targets(told: Mapping[str, Told]) -> Iterator[Metric]:
    if not told:
        return
    notifications = CounterMetricFamily(
        "atlas_notifications",
        "Happenings that a target was, or was not, told of.",
        labels=["target", "outcome"],
    )
    waiting = GaugeMetricFamily(
        "atlas_notifications_waiting", "Notifications that wait to be sent.", labels=["target"]
    )
    for name, known in told.items():
        notifications.add_metric([name, "delivered"], known.delivered)
        notifications.add_metric([name, "given_up"], known.given_up)
        notifications.add_metric([name, "dropped"], known.dropped)
        waiting.add_metric([name], len(known.letters))
    yield from (notifications, waiting)
