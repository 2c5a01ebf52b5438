"""`clean` while services print and while things die: each line once, in the archive or the log."""

import gzip
import os
import signal
from pathlib import Path

import psutil

from supervisor.logs.rotation import reading_order
from tests.e2e.conftest import SLEEPER, System, eventually
from tests.e2e.lines import stop_writer
from tests.e2e.lines import writer as numbered_lines


def writer(system: System) -> dict[str, object]:
    return {**numbered_lines(system), "logs": {"max_size": "16KiB", "keep": 1000}}


def _text(path: Path) -> str:
    raw = path.read_bytes()
    return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()


def _archived(folder: Path, base: str) -> str:
    """The log of this name in an archive, where the current file is gzipped too."""
    older = reading_order(os.listdir(folder), base)
    current = [f"{base}.gz"] if (folder / f"{base}.gz").exists() else []
    return "".join(_text(folder / name) for name in (*older, *current))


def _lines(system: System) -> list[str]:
    logs = system.root / "logs"
    parts = [_archived(folder, "writer.log") for folder in sorted((logs / "archive").glob("2*"))]
    parts += [_text(logs / name) for name in reading_order(os.listdir(logs), "writer.log")]
    lines = "".join(parts).splitlines()
    return [line for line in lines if not line.startswith("--- atlasctl")]


def assert_each_line_once(system: System) -> None:
    """All lines of the one run stand in archives and log, in order, as many as it has counted."""
    stop_writer(system)
    count = int((system.root / "counts" / "1.count").read_text())
    numbers = [int(line.split(" ")[1]) for line in _lines(system)]
    assert numbers == list(range(len(numbers)))
    assert count <= len(numbers) <= count + 1


def _written(system: System) -> int:
    count = system.root / "counts" / "1.count"
    return int(count.read_text() or 0) if count.exists() else 0  # it has only just been started


def _more(system: System) -> None:
    """Wait until the writer has printed enough for its log to have been rotated."""
    before = _written(system)
    eventually("it has printed more", lambda: _written(system) > before + 800 or None)


def test_no_line_is_lost_while_it_prints(system: System) -> None:
    system.write({"writer": writer(system), "idle": {"command": SLEEPER}})
    system.ctl("up")
    pid = system.service("writer")["pid"]
    for _ in range(3):
        _more(system)
        assert "archived " in system.ctl("clean", "--keep", "9").stdout
    assert system.service("writer")["pid"] == pid, "nothing was restarted for it"
    assert (system.root / "logs" / "writer.pid").read_text() == f"{pid}\n"
    assert_each_line_once(system)


def test_the_sink_moves_it_also_when_the_supervisor_is_dead(system: System) -> None:
    system.write({"writer": writer(system)})
    system.ctl("up")
    _more(system)
    system.kill_daemon()
    system.ctl("clean")
    _more(system)
    system.ctl("clean")
    system.ctl("up")
    _more(system)
    assert_each_line_once(system)


def test_with_the_sink_dead_too_nothing_can_take_its_place_meanwhile(system: System) -> None:
    system.write({"writer": writer(system)})
    system.ctl("up")
    _more(system)
    sink = psutil.Process(system.status()["daemon"]["sink_pid"])
    system.kill_daemon()
    sink.send_signal(signal.SIGKILL)
    eventually("the sink is gone", lambda: not sink.is_running() or None)
    system.ctl("clean")
    system.ctl("up")
    _more(system)
    assert_each_line_once(system)


def test_an_old_pid_file_and_a_dump_go_along_and_those_of_runs_stay(system: System) -> None:
    system.write({"a": {"command": SLEEPER}, "b": {"command": SLEEPER, "enabled": False}})
    system.ctl("up")
    logs = system.root / "logs"
    (logs / "b.pid").write_text(f"{2**22 + 1}\n")
    (logs / "a.dump-1.txt").write_text("Thread 1\n")
    os.utime(logs / "a.dump-1.txt", (0, 0))
    system.ctl("clean")
    (archive,) = (logs / "archive").glob("2*")
    names = {path.name for path in archive.iterdir()} - {".times"}
    assert names == {"a.dump-1.txt.gz", "a.log.gz", "b.pid.gz"}
    assert (logs / "a.pid").read_text() == f"{system.service('a')['pid']}\n"
    told = system.ctl("logs", "a")
    assert "nothing has been written yet" in told.stderr
