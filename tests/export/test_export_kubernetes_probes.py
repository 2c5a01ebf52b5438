"""Probes as Kubernetes gets them: by itself where it asks the same, otherwise by a command."""

from dataclasses import replace
from typing import Any

import pytest

from supervisor.core.spec import (
    ExecCheck,
    Expectations,
    HttpCheck,
    ProbeSpec,
    ServiceSpec,
    TcpCheck,
    Wav,
)
from supervisor.export.questions import Question, read
from tests.export.cluster import Document, container_of, documents, http, notes_of, one, validate
from tests.export.specimens import (
    HEALTH,
    LIVENESS,
    PLAIN,
    SERVER,
    SPEAKS,
    SPEECH,
    STARTUP,
)

pytestmark = pytest.mark.usefixtures("schemas_read_once")


@pytest.mark.parametrize(
    ("check", "field"),
    [
        (http(), "httpGet"),
        (http(expect=Expectations(status=((200, 399),))), "httpGet"),
        (http(expect=Expectations(status=((200, 299), (300, 399)))), "httpGet"),
        (http(headers=(("X-A", "b"),)), "httpGet"),
        (HttpCheck("::1", 3001), "httpGet"),
        (TcpCheck("127.0.0.1", 3001), "tcpSocket"),
        (ExecCheck(("x",)), "exec"),
        # What the kubelet cannot ask, or would judge otherwise.
        (http(method="HEAD"), "exec"),
        (http(method="POST", body=b"x"), "exec"),
        (http(expect=Expectations(status=((200, 204),))), "exec"),
        (http(expect=Expectations(json=(("a", 1),))), "exec"),
        (http(expect=Expectations(wav=Wav())), "exec"),
        (http(expect=Expectations(latency=0.5)), "exec"),
        (http(expect=Expectations(content_type="text/html")), "exec"),
        # Somebody else's port is asked from inside, where the address means the same.
        (HttpCheck("127.0.0.1", 9999), "exec"),
        (HttpCheck("10.0.0.1", 3001), "exec"),
        (TcpCheck("127.0.0.1", 9999), "exec"),
    ],
)
def test_how_it_is_asked(check: Any, field: str) -> None:
    service = replace(PLAIN, ports=(3001,), liveness=ProbeSpec(check, timeout=1.5))
    found = documents(service)
    probe = container_of(service)["livenessProbe"]
    assert probe.keys() & {"httpGet", "tcpSocket", "exec"} == {field}
    validate(found)
    if field == "exec" and not isinstance(check, ExecCheck):
        files = next(d for d in found if d["metadata"]["name"] == "plain-probes")["data"]
        name = probe["exec"]["command"][-1].removeprefix("/etc/atlas/probes/")
        (question,) = read(files[name])
        assert (question.check, question.timeout) == (check, 1.5)
        # Time for the interpreter on top: its own deadline is to come first.
        assert probe["timeoutSeconds"] == 4
    else:
        assert probe["timeoutSeconds"] == 2


def asked(service: ServiceSpec) -> tuple[Document, tuple[Question, ...]]:
    """Return the liveness probe of a service, and the questions behind it."""
    data = next(d for d in documents(service) if d["metadata"]["name"].endswith("-probes"))["data"]
    return container_of(service)["livenessProbe"], read(data["liveness.json"])


def test_a_transaction_shares_the_one_liveness_probe_that_there_may_be() -> None:
    probe, (cheap, costly) = asked(SPEECH)
    assert cheap == Question(HEALTH, 3.0)
    assert (costly.check, costly.timeout, costly.every) == (SPEAKS, 60.0, 300.0)
    assert costly.idle is not None
    assert costly.idle.check.busy == "busy"
    assert costly.idle.deadline == SPEECH.busy_deadline
    # As often as the cheap one, and with time for all three and the interpreter.
    assert (probe["periodSeconds"], probe["failureThreshold"]) == (5, 3)
    assert probe["timeoutSeconds"] == 3 + 60 + 2 + 2


def test_a_transaction_alone_is_looked_after_often_and_asked_seldom() -> None:
    service = replace(SPEECH, liveness=None, readiness=None)
    probe, (costly,) = asked(service)
    assert (costly.every, costly.idle) == (300.0, None)
    assert (probe["periodSeconds"], probe["failureThreshold"]) == (10, 2)
    line = "tts: probes.transaction.when: no probe says when it is busy, so it is asked then too"
    assert line in notes_of(service)
    assert line not in notes_of(SPEECH)
    always = replace(service, transaction=replace(STARTUP, every=2.0, failures=7))
    probe, (costly,) = asked(always)
    assert (probe["periodSeconds"], probe["failureThreshold"], costly.idle) == (2, 7, None)
    assert line not in notes_of(always)


def test_the_more_patient_of_two_decides_for_both() -> None:
    service = replace(SPEECH, liveness=replace(LIVENESS, failures=1))
    assert asked(service)[0]["failureThreshold"] == 2


def test_pace() -> None:
    container = container_of(SPEECH)
    startup, readiness = container["startupProbe"], container["readinessProbe"]
    assert (startup["periodSeconds"], startup["failureThreshold"]) == (1, 4)
    assert startup["timeoutSeconds"] == 32
    assert (readiness["periodSeconds"], readiness["failureThreshold"]) == (5, 3)
    endless = replace(SPEECH, startup=replace(STARTUP, budget=None))
    assert container_of(endless)["startupProbe"]["failureThreshold"] == 2**31 - 1
    assert container_of(SERVER)["readinessProbe"]["successThreshold"] == 2
    # The kubelet takes nothing but 1 here.
    twice = replace(PLAIN, ports=(1,), liveness=ProbeSpec(TcpCheck("127.0.0.1", 1), successes=2))
    assert "successThreshold" not in container_of(twice)["livenessProbe"]


def test_a_long_start_is_no_failed_rollout() -> None:
    assert "progressDeadlineSeconds" not in one(documents(SPEECH), "Deployment")["spec"]
    slow = replace(SPEECH, startup=replace(STARTUP, budget=1800.0))
    assert one(documents(slow), "Deployment")["spec"]["progressDeadlineSeconds"] > 1800


def test_a_start_has_its_budget_whether_nobody_answers_or_nobody_is_there() -> None:
    data = next(d for d in documents(SPEECH) if d["metadata"]["name"] == "tts-probes")["data"]
    (question,) = read(data["startup.json"])
    # It asks every 250 ms for 30 s, and four failures of that are the 120 s.
    assert (question.again, question.timeout) == (0.25, 30.0)
    # What the kubelet asks itself fails at once, or only after its timeout.
    itself = replace(PLAIN, ports=(3001,), startup=ProbeSpec(http(), 0.5, 10.0, budget=180.0))
    probe = container_of(itself)["startupProbe"]
    assert (probe["periodSeconds"], probe["failureThreshold"]) == (1, 180)
    (line,) = [line for line in notes_of(itself) if "probes.startup.for" in line]
    assert line.endswith("a start that answers nothing has 1800 s")
    quick = replace(itself, startup=ProbeSpec(http(), 1.0, 2.0, budget=60.0))
    assert not any("probes.startup.for" in line for line in notes_of(quick))


@pytest.mark.parametrize("check", [HttpCheck("127.0.0.1", 80), TcpCheck("::1", 80)])
def test_a_probe_of_somebody_else_is_left_out_and_told(check: Any) -> None:
    # In a pod nobody is at that address: the probe would fail for ever.
    service = replace(SPEECH, liveness=ProbeSpec(check), transaction=None)
    other = replace(SERVER, ports=(80,))
    assert "livenessProbe" not in container_of(service, other)
    assert "livenessProbe" in container_of(service)
    line = "left out: it asks port 80, which is api_server and not in this pod"
    assert f"tts: probes.liveness: {line}" in notes_of(service, other)
