"""What Kubernetes gets: as a whole, by its own published schemas, and where it could surprise."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.core.spec import (
    Backoff,
    Condition,
    Dependency,
    ExecCheck,
    Expectations,
    GiveUp,
    HttpCheck,
    Limits,
    ProbeSpec,
    RestartSpec,
    ServiceSpec,
    SocketSpec,
    StopSpec,
    TcpCheck,
    Wav,
)
from supervisor.export.exported import ExportError
from supervisor.export.kubernetes import render
from supervisor.export.kubernetes_pod import Cluster
from supervisor.export.questions import Question, read
from tests.export.conftest import Golden
from tests.export.specimens import (
    EVERYTHING,
    HEALTH,
    LIVENESS,
    PLAIN,
    REQUEST,
    SERVER,
    SPEAKS,
    SPEECH,
    STARTUP,
    TASK,
    request,
)

kubernetes_validate = pytest.importorskip("kubernetes_validate")

RELEASES = ("1.34", "1.37")
"""The first in which all fields that are used are stable, and the newest that is known here."""
CLUSTER = Cluster(images={"": "example/atlas:1"}, namespace="voices", models="models")

Document = dict[str, Any]


def documents(*services: ServiceSpec, cluster: Cluster = CLUSTER, **more: object) -> list[Document]:
    (file,) = render(request(*services, **more), cluster).files
    return list(yaml.safe_load_all(file.text))


def one(found: list[Document], kind: str) -> Document:
    (document,) = [each for each in found if each["kind"] == kind]
    return document


def pod_of(*services: ServiceSpec, **more: Any) -> Document:
    found = documents(*services, **more)
    owner = next(each for each in found if each["kind"] in ("Deployment", "Job"))
    pod: Document = owner["spec"]["template"]["spec"]
    return pod


def container_of(*services: ServiceSpec, **more: Any) -> Document:
    (container,) = pod_of(*services, **more)["containers"]
    return dict(container)


def notes_of(*services: ServiceSpec, cluster: Cluster = CLUSTER) -> list[str]:
    return [note.line() for note in render(request(*services), cluster).notes]


@pytest.fixture(autouse=True, scope="module")
def schemas_read_once() -> Iterator[None]:
    """Each validation would read 2 MB of JSON anew."""
    with pytest.MonkeyPatch.context() as patch:
        reading = kubernetes_validate.utils.schema_contents
        patch.setattr(kubernetes_validate.utils, "schema_contents", cache(reading))
        yield


def validate(found: list[Document], *releases: str) -> None:
    for document in found:
        for release in releases or RELEASES:
            kubernetes_validate.validate(document, release, strict=True)


# The whole -----------------------------------------------------------------------------------


def test_the_golden_file(golden: Golden) -> None:
    exported = render(REQUEST, CLUSTER)
    golden(exported)
    validate(list(yaml.safe_load_all(exported.files[0].text)))


def test_the_schemas_are_of_a_current_kubernetes_and_strict() -> None:
    (deployment,) = [each for each in documents(PLAIN) if each["kind"] == "Deployment"]
    deployment["spec"]["template"]["spec"]["enableServiceLink"] = False
    with pytest.raises(kubernetes_validate.ValidationError, match="enableServiceLink"):
        kubernetes_validate.validate(deployment, RELEASES[-1], strict=True)


def test_kinds() -> None:
    assert [each["kind"] for each in documents(SPEECH)] == [
        *("ConfigMap", "Secret", "ConfigMap", "Deployment", "Service"),
        *("HorizontalPodAutoscaler", "PodDisruptionBudget"),
    ]
    assert [each["kind"] for each in documents(PLAIN)] == ["ConfigMap", "Deployment"]
    assert [each["kind"] for each in documents(TASK)] == ["ConfigMap", "Job"]
    for each in documents(SPEECH, SERVER, TASK):
        assert each["metadata"]["namespace"] == "voices"
        validate([each])
    assert not any("namespace" in d["metadata"] for d in documents(SPEECH, cluster=Cluster()))


def test_every_reference_leads_somewhere() -> None:
    found = documents(SPEECH, SERVER, replace(EVERYTHING, name="every"), TASK)
    there = {(each["kind"], each["metadata"]["name"]) for each in found}
    assert len(there) == len(found)
    for owner in (each for each in found if "template" in each.get("spec", {})):
        pod = owner["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        for source in container["envFrom"]:
            (kind, reference), *_ = source.items()
            kinds = {"configMapRef": "ConfigMap", "secretRef": "Secret"}
            assert (kinds[kind], reference["name"]) in there
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes.keys()
        if "probes" in volumes:
            assert ("ConfigMap", volumes["probes"]["configMap"]["name"]) in there
        labels = owner["spec"]["template"]["metadata"]["labels"]
        if owner["kind"] == "Deployment":
            assert owner["spec"]["selector"]["matchLabels"] == labels
    for service in (each for each in found if each["kind"] == "Service"):
        name = service["metadata"]["name"]
        assert ("Deployment", name) in there
        assert service["spec"]["selector"]["app.kubernetes.io/name"] == name


# The pod -------------------------------------------------------------------------------------


def test_a_service_called_tts_gets_no_variable_tts_port_from_the_cluster() -> None:
    # It would be tcp://10.0.0.1:3001, and the server reads its port from TTS_PORT.
    assert pod_of(SPEECH)["enableServiceLinks"] is False


def test_it_runs_with_no_right_that_it_does_not_need() -> None:
    pod = pod_of(SPEECH)
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    mounted = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert "readOnly" not in mounted["/tmp"]
    assert "readOnly" not in mounted["/app/.cache/tts"]
    assert mounted["/etc/atlas/probes"]["readOnly"] is True


def test_sockets_are_opened_by_a_program_that_becomes_the_service() -> None:
    assert container_of(SPEECH)["command"] == [
        *("python", "-m", "supervisor.export.listen", "http=3001", "--"),
        *SPEECH.command,
    ]


@pytest.mark.parametrize(
    ("words", "there"),
    [
        (["--host", "127.0.0.1"], ["--host", "0.0.0.0"]),
        (["--bind", "127.0.0.1:80"], ["--bind", "0.0.0.0:80"]),
        (["--http-listen=localhost:80"], ["--http-listen=0.0.0.0:80"]),
        (["--host", "::1"], ["--host", "0.0.0.0"]),
        (["--addr", "[::1]:80"], ["--addr", "0.0.0.0:80"]),
        (["--host", "10.0.0.1"], ["--host", "10.0.0.1"]),
        (["--db", "127.0.0.1"], ["--db", "127.0.0.1"]),
        (["--host", "127.0.0.1x"], ["--host", "127.0.0.1x"]),
        (["--ghost", "127.0.0.1"], ["--ghost", "127.0.0.1"]),
    ],
)
def test_a_port_of_its_own_is_opened_to_the_neighbours(words: list[str], there: list[str]) -> None:
    service = replace(PLAIN, command=("serve", *words), ports=(80,))
    assert container_of(service)["command"] == ["serve", *there]
    (note,) = [line for line in notes_of(service) if line.startswith("plain: ports: ")]
    assert ("listens on 0.0.0.0" in note) == (words != there)


def test_paths_below_root_are_below_the_folder_of_the_image() -> None:
    service = replace(
        PLAIN,
        cwd="/srv/atlas/sub",
        command=("/srv/atlas/bin/x", "/srv/atlas", "/srv/atlasx/y", "a/srv/atlas"),
        env={"MODELS": "/srv/atlas/models", "CACHE_DIR": "c/d", "LOG_CACHE": "/tmp/x"},
    )
    found = documents(service)
    container = container_of(service)
    assert container["command"] == ["/app/bin/x", "/app", "/srv/atlasx/y", "a/srv/atlas"]
    assert container["workingDir"] == "/app/sub"
    assert one(found, "ConfigMap")["data"]["MODELS"] == "/app/models"
    paths = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert paths == ["/tmp", "/app/sub/c/d"]


def test_a_folder_outside_root_is_told() -> None:
    service = replace(PLAIN, cwd="/elsewhere")
    assert "workingDir" not in container_of(service)
    assert "plain: cwd: is not below root; the image's own is used" in notes_of(service)


def test_no_dollar_begins_a_variable() -> None:
    service = replace(
        PLAIN,
        command=("x", "$(A)", "$$", "$"),
        liveness=ProbeSpec(ExecCheck(("y", "$(B)"))),
        env={"C": "$(D)"},
    )
    found = documents(service)
    container = container_of(service)
    assert container["command"] == ["x", "$$(A)", "$$$$", "$$"]
    assert container["livenessProbe"]["exec"]["command"] == ["y", "$$(B)"]
    # envFrom expands nothing.
    assert one(found, "ConfigMap")["data"]["C"] == "$(D)"


def test_memory_is_asked_for_and_kept_to() -> None:
    resources = container_of(replace(PLAIN, limits=Limits(memory=2**30)))["resources"]
    assert resources == {
        "requests": {"cpu": "500m", "memory": "1073741824"},
        "limits": {"memory": "1073741824"},
    }
    assert container_of(PLAIN)["resources"] == {"requests": {"cpu": "500m"}}


@pytest.mark.parametrize(("seconds", "grace"), [(0.0, 1), (2.5, 3), (10.0, 10)])
def test_a_stop_has_its_time(seconds: float, grace: int) -> None:
    service = replace(PLAIN, stop=StopSpec(timeout=seconds))
    assert pod_of(service)["terminationGracePeriodSeconds"] == grace
    # Before SIGTERM, which is time out of the same grace: until nobody sends requests any more.
    pod = pod_of(replace(service, ports=(80,)))
    (container,) = pod["containers"]
    leave = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] == max(1, grace if seconds else 0) + leave or (
        pod["terminationGracePeriodSeconds"] == leave
    )


def test_models_come_from_a_claim_or_from_the_node() -> None:
    assert {"name": "models", "mountPath": "/app/models", "readOnly": True} in container_of(
        SPEECH, fleet=replace(REQUEST.fleet, services=(SPEECH,))
    )["volumeMounts"]
    for models, source in (
        ("voices", {"persistentVolumeClaim": {"claimName": "voices", "readOnly": True}}),
        ("/srv/m", {"hostPath": {"path": "/srv/m", "type": "Directory"}}),
    ):
        cluster = replace(CLUSTER, models=models)
        pod = pod_of(PLAIN, fleet=REQUEST.fleet, cluster=cluster)
        assert {"name": "models", **source} in pod["volumes"]
    assert not any(v["name"] == "models" for v in pod_of(PLAIN, fleet=REQUEST.fleet,
                                                         cluster=Cluster())["volumes"])  # fmt: skip


def test_env_files_are_secrets_and_env_wins_over_them() -> None:
    found = documents(SERVER, files=REQUEST.files, with_secrets=True)
    assert one(found, "Secret")["stringData"] == {"DB_URL": "postgres://db/x"}
    settings_ = next(d for d in found if d["metadata"]["name"] == "api-server-env")["data"]
    assert settings_["TEXT"] == "two\nlines"
    hidden = documents(SERVER, files=REQUEST.files)
    assert one(hidden, "Secret")["stringData"] == {"DB_URL": "REPLACE_ME"}


def test_a_change_of_a_variable_rolls_the_pods() -> None:
    def checksum(service: ServiceSpec, *, with_secrets: bool = False) -> str:
        found = documents(service, with_secrets=with_secrets)
        template = one(found, "Deployment")["spec"]["template"]
        return str(template["metadata"]["annotations"]["atlasctl/config"])

    changed = replace(SPEECH, env={**SPEECH.env, "MODE": "z"})
    assert checksum(SPEECH) == checksum(SPEECH)
    assert checksum(SPEECH) != checksum(changed)
    assert checksum(SPEECH) != checksum(SPEECH, with_secrets=True)


# Probes --------------------------------------------------------------------------------------


def http(**more: Any) -> HttpCheck:
    return HttpCheck("127.0.0.1", 3001, "/health", **more)


@pytest.mark.parametrize(
    ("check", "field"),
    [
        (http(), "httpGet"),
        (http(expect=Expectations(status=((200, 399),))), "httpGet"),
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
    assert (startup["periodSeconds"], startup["failureThreshold"]) == (1, 120)
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


# Copies --------------------------------------------------------------------------------------


def test_only_what_can_run_beside_itself_has_copies() -> None:
    found = documents(SPEECH)
    deployment, scaler = one(found, "Deployment"), one(found, "HorizontalPodAutoscaler")
    # With both, each `apply` would set the number back.
    assert "replicas" not in deployment["spec"]
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (1, 3)
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert "requests" in container_of(SPEECH)["resources"]  # of which 70 % is a share

    alone = documents(replace(SERVER, restart=RestartSpec()))
    assert one(alone, "Deployment")["spec"]["replicas"] == 1
    assert one(alone, "Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    assert not [d for d in alone if d["kind"] == "HorizontalPodAutoscaler"]
    assert any("replicas: runs as one copy" in line for line in notes_of(SERVER))


def test_a_fixed_number_needs_no_scaler() -> None:
    found = documents(SPEECH, cluster=Cluster(least=2, most=2))
    assert one(found, "Deployment")["spec"]["replicas"] == 2
    assert "HorizontalPodAutoscaler" not in [each["kind"] for each in found]
    assert "PodDisruptionBudget" in [each["kind"] for each in found]


@pytest.mark.parametrize(
    ("restart", "ports", "kind", "tries"),
    [
        (RestartSpec("never"), (), "Job", 0),
        (RestartSpec("never"), (80,), "Job", 0),
        (RestartSpec("on-failure", give_up=GiveUp(4, 60.0)), (), "Job", 4),
        (RestartSpec("on-failure", give_up=None), (), "Job", 2**31 - 1),
        (RestartSpec("on-failure"), (80,), "Deployment", None),
        (RestartSpec("always"), (), "Deployment", None),
    ],
)
def test_what_may_end_is_a_job(
    restart: RestartSpec, ports: tuple[int, ...], kind: str, tries: int | None
) -> None:
    service = replace(PLAIN, restart=restart, ports=ports, liveness=ProbeSpec(ExecCheck(("x",))))
    found = documents(service)
    assert [d["kind"] for d in found if d["kind"] in ("Job", "Deployment")] == [kind]
    validate(found)
    told = [line for line in notes_of(service) if line.startswith("plain: restart.policy: ")]
    assert bool(told) == (kind == "Deployment" and restart.policy != "always")
    if kind == "Job":
        assert one(found, "Job")["spec"]["backoffLimit"] == tries
        assert "livenessProbe" not in container_of(service)
        assert "plain: probes: a Job is asked nothing: its end is its result" in notes_of(service)
        assert ("plain: ports: no Service leads to a Job" in notes_of(service)) == bool(ports)
        assert pod_of(service)["restartPolicy"] in ("Never", "OnFailure")


# Names ---------------------------------------------------------------------------------------


def test_names_are_labels_that_begin_with_a_letter() -> None:
    for name in ("a", "a_b", "9to5", "a-", "x" * 63, "a_" * 31):
        found = documents(replace(PLAIN, name=name, ports=(80,)))
        validate(found)
        for document in found:
            label = document["metadata"]["name"]
            assert len(label) <= 63
            assert label[0].isalpha()
            assert label[-1].isalnum()
            assert "_" not in label


def test_two_services_of_one_name_are_an_error() -> None:
    with pytest.raises(ExportError, match="a_b and a-b would both be called a-b"):
        documents(replace(PLAIN, name="a_b"), replace(PLAIN, name="a-b"))


def test_ports_are_named_after_their_sockets_where_that_is_a_name() -> None:
    sockets = tuple(
        SocketSpec(name, (("127.0.0.1", port),))
        for port, name in enumerate(("http", "123", "a_b", "x" * 16, "a--b"), start=1)
    )
    found = documents(replace(PLAIN, sockets=sockets))
    validate(found)
    assert [port["name"] for port in one(found, "Service")["spec"]["ports"]] == [
        *("http", "port-2", "a-b", "port-4", "port-5")
    ]


def test_others_are_not_at_this_address() -> None:
    service = replace(SERVER, depends_on=(Dependency("tts", Condition.STARTED),))
    lines = notes_of(SPEECH, service)
    assert "api_server: 127.0.0.1:3001: is the pod itself; tts is tts:3001" in lines
    assert any(line.startswith("api_server: depends_on tts: is not waited for") for line in lines)


# Anything ------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
NAME = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_]{0,9}\Z")
PROBE = st.builds(
    ProbeSpec,
    st.one_of(
        st.builds(ExecCheck, st.lists(TEXT, min_size=1, max_size=3).map(tuple)),
        st.builds(TcpCheck, st.just("127.0.0.1"), st.integers(1, 65535)),
        st.builds(http, body=st.none() | st.binary(max_size=20)),
    ),
    every=st.floats(0.01, 1000),
    timeout=st.floats(0.01, 1000),
    failures=st.integers(1, 10_000),
    successes=st.integers(1, 10_000),
    idle=st.booleans(),
    budget=st.none() | st.floats(0.1, 86400),
)
SERVICE = st.builds(
    ServiceSpec,
    name=st.from_regex(r"\A[a-z0-9][a-z0-9_-]{0,62}\Z"),
    command=st.lists(TEXT, max_size=4).map(lambda words: ("x", *words)),
    cwd=st.sampled_from(["/srv/atlas", "/srv/atlas/a b", "/other"]),
    env=st.dictionaries(NAME, TEXT, max_size=3),
    ports=st.lists(st.integers(1, 65535), max_size=3, unique=True).map(tuple),
    startup=st.none() | PROBE,
    readiness=st.none() | PROBE,
    liveness=st.none() | PROBE,
    transaction=st.none() | PROBE,
    restart=st.builds(
        RestartSpec,
        st.sampled_from(["always", "on-failure", "never"]),
        st.builds(Backoff),
        st.none() | st.builds(GiveUp, st.integers(1, 10_000)),
    ),
    stop=st.builds(StopSpec, st.sampled_from([2, 15]), st.floats(0, 86400)),
    limits=st.builds(Limits, st.none() | st.integers(2**20, 2**50)),
)


@settings(max_examples=25)
@given(SERVICE)
def test_any_service_fits_the_schemas_and_comes_back_as_it_was(service: ServiceSpec) -> None:
    found = documents(service, with_secrets=True)
    validate(found, RELEASES[-1])
    values = {
        name: text
        for document in found
        if document["metadata"]["name"].endswith("-env")
        for name, text in (document.get("data") or document["stringData"]).items()
    }
    assert values == {"PYTHONUNBUFFERED": "1", **service.env}
    words = [word.replace("$$", "$") for word in container_of(service)["command"]]
    if not service.ports:
        assert words == list(service.command)
