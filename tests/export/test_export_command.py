"""`atlasctl export` as it is typed."""

import plistlib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from supervisor.cli.__main__ import main

YAML = """\
version: 1
services:
  tts:
    command: [python, -m, services.tts]
    env: {HF_TOKEN: hunter2-and-more}
    sockets: {http: "localhost:3001"}
  worker:
    command: [work]
    env_file: worker.env
  off: {command: [never], enabled: false}
  page: {command: [python, -m, supervisor.dashboard], sockets: {http: "localhost:3900"}}
models:
  voice: {url: "https://example.org/v", files: [a]}
"""

Ctl = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ctl:
    """Run a command in a folder with a system."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ATLAS_CONFIG", raising=False)
    (tmp_path / "services.yaml").write_text(YAML)
    (tmp_path / "worker.env").write_text("DB=postgres://x\n")

    def run(*argv: str) -> tuple[int, str, str]:
        code = main(["export", *argv])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def kinds(text: str) -> list[tuple[str, str]]:
    return [(each["kind"], each["metadata"]["name"]) for each in yaml.safe_load_all(text)]


def test_kubernetes_on_standard_output_is_what_kubectl_reads(ctl: Ctl) -> None:
    code, out, err = ctl("kubernetes")
    assert code == 0
    assert [name for kind, name in kinds(out) if kind == "Deployment"] == ["tts", "worker"]
    assert out.startswith("# Written by `atlasctl export kubernetes` from services.yaml.\n")
    lines = err.splitlines()
    assert all(line.startswith("atlasctl: ") for line in lines)
    assert lines[0].startswith("atlasctl: page: left out: it shows what a supervisor does")
    # Whatever is told here stands in the file too, but for what is not in it at all.
    for line in lines[1:]:
        assert f"# - {line.removeprefix('atlasctl: ')}" in out


def test_what_is_named_is_exported_whatever_it_is(ctl: Ctl) -> None:
    _, out, err = ctl("kubernetes", "off", "page")
    assert [name for kind, name in kinds(out) if kind == "Deployment"] == ["off", "page"]
    assert "left out" not in err
    assert "`atlasctl export kubernetes off page`" in out


def test_options_of_a_cluster(ctl: Ctl) -> None:
    _, out, _ = ctl(
        *("kubernetes", "--image", "all:1", "--image", "tts=example/tts:2", "--namespace", "n"),
        *("--replicas", "2:6", "--cpu", "1.5", "--models", "/srv/models"),
    )
    found = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(out)}
    pods = {n: found["Deployment", n]["spec"]["template"]["spec"] for n in ("tts", "worker")}
    images = {name: pod["containers"][0]["image"] for name, pod in pods.items()}
    assert images == {"tts": "example/tts:2", "worker": "all:1"}
    assert {each["metadata"]["namespace"] for each in found.values()} == {"n"}
    scaler = found["HorizontalPodAutoscaler", "tts"]["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 6)
    assert pods["tts"]["containers"][0]["resources"]["requests"]["cpu"] == "1.5"
    source = {"path": "/srv/models", "type": "Directory"}
    assert {"name": "models", "hostPath": source} in pods["tts"]["volumes"]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["kubernetes", "--replicas", "0"], "--replicas '0' is not understood; write a number, or"),
        (["kubernetes", "--replicas", "6:2"], "the fewest first"),
        (["kubernetes", "--cpu", "lots"], "cores, like 2, 0.5 or 500m"),
        (["kubernetes", "--namespace", "A_b"], "--namespace 'A_b'"),
        (["kubernetes", "--image", "a b"], "NAME or SERVICE=NAME"),
        (["kubernetes", "--image", "ttts=a"], "no service is called 'ttts'; did you mean tts?"),
        (["kubernetes", "--models", "a b"], "the name of a claim"),
        (["kubernetes", "tss"], "no service is called 'tss'; did you mean tts?"),
        (["nomad"], "invalid choice: 'nomad'"),
        ([], "the following arguments are required: format"),
    ],
)
def test_what_is_not_understood(ctl: Ctl, argv: list[str], said: str) -> None:
    code, out, err = ctl(*argv)
    assert (code, out) == (2, "")
    assert said in err


def test_files_come_into_a_folder_and_are_written_anew(ctl: Ctl, tmp_path: Path) -> None:
    for form, names in (
        ("kubernetes", ["kubernetes.yaml"]),
        ("kubernetes", ["kubernetes.yaml"]),
        ("systemd", ["atlas-tts-http.socket", "atlas-tts.service", "atlas-worker.service"]),
        ("launchd", ["org.atlasctl.service.tts.plist", "org.atlasctl.service.worker.plist"]),
    ):
        code, out, _ = ctl(form, "-o", f"made/{form}")
        assert code == 0
        assert sorted(out.split()) == [f"made/{form}/{name}" for name in names]
        assert sorted(path.name for path in (tmp_path / "made" / form).iterdir()) == names
    plist = tmp_path / "made/launchd/org.atlasctl.service.tts.plist"
    assert plistlib.loads(plist.read_bytes())["Label"] == "org.atlasctl.service.tts"


def test_somebody_elses_file_stays(ctl: Ctl, tmp_path: Path) -> None:
    (tmp_path / "kubernetes.yaml").write_text("mine: true\n")
    code, _, err = ctl("kubernetes", "-o", ".")
    assert code == 2
    assert "kubernetes.yaml was not written by atlasctl, and stays as it is" in err
    assert (tmp_path / "kubernetes.yaml").read_text() == "mine: true\n"


def test_where_nothing_can_be_written(ctl: Ctl, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, err = ctl("kubernetes", "-o", "file")
    assert code == 1
    assert "cannot write file/kubernetes.yaml: Not a directory" in err


@pytest.mark.parametrize("form", ["kubernetes", "systemd", "launchd"])
def test_files_with_secrets_are_for_nobody_else(ctl: Ctl, tmp_path: Path, form: str) -> None:
    ctl(form, "-o", "a")
    assert not any("hunter2" in path.read_text() for path in (tmp_path / "a").iterdir())
    ctl(form, "-o", "b", "--with-secrets")
    made = list((tmp_path / "b").iterdir())
    assert any("hunter2" in path.read_text() for path in made)
    # All of them: a secret may be in a command or a probe as well.
    assert {path.stat().st_mode & 0o777 for path in made} == {0o600}


def test_the_first_line_is_what_makes_the_same_again(ctl: Ctl) -> None:
    argv = ("kubernetes", "tts", "--image", "a:1", "--replicas", "2:3", "--models", "voices")
    _, out, _ = ctl(*argv, "--with-secrets", "-o", "-")
    typed = f"atlasctl export {' '.join(argv)} --with-secrets"
    assert out.startswith(f"# Written by `{typed}` from services.yaml.\n")


def test_an_environment_file_that_is_missing_is_an_error(ctl: Ctl, tmp_path: Path) -> None:
    (tmp_path / "worker.env").unlink()
    code, _, err = ctl("kubernetes")
    assert code == 2
    assert "the environment file does not exist" in err
    assert ctl("kubernetes", "tts")[0] == 0


def test_a_system_with_nothing_to_export(ctl: Ctl, tmp_path: Path) -> None:
    (tmp_path / "services.yaml").write_text(
        "version: 1\nservices:\n  off: {command: [never], enabled: false}\n"
    )
    code, _, err = ctl("systemd")
    assert code == 2
    assert "has no service that is enabled; name one, or enable it" in err
