"""The environment of a service: what it gets, and what it does not."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.spec import ServiceSpec
from supervisor.posix.environment import (
    DEFAULT_PATH,
    Marker,
    checksum,
    fleet_mark,
    marker_of,
    service_environment,
)

MARKS = {"ATLAS_UNIT": "tts", "ATLAS_RUN": "3", "ATLAS_FLEET": "0123abcd"}


def environment(
    spec: ServiceSpec | None = None,
    inherited: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
) -> dict[str, str]:
    return service_environment(
        spec or ServiceSpec("tts", ("x",), "/"),
        inherited=inherited or {}, files=files or {}, run=3, fleet="0123abcd",
    )  # fmt: skip


def spec(**fields: object) -> ServiceSpec:
    from dataclasses import replace

    return replace(ServiceSpec("tts", ("x",), "/"), **fields)  # type: ignore[arg-type]


def test_only_the_list_is_inherited() -> None:
    inherited = {
        "HOME": "/h", "LC_ALL": "uk_UA.UTF-8", "PATH": "/bin", "http_proxy": "http://p",
        "HTTPS_PROXY": "http://p", "PYTHONPATH": "/x", "SSH_AUTH_SOCK": "/s", "SECRET": "s",
        "ATLAS_UNIT": "outer", "LISTEN_FDS": "1", "VIRTUAL_ENV": "/outer",
    }  # fmt: skip
    assert environment(inherited=inherited) == {
        "HOME": "/h", "LC_ALL": "uk_UA.UTF-8", "PATH": "/bin", "PYTHONUNBUFFERED": "1", **MARKS,
    }  # fmt: skip
    asked = environment(spec(inherit_env=("SECRET", "MISSING")), inherited)
    assert asked["SECRET"] == "s"
    assert "MISSING" not in asked


def test_files_outweigh_the_daemon_and_the_spec_outweighs_files() -> None:
    given_spec = spec(env={"A": "spec", "ATLAS_RUN": "99"}, inherit_env=("A", "B", "C"))
    inherited = dict.fromkeys("ABC", "daemon")
    made = environment(given_spec, inherited, {"A": "file", "B": "file"})
    assert (made["A"], made["B"], made["C"]) == ("spec", "file", "daemon")
    assert made["ATLAS_RUN"] == "3"


@pytest.mark.parametrize(("said", "found"), [("", None), ("0", "0"), ("x", "x")])
def test_unbuffered_python_unless_the_spec_says_otherwise(said: str, found: str | None) -> None:
    assert environment(spec(env={"PYTHONUNBUFFERED": said})).get("PYTHONUNBUFFERED") == found
    assert environment(files={"PYTHONUNBUFFERED": said}).get("PYTHONUNBUFFERED") == found


def test_venv_comes_first_on_whatever_path_there_is() -> None:
    inherited = {"PATH": "/bin", "PYTHONHOME": "/wrong"}
    made = environment(spec(venv="/v", inherit_env=("PYTHONHOME",)), inherited)
    assert made["PATH"] == "/v/bin:/bin"
    assert made["VIRTUAL_ENV"] == "/v"
    assert "PYTHONHOME" not in made
    assert environment(spec(venv="/v", env={"PATH": "/own"}))["PATH"] == "/v/bin:/own"
    assert environment(spec(venv="/v", env={"PATH": ""}))["PATH"] == "/v/bin"
    assert environment()["PATH"] == DEFAULT_PATH


@given(st.text(), st.text(), st.integers(min_value=1))
def test_marks_are_read_back(fleet: str, unit: str, run: int) -> None:
    marker = Marker(fleet, unit, run)
    assert marker_of({"OTHER": "x", **marker.variables()}) == marker


@pytest.mark.parametrize("missing", sorted(MARKS))
def test_incomplete_marks_are_none(missing: str) -> None:
    assert marker_of({k: v for k, v in MARKS.items() if k != missing}) is None
    assert marker_of({**MARKS, "ATLAS_RUN": "three"}) is None


def test_mark_of_a_fleet_is_that_of_its_directory(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert fleet_mark(str(tmp_path / "link")) == fleet_mark(os.path.join(tmp_path, "a"))
    assert fleet_mark(str(tmp_path / "a")) != fleet_mark(str(tmp_path / "b"))


def test_the_checksum_is_of_all_but_the_marks() -> None:
    one = checksum({"A": "1", "ATLAS_TTS_URL": "http://localhost:3001", **MARKS})
    assert one == checksum({"A": "1", "ATLAS_TTS_URL": "http://localhost:3001"})
    assert one != checksum({"A": "1", "ATLAS_TTS_URL": "http://localhost:3002"})
