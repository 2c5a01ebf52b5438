"""Many services and much output: memory is measured, and nothing is lost."""

import sys
from pathlib import Path

from tests.e2e.conftest import SLEEPER, System, eventually

PSS_WITH_ONE = 40 * 1024
"""KiB that daemon and sink may use together."""


def pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise AssertionError("no Pss line")


def test_the_supervisor_stays_small(system: System) -> None:
    system.write({"a": {"command": SLEEPER}})
    system.ctl("up")
    daemon = system.status()["daemon"]
    if sys.platform == "linux":
        assert pss(daemon["pid"]) + pss(daemon["sink_pid"]) < PSS_WITH_ONE


def test_a_hundred_services_start_and_stop(system: System) -> None:
    system.write({f"s{n}": {"command": SLEEPER} for n in range(100)})
    system.ctl("up")
    assert {s["state"] for s in system.status()["services"]} == {"running"}
    system.ctl("down")
    assert system.processes() == []


def test_a_flood_is_written_whole_and_the_daemon_answers_meanwhile(system: System) -> None:
    lines, wide = 200_000, 100
    script = (
        f"for start in range(0, {lines}, 1000):\n"
        "    print('\\n'.join(f'{n:0%dd}' for n in range(start, start + 1000)))\n"
        % wide
        + "import time; time.sleep(999)"
    )
    system.write(
        {
            "flood": {
                "command": [sys.executable, "-S", "-c", script],
                "logs": {"max_size": "2MiB", "keep": 100},
            }
        }
    )
    system.ctl("up")
    assert system.service("flood")["state"] == "running"
    last = f"{lines - 1:0{wide}d}".encode()
    log = system.root / "logs" / "flood.log"
    eventually("the last line is written", lambda: last in log.read_bytes()[-4096:] or None)
    shown = system.ctl("logs", "--all", "flood").stdout
    numbers = [line for line in shown.splitlines() if "--- atlasctl" not in line]
    assert [int(line.removeprefix("flood | ")) for line in numbers] == list(range(lines))
    assert system.service("flood")["log_lost"] == 0
    assert len(list((system.root / "logs").glob("flood.log.*"))) >= 8
