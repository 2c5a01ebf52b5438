"""What Kubernetes gets: as a whole, by its own published schemas, and where it could surprise."""

from dataclasses import replace

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.core.spec import (
    Backoff,
    Condition,
    Dependency,
    ExecCheck,
    GiveUp,
    Limits,
    ProbeSpec,
    RestartSpec,
    ServiceSpec,
    SocketSpec,
    StopSpec,
    TcpCheck,
)
from supervisor.export.exported import ExportError
from supervisor.export.kubernetes import render
from supervisor.export.kubernetes_pod import Cluster
from tests.export.cluster import (
    CLUSTER,
    RELEASES,
    container_of,
    documents,
    http,
    kubernetes_validate,
    notes_of,
    one,
    pod_of,
    validate,
)
from tests.export.conftest import Golden
from tests.export.specimens import (
    EVERYTHING,
    PLAIN,
    REQUEST,
    SERVER,
    SPEECH,
    TASK,
    request,
)

pytestmark = pytest.mark.usefixtures("schemas_read_once")


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
    assert any("replicas: one copy, which ends before" in line for line in notes_of(SERVER))
    # With one copy, to empty its node is to be away.
    (line,) = [line for line in notes_of(SPEECH) if ": replicas: " in line]
    assert "while its node is emptied nobody answers" in line
    assert not any(": replicas: " in line for line in notes_of(SPEECH, cluster=Cluster(least=2)))


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


def test_what_is_called_otherwise_is_told() -> None:
    assert "api_server: name: is called api-server there" in notes_of(SERVER)
    assert not any(": name: " in line for line in notes_of(SPEECH))


def test_the_image_is_a_name_that_an_image_can_have() -> None:
    service = replace(PLAIN, name="a__-")
    assert container_of(service, cluster=Cluster())["image"] == "atlas-a:latest"
    lines = notes_of(service, cluster=Cluster())
    assert any(line.startswith("a__-: image: atlas-NAME:latest, which") for line in lines)
    assert not any(": image: " in line for line in notes_of(service))
    (line,) = [line for line in notes_of(SPEECH) if ": image: " in line]
    assert "must have `python` with this package" in line


def test_dependencies_are_told() -> None:
    service = replace(SERVER, depends_on=(Dependency("tts", Condition.STARTED),))
    about = "api_server: depends_on tts: "
    (line,) = [line for line in notes_of(SPEECH, service) if line.startswith(about)]
    assert "is not waited for" in line
    assert f"{about}is not among what was exported" in notes_of(service)


def test_a_job_is_told_how_it_is_changed_and_what_it_counts() -> None:
    service = replace(PLAIN, restart=RestartSpec("on-failure", give_up=GiveUp(4, 60.0)))
    lines = notes_of(service)
    assert any("plain: Job: cannot be changed: `kubectl delete job NAME`" in line for line in lines)
    assert "plain: restart.give_up: a Job counts all its failures, not those of some time" in lines


def test_what_kubectl_cannot_keep_a_copy_of_is_applied_by_the_server() -> None:
    def how(service: ServiceSpec) -> str:
        (file,) = render(request(service), CLUSTER).files
        return file.text.splitlines()[1]

    assert how(PLAIN) == "# To use it: kubectl apply -f kubernetes.yaml"
    large = replace(PLAIN, command=("x", *["y" * 100] * 3000))
    assert how(large) == "# To use it: kubectl apply --server-side -f kubernetes.yaml"


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
