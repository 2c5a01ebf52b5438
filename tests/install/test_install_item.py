"""What a login item says, before it is written for either system."""

import os
import sys
from pathlib import Path

import pytest

from supervisor.core.spec import Dependency, FleetSpec, ServiceSpec, StopSpec
from supervisor.install.item import (
    UnwritableError,
    command,
    describe,
    guarded_folder,
    login_environment,
    stop_seconds,
)
from supervisor.install.names import config_in, mark, system_name

CHECKOUT = str(Path(__file__).parents[2])


def service(name: str, timeout: float, *needs: str) -> ServiceSpec:
    depends_on = tuple(map(Dependency, needs))
    return ServiceSpec(name, ("x",), "/", stop=StopSpec(timeout=timeout), depends_on=depends_on)


def fleet(*services: ServiceSpec, root: str = "/srv/atlas") -> FleetSpec:
    return FleetSpec(f"{root}/s.yaml", root, f"{root}/.atlas", f"{root}/logs", services)


@pytest.mark.parametrize(
    ("services", "seconds"),
    [
        ((), 20),
        ((service("a", 1),), 20),
        ((service("a", 10),), 23),
        ((service("a", 10), service("b", 30)), 43),
        ((service("a", 10), service("b", 30, "a")), 56),
        ((service("c", 0.5, "b"), service("b", 30, "a"), service("a", 10)), 60),
        ((service("c", 5, "b", "a"), service("b", 30), service("a", 60)), 81),
    ],
)
def test_the_time_to_stop_is_that_of_the_longest_chain(
    services: tuple[ServiceSpec, ...], seconds: int
) -> None:
    assert stop_seconds(fleet(*services)) == seconds


@pytest.mark.parametrize(
    ("folder", "safe"),
    [
        ("atlas", "atlas"),
        ("my voice (2)", "my-voice-2"),
        ("голос", "system"),
        ("..a..", "a"),
        ("x" * 90, "x" * 40),
    ],
)
def test_names(folder: str, safe: str, tmp_path: Path) -> None:
    root = tmp_path / folder
    root.mkdir()
    name, _, digits = system_name(str(root / ".atlas")).rpartition("-")
    assert name == safe
    assert len(digits) == 8
    assert int(digits, 16) >= 0


def test_what_is_taken_from_this_shell() -> None:
    environ = {
        "PATH": "/opt/bin:bin:.::/usr/bin:/opt/bin",
        "LANG": "uk_UA.UTF-8",
        "LC_TIME": "C",
        "LC_ALL": "",
        "XDG_STATE_HOME": "/s",
        "SECRET": "x",
        "HOME": "/home/a",
        "PYTHONPATH": "/elsewhere",
    }
    assert login_environment(environ) == {
        "LANG": "uk_UA.UTF-8",
        "LC_TIME": "C",
        "PATH": "/opt/bin:/usr/bin",
        "XDG_STATE_HOME": "/s",
        "PYTHONPATH": CHECKOUT,  # of this checkout, which is not installed
    }
    assert login_environment({}) == {"PYTHONPATH": CHECKOUT}


def test_the_whole() -> None:
    item = describe(fleet(service("a", 10)), {"PATH": "/bin", "HOME": "/Users/a"})
    assert item.command == command("/srv/atlas/s.yaml")
    assert item.command[0] == sys.executable
    assert all(map(os.path.isabs, (item.command[0], item.command[5], item.log)))
    assert item.log == f"/Users/a/Library/Logs/org.atlasctl.{item.name}.log"
    assert item.stop_seconds == 23


@pytest.mark.parametrize("root", ["/srv/a\nb", "/srv/a\tb", "/srv/\udcff"])
def test_what_no_file_can_hold(root: str) -> None:
    with pytest.raises(UnwritableError, match="rename that folder"):
        describe(fleet(root=root), {})


@pytest.mark.parametrize(
    ("root", "folder"),
    [
        ("Documents/atlas", "Documents"),
        ("Desktop", "Desktop"),
        ("Library/Mobile Documents/com~apple~CloudDocs/a", "Library/Mobile Documents"),
        ("Library/CloudStorage/Dropbox/atlas", "Library/CloudStorage"),
        ("Documents2/atlas", None),
        ("src/Documents", None),
        ("../elsewhere/Documents", None),
        (".", None),
    ],
)
def test_folders_that_a_mac_guards(root: str, folder: str | None, tmp_path: Path) -> None:
    found = guarded_folder(str(tmp_path / root), str(tmp_path))
    assert found == (folder and str(tmp_path / folder))


def test_another_volume_of_a_mac() -> None:
    assert guarded_folder("/Volumes/My SSD/ai/atlas", "/Users/a") == "/Volumes/My SSD"


def test_marks_tell_files_apart_and_hold_in_xml() -> None:
    paths = ["/a--b", "/a-%2Db", "/a-b", "/a---b", "/a%b", "/a%25b"]
    assert len({mark(path) for path in paths}) == len(paths)
    assert all("--" not in mark(path) for path in paths)
    assert [config_in(f"# {mark(path)}\n") for path in paths] == paths
    assert config_in("somebody's own") is None
