"""A service that writes numbered lines without end, and the proof that its log has them all."""

import sys
from pathlib import Path

from tests.e2e.conftest import System, eventually
from tests.logs.conftest import Control

_WRITER = str(Path(__file__).parent / "children" / "writer.py")
_FAST = {"backoff": {"first": "10ms", "factor": 1, "jitter": 0}, "give_up": False}


def writer(system: System) -> dict[str, object]:
    """Return the YAML of the service; its log is rotated about every second."""
    counts = system.root / "counts"
    counts.mkdir(exist_ok=True)
    return {
        "command": [sys.executable, "-I", "-S", _WRITER, str(counts)],
        "restart": _FAST,
        "logs": {"max_size": "256KiB", "keep": 1000},
    }


def stop_writer(system: System) -> None:
    """Stop it, and have the sink write what it printed last: nobody waits for that at a stop."""
    system.ctl("stop", "writer")
    eventually("its last lines are in the log", lambda: _is_flushed(system))


def _is_flushed(system: System) -> bool:
    """Ask the sink that serves; one that is just being replaced is followed by another."""
    sink = Control(system.state_dir / "sink.sock")
    try:
        return sink.ask("flush", name="writer")["ok"] is True
    except EOFError:
        return False
    finally:
        sink.close()


def assert_lines_are_whole(system: System) -> None:
    """Each run's lines stand in the log in order and once, as many as it has counted."""
    stop_writer(system)
    counts = {
        int(path.stem): int(path.read_text() or 0)
        for path in (system.root / "counts").glob("*.count")
    }
    found: dict[int, int] = dict.fromkeys(counts, 0)
    latest = 0
    text = system.ctl("logs", "--all", "writer").stdout
    for line in text.splitlines():
        if line.startswith("--- atlasctl"):
            continue
        words = line.split(" ")
        assert len(words) == 3, f"no line of the writer: {line!r}"
        run, number = int(words[0]), int(words[1])
        assert words[2] == "x" * (number * 7 % 97), f"a damaged line: {line!r}"
        assert run >= latest, f"run {run} after run {latest}"
        latest = run
        assert number == found[run], f"run {run}: line {number} where {found[run]} was due"
        found[run] += 1
    archives = len(list((system.root / "logs").glob("writer.log.*")))
    print(f"{sum(found.values())} lines of {len(found)} runs in {archives + 1} files")
    short = {
        run: (counts[run], found[run])
        for run in counts
        if not counts[run] <= found[run] <= counts[run] + 1
    }
    assert not short, f"run: (written, found in the log): {short}"
