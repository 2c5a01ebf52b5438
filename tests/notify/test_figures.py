"""What is counted, and how Prometheus reads it."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from supervisor.control.messages import Metrics
from supervisor.core.effects import Topic
from supervisor.core.events import Exit, ExitCode, ExitSignal, ExitUnknown, ProbeResult, RunId
from supervisor.core.fleet import assemble
from supervisor.core.spec import FleetSpec, ProbeKind, ServiceSpec
from supervisor.exposition import STATES, exposition
from supervisor.notify.errand import Remembered
from supervisor.notify.metrics_file import DOWN
from supervisor.posix.usage import Usage
from supervisor.tally import LATENCY_BOUNDS, Tally, service_metrics
from tests.notify.letters import letter

CRASH = [Topic.EXITED, Topic.RESTARTING]


@pytest.mark.parametrize(
    ("topics", "restarts"),
    [
        (CRASH, {"exit": 1}),
        ([Topic.SPAWN_FAILED, Topic.RESTARTING], {"spawn": 1}),
        ([Topic.UNREADY, Topic.STOPPING, *CRASH], {"probe": 1}),
        # An operator's restart is none of these, and is forgotten when the next run starts.
        ([Topic.STOPPING, Topic.EXITED, Topic.STARTED, *CRASH], {"exit": 1}),
        ([Topic.SPAWN_FAILED, Topic.RESTARTING, *CRASH], {"spawn": 1, "exit": 1}),
        ([Topic.EXITED, Topic.GAVE_UP], {}),
        ([Topic.EXITED, Topic.REMEDY, Topic.RESTARTING], {"remedy": 1}),
        ([Topic.REMEDY, Topic.STOPPING, *CRASH, *CRASH], {"remedy": 1, "exit": 1}),
        # Something was done beside the run, which went on and ended later.
        ([Topic.REMEDY, *CRASH], {"exit": 1}),
    ],
)
def test_causes_of_restarts(topics: list[Topic], restarts: Mapping[str, int]) -> None:
    tally = Tally()
    for topic in topics:
        tally.note("tts", topic)
    assert tally.of("tts").restarts == restarts
    assert sum(tally.of("tts").transitions.values()) == len(topics)


def test_what_uses_too_much_is_restarted_for_its_limit() -> None:
    tally = Tally()
    tally.exceeded("tts")
    for topic in (Topic.STOPPING, Topic.EXITED, Topic.RESTARTING):
        tally.note("tts", topic)
    assert tally.of("tts").restarts == {"limit": 1}


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        (ExitCode(0), "success"),
        (ExitCode(3), "error"),
        (ExitSignal(9), "signal"),
        (ExitUnknown(), "unknown"),
    ],
)
def test_kinds_of_exits(ending: Exit, kind: str) -> None:
    tally = Tally()
    tally.exited("tts", ending)
    assert tally.of("tts").exits == {kind: 1}


@given(st.lists(st.tuples(st.sampled_from([True, False, None]), st.floats(0, 100)), max_size=50))
def test_each_answer_is_in_one_bucket_unless_it_is_the_probers_own_error(
    answers: list[tuple[bool | None, float]],
) -> None:
    tally = Tally()
    for ok, latency in answers:
        tally.probed("tts", ProbeKind.LIVENESS, ProbeResult(ok, "x", latency))
    counts = tally.of("tts").probes[ProbeKind.LIVENESS].message() if answers else None
    if counts is None:
        return
    asked = [latency for ok, latency in answers if ok is not None]
    assert counts["ok"] + counts["failed"] == len(asked)
    assert counts["error"] == len(answers) - len(asked)
    for at, bound in enumerate(LATENCY_BOUNDS):
        assert sum(counts["buckets"][: at + 1]) == sum(latency <= bound for latency in asked)


def test_processor_time_never_falls() -> None:
    tally = Tally().of("tts")
    assert [tally.cpu(seen) for seen in (1.0, 1.5, 0.5, 0.75, 0.0)] == [1.0, 1.5, 1.5, 1.75, 1.75]


def test_a_service_that_left_is_forgotten() -> None:
    tally = Tally()
    tally.note("tts", Topic.STARTED)
    tally.forget("tts")
    assert tally.of("tts").transitions == {}


def metrics(*names: str) -> Metrics:
    """Return the figures of a fleet in which something has happened to each."""
    tally = Tally()
    fleet = assemble(
        FleetSpec("", "", "", "", tuple(ServiceSpec(name, ("x",), "/") for name in names)),
        0.0,
        None,
    )
    for name in names:
        tally.note(name, Topic.STARTED)
        tally.note(name, Topic.RESTARTING)
        tally.exited(name, ExitSignal(9))
        for latency in (0.004, 0.2, 45.0):
            tally.probed(name, ProbeKind.READINESS, ProbeResult(latency < 1, "x", latency))
        tally.probed(name, ProbeKind.READINESS, ProbeResult(None, "x", 0.0))
    used = Usage(cpu_seconds=1.5, rss=2048, processes=3)
    return {
        "daemon": {
            "version": "1.2",
            "started_at": 1000.0,
            "upgrades": 2,
            "journal_seq": 7,
            "journal_lost": 1,
        },
        "latency_bounds": list(LATENCY_BOUNDS),
        "services": [
            service_metrics(fleet, name, tally.of(name), used, 9, 1000.0) for name in names
        ],
    }


Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(found: Samples, name: str, **labels: str) -> float:
    return found[name, tuple(sorted(labels.items()))]


def test_what_prometheus_reads() -> None:
    told = {"phone": Remembered((letter(),), delivered=4, given_up=2, dropped=1)}
    found = samples(exposition(metrics("tts", "stt"), told))
    assert of(found, "atlas_up") == 1
    assert of(found, "atlas_supervisor_info", version="1.2") == 1
    assert of(found, "atlas_supervisor_start_time_seconds") == 1000.0
    assert of(found, "atlas_supervisor_upgrades_total") == 2
    assert of(found, "atlas_journal_lost_entries_total") == 1
    assert of(found, "atlas_service_starts_total", service="tts") == 1
    assert of(found, "atlas_service_restarts_total", service="tts", cause="exit") == 1
    assert of(found, "atlas_service_restarts_total", service="tts", cause="probe") == 0
    assert of(found, "atlas_service_exits_total", service="stt", kind="signal") == 1
    assert of(found, "atlas_service_transitions_total", service="stt", topic="started") == 1
    assert of(found, "atlas_service_resident_memory_bytes", service="tts") == 2048
    assert of(found, "atlas_service_cpu_seconds_total", service="tts") == 1.5
    assert of(found, "atlas_service_processes", service="tts") == 3
    assert of(found, "atlas_service_log_lost_bytes_total", service="tts") == 9
    probe = {"service": "tts", "probe": "readiness"}
    assert of(found, "atlas_probe_results_total", **probe, result="ok") == 2
    assert of(found, "atlas_probe_results_total", **probe, result="failed") == 1
    assert of(found, "atlas_probe_results_total", **probe, result="error") == 1
    assert of(found, "atlas_probe_duration_seconds_bucket", **probe, le="0.005") == 1
    assert of(found, "atlas_probe_duration_seconds_bucket", **probe, le="0.25") == 2
    assert of(found, "atlas_probe_duration_seconds_bucket", **probe, le="30.0") == 2
    assert of(found, "atlas_probe_duration_seconds_bucket", **probe, le="+Inf") == 3
    assert of(found, "atlas_probe_duration_seconds_count", **probe) == 3
    assert of(found, "atlas_probe_duration_seconds_sum", **probe) == pytest.approx(45.204)
    assert of(found, "atlas_notifications_total", target="phone", outcome="delivered") == 4
    assert of(found, "atlas_notifications_total", target="phone", outcome="given_up") == 2
    assert of(found, "atlas_notifications_waiting", target="phone") == 1
    # No process lives.
    assert ("atlas_service_start_time_seconds", (("service", "tts"),)) not in found


def test_each_service_is_in_one_state() -> None:
    found = metrics("tts", "stt")
    found["services"][0]["state"] = "healthy"
    found["services"][1]["state"] = "of a later release"
    read = samples(exposition(found))
    for service, state in (("tts", "healthy"), ("stt", "of a later release")):
        states = {
            dict(labels)["state"]: value
            for (name, labels), value in read.items()
            if name == "atlas_service_state" and dict(labels)["service"] == service
        }
        assert {each for each, value in states.items() if value} == {state}
        assert set(STATES) <= set(states)


def test_every_state_of_a_unit_is_known() -> None:
    unit = assemble(FleetSpec("", "", "", "", (ServiceSpec("a", ("x",), "/"),)), 0.0, None).units[
        "a"
    ]
    assert unit.state() in STATES
    assert RunId(0) == unit.last_run


@given(st.text(max_size=20))
def test_a_version_may_be_any_text(version: str) -> None:
    found = metrics()
    found["daemon"]["version"] = version
    read = samples(exposition(found))
    assert ("atlas_supervisor_info", (("version", version),)) in read


def test_the_last_words_of_the_file_are_read_too() -> None:
    assert samples(DOWN) == {("atlas_up", ()): 0.0}
