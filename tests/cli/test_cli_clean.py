"""`clean` without a supervisor: what goes to the archive, what stays, and what no trouble loses."""

import gzip
import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from supervisor.cli.clean import move_lone
from supervisor.posix.lock import DaemonLock
from tests.cli.fleets import Ctl

YAML = """\
version: 1
services:
  tts: {command: [sleep, "1000"]}
  stt: {command: [sleep, "1000"]}
"""

CHECKOUT = Path(__file__).parents[2]
DEADLINE = 30.0
DEAD_PID = 2**22 + 1  # above the kernel's largest (PID_MAX_LIMIT), and macOS's

FILES = {
    "tts.log": "tts, now\n",
    "tts.log.1": "tts, before\n",
    "tts.log.2.gz": "tts, long ago\n",
    "stt.log": "stt\n",
    "tts.pid": f"{DEAD_PID}\n",
    "tts.dump-1.txt": "Thread 1\n",
}


@pytest.fixture
def logs(root: Path) -> Path:
    """The folder of logs, with some of everything that is two minutes old."""
    folder = root / "logs"
    (folder / ".times").mkdir(parents=True)
    for name, text in FILES.items():
        put(folder / name, text)
    (folder / ".times" / "tts.log.times").write_text("0 1.000\n")
    return folder


def put(path: Path, text: str) -> None:
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    os.utime(path, (time.time() - 120, time.time() - 120))


def archives(logs: Path) -> list[Path]:
    return sorted(path for path in (logs / "archive").glob("*") if path.name[0] == "2")


def make_archive(logs: Path, name: str) -> None:
    """Make an archive of earlier."""
    (logs / "archive" / name).mkdir(parents=True)
    (logs / "archive" / name / "tts.log.gz").write_bytes(gzip.compress(b"old\n"))


def content(folder: Path) -> dict[str, str]:
    """The files of an archive, all of them packed, as they were before."""
    return {
        name.removesuffix(".gz"): gzip.decompress((folder / name).read_bytes()).decode()
        for name in sorted(os.listdir(folder))
        if name != ".times"
    }


def test_all_of_every_service_goes_to_a_packed_archive(logs: Path, ctl: Ctl) -> None:
    code, out, err = ctl("clean")
    (archive,) = archives(logs)
    assert content(archive) == {name.removesuffix(".gz"): text for name, text in FILES.items()}
    assert (archive / ".times" / "tts.log.times").read_text() == "0 1.000\n"
    assert sorted(os.listdir(logs)) == [".times", "archive"]
    assert os.listdir(logs / ".times") == []
    assert (code, err) == (0, "")
    assert out.startswith("archived 6 files (")
    assert f"in logs/archive/{archive.name}\n" in out
    assert archive.stat().st_mode & 0o777 == 0o700
    assert (archive / "tts.log.gz").stat().st_mode & 0o777 == 0o600


def test_there_may_be_nothing_to_archive(root: Path, ctl: Ctl) -> None:
    assert ctl("clean") == (0, "nothing to archive\n", "")
    assert not (root / "logs").exists()
    (root / "logs").mkdir()
    (root / "logs" / "tts.log").touch()
    assert ctl("clean") == (0, "nothing to archive\n", "")
    assert (root / "logs" / "tts.log").exists()


def test_only_what_was_named(logs: Path, ctl: Ctl) -> None:
    put(logs / "old.log", "old\n")
    code, out, _ = ctl("clean", "stt")
    assert code == 0
    assert "old.log" not in out
    assert content(archives(logs)[0]) == {"stt.log": "stt\n"}
    assert (logs / "tts.log").read_text() == "tts, now\n"


def test_what_lives_or_is_just_being_made_stays(logs: Path, ctl: Ctl) -> None:
    put(logs / "tts.pid", f"{os.getpid()}\n")
    (logs / "tts.dump-2.txt").write_text("Thread 2\n")
    assert "tts.pid" not in ctl("clean", "--dry-run")[1]
    _, out, _ = ctl("clean")
    assert (logs / "tts.pid").read_text() == f"{os.getpid()}\n"
    assert (logs / "tts.dump-2.txt").exists()
    assert "left tts.dump-2.txt: may still be being written\n" in out
    assert "tts.pid" not in out


def test_a_pid_file_that_a_daemon_has_just_written_is_put_back(logs: Path, tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    put(logs / "tts.pid", f"{os.getpid()}\n")
    move_lone(str(logs), "tts.pid", str(tmp_path / "away"))
    assert (logs / "tts.pid").read_text() == f"{os.getpid()}\n"
    assert os.listdir(tmp_path / "away") == []


def test_what_no_service_writes_is_named_and_left(logs: Path, ctl: Ctl) -> None:
    for name in (
        "old.log",
        "old.log.1",
        "whisper.out",
        "tts.txt",
        "tts.log.bak",
        "orchestrator.pid",
    ):
        put(logs / name, name)
    before = sorted(os.listdir(logs))
    _, out, _ = ctl("clean")
    strangers = "old.log, old.log.1, orchestrator.pid, tts.log.bak, tts.txt and whisper.out"
    assert f"writes there: {strangers}; to archive that too: atlasctl clean --all\n" in out
    assert {"old.log", "old.log.1", "tts.txt", "tts.log.bak"} < set(os.listdir(logs))
    code, out, _ = ctl("clean", "--all")
    assert code == 0
    assert sorted(content(archives(logs)[-1])) == sorted(
        name for name in before if not name.startswith(".") and name not in FILES
    )
    assert sorted(os.listdir(logs)) == [".times", "archive"]


def test_what_somebody_writes_or_lives_by_is_left_even_then(logs: Path, ctl: Ctl) -> None:
    put(logs / "old.log.1", "old\n")
    put(logs / "old.pid", f"{os.getpid()}\n")
    with (logs / "old.log").open("w") as output:
        # It prints when it has everything open, and ends when its input does.
        writer = subprocess.Popen(
            [sys.executable, "-c", "print(flush=True); input()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
        )
    assert writer.stdin is not None
    assert writer.stdout is not None
    try:
        writer.stdout.readline()
        code, out, _ = ctl("clean", "--all")
        assert code == 0
        assert f"left old.log: pid {writer.pid} has it open: end that process first\n" in out
        assert f"left old.log.1: pid {writer.pid}" in out
        assert "left old.pid: names a process that lives\n" in out
    finally:
        writer.communicate(b"\n")
        writer.stdin.close()
    assert {"old.log", "old.log.1", "old.pid"} < set(os.listdir(logs))


def test_only_the_newest_archives_stay_and_nothing_else_is_touched(logs: Path, ctl: Ctl) -> None:
    folder = logs / "archive"
    (folder / "elsewhere").mkdir(parents=True)
    (folder / "2026-01-01_000000").symlink_to(folder / "elsewhere")
    for name in (
        "2025-03-01_120000-10",
        "2025-03-01_120000-9",
        "2025-02-01_000000",
        "2025",
        "mine",
    ):
        make_archive(logs, name)
    (folder / "2025-04-01_000000").mkdir()  # nothing had come into it: it is none that is kept
    (folder / "2025-01-01_000000").write_text("a file of that name")
    code, out, _ = ctl("clean", "--keep", "2")
    assert code == 0
    assert "removed logs/archive/2025-02-01_000000 (--keep 2)\n" in out
    assert "removed logs/archive/2025-03-01_120000-9 (--keep 2)\n" in out
    new = [path.name for path in archives(logs) if path.name > "2026-01-02"]
    assert sorted(set(os.listdir(folder)) - {".lock", *new}) == [
        "2025",
        "2025-01-01_000000",
        "2025-03-01_120000-10",
        "2026-01-01_000000",
        "elsewhere",
        "mine",
    ]
    assert len(new) == 1


def test_a_clock_that_was_set_back_does_not_remove_what_is_new(logs: Path, ctl: Ctl) -> None:
    for name in ("2999-01-01_000000", "2999-01-02_000000"):
        make_archive(logs, name)
    assert ctl("clean", "--keep", "1")[0] == 0
    (archive,) = archives(logs)
    assert "tts.log" in content(archive)


def test_a_dry_run_changes_nothing(logs: Path, ctl: Ctl) -> None:
    make_archive(logs, "2025-03-01_120000")
    before = sorted(map(str, logs.rglob("*")))
    code, out, err = ctl("clean", "--dry-run", "--keep", "1")
    assert (code, err) == (0, "")
    assert "would archive tts.log (9 B)\n" in out
    assert "would remove logs/archive/2025-03-01_120000\n" in out
    assert sorted(map(str, logs.rglob("*"))) == before
    told = json.loads(ctl("clean", "--dry-run", "--json")[1])
    assert (told["ok"], told["archive"], told["removed"]) == (True, None, [])
    assert sorted(each["name"] for each in told["files"]) == sorted(FILES)


def test_for_scripts(logs: Path, ctl: Ctl) -> None:
    put(logs / "old.log", "old\n")
    code, out, _ = ctl("clean", "--json")
    told = json.loads(out)
    assert (code, told["ok"], told["problems"]) == (0, True, [])
    assert told["archive"] == str(archives(logs)[0])
    assert {"name": "tts.log", "bytes": 9} in told["files"]
    why = "no service of this configuration writes it"
    assert told["left"] == [{"name": "old.log", "why": why}]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--keep", "0"), "--keep 0 would remove what was just archived; keep 1 or more"),
        (("--keep", "many"), "'many' is not a number"),
        (("--all", "tts"), "services are named"),
        (("tss",), "no service is called 'tss'; did you mean tts?"),
    ],
)
def test_what_makes_no_sense(
    logs: Path, ctl: Ctl, arguments: tuple[str, ...], complaint: str
) -> None:
    code, _, err = ctl("clean", *arguments)
    assert code == 2
    assert complaint in err
    assert set(FILES) < set(os.listdir(logs))


def test_two_at_once_are_one_after_the_other(logs: Path, ctl: Ctl) -> None:
    (logs / "archive").mkdir()
    lock = DaemonLock.acquire(str(logs / "archive" / ".lock"))
    try:
        code, _, err = ctl("clean")
        assert code == 1
        assert f"another clean (pid {os.getpid()}) is at work in logs/archive" in err
        assert set(FILES) < set(os.listdir(logs))
    finally:
        lock.release()
    assert ctl("clean")[0] == 0


def test_an_archive_elsewhere_is_refused_in_words(logs: Path, ctl: Ctl) -> None:
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == logs.stat().st_dev:
        pytest.skip("there is no second file system to try it with")
    folder = shm / f"atlasctl-test-{os.getpid()}"
    folder.mkdir()
    try:
        (logs / "archive").symlink_to(folder)
        code, _, err = ctl("clean")
        assert code == 1
        assert "logs/archive is on another file system than the logs; put a folder" in err
        assert set(FILES) < set(os.listdir(logs))
        assert os.listdir(folder) == [".lock"]
    finally:
        (folder / ".lock").unlink(missing_ok=True)
        folder.rmdir()


# What must not be lost -----------------------------------------------------------------------


def start(root: Path, *, largest: int | None = None) -> subprocess.Popen[str]:
    """Run clean in a process of its own, in which a file may be only so many bytes long."""

    def bound() -> None:
        if largest is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

    return subprocess.Popen(
        [sys.executable, "-m", "supervisor.cli", "-c", str(root / "services.yaml"), "clean"],
        cwd=CHECKOUT,
        # Python 3.11 takes half a .pyc, which is all that the limit lets it write, for a whole one:
        # nobody could import that module any more.
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=bound,
    )


def everything(logs: Path) -> list[str]:
    """What is in the logs and in all archives; a raw file beside its gzip is one."""
    found: dict[Path, str] = {}
    for path in logs.rglob("*.log*"):
        if path.suffix == ".tmp" or ".times" in path.parts:
            continue
        raw = path.read_bytes()
        whole = gzip.decompress(raw) if path.suffix == ".gz" else raw
        found[path.with_name(path.name.removesuffix(".gz"))] = whole.decode()
    return sorted(found.values())


def test_a_full_disk_loses_nothing_and_removes_nothing(root: Path, logs: Path) -> None:
    # A thousand numbers at random do not fit into 4 KiB, gzipped or not.
    numbers = "".join(f"{random.random()}\n" for _ in range(1000))
    put(logs / "tts.log", numbers)
    for month in range(1, 8):
        make_archive(logs, f"2025-0{month}-01_000000")
    process = start(root, largest=4096)
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    assert "archived 6 files" in out
    assert "tts.log could not be packed: File too large; it is whole, and the next clean" in err
    archive = archives(logs)[-1]
    assert (archive / "tts.log").read_text() == numbers
    assert len(archives(logs)) == 8, "older archives stay while the new one is not as it should be"
    process = start(root)
    out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, err) == (0, "")
    assert content(archive)["tts.log"] == numbers
    assert len(archives(logs)) == 5


@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGKILL])
def test_whatever_interrupts_it_nothing_is_lost_or_doubled(
    root: Path, logs: Path, with_signal: signal.Signals
) -> None:
    names = [f"s{n}" for n in range(20)]
    (root / "services.yaml").write_text(
        "version: 1\nservices:\n" + "".join(f"  {n}: {{command: [sleep, '9']}}\n" for n in names)
    )
    for name in names:
        for part in ("", ".1", ".2"):
            put(logs / f"{name}.log{part}", f"{name}{part}\n" * 5000)
    before = everything(logs)
    codes = []
    pause = threading.Event()
    for looks in range(0, 60, 12):
        process = start(root)
        # So far it gets, whatever the machine's speed: from the first move to the last gzip.
        while process.poll() is None and len(list(logs.rglob("*.gz"))) < looks:
            pause.wait(0.001)
        process.send_signal(with_signal)
        _, err = process.communicate(timeout=DEADLINE)
        codes.append(process.returncode)
        assert everything(logs) == before
        if process.returncode == 130:
            assert "interrupted: " in err
    process = start(root)
    _, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, err) == (0, "")
    assert everything(logs) == before
    assert {path.suffix for archive in archives(logs) for path in archive.glob("s*")} == {".gz"}
    assert any(code in (130, -with_signal) for code in codes)
