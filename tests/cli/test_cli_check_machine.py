"""`doctor`: disk, clock and, from facts that are made up, the Mac."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from supervisor.cli.checks import clock, disk, mac, mounts
from supervisor.cli.checks.disk import Space
from supervisor.cli.checks.mounts import Mount
from supervisor.cli.findings import Finding, Level
from supervisor.core.spec import DoctorSpec, FleetSpec, LogSpec, ServiceSpec
from supervisor.install.manager import Outcome
from tests.cli.fleets import journal

MIB, GIB = 1024**2, 1024**3


def levels(findings: Iterable[Finding]) -> list[Level]:
    return [each.level for each in findings]


# Disk ----------------------------------------------------------------------------------------


def space(
    free: int, total: int = 100 * GIB, files: int = 10**6, *, device: int = 1, ro: bool = False
) -> Space:
    return Space(device, total, free, files, ro)


@pytest.mark.parametrize(
    ("found", "growth", "level", "words"),
    [
        (space(50 * GIB), 0, "ok", "50 GiB of 100 GiB free for /srv/logs"),
        (space(50 * GIB), 50 * GIB, "ok", "free"),
        (space(50 * GIB), 51 * GIB, "note", "and logs and models may take 51 GiB more"),
        (space(4 * GIB), 0, "note", "only 4.0 GiB of 100 GiB free"),
        (space(20 * GIB, 1000 * GIB), 0, "ok", "20 GiB of 1000 GiB free"),
        (space(6 * GIB), 0, "ok", "6.0 GiB of 100 GiB free"),
        (space(99 * MIB), 0, "wrong", "only 99 MiB of 100 GiB free"),
        (space(99 * MIB, GIB), 0, "wrong", "only 99 MiB of 1.0 GiB free"),
        (space(0, 0, 0), 0, "wrong", "only 0 B of 0 B free"),
        (space(50 * GIB, files=7), 0, "note", "only 7 more files can be made (inodes)"),
        (space(50 * GIB, ro=True), 0, "wrong", "/srv/logs: mounted read-only"),
    ],
)
def test_room(found: Space, growth: int, level: Level, words: str) -> None:
    (finding,) = disk.disk({"/srv/logs": growth}, {"/srv/logs": found})
    assert (finding.check, finding.level, finding.hint is None) == ("disk", level, level == "ok")
    assert words in finding.text


def test_one_finding_for_each_file_system() -> None:
    spaces = {"/a": space(GIB, GIB), "/b": space(GIB, GIB), "/c": space(GIB, GIB, device=2)}
    together, alone = disk.disk({"/a": GIB // 2, "/b": GIB, "/c": GIB}, spaces)
    assert (together.level, alone.level) == ("note", "ok")
    assert "free for /a and /b, and logs and models may take 1.5 GiB more" in together.text


def test_the_room_of_a_folder_that_is_not_there_is_that_of_the_nearest(tmp_path: Path) -> None:
    found = disk.space_of(str(tmp_path / "not" / "yet"))
    assert found.device == tmp_path.stat().st_dev
    assert 0 <= found.free <= found.total
    assert not found.read_only
    assert list(tmp_path.iterdir()) == []


def test_how_far_logs_may_grow(tmp_path: Path) -> None:
    logs = LogSpec(max_size=1000, keep=2)
    services = [ServiceSpec(name, ("x",), "/", logs=logs) for name in ("tts", "stt")]
    assert disk.log_growth(services, str(tmp_path / "gone")) == 6000
    for name, size in (("tts.log", 900), ("tts.log.1", 1000), ("tts.log.2.gz", 100),
                       ("stt.log", 5000), ("stt.log.old", 500)):  # fmt: skip
        (tmp_path / name).write_bytes(b"x" * size)
    assert disk.log_growth(services, str(tmp_path)) == 1000


def test_folders_of_caches() -> None:
    env = {"TTS_CACHE_DIR": ".cache/tts", "HF_CACHE_DIR": "/srv/hf", "X_CACHE_DIR": "", "Y": "z"}
    service = ServiceSpec("tts", ("x",), "/srv/atlas", env=env)
    assert disk.caches([service]) == ["/srv/atlas/.cache/tts", "/srv/hf"]


MOUNTS = [
    Mount("/", "ext4"),
    Mount("/srv", "nfs4"),
    Mount("/srv/disk", "xfs"),
    Mount("/run", "tmpfs"),
    Mount("/again", "xfs"),
    Mount("/again", "fuse.sshfs"),
]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/home/atlas", None),
        ("/srvless/atlas", None),
        ("/srv/disk/atlas", None),
        ("/srv", "is on nfs4, where locks and sockets"),
        ("/srv/atlas", "is on nfs4"),
        ("/again/atlas", "is on fuse.sshfs"),
        ("/run/atlas", "is on tmpfs, which a reboot empties"),
        ("/Users/a/Library/Mobile Documents/com~apple~CloudDocs/atlas", "is in iCloud Drive"),
        ("/Users/a/Library/CloudStorage/Dropbox/atlas", "is in a cloud's folder"),
        ("/Users/a/Dropbox/atlas", "is in Dropbox"),
        ("/Users/a/Dropboxes/atlas", None),
    ],
)
def test_places(path: str, words: str | None) -> None:
    fleet = FleetSpec(f"{path}/services.yaml", path, f"{path}/.atlas", "/var/log/atlas")
    found = list(mounts.places(fleet, MOUNTS))
    assert levels(found) == ([] if words is None else ["note"])
    assert all(words is not None and words in each.text for each in found)


def test_the_mounts_of_this_machine(tmp_path: Path) -> None:
    assert mounts.kind_of(str(tmp_path), mounts.mounts()) != ""


# Clock ---------------------------------------------------------------------------------------

MADE = 1_780_000_000.0
DAY, YEAR = 86400.0, 365.25 * 86400.0


@pytest.mark.parametrize(
    ("now", "made", "expected"),
    [
        (MADE, MADE, []),
        (MADE - 0.9 * DAY, MADE, []),
        (MADE - 1.1 * DAY, MADE, ["wrong"]),
        (0.0, MADE, ["wrong"]),
        (MADE + 9.9 * YEAR, MADE, []),
        (MADE + 10.1 * YEAR, MADE, ["note"]),
        (MADE, 0.0, []),
        (MADE, 1.0, []),
        (1_700_000_000.0, 1.0, ["wrong"]),
    ],
)
def test_clocks(now: float, made: float, expected: list[Level]) -> None:
    assert levels(clock.wall_clock(now, made)) == expected


def test_when_the_code_was_made(tmp_path: Path) -> None:
    assert clock.newest(str(tmp_path)) == 0.0
    (tmp_path / "deep").mkdir()
    for name, at in (("a.py", 100.0), ("deep/b.py", 300.0), ("deep/c.pyc", 500.0)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (at, at))
    assert clock.newest(str(tmp_path)) == 300.0


def test_entries_of_the_future() -> None:
    entries = journal("tts", (100.0, "a", "b", 1), (200.0, "a", "b", 1), (7300.0, "a", "b", 1))
    assert list(clock.future(entries, 7300.0)) == list(clock.future(entries, 7250.0)) == []
    (found,) = clock.future(entries, 100.0)
    assert (found.check, found.level) == ("clock", "note")
    assert "2 entries of the journal are of the future, by up to 2 h" in found.text
    (found,) = clock.future(entries, 200.0)
    assert "1 entry of the journal is of the future" in found.text


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, []),
        ({"TZ": "Europe/Kyiv"}, []),
        ({"TZ": ":Europe/Kyiv"}, []),
        ({"TZ": "EET-2EEST,M3.5.0/3,M10.5.0/4"}, []),
        ({"TZ": "<+03>-3"}, []),
        ({"TZ": ""}, []),
        ({"TZ": "Mars/Olympus"}, ["note"]),
        ({"TZ": "Europe"}, ["note"]),
    ],
)
def test_time_zones(environ: dict[str, str], expected: list[Level], tmp_path: Path) -> None:
    (tmp_path / "Europe").mkdir()
    (tmp_path / "Europe" / "Kyiv").touch()
    zones, local = str(tmp_path), str(tmp_path / "localtime")
    (tmp_path / "localtime").touch()
    assert levels(clock.time_zone(environ, zones, local)) == expected
    (tmp_path / "localtime").unlink()
    without = expected or ([] if "TZ" in environ else ["note"])
    assert levels(clock.time_zone(environ, zones, local)) == without


def test_the_clock_of_this_machine_is_well() -> None:
    made = clock.newest(str(Path(clock.__file__).parents[2]))
    assert list(clock.wall_clock(time.time(), made)) == []


# The Mac -------------------------------------------------------------------------------------


class Facts:
    """A machine that is made up."""

    def __init__(self, architecture: str, **sysctl: str) -> None:
        self._architecture = architecture
        self._sysctl = {name.replace("__", "."): value for name, value in sysctl.items()}

    def architecture(self) -> str:
        return self._architecture

    def sysctl(self, name: str) -> str | None:
        return self._sysctl.get(name)


def silicon(architecture: str = "arm64", release: str = "14.5") -> Facts:
    return Facts(
        architecture,
        hw__optional__arm64="1",
        hw__memsize=str(16 * GIB),
        machdep__cpu__brand_string="Apple M2",
        kern__osproductversion=release,
    )


@pytest.mark.parametrize(
    ("facts", "level", "words"),
    [
        (silicon(), "ok", "Apple M2, macOS 14.5, 16 GiB of memory, which the GPU (MPS) shares"),
        (silicon("x86_64"), "wrong", "this Python is for Intel and runs under Rosetta"),
        (silicon(release="13.7.1"), "note", "the GPU (MPS), is to be had from macOS 14 on"),
        (silicon(release="14.0"), "ok", "macOS 14.0"),
        (silicon(release="26.0"), "ok", "macOS 26.0"),
        (Facts("x86_64", kern__osproductversion="13.6"), "ok",
         "x86_64, macOS 13.6; no Apple GPU: models are computed on the CPU"),
        (Facts("arm64", hw__optional__arm64="1"), "ok", "macOS of unknown release"),
    ],
)  # fmt: skip
def test_macs(facts: Facts, level: Level, words: str) -> None:
    (found,) = mac.mac(facts)
    assert (found.check, found.level) == ("mac", level)
    assert words in found.text


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"PYTORCH_ENABLE_MPS_FALLBACK": "1"}, None),
        ({}, "PYTORCH_ENABLE_MPS_FALLBACK is not set"),
        ({"PYTORCH_ENABLE_MPS_FALLBACK": "0"}, "PYTORCH_ENABLE_MPS_FALLBACK is '0'"),
    ],
)
def test_what_mps_lacks(env: dict[str, str], words: str | None, tmp_path: Path) -> None:
    folder = str(tmp_path / "venv[1]")
    without = ServiceSpec("stt", ("x",), "/", env=env, venv=folder)
    assert list(mac.fallback(without, {})) == []
    (tmp_path / "venv[1]" / "lib" / "python3.12" / "site-packages" / "torch").mkdir(parents=True)
    found = list(mac.fallback(without, {}))
    assert levels(found) == ([] if words is None else ["note"])
    assert all(words is not None and words in each.text for each in found)
    # The doctor of its own looks at this, and knows what it does about it.
    told = ServiceSpec("tts", ("x",), "/", env=env, venv=folder, doctor=DoctorSpec(("x",)))
    assert list(mac.fallback(told, {})) == []


def test_facts_of_this_machine() -> None:
    machine = mac.Machine(lambda _: Outcome(None, ""))
    assert machine.architecture() == os.uname().machine
    assert machine.sysctl("hw.memsize") is None
