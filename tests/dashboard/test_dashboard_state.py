"""What pages are told: all of it first, then what has changed, with one look for all of them."""

import json
import resource
import threading
from pathlib import Path

import pytest

from supervisor.control.client import ControlError
from supervisor.dashboard.samples import FAILED, KEPT, SPACING, Sample, Samples
from supervisor.dashboard.watch import EVENTS, FRESH, Watch
from supervisor.journal import NAME, Entry
from tests.cli.fleets import chronicle, down, service
from tests.dashboard.conftest import DEADLINE, NOBODY, REFUSES, FakeDaemon, Served


class Clocks:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return 1_800_000_000.0 + self.now


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def daemon() -> FakeDaemon:
    return FakeDaemon([service("tts"), service("web", depends_on=["tts"])])


@pytest.fixture
def watch(tmp_path: Path, daemon: FakeDaemon, clocks: Clocks) -> Watch:
    return Watch(str(tmp_path), daemon, clocks.monotonic, clocks.wall)


def later(daemon: FakeDaemon, clocks: Clocks, seconds: float = 1.0) -> None:
    """Let time pass: everything is older, and told a little inexactly."""
    clocks.now += seconds
    for each in daemon.services:
        each["since"] += seconds
        if each["uptime"] is not None:
            each["uptime"] += seconds * 1.03
        if each["probe"] is not None:
            each["probe"]["age"] += seconds


def write(folder: Path, entries: list[Entry]) -> None:
    text = "".join(json.dumps(entry.message()) + "\n" for entry in entries)
    (folder / NAME).write_text(text)


def entries(count: int, first: int = 1) -> list[Entry]:
    lines = [(1.8e9 + n, "tts", "exited", f"exited with code {n}", n) for n in range(count)]
    return chronicle(*lines, first=first)


def names(changes: object) -> list[str]:
    assert isinstance(changes, dict)
    return [each["name"] for each in changes["services"]]


def test_a_page_gets_all_of_it_and_then_what_has_changed(
    watch: Watch, daemon: FakeDaemon, clocks: Clocks
) -> None:
    watch.look()
    first = watch.changes("", 0, 0, None, 0)
    assert first["order"] == ["tts", "web"]
    assert names(first) == ["tts", "web"]
    later(daemon, clocks)
    watch.look()
    second = watch.changes(first["epoch"], first["revision"], 0, None, 0)
    assert (second["order"], second["services"]) == (None, [])
    later(daemon, clocks)
    daemon.services[1] = down("web", state="backoff", goal="up", reason="exited with code 1")
    watch.look()
    third = watch.changes(first["epoch"], second["revision"], 0, None, 0)
    assert names(third) == ["web"]
    assert third["services"][0]["state"] == "backoff"
    # A page that has missed one gets what it has missed.
    assert names(watch.changes(first["epoch"], first["revision"], 0, None, 0)) == ["web"]


def test_what_comes_and_goes_is_told_by_the_order(
    watch: Watch, daemon: FakeDaemon, clocks: Clocks
) -> None:
    watch.look()
    first = watch.changes("", 0, 0, None, 0)
    daemon.services = [service("stt"), daemon.services[0]]
    later(daemon, clocks)
    watch.look()
    second = watch.changes(first["epoch"], first["revision"], 0, None, 0)
    assert second["order"] == ["stt", "tts"]
    assert names(second) == ["stt"]
    assert watch.log_of("web") is None
    assert watch.log_of("stt") == "/srv/atlas/logs/stt.log"


def test_a_page_of_an_earlier_dashboard_gets_all_of_it(watch: Watch) -> None:
    watch.look()
    reply = watch.changes("another", 10**6, 10**6, None, 10**6)
    assert names(reply) == ["tts", "web"]
    assert reply["epoch"] == watch.epoch


def test_any_number_of_pages_costs_one_look(
    watch: Watch, daemon: FakeDaemon, clocks: Clocks
) -> None:
    for _ in range(50):
        watch.look()
    assert daemon.looks == 1
    clocks.now += FRESH + 0.01
    watch.look()
    watch.look()
    assert daemon.looks == 2
    watch.expire()
    watch.look()
    assert daemon.looks == 3


def test_while_the_daemon_is_slow_others_get_what_is_known(
    watch: Watch, daemon: FakeDaemon, clocks: Clocks
) -> None:
    watch.look()
    clocks.now += 1.0
    daemon.entered.clear()
    daemon.gate = threading.Event()
    slow = threading.Thread(target=watch.look)
    slow.start()
    try:
        assert daemon.entered.wait(DEADLINE)
        watch.look()  # would never return if it waited
        assert names(watch.changes("", 0, 0, None, 0)) == ["tts", "web"]
    finally:
        daemon.gate.set()
        slow.join(DEADLINE)
    assert daemon.looks == 2


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (NOBODY, "no supervisor runs"),
        (ControlError(0, "the supervisor did not answer within 4 s"), "did not answer"),
    ],
)
def test_without_a_daemon_the_last_that_was_known_stays(
    watch: Watch, daemon: FakeDaemon, clocks: Clocks, trouble: Exception, said: str
) -> None:
    watch.look()
    daemon.trouble = trouble
    clocks.now += 1.0
    watch.look()
    reply = watch.changes("", 0, 0, None, 0)
    assert reply["supervisor"]["answers"] is False
    assert said in reply["supervisor"]["trouble"]
    assert reply["supervisor"]["pid"] == 41
    assert names(reply) == ["tts", "web"]
    daemon.trouble = None
    clocks.now += 1.0
    watch.look()
    assert watch.changes("", 0, 0, None, 0)["supervisor"]["answers"] is True


def test_events_come_once_and_in_order(
    watch: Watch, daemon: FakeDaemon, clocks: Clocks, tmp_path: Path
) -> None:
    write(tmp_path, entries(3))
    daemon.journal_seq = 3
    watch.look()
    first = watch.changes("", 0, 0, None, 0)
    assert [event["seq"] for event in first["events"]] == [1, 2, 3]
    write(tmp_path, entries(5))
    daemon.journal_seq = 5
    clocks.now += 1.0
    watch.look()
    second = watch.changes(first["epoch"], first["revision"], 3, None, 0)
    assert [event["seq"] for event in second["events"]] == [4, 5]
    assert second["events"][0]["text"] == "exited with code 3"


def test_events_are_told_where_no_daemon_runs(
    watch: Watch, daemon: FakeDaemon, tmp_path: Path
) -> None:
    write(tmp_path, entries(3))
    daemon.trouble = NOBODY
    watch.look()
    assert len(watch.changes("", 0, 0, None, 0)["events"]) == 3


def test_events_that_could_not_be_read_are_told_later(
    watch: Watch, daemon: FakeDaemon, clocks: Clocks, tmp_path: Path
) -> None:
    write(tmp_path, entries(3))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        watch.look()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert watch.changes("", 0, 0, None, 0)["events"] == []
    clocks.now += 1.0
    watch.look()
    assert len(watch.changes("", 0, 0, None, 0)["events"]) == 3


def test_of_a_long_past_the_end_is_kept(watch: Watch, daemon: FakeDaemon, tmp_path: Path) -> None:
    write(tmp_path, entries(EVENTS + 700))
    daemon.journal_seq = EVENTS + 700
    watch.look()
    events = watch.changes("", 0, 0, None, 0)["events"]
    assert len(events) == EVENTS
    assert events[-1]["seq"] == EVENTS + 700


def test_a_state_folder_that_begins_anew_is_another_epoch(
    watch: Watch, daemon: FakeDaemon, clocks: Clocks, tmp_path: Path
) -> None:
    write(tmp_path, entries(30))
    daemon.journal_seq = 30
    watch.look()
    epoch = watch.epoch
    write(tmp_path, entries(2))
    daemon.journal_seq = 2
    clocks.now += 1.0
    watch.look()
    reply = watch.changes(epoch, 10, 30, None, 0)
    assert reply["epoch"] != epoch
    assert [event["seq"] for event in reply["events"]] == [1, 2]
    assert names(reply) == ["tts", "web"]


def test_samples_are_taken_while_somebody_looks(
    watch: Watch, daemon: FakeDaemon, clocks: Clocks
) -> None:
    for _ in range(5):
        watch.look()
        clocks.now += SPACING
    assert daemon.services[1]["probe"] is not None
    daemon.services[1]["probe"]["ok"] = False
    watch.look()
    series = watch.changes("", 0, 0, "web", 0)["series"]
    assert series is not None
    assert series["count"] == 6
    assert series["cpu"] == [1.2] * 6 or series["cpu"] == [1.25] * 6
    assert series["latency"][-2:] == [0.0034, FAILED]
    assert [b - a for a, b in zip(series["at"], series["at"][1:], strict=False)] == [SPACING] * 5
    more = watch.changes("", 0, 0, "web", 0)["series"]
    assert more == series
    later = watch.changes(watch.epoch, 0, 0, "web", 4)["series"]
    assert later is not None
    assert later["at"] == series["at"][4:]
    assert watch.changes("", 0, 0, "nobody", 0)["series"] == {
        **series,
        "cpu": [None] * 6,
        "memory": [None] * 6,
        "latency": [None] * 6,
    }


def test_the_ring_of_samples_turns() -> None:
    samples = Samples()
    for number in range(KEPT + 10):
        sampled: dict[str, Sample] = {"a": (float(number), None, 1e-4)}
        if number < KEPT:
            sampled["b"] = (0.0, None, None)
        samples.add(float(number), sampled)
    series = samples.series("a", 0)
    assert series["count"] == KEPT + 10
    assert series["cpu"] == [float(n) for n in range(10, KEPT + 10)]
    assert series["at"] == series["cpu"]
    assert set(series["memory"]) == {None}
    assert series["latency"][0] == pytest.approx(1e-4)
    assert samples.series("a", KEPT + 8)["cpu"] == [KEPT + 8.0, KEPT + 9.0]
    assert set(samples.series("b", 0)["cpu"]) == {None}


# Over HTTP -------------------------------------------------------------------------------------


def test_the_state_has_no_more_than_it_says(served: Served) -> None:
    served.daemon.services = [service("tts")]
    state = served.state()
    assert set(state["services"][0]) == set(served.watch.changes("", 0, 0, None, 0)["services"][0])
    # No command line, no environment, no path of a log.
    assert not {"command", "env", "log"} & set(state["services"][0])


@pytest.mark.parametrize("query", ["after=-1", "after=x", "event=1e9", "sample=" + "9" * 99])
def test_a_number_that_is_none_is_refused(served: Served, query: str) -> None:
    assert served.ask(f"/api/state?{query}").status == 400


def test_too_many_parameters_are_refused(served: Served) -> None:
    query = "&".join(f"p{n}=1" for n in range(100))
    assert served.ask(f"/api/state?{query}").status == 400


@pytest.mark.parametrize(
    ("trouble", "status", "said"),
    [
        (NOBODY, 503, "no supervisor runs"),
        (REFUSES, 409, "cannot both bind"),
        (ControlError(404, "no service is called x"), 404, "no service"),
        (ControlError(500, "a fault"), 502, "a fault"),
        (ControlError(0, "the supervisor did not answer within 4 s"), 502, "did not answer"),
    ],
)
def test_what_the_daemon_says_to_a_command_is_told(
    served: Served, trouble: Exception, status: int, said: str
) -> None:
    served.daemon.trouble = trouble
    reply = served.command("restart", {"services": ["tts"], "rolling": True})
    assert reply.status == status
    assert said in reply.json["error"]
    asked = ("/v1/restart", {"services": ["tts"], "rolling": True})
    assert served.daemon.commands == [asked]


def test_after_a_command_the_next_look_is_a_new_one(served: Served) -> None:
    served.ask("/api/state")
    served.ask("/api/state")
    looks = served.daemon.looks
    assert served.command("stop", {"services": ["tts"]}).status == 202
    served.ask("/api/state")
    assert served.daemon.looks == looks + 1


def test_a_look_that_was_under_way_says_nothing_of_a_command(served: Served) -> None:
    # It has seen a service as it was before; a page that took it for later would say "done".
    served.daemon.services = [service("tts")]
    served.state()
    served.daemon.entered.clear()
    served.daemon.gate = threading.Event()
    looks: list[int] = []
    page = threading.Thread(target=lambda: looks.append(served.state()["look"]))
    page.start()
    try:
        assert served.daemon.entered.wait(DEADLINE)
        accepted = served.command("restart", {"services": ["tts"]}).json["look"]
    finally:
        served.daemon.gate.set()
        page.join(DEADLINE)
    assert looks
    assert looks[0] <= accepted
    assert served.ask("/api/state").json["look"] > accepted


def test_a_fault_is_told_without_its_insides(
    served: Served, capfd: pytest.CaptureFixture[str]
) -> None:
    served.daemon.trouble = RuntimeError("secret of the daemon")
    reply = served.ask("/api/state")
    assert reply.status == 500
    assert b"secret" not in reply.body
    assert "secret of the daemon" in capfd.readouterr().err
