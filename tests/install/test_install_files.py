"""The files themselves: golden, and read back by whoever else can read them."""

import os
import plistlib
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from supervisor.cli.checks import launchd as agents
from supervisor.cli.checks import systemd as units
from supervisor.install import launchd, systemd
from supervisor.install.item import LoginItem, UnwritableError
from supervisor.install.names import mark, unit_name
from supervisor.install.place import PlaceError, place_of
from tests.install.specimens import ODD, PLAIN

GOLDEN = Path(__file__).parent / "golden"


def compare(name: str, text: str) -> None:
    """Compare with a file; ATLAS_UPDATE_GOLDEN=1 writes it anew."""
    path = GOLDEN / name
    if os.environ.get("ATLAS_UPDATE_GOLDEN") == "1":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, f"differs from {path.name}"


@pytest.mark.parametrize(("item", "name"), [(PLAIN, "plain"), (ODD, "odd")])
def test_golden(item: LoginItem, name: str) -> None:
    compare(f"{name}.plist", launchd.render(item))
    compare(f"{name}.service", systemd.render(item, systemd.SUBGROUPS - 1))


def test_a_newer_systemd_puts_the_supervisor_into_a_group_of_its_own() -> None:
    older, newer = (systemd.render(PLAIN, version).splitlines() for version in (253, 254))
    assert [line for line in newer if line not in older] == ["DelegateSubgroup=supervisor"]


# The property list ---------------------------------------------------------------------------


def read_plist(element: ElementTree.Element) -> object:
    """Read a property list as Apple's DTD has it: an independent reader of a dozen lines."""
    match element.tag:
        case "dict":
            keys, values = element[::2], element[1::2]
            assert all(key.tag == "key" for key in keys)
            return {k.text: read_plist(v) for k, v in zip(keys, values, strict=True)}
        case "array":
            return [read_plist(each) for each in element]
        case "string":
            return element.text or ""
        case "integer":
            return int(element.text or "")
        case "true" | "false":
            return element.tag == "true"
        case other:
            raise AssertionError(other)


@pytest.mark.parametrize("item", [PLAIN, ODD])
def test_the_property_list_says_what_was_meant(item: LoginItem) -> None:
    text = launchd.render(item)
    root = ElementTree.fromstring(text.encode())  # noqa: S314 - our own text
    assert (root.tag, root.attrib, len(root)) == ("plist", {"version": "1.0"}, 1)
    told = read_plist(root[0])
    assert told == plistlib.loads(text.encode())
    assert told == {
        "Label": f"org.atlasctl.{item.name}",
        "ProgramArguments": list(item.command),
        "EnvironmentVariables": dict(item.environment),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ProcessType": "Interactive",
        "AbandonProcessGroup": True,
        "ExitTimeOut": item.stop_seconds,
        "StandardOutPath": item.log,
        "StandardErrorPath": item.log,
    }


# The unit ------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
@pytest.mark.parametrize("item", [PLAIN, ODD])
def test_systemd_has_nothing_against_the_unit(item: LoginItem, tmp_path: Path) -> None:
    # The program must be there.
    program = tmp_path / Path(item.command[0]).relative_to("/")
    program.parent.mkdir(parents=True)
    program.symlink_to(sys.executable)
    shown = subprocess.run(["systemd-analyze", "--version"], capture_output=True, check=True)
    version = int(shown.stdout.split()[1])
    unit = tmp_path / unit_name(item.name)
    made = replace(item, command=(str(program), *item.command[1:]))
    unit.write_text(systemd.render(made, version), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", str(unit)],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "XDG_RUNTIME_DIR": str(tmp_path),
            "LC_ALL": "C.UTF-8",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, said) == (0, [])


# Doctor --------------------------------------------------------------------------------------


@pytest.mark.parametrize("item", [PLAIN, ODD])
def test_doctor_takes_both_for_what_they_are(item: LoginItem, tmp_path: Path) -> None:
    (tmp_path / "a.plist").write_text(launchd.render(item), encoding="utf-8")
    (tmp_path / "a.service").write_text(systemd.render(item, 252), encoding="utf-8")
    (agent,) = agents.agents([str(tmp_path)])
    (unit,) = units.units([str(tmp_path)], "/home/a")
    assert agent.start.argv == unit.start.argv == item.command
    assert agent.start.starts(item.config)
    assert unit.start.starts(item.config)
    assert not unit.start.starts("/srv/other.yaml")
    assert (agent.process_type, agent.resurrects, agent.at_login) == ("Interactive", False, True)
    assert unit.kill_mode == "process"


# Where they are ------------------------------------------------------------------------------


def test_a_place_is_of_one_system(tmp_path: Path) -> None:
    one, other = tmp_path / "one" / "atlas", tmp_path / "other" / "atlas"
    for folder in (one, other):
        folder.mkdir(parents=True)
    home = {"HOME": str(tmp_path)}
    places = [place_of(f"{root}/.atlas", home, "darwin") for root in (one, other)]
    assert all(place.name.startswith("org.atlasctl.atlas-") for place in places)
    assert len({place.path for place in places}) == 2
    (tmp_path / "link").symlink_to(one)
    assert place_of(f"{tmp_path}/link/.atlas", home, "darwin") == places[0]
    unit = place_of(f"{one}/.atlas", home, "linux")
    assert unit.path == f"{tmp_path}/.config/systemd/user/{unit.name}"
    elsewhere = place_of(f"{one}/.atlas", {**home, "XDG_CONFIG_HOME": "/x"}, "linux")
    assert elsewhere.path == f"/x/systemd/user/{unit.name}"


def test_only_our_file_is_written_over(tmp_path: Path) -> None:
    place = place_of(str(tmp_path / ".atlas"), {"HOME": str(tmp_path)}, "darwin")
    assert (place.text(), place.is_for("/s.yaml")) == (None, False)
    text = f"# {mark('/s.yaml')}\n"
    place.write(text)
    path = Path(place.path)
    assert (place.text(), path.stat().st_mode & 0o777) == (text, 0o644)
    assert place.is_for("/s.yaml")
    assert not place.is_for("/other.yaml")
    real, link = tmp_path / "s.yaml", tmp_path / "link.yaml"
    real.touch()
    link.symlink_to(real)
    place.write(f"# {mark(str(link))}\n")
    assert place.is_for(str(real))
    assert place.text_for(str(real)) == place.text()
    with pytest.raises(PlaceError, match=f"only one of them can run; .* -c {link} uninstall"):
        place.text_for("/other.yaml")
    real.unlink()
    assert place.text_for("/other.yaml") is not None  # the folder was moved, or the file renamed
    place.write(text)
    assert os.listdir(path.parent) == [path.name]
    path.write_text("somebody's own")
    with pytest.raises(PlaceError, match="was not written by atlasctl, and stays as it is"):
        place.text()
    assert not place.is_for("/s.yaml")
    path.unlink()
    path.symlink_to("/etc/hostname")
    with pytest.raises(PlaceError, match="is a symbolic link"):
        place.text()
    place.remove()
    place.remove()
    path.mkdir()
    with pytest.raises(PlaceError, match="cannot be read: it is a directory"):
        place.text()
    with pytest.raises(PlaceError, match=f"cannot write {path}: "):
        place.write(text)
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.skipif(os.geteuid() != 0, reason="it is root's mistake")
def test_what_root_writes_into_the_home_of_another(tmp_path: Path) -> None:
    place = place_of(str(tmp_path / ".atlas"), {"HOME": str(tmp_path)}, "darwin")
    folder = Path(place.path).parent
    folder.mkdir(parents=True)
    os.chown(folder, 501, 20)
    with pytest.raises(PlaceError, match="is of uid 501: run this as that user, without sudo"):
        place.write("x")
    assert os.listdir(folder) == []


def test_the_command_line_in_the_unit_is_what_a_shell_would_read() -> None:
    """But for `$` and `%`, which systemd doubles, its quoting is understood by others."""
    unit = systemd.render(ODD, 252)
    (line,) = (line for line in unit.splitlines() if line.startswith("ExecStart="))
    program, *rest = shlex.split(line.removeprefix("ExecStart=").replace("%%", "%"))
    assert (program, *(word.replace("$$", "$") for word in rest)) == ODD.command


@pytest.mark.parametrize("sign", ["'", '"', "\\"])
def test_a_program_that_systemd_would_refuse(sign: str) -> None:
    odd = replace(PLAIN, command=(f"/srv/{sign}/python", "run"))
    with pytest.raises(UnwritableError, match="systemd starts no program with a quote"):
        systemd.render(odd, 252)
