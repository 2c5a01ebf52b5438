"""A log that cannot be written: drained all the same, counted, and said when it works again."""

from __future__ import annotations

import errno
import os
import selectors
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from supervisor.logs import inlet as inlets
from supervisor.logs.inlet import Inlet
from supervisor.logs.logfile import LogFile
from supervisor.logs.policy import Policy
from supervisor.logs.transfer import Journal, SpillError, open_mover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .conftest import SinkHost

    Await = Callable[[Callable[[], object], str], None]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if sys.platform != "linux" or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root on Linux can mount a small tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def line(number: int) -> bytes:
    return b"%06d %s\n" % (number, b"d" * 93)


def stats(host_reply: dict[str, object]) -> dict[str, object]:
    logs = host_reply["logs"]
    assert isinstance(logs, dict)
    found = logs["tts"]
    assert isinstance(found, dict)
    return found


def test_a_full_disk_costs_counted_lines_only(
    small_disk: Path, host: SinkHost, eventually: Await
) -> None:
    host.logs = small_disk
    held = host.fifo("tts")
    control = host.start()
    assert host.attach(control, "tts", max_size=1 << 20) == {"ok": True}
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * 128 * 1024)
    total = 4000
    for start in range(0, total, 100):
        os.write(held, b"".join(line(number) for number in range(start, start + 100)))
    assert control.ask("flush", name="tts")["ok"] is True
    full = stats(control.ask("stats"))
    assert "No space left on device" in str(full["error"])
    ballast.unlink()
    eventually(lambda: b" lost " in host.content("tts"), "the loss is said")
    os.write(held, line(999_999))
    control.ask("flush", name="tts")
    after = stats(control.ask("stats"))
    assert after["error"] is None
    content = host.content("tts").splitlines(keepends=True)
    marks = [text for text in content if text.startswith(b"--- atlasctl ")]
    (mark,) = marks
    said = f"lost {after['lost_bytes']} bytes of {after['lost_lines']} lines here"
    assert said in mark.decode()
    assert b"No space left on device" in mark
    place = content.index(mark)
    # What is before the mark is a beginning of what was printed; at most its last line is torn.
    before = b"".join(content[:place])
    printed = b"".join(line(number) for number in range(total))
    torn = before.removesuffix(b"\n") if not printed.startswith(before) else before
    assert printed.startswith(torn)
    assert len(torn) + int(str(after["lost_bytes"])) == len(printed)
    assert content[place + 1 :] == [line(999_999)]
    assert host.process is not None
    assert host.process.poll() is None


def test_an_unwritable_folder_is_said_drained_and_tried_again(
    host: SinkHost, eventually: Await
) -> None:
    held = host.fifo("tts")
    host.logs.write_bytes(b"a file is in the way, which stops root too")
    control = host.start()
    reply = host.attach(control, "tts")
    assert reply["ok"] is False
    assert reply["attached"] is True
    assert str(host.logs) in str(reply["error"])
    os.write(held, b"lost one\nlost two\nhalf")
    control.ask("flush", name="tts")
    assert stats(control.ask("stats"))["lost_lines"] == 2
    marked = control.ask("mark", name="tts", text="run 1 started")
    assert marked["ok"] is False
    host.logs.unlink()
    eventually(lambda: stats(control.ask("stats"))["error"] is None, "the log is opened again")
    # The rest of the torn line must not look like a line.
    os.write(held, b" a line\nkept\n")
    control.ask("flush", name="tts")
    mark, kept = host.content("tts").splitlines()
    assert b"lost 30 bytes of 3 lines here" in mark
    assert kept == b"kept"


class FullAfter:
    """A mover whose disk takes `room` more bytes, then none until `room` is raised."""

    def __init__(self, folder: Path, room: int) -> None:
        self._mover = open_mover(str(folder / "journal"))
        self.room = room

    def close(self) -> None:
        self._mover.close()

    def move(self, source: int, target: int, path: str, offset: int, count: int) -> int:
        if self.room == 0:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        moved = self._mover.move(source, target, path, offset, min(count, self.room))
        self.room -= moved
        return moved


def test_losses_are_exact_to_the_byte(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    held = os.open(fifo, os.O_RDWR)
    mover = FullAfter(tmp_path, room=13)
    log = LogFile(
        str(tmp_path / "a.log"), Policy(1 << 20, 1, compress=False), mover, lambda _: None
    )
    inlet = Inlet("a", str(fifo), log)
    os.write(held, b"whole line\ntorn line\nlost line\nlost ha")
    inlet.drain()
    assert log.error is not None
    assert (log.totals.bytes, log.totals.lost_bytes, log.totals.lost_lines) == (13, 25, 2)
    mover.room = 1000
    log.recover()
    os.write(held, b"lf\ngood line\n")
    inlet.drain()
    assert (log.totals.lost_bytes, log.totals.lost_lines) == (28, 3)
    whole, torn, mark, good = (tmp_path / "a.log").read_bytes().splitlines()
    assert (whole, torn, good) == (b"whole line", b"to", b"good line")
    assert b"lost 28 bytes of 3 lines here" in mark
    assert os.strerror(errno.EDQUOT).encode() in mark
    log.close()
    inlet.close()
    mover.close()
    os.close(held)


def test_a_log_that_cannot_be_rotated_grows_to_twice_its_size_first(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    held = os.open(fifo, os.O_RDWR)
    mover = open_mover(str(tmp_path / "journal"))
    (tmp_path / "a.log.1").mkdir()  # a folder cannot be deleted as an old log is
    log = LogFile(str(tmp_path / "a.log"), Policy(8192, 1, compress=False), mover, lambda _: None)
    inlet = Inlet("a", str(fifo), log)
    os.write(held, b"".join(line(number) for number in range(100)))
    inlet.drain()
    assert log.totals.lost_bytes == 0
    assert log.rotation_error is not None
    os.write(held, b"".join(line(number) for number in range(100, 200)))
    inlet.drain()
    assert 0 < log.totals.lost_lines < 100
    kept = 200 - log.totals.lost_lines
    content = (tmp_path / "a.log").read_bytes()
    assert content == b"".join(line(number) for number in range(kept))
    assert 8192 < len(content) <= 2 * 8192
    log.close()
    inlet.close()
    mover.close()
    os.close(held)


@pytest.mark.skipif(sys.platform != "linux", reason="macOS has no /dev/full")
def test_a_journal_says_what_it_took_and_could_not_write(tmp_path: Path) -> None:
    """/dev/full takes no byte; what was read for it is counted, and the FIFO is drained."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    held = os.open(fifo, os.O_RDWR)
    source = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    journal = Journal(str(tmp_path / "journal"))
    full = os.open("/dev/full", os.O_RDWR)
    os.write(held, b"one\ntwo\n")
    with pytest.raises(SpillError) as caught:
        journal.move(source, full, "/dev/full", 0, 100)
    assert caught.value.written == 0
    assert caught.value.lost == b"one\ntwo\n"
    assert caught.value.cause.errno == errno.ENOSPC
    with pytest.raises(BlockingIOError):
        journal.move(source, full, "/dev/full", 0, 100)
    os.close(held)
    assert journal.move(source, full, "/dev/full", 0, 100) == 0
    journal.close()
    os.close(source)
    os.close(full)


def test_a_journal_learns_of_the_end_by_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """poll(2) of macOS tells of no end of a FIFO."""
    monkeypatch.setattr("select.poll", lambda: SimpleNamespace(register=print, poll=lambda _: []))
    fifo, path = tmp_path / "fifo", tmp_path / "tts.log"
    os.mkfifo(fifo)
    held = os.open(fifo, os.O_RDWR)
    source = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    target = os.open(path, os.O_RDWR | os.O_CREAT)
    journal = Journal(str(tmp_path / "journal"))
    with pytest.raises(BlockingIOError):
        journal.move(source, target, str(path), 0, 100)
    assert (tmp_path / "journal").read_bytes()[0] == 0
    # What comes between the question and the read goes through the journal like all else.
    os.write(held, b"one\n")
    with monkeypatch.context() as patch:
        patch.setattr("supervisor.logs.transfer.waiting_bytes", lambda _: 0)
        assert journal.move(source, target, str(path), 0, 100) == 1
    assert journal.move(source, target, str(path), 1, 100) == 3
    assert path.read_bytes() == b"one\n"
    os.close(held)
    assert journal.move(source, target, str(path), 4, 100) == 0
    journal.close()
    os.close(source)
    os.close(target)


def test_macos_waits_for_fifos_by_select(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inlets, "sys", SimpleNamespace(platform="darwin"))
    with inlets.selector_of_fifos() as selector:
        assert isinstance(selector, selectors.SelectSelector)
