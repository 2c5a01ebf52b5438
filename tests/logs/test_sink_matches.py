"""A real sink looks for patterns in what comes through a real FIFO, and tells its subscriber."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from supervisor.core.pattern import Pattern
from supervisor.logs.conversation import Conversation
from supervisor.logs.reports import MOST_WAITING, Reports

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Control, SinkHost

    Await = Callable[[Callable[[], object], str], None]

CHILDREN = Path(__file__).parent / "children"
OOM = "out of memory"


def start(host: SinkHost, way: str = "splice") -> Control:
    """Start a sink that moves bytes in this way."""
    if way == "splice":
        return host.start()
    host.process = subprocess.Popen(
        [sys.executable, str(CHILDREN / "journal_sink.py"), str(host.state)],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    return host.connect()


def subscribe(host: SinkHost) -> Control:
    told = host.connect()
    assert told.ask("subscribe") == {"ok": True}
    return told


def match(control: Control) -> dict[str, object]:
    """Wait for what the sink says next."""
    said = control.receive()
    found = said["match"]
    assert list(said) == ["match"]
    assert isinstance(found, dict)
    return found


def matches(control: Control, times: int) -> list[dict[str, object]]:
    """Wait until so many lines were told, in as many reports as that takes."""
    found = [match(control)]
    while sum(int(str(each["times"])) for each in found) < times:
        found.append(match(control))
    assert sum(int(str(each["times"])) for each in found) == times
    return found


def silent(control: Control) -> bool:
    """Tell that nothing has been said; a flush before it makes that sure."""
    return not control.unread and not select.select([control.socket], [], [], 0)[0]


def flush(control: Control, name: str = "tts") -> None:
    assert control.ask("flush", name=name)["ok"] is True


@pytest.mark.parametrize("way", ["splice", "journal"])
def test_a_line_is_told_whatever_pieces_it_comes_in(host: SinkHost, way: str) -> None:
    held = host.fifo("tts")
    control = start(host, way)
    host.attach(control, "tts", patterns=[OOM, "disk * full"], run=7)
    told = subscribe(host)
    for piece in (b"\x1b[31mCUDA out\x1b[0m of mem", b"ory\xff\n", b"\xffdisk sda", b" full\nx"):
        os.write(held, piece)
        flush(control)
    assert match(told) == {
        "name": "tts",
        "pattern": OOM,
        "run": 7,
        "line": "CUDA out of memory�",
        "times": 1,
    }
    assert match(told)["line"] == "�disk sda full"
    assert silent(told)
    assert host.content("tts").endswith(b"\xffdisk sda full\nx")


@pytest.mark.parametrize("way", ["splice", "journal"])
def test_no_line_is_missed_or_counted_twice_in_a_flood_with_rotations(
    host: SinkHost, way: str
) -> None:
    held = host.fifo("tts")
    control = start(host, way)
    host.attach(control, "tts", max_size=20_000, keep=2, patterns=["99 ", "\\* none"])
    told = subscribe(host)
    count = 20_000
    script = str(CHILDREN / "numbered_lines.py")
    arguments = [sys.executable, script, str(count), "1", "120"]
    subprocess.run(arguments, stdout=held, check=True)
    flush(control)
    first, *_ = matches(told, count // 100)
    assert str(first["line"]).startswith("99 x")
    flush(control)
    assert silent(told)
    assert (host.logs / "tts.log.2").exists()


def test_a_flood_of_matches_is_told_once_a_second_with_their_number(host: SinkHost) -> None:
    held = host.fifo("tts")
    control = host.start()
    host.attach(control, "tts", patterns=[OOM])
    told = subscribe(host)
    began = time.monotonic()
    os.write(held, b"first out of memory\n")
    flush(control)
    for number in range(1000):
        os.write(held, b"%d: out of memory\n" % number)
        flush(control)
    reports = matches(told, 1001)
    assert (reports[0]["line"], reports[0]["times"]) == ("first out of memory", 1)
    assert reports[1]["line"] == "0: out of memory"
    assert len(reports) <= 2 + (time.monotonic() - began)


def test_a_mark_parts_the_runs(host: SinkHost) -> None:
    held = host.fifo("tts")
    control = host.start()
    host.attach(control, "tts", patterns=[OOM])
    told = subscribe(host)
    assert control.ask("mark", name="tts", text="run 7 begins: out of memory", run=7)["ok"] is True
    os.write(held, b"seven, out of memory without a newline")
    control.ask("mark", name="tts", text="run 7 exited")
    os.write(held, b"of neither\n")
    control.ask("mark", name="tts", text="run 8 begins", run=8)
    os.write(held, b"eight, out of memory\n")
    flush(control)
    first, second = match(told), match(told)
    assert (first["run"], first["line"]) == (7, "seven, out of memory without a newline")
    assert (second["run"], second["line"]) == (8, "eight, out of memory")
    assert silent(told)
    error = control.ask("mark", name="tts", text="x", run="8")["error"]
    assert "run must be a whole number" in str(error)


def test_what_is_found_while_nobody_listens_is_told_to_the_next(
    host: SinkHost, eventually: Await
) -> None:
    held = host.fifo("tts")
    control = host.start()
    host.attach(control, "tts", patterns=[OOM, "x"], run=1)
    for number in range(3):
        os.write(held, b"%d: out of memory\n" % number)
        flush(control)
    control.ask("mark", name="tts", text="run 2 begins", run=2)
    os.write(held, b"x\n")
    flush(control)
    control.close()
    told = subscribe(host)
    assert match(told) == {
        "name": "tts",
        "pattern": OOM,
        "run": 1,
        "line": "0: out of memory",
        "times": 3,
    }
    assert match(told)["run"] == 2
    # The one who has subscribed last is told, also when the one before is still there.
    other = subscribe(host)
    control = host.connect()
    os.write(held, b"3: out of memory\n")
    flush(control)
    assert match(other)["line"] == "3: out of memory"
    assert silent(told)
    # When it is gone, matches are kept again.
    other.close()
    eventually(lambda: connections(host) == 2, "its end is noticed")
    os.write(held, b"x again\n")
    flush(control)
    assert match(subscribe(host))["line"] == "x again"


def connections(host: SinkHost) -> int:
    """How many control connections the sink has; on each a Unix socket, as its listener is."""
    assert host.process is not None
    return len(psutil.Process(host.process.pid).net_connections("unix")) - 1


def test_a_subscriber_that_does_not_read_costs_nothing_and_loses_little(host: SinkHost) -> None:
    held = host.fifo("tts")
    control = host.start()
    patterns = [f"{number:02d}" for number in range(30)]
    host.attach(control, "tts", patterns=patterns)
    told = subscribe(host)
    for run in range(400):
        control.ask("mark", name="tts", text=f"run {run} begins", run=run)
        os.write(held, " ".join(patterns).encode() + b" " + b"z" * 300 + b"\n")
        flush(control)
    latest: dict[object, object] = {}
    received = 0
    while latest != dict.fromkeys(patterns, 399):
        found = match(told)
        received += 1
        latest[found["pattern"]] = found["run"]
    assert received < 400 * 30
    flush(control)


def test_patterns_and_run_stay_as_they_are_where_an_attach_says_nothing(host: SinkHost) -> None:
    """So does a daemon of an older version."""
    held = host.fifo("tts")
    control = host.start()
    host.attach(control, "tts", patterns=[OOM], run=5)
    told = subscribe(host)
    assert host.attach(control, "tts", max_size=8192) == {"ok": True}
    os.write(held, b"out of memory\n")
    flush(control)
    assert match(told)["run"] == 5
    host.attach(control, "tts", patterns=[])
    os.write(held, b"out of memory\n")
    flush(control)
    assert silent(told)
    host.attach(control, "tts", patterns=["disk full"], run=None)
    os.write(held, b"out of memory, disk full\n")
    flush(control)
    assert (found := match(told))["pattern"] == "disk full"
    assert found["run"] is None


def test_a_new_sink_knows_the_half_line_that_the_old_one_wrote(host: SinkHost) -> None:
    held = host.fifo("tts")
    control = host.start()
    host.attach(control, "tts", patterns=[OOM])
    os.write(held, b"whole\nCUDA out of")
    flush(control)
    host.kill()
    os.write(held, b" memory\nmore\n")
    control = host.start()
    host.attach(control, "tts", patterns=[OOM])
    told = subscribe(host)
    flush(control)
    assert match(told)["line"] == "CUDA out of memory"


def test_lines_that_cannot_be_written_are_looked_at_all_the_same(
    host: SinkHost, eventually: Await
) -> None:
    held = host.fifo("tts")
    host.logs.write_bytes(b"in the way")
    control = host.start()
    reply = host.attach(control, "tts", patterns=[OOM], run=2)
    assert reply["attached"] is True
    told = subscribe(host)
    os.write(held, b"lost out of memory\nhalf: out of")
    flush(control)
    assert (found := match(told))["line"] == "lost out of memory"
    assert found["run"] == 2
    assert control.ask("mark", name="tts", text="run 3 begins", run=3)["ok"] is False
    host.logs.unlink()
    eventually(lambda: host.log("tts").exists(), "the log is opened again")
    os.write(held, b"torn: out of memory\nwritten: out of memory\n")
    flush(control)
    torn, *more = matches(told, 2)
    assert (torn["run"], torn["line"]) == (3, "torn: out of memory")
    assert all(each["line"] == "written: out of memory" for each in more)


def test_a_long_line_is_told_in_short(host: SinkHost) -> None:
    held = host.fifo("tts")
    control = host.start()
    host.attach(control, "tts", max_size=8192, patterns=[OOM])
    told = subscribe(host)
    os.write(held, "ї\t\x07".encode() * 1000 + b"out of memory" + b"y" * 30_000)
    flush(control)
    found = match(told)
    assert found["line"] == ("ї  " * 100).strip()
    os.write(held, b"out of memory\n")
    flush(control)
    assert silent(told)


def test_a_log_cut_off_by_hand_is_gone_on_with(host: SinkHost) -> None:
    held = host.fifo("tts")
    control = host.start()
    host.attach(control, "tts", patterns=[OOM])
    told = subscribe(host)
    os.write(held, b"x" * 5000 + b"\n")
    flush(control)
    os.truncate(host.log("tts"), 0)
    os.write(held, b"out of memory\n")
    flush(control)
    assert match(told)["line"] == OOM


@pytest.mark.parametrize(
    ("patterns", "says"),
    [
        ("text", "patterns must be a list of strings"),
        ([1], "patterns must be a list of strings"),
        (["*"], "a pattern of nothing but stars"),
        ([str(number) for number in range(33)], "33 patterns: give 32 at most"),
    ],
)
def test_what_is_no_pattern_is_refused_and_the_log_is_written(
    host: SinkHost, patterns: object, says: str
) -> None:
    held = host.fifo("tts")
    control = host.start()
    reply = host.attach(control, "tts", patterns=patterns)
    assert reply["attached"] is True
    assert says in str(reply["error"])
    os.write(held, b"text\n")
    flush(control)
    assert host.content("tts") == b"text\n"


def test_as_many_and_as_long_patterns_as_may_be_fit_into_a_request(host: SinkHost) -> None:
    held = host.fifo("tts")
    control = host.start()
    patterns = [f"{number:02d}" + "\U0001f525" * 498 for number in range(32)]
    assert host.attach(control, "tts", patterns=patterns) == {"ok": True}
    told = subscribe(host)
    os.write(held, f"{patterns[31]}\n".encode())
    flush(control)
    assert match(told)["pattern"] == patterns[31]


def test_the_last_words_before_a_quit_are_told(host: SinkHost) -> None:
    held = host.fifo("tts")
    control = host.start()
    host.attach(control, "tts", patterns=[OOM])
    told = subscribe(host)
    os.write(held, b"1 out of memory\n")
    flush(control)
    os.write(held, b"2 out of memory\n")
    control.ask("quit")
    assert host.reap() == 0
    assert [match(told)["line"], match(told)["line"]] == ["1 out of memory", "2 out of memory"]
    with contextlib.suppress(EOFError):
        pytest.fail(f"more was said: {told.receive()}")


def test_what_waits_is_bounded_and_the_oldest_goes_first() -> None:
    reports = Reports()
    for number in range(MOST_WAITING + 2):
        reports.note(str(number), Pattern.parse(OOM), None, b"out of memory", 1)
    ours, theirs = socket.socketpair()
    conversation = Conversation(ours)
    assert reports.due() is None
    reports.subscribe(conversation)
    heard = b""
    while reports.due() is not None or conversation.has_output:
        reports.tell()
        heard += theirs.recv(1 << 20)
        conversation.flush()
    names = [json.loads(line)["match"]["name"] for line in heard.splitlines()]
    assert names == [str(number) for number in range(2, MOST_WAITING + 2)]
    conversation.close()
    theirs.close()
