"""The pod of an exported service: what it runs, what it may do, and what it finds there."""

import math
from dataclasses import replace

import pytest

from supervisor.core.spec import (
    ExecCheck,
    Limits,
    ProbeSpec,
    ServiceSpec,
    StopSpec,
)
from supervisor.export.kubernetes_pod import Cluster
from tests.export.cluster import CLUSTER, container_of, documents, notes_of, one, pod_of, validate
from tests.export.specimens import (
    PLAIN,
    REQUEST,
    SERVER,
    SPEECH,
    TASK,
)

pytestmark = pytest.mark.usefixtures("schemas_read_once")


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


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("--conf=/srv/atlas/x.ini", "--conf=/app/x.ini"),
        ("/srv/atlas/lib:/srv/atlas/src", "/app/lib:/app/src"),
        ("/srv/atlas/", "/app/"),
        ("cd /srv/atlas && exec '/srv/atlas/x'", "cd /app && exec '/app/x'"),
        ("sqlite:////srv/atlas/db", "sqlite:////app/db"),
        ("file:///srv/atlas/db", "file:///app/db"),
        ("/srv/atlas-2/x", "/srv/atlas-2/x"),
        ("/old/srv/atlas/x", "/old/srv/atlas/x"),
        ("https://h/srv/atlas", "https://h/srv/atlas"),
    ],
)
def test_a_path_is_found_wherever_it_stands(text: str, there: str) -> None:
    files = {"plain": {"FROM_FILE": text}}
    probe = ProbeSpec(ExecCheck(("x", text)))
    service = replace(PLAIN, command=("x", text), env={"A": text}, readiness=probe)
    found = documents(service, files=files, with_secrets=True)
    container = container_of(service)
    assert container["command"] == ["x", there]
    assert container["readinessProbe"]["exec"]["command"] == ["x", there]
    assert one(found, "ConfigMap")["data"]["A"] == there
    assert one(found, "Secret")["stringData"]["FROM_FILE"] == there


@pytest.mark.parametrize(
    ("word", "there"), [("./bin/x", "/app/sub/bin/x"), ("../x", "/app/x"), ("x", "x")]
)
def test_a_program_is_found_whatever_the_runtime_makes_of_a_relative_path(
    word: str, there: str
) -> None:
    service = replace(PLAIN, cwd="/srv/atlas/sub", command=(word,))
    assert container_of(service)["command"] == [there]


def test_others_are_called_by_their_names() -> None:
    peer = "http://localhost:3001/tts"
    service = replace(
        PLAIN,
        command=("serve", "--tts", peer),
        ports=(80,),
        env={"TTS": "127.0.0.1:3001,[::1]:3001", "SELF": "localhost:80", "ELSE": "localhost:30010"},
        readiness=ProbeSpec(ExecCheck(("curl", peer))),
    )
    found = documents(service, SPEECH, files={"plain": {"DB": peer}}, with_secrets=True)
    container = container_of(service, SPEECH)
    assert container["command"][-1] == "http://tts:3001/tts"
    assert container["readinessProbe"]["exec"]["command"] == ["curl", "http://tts:3001/tts"]
    assert found[0]["data"]["TTS"] == "tts:3001,tts:3001"
    assert found[0]["data"]["SELF"] == "localhost:80"
    assert found[0]["data"]["ELSE"] == "localhost:30010"
    assert found[1]["stringData"]["DB"] == "http://tts:3001/tts"
    line = "plain: localhost:3001: is the pod itself there: tts is tts:3001, and that is written"
    lines = notes_of(service, SPEECH)
    assert lines.count(line) == 1
    nobody = "is the pod itself there, and nothing that was exported has this port alone"
    assert f"plain: localhost:30010: {nobody}" in lines
    assert not any("localhost:80:" in each for each in lines)


def test_who_cannot_be_reached_keeps_its_address() -> None:
    service = replace(PLAIN, env={"TASK": "localhost:81", "BOTH": "localhost:82"})
    task = replace(TASK, ports=(81,))
    both = (replace(SERVER, name=name, ports=(82,)) for name in ("one", "two"))
    found = documents(service, task, *both)
    assert found[0]["data"]["TASK"] == "localhost:81"
    assert found[0]["data"]["BOTH"] == "localhost:82"
    line = "plain: localhost:81: is the pod itself there, and no Service leads to migrate"
    assert line in notes_of(service, task)


@pytest.mark.parametrize("folder", ["./", "/", "/srv/atlas", "/srv", "..", "/srv/atlas/sub/"])
def test_no_empty_folder_hides_the_program(folder: str) -> None:
    service = replace(PLAIN, cwd="/srv/atlas/sub", env={"CACHE_DIR": folder})
    paths = [mount["mountPath"] for mount in container_of(service)["volumeMounts"]]
    hides = folder != "/srv"
    assert (paths == ["/tmp"]) == hides
    assert any("CACHE_DIR: " in line and "hide" in line for line in notes_of(service)) == hides


def test_a_cache_is_told_to_be_gone_with_the_pod() -> None:
    line = "tts: TTS_CACHE_DIR: /app/.cache/tts is empty when a pod begins, and has 1Gi at most"
    assert line in notes_of(SPEECH)
    service = replace(PLAIN, env={"A_CACHE_DIR": "c", "B_CACHE": "/app/c", "NO_CACHE": "1"})
    paths = [mount["mountPath"] for mount in container_of(service)["volumeMounts"]]
    assert paths == ["/tmp", "/app/c"]


def test_only_who_needs_it_may_open_low_ports() -> None:
    assert "sysctls" not in pod_of(SPEECH)["securityContext"]
    low = replace(PLAIN, ports=(8080, 443))
    names = [each["name"] for each in pod_of(low)["securityContext"]["sysctls"]]
    assert names == ["net.ipv4.ip_unprivileged_port_start"]
    validate(documents(low))


@pytest.mark.parametrize(
    ("size", "written"), [(2**40, "1024Gi"), (3 * 2**29, "1536Mi"), (5 * 1024, "5Ki"), (999, "999")]
)
def test_sizes_are_written_as_people_do(size: int, written: str) -> None:
    limits = container_of(replace(PLAIN, limits=Limits(memory=size)))["resources"]["limits"]
    assert limits == {"memory": written}


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
        "requests": {"cpu": "500m", "memory": "1Gi"},
        "limits": {"memory": "1Gi"},
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
    assert leave >= 5
    assert pod["terminationGracePeriodSeconds"] == math.ceil(seconds) + leave


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


def test_models_beside_the_program_do_not_hide_it() -> None:
    model = replace(REQUEST.fleet.models[0], directory="/srv/atlas/voice")
    container = container_of(PLAIN, fleet=replace(REQUEST.fleet, models=(model,)))
    mount = {"name": "models", "mountPath": "/app/voice", "subPath": "voice", "readOnly": True}
    assert [each for each in container["volumeMounts"] if each["name"] == "models"] == [mount]


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
