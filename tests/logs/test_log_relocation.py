"""A log that is moved away while a service prints into it: in two places, and nothing lost."""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING

import pytest

from supervisor.logs.follow import LogTail
from supervisor.logs.relocation import move, relocate
from supervisor.logs.rotation import reading_order

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import SinkHost

    Await = Callable[[Callable[[], object], str], None]


def held_in(folder: Path, base: str) -> bytes:
    """All that the log of this name holds there, oldest file first."""
    whole = b""
    for name in reading_order(os.listdir(folder), base):
        raw = (folder / name).read_bytes()
        whole += gzip.decompress(raw) if name.endswith(".gz") else raw
    return whole


def test_what_was_printed_is_in_the_folder_and_what_comes_is_in_a_new_log(
    host: SinkHost, tmp_path: Path
) -> None:
    held = host.fifo("tts")
    control = host.start()
    host.attach(control, "tts", max_size=4096)
    before = b"".join(b"%06d before\n" % n for n in range(1000))
    os.write(held, before)
    (tmp_path / "away").mkdir()
    log = str(host.log("tts"))
    assert control.ask("relocate", log=log, folder=str(tmp_path / "away")) == {"ok": True}
    assert held_in(tmp_path / "away", "tts.log") == before
    assert len(os.listdir(tmp_path / "away")) > 3, "the rotated files have gone along"
    assert (tmp_path / "away" / ".times" / "tts.log.times").exists()
    assert host.log("tts").read_bytes() == b""
    os.write(held, b"after\n")
    control.ask("flush", name="tts")
    assert host.content("tts") == b"after\n"
    times = (host.logs / ".times" / "tts.log.times").read_text()
    assert times.startswith("0 "), "the new log has times of its own"


def test_half_a_line_is_torn_and_not_lost(host: SinkHost, tmp_path: Path) -> None:
    held = host.fifo("tts")
    control = host.start()
    host.attach(control, "tts")
    (tmp_path / "away").mkdir()
    os.write(held, b"half a ")
    control.ask("relocate", log=str(host.log("tts")), folder=str(tmp_path / "away"))
    os.write(held, b"line\n")
    control.ask("flush", name="tts")
    assert (tmp_path / "away" / "tts.log").read_bytes() == b"half a "
    assert host.content("tts") == b"line\n"


def test_the_writer_is_found_however_its_folder_is_spelled(host: SinkHost, tmp_path: Path) -> None:
    held = host.fifo("tts")
    control = host.start()
    host.attach(control, "tts")
    os.write(held, b"before\n")
    (tmp_path / "away").mkdir()
    (tmp_path / "link").symlink_to(host.logs)
    control.ask("relocate", log=str(tmp_path / "link" / "tts.log"), folder=str(tmp_path / "away"))
    os.write(held, b"after\n")
    control.ask("flush", name="tts")
    assert (tmp_path / "away" / "tts.log").read_bytes() == b"before\n"
    assert host.content("tts") == b"after\n"


def test_a_log_that_nobody_writes_is_moved_too(host: SinkHost, tmp_path: Path) -> None:
    control = host.start()
    host.logs.mkdir()
    (tmp_path / "away").mkdir()
    for name in ("old.log", "old.log.1", "old.log.2.gz", "other.log", "old.logs"):
        (host.logs / name).write_text(name)
    assert control.ask("relocate", log=str(host.log("old")), folder=str(tmp_path / "away"))["ok"]
    assert sorted(os.listdir(host.logs)) == ["old.logs", "other.log"]
    assert sorted(os.listdir(tmp_path / "away")) == [
        ".times",
        "old.log",
        "old.log.1",
        "old.log.2.gz",
    ]


def test_what_cannot_be_moved_stays_and_is_written_on(host: SinkHost, tmp_path: Path) -> None:
    held = host.fifo("tts")
    control = host.start()
    host.attach(control, "tts")
    os.write(held, b"before\n")
    reply = control.ask("relocate", log=str(host.log("tts")), folder=str(tmp_path / "missing"))
    assert reply["ok"] is False
    assert "missing" in str(reply["error"])
    os.write(held, b"after\n")
    control.ask("flush", name="tts")
    assert host.content("tts") == b"before\nafter\n"
    assert control.ask("relocate", log="relative.log", folder=str(tmp_path))["ok"] is False
    assert control.ask("relocate", log=str(host.log("tts")))["ok"] is False


def test_a_log_is_moved_while_it_is_gzipped(
    host: SinkHost, tmp_path: Path, eventually: Await
) -> None:
    held = host.fifo("tts")
    control = host.start()
    host.attach(control, "tts", max_size=8192, compress=True)
    written = b""
    for turn in range(20):
        lines = b"".join(b"%03d %05d\n" % (turn, n) for n in range(2000))
        os.write(held, lines)
        written += lines
        away = tmp_path / f"away{turn:02}"
        away.mkdir()
        assert control.ask("relocate", log=str(host.log("tts")), folder=str(away))["ok"]
    eventually(lambda: len(os.listdir(host.logs)) == 2, "no half gzip is left")
    found = b"".join(held_in(folder, "tts.log") for folder in sorted(tmp_path.glob("away*")))
    assert found == written
    assert not (host.state / "sink.log").exists()


def test_a_follower_goes_on_to_the_new_log(host: SinkHost, tmp_path: Path) -> None:
    held = host.fifo("tts")
    control = host.start()
    host.attach(control, "tts")
    tail = LogTail(str(host.log("tts")))
    os.write(held, b"first\nsecond ")
    control.ask("flush", name="tts")
    assert [line.text for line in tail.read()] == ["first"]
    (tmp_path / "away").mkdir()
    control.ask("relocate", log=str(host.log("tts")), folder=str(tmp_path / "away"))
    os.write(held, b"half\nthird\n")
    control.ask("flush", name="tts")
    try:
        assert [line.text for line in tail.read()] == ["second half", "third"]
    finally:
        tail.close()


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "x.log").write_text("new")
    (tmp_path / "b" / "x.log").write_text("old")
    with pytest.raises(FileExistsError):
        move(str(tmp_path / "a"), "x.log", str(tmp_path / "b"))
    with pytest.raises(FileExistsError):
        relocate(str(tmp_path / "a" / "x.log"), str(tmp_path / "b"))
    assert (tmp_path / "a" / "x.log").read_text() == "new"
    assert (tmp_path / "b" / "x.log").read_text() == "old"


def test_an_empty_log_and_what_is_no_file_stay(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "x.log").touch()
    (tmp_path / "a" / "x.log.1").symlink_to("elsewhere")
    relocate(str(tmp_path / "a" / "x.log"), str(tmp_path / "b"))
    assert os.listdir(tmp_path / "b") == []
    assert sorted(os.listdir(tmp_path / "a")) == ["x.log", "x.log.1"]
