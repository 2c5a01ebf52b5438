"""A real mishap told by `why`, and `events -f` through the death and the upgrade of daemons."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from supervisor import journal
from tests.e2e.conftest import CHECKOUT, DEADLINE, SLEEPER, System, eventually

QUICK = {"backoff": {"first": "10ms", "factor": 1, "jitter": 0}, "give_up": False}

FAILS_TWICE = """
import os, sys, time
attempt = len(os.listdir("attempts")) + 1
open(f"attempts/{attempt}", "w").close()
if attempt < 3:
    print("reading the model")
    print(f"the model is torn, attempt {attempt}", flush=True)
    sys.exit(3)
for number in range(700):
    print(f"spoken {number}")
sys.stdout.flush()
time.sleep(1000)
"""


def why(system: System, *names: str) -> str:
    told = system.ctl("why", *names, env={"COLUMNS": "80"}).stdout
    assert len(told.splitlines()) < 20, told
    assert max(map(len, told.splitlines())) <= 80, told
    return told


def test_the_story_of_a_crash_is_told_to_who_was_not_there(system: System) -> None:
    (system.root / "attempts").mkdir()
    (system.root / "speak.py").write_text(FAILS_TWICE)
    system.write({"tts": {"command": [sys.executable, "speak.py"], "restart": QUICK}})
    system.ctl("up")
    log = system.root / "logs" / "tts.log"
    eventually("the third has spoken", lambda: "spoken 699" in log.read_text())
    told = why(system, "tts")
    assert "tts is running since" in told
    assert "restarted twice" in " ".join(told.split())
    assert "run 1 exited with code 3\n" in told
    assert "  → restart 1 in 0.01 s\n" in told
    assert "last words of run 2" in told
    assert told.endswith("  reading the model\n  the model is torn, attempt 2\n")
    record = json.loads(system.ctl("why", "tts", "--json").stdout)
    by_seq = {event["seq"]: event for event in record["events"]}
    restarts = [event for event in by_seq.values() if event["topic"] == "restarting"]
    assert [[by_seq[seq]["topic"] for seq in e["because"]] for e in restarts] == [["exited"]] * 2


def test_a_killed_supervisor_is_part_of_the_story(system: System) -> None:
    system.write({"tts": {"command": SLEEPER}})
    system.ctl("up")
    pid = system.service("tts")["pid"]
    assert "nothing has gone wrong since" in " ".join(why(system, "tts").split())
    system.kill_daemon()
    told = " ".join(why(system, "tts").split())
    assert f"one that was killed has left tts (pid {pid}) running" in told
    system.ctl("up")
    told = " ".join(why(system, "tts").split())
    assert "Run 1 was not disturbed: it has run for" in told
    assert "a new supervisor starts" in told
    assert f"→ run 1 (pid {pid}) goes on undisturbed under this supervisor" in told


def test_one_that_waits_leads_to_the_root(system: System) -> None:
    never = {"policy": "never"}
    system.write(
        {
            "web": {"command": SLEEPER, "depends_on": {"tts": "completed"}},
            "fine": {"command": SLEEPER},
            "tts": {"command": ["sh", "-c", "echo no voice; exit 1"], "restart": never},
        }
    )
    system.ctl("up", "--timeout", "20s", check=1)
    eventually("tts has failed", lambda: system.service("tts")["state"] == "failed")
    log = system.root / "logs" / "tts.log"
    eventually("its words are in the log", lambda: "no voice" in log.read_text())
    told = why(system)
    assert told.startswith("tts failed at ")
    assert "  no voice\n" in told
    assert "web is blocked, too: waiting for tts, which failed" in told
    assert "atlasctl why tts" in " ".join(why(system, "web").split())


class Following:
    """`events -f --json` in a process of its own, its output in files."""

    def __init__(self, system: System) -> None:
        self.out = system.root / "followed.ndjson"
        self.err = system.root / "followed.err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            command = [sys.executable, "-m", "supervisor.cli", "-c", str(system.config)]
            self.process = subprocess.Popen(
                [*command, "events", "-f", "--json", "-n", "1000"],
                cwd=CHECKOUT,
                stdout=out,
                stderr=err,
            )

    def seqs(self) -> list[int]:
        return [json.loads(line)["seq"] for line in self.out.read_text().splitlines()]

    def says(self, words: str, count: int = 1) -> None:
        """Wait until it has told its reader so often."""
        eventually(
            f"it says {words!r} {count} times",
            lambda: self.err.read_text().count(words) >= count,
        )

    def has(self, topic: str, count: int = 1) -> None:
        wanted = f'"topic":"{topic}"'
        eventually(
            f"{count} × {topic} is followed", lambda: self.out.read_text().count(wanted) >= count
        )


@pytest.fixture
def following(system: System) -> Iterator[Following]:
    system.write({"a": {"command": SLEEPER, "restart": QUICK}})
    system.ctl("up")
    made = Following(system)
    # What it prints first is from the disk: it is told of a kill only once it has connected.
    eventually("it has asked", lambda: psutil.Process(made.process.pid).net_connections("unix"))
    yield made
    made.process.kill()
    made.process.wait(DEADLINE)


def on_disk(system: System) -> list[int]:
    return [entry.seq for entry in journal.read(str(system.state_dir))]


def test_nothing_is_missed_or_doubled_through_kills_and_upgrades(
    system: System, following: Following
) -> None:
    following.has("started")
    for deaths in (1, 2):
        system.kill_daemon()
        following.says("is gone", deaths)
        # While no daemon is there to see it.
        os.kill(_pid(system.root), signal.SIGKILL)
        system.ctl("up")
        following.has("daemon-started", 1 + deaths)
        system.ctl("upgrade")
        following.has("upgraded", deaths)
        before = system.seq()
        os.kill(system.service("a")["pid"], signal.SIGKILL)
        system.event("started", "a", after=before)
    system.ctl("down")
    assert following.process.wait(DEADLINE) == 3
    assert following.seqs() == on_disk(system)
    assert following.seqs() == list(range(1, len(following.seqs()) + 1))
    said = following.err.read_text()
    assert said.count("is gone; services go on without it") == 2
    assert said.count("a supervisor runs again") == 2
    assert "the supervisor has ended, and with it the events" in said


def _pid(root: Path) -> int:
    return int((root / "logs" / "a.pid").read_text())


def test_who_reads_slowly_misses_nothing(system: System, following: Following) -> None:
    following.has("started")
    os.kill(following.process.pid, signal.SIGSTOP)
    try:
        for _ in range(3):
            system.ctl("restart", "a")
        system.kill_daemon()
        system.ctl("up")
    finally:
        os.kill(following.process.pid, signal.SIGCONT)
    system.ctl("down")
    following.process.wait(DEADLINE)
    assert following.seqs() == on_disk(system)


def test_ctrl_c_ends_a_wait_for_another_daemon(system: System, following: Following) -> None:
    following.has("started")
    system.kill_daemon()
    following.says("is gone")
    with contextlib.suppress(ProcessLookupError):
        following.process.send_signal(signal.SIGINT)
    assert following.process.wait(DEADLINE) == 130
