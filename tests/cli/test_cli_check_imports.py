"""`doctor`: whether `import supervisor` is us, here and in the environments of services."""

import sys
import venv
from pathlib import Path
from typing import Any

import pytest

import supervisor
from supervisor.cli.checks import imports
from supervisor.cli.checks.imports import import_clash, service_imports
from supervisor.cli.findings import Finding
from supervisor.core.spec import ServiceSpec

PACKAGE = str(Path(supervisor.__file__).parent)
CHECKOUT = str(Path(PACKAGE).parent)
ENVIRON = {"PATH": "/usr/bin:/bin", "HOME": "/"}


def make(folder: Path, *modules: str, distribution: str = "") -> Path:
    """Make a folder of modules with a package `supervisor` in it."""
    package = folder / "supervisor"
    package.mkdir(parents=True)
    for name in ("__init__", *modules):
        (package / f"{name}.py").touch()
    if distribution:
        (folder / distribution).mkdir()
    return package


# This one ------------------------------------------------------------------------------------


def test_alone_in_its_environment(tmp_path: Path) -> None:
    own = make(tmp_path / "own", distribution="atlas_supervisor-0.1.0.dist-info")
    make(tmp_path / "other" / "deeper")
    search = [str(tmp_path / "own"), str(tmp_path / "other"), "/no/such.zip", str(tmp_path / "own")]
    assert list(import_clash(str(own), search, "python")) == []


@pytest.mark.parametrize(
    "distribution",
    ["supervisor-4.3.0.dist-info", "supervisor-4.3.0.egg-info", "supervisor-4.3.0-py3.11.egg-info"],
)
def test_supervisord_beside_it(distribution: str, tmp_path: Path) -> None:
    own = make(tmp_path / "own")
    make(tmp_path / "site", "supervisord", distribution=distribution)
    search = [str(tmp_path / "own"), str(tmp_path / "site")]
    (found,) = import_clash(str(own), search, "/venv/bin/python")
    assert (found.check, found.level) == ("import supervisor", "wrong")
    site = tmp_path / "site"
    assert found.text == f"supervisor 4.3.0 (supervisord) is installed in {site.resolve()}"
    assert found.hint == "/venv/bin/python -m pip uninstall supervisor"


def test_supervisord_over_it(tmp_path: Path) -> None:
    own = make(tmp_path, "supervisord", distribution="supervisor-4.3.0.dist-info")
    (found,) = import_clash(str(own), [str(tmp_path)], "python")
    assert found.level == "wrong"
    assert "has put its files among ours" in found.text
    assert found.hint is not None
    assert found.hint.endswith("then install atlas-supervisor again")


def test_another_of_the_name(tmp_path: Path) -> None:
    own, other = make(tmp_path / "own"), make(tmp_path / "other")
    (found,) = import_clash(str(own), [str(tmp_path / "other"), str(tmp_path / "own")], "python")
    assert (found.level, str(other.resolve()) in found.text) == ("note", True)


def test_this_very_environment_is_well() -> None:
    # A note is no fault: two checkouts may share an environment.
    found = import_clash(PACKAGE, sys.path, sys.executable)
    assert "wrong" not in {each.level for each in found}


# Those of services ---------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python may take its time to start here: one that did not answer would be passed over."""
    monkeypatch.setattr(imports, "IMPORT_TIMEOUT", 60.0)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with nothing in it."""
    folder = tmp_path_factory.mktemp("of_service") / "venv"
    venv.create(folder, symlinks=True)
    return folder


def found_for(environment: Path, **changes: Any) -> list[Finding]:
    command = ("python", "-P", "-m", "supervisor.cli", "status")
    whole = {"name": "board", "command": command, "cwd": "/", "venv": str(environment), **changes}
    return list(service_imports([ServiceSpec(**whole)], ENVIRON, PACKAGE))


def test_a_service_that_finds_ours(environment: Path) -> None:
    assert found_for(environment, env={"PYTHONPATH": CHECKOUT}) == []


def test_a_service_that_finds_nothing(environment: Path) -> None:
    (found,) = found_for(environment)
    assert (found.subject, found.check, found.level) == ("board", "import supervisor", "wrong")
    assert found.text == "the Python of its command finds no module supervisor"


def test_a_service_that_finds_supervisord(environment: Path, tmp_path: Path) -> None:
    make(tmp_path, "supervisord")
    (found,) = found_for(environment, env={"PYTHONPATH": str(tmp_path)})
    assert found.level == "wrong"
    assert "finds supervisord in " in found.text
    # Where -P is not, what lies in the working directory comes first.
    (found,) = found_for(
        environment,
        command=("python", "-m", "supervisor.cli"),
        cwd=str(tmp_path),
        env={"PYTHONPATH": CHECKOUT},
    )
    assert "finds supervisord in " in found.text


def test_a_service_that_finds_another_atlasctl(environment: Path, tmp_path: Path) -> None:
    make(tmp_path)
    (found,) = found_for(environment, env={"PYTHONPATH": str(tmp_path)})
    assert (found.level, found.hint) == ("note", f"this one is {PACKAGE}")


@pytest.mark.parametrize(
    "changes",
    [
        {"command": ("python", "-m", "services.tts")},
        {"command": ("python", "-m", "supervisory")},
        {"command": ("python", "-m")},
        {"command": ("-m", "supervisor.cli")},
        {"command": ("no-such-python", "-m", "supervisor.cli")},
        {"env_files": ("/no/such.env",)},
    ],
    ids=["another module", "a longer name", "no module", "no program", "not there", "no env file"],
)
def test_services_that_are_not_asked_or_do_not_answer(
    changes: dict[str, Any], environment: Path
) -> None:
    assert found_for(environment, **changes) == []


@pytest.mark.parametrize(
    "words",
    [
        ("sh", "-c", "touch started"),
        ("python", "-c", "open('started', 'w')"),
        ("python", "-copen('started', 'w')"),
        ("python", "start.py"),
        ("./python.sh",),
    ],
)
def test_nothing_of_a_service_is_started_to_ask(
    words: tuple[str, ...], environment: Path, tmp_path: Path
) -> None:
    (tmp_path / "start.py").write_text("open('started', 'w')")
    (tmp_path / "python.sh").write_text("#!/bin/sh\ntouch started\n")
    (tmp_path / "python.sh").chmod(0o755)
    command = (*words, "-m", "supervisor.cli")
    assert found_for(environment, command=command, cwd=str(tmp_path)) == []
    assert not (tmp_path / "started").exists()


def test_options_of_the_interpreter_are_kept(environment: Path) -> None:
    command = ("python", "-X", "dev", "-W", "ignore", "-I", "-m", "supervisor.cli")
    (found,) = found_for(environment, command=command, env={"PYTHONPATH": CHECKOUT})
    assert "finds no module supervisor" in found.text, "-I leaves PYTHONPATH out"
