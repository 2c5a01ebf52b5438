"""What a service printed arrives complete, in order and once, whoever is killed meanwhile."""

import contextlib
import fcntl
import os
import random
import signal
import sys
from pathlib import Path

import psutil
import pytest

from supervisor import output
from supervisor.core.spec import LogSpec
from supervisor.logs.rotation import reading_order
from supervisor.logs.transfer import waiting_bytes
from tests.output.conftest import CHILDREN, Place, lives, until


def last_words(count: int) -> list[str]:
    return [sys.executable, str(CHILDREN / "last_words.py"), str(count)]


def numbers(content: bytes) -> list[int]:
    return [int(line.partition(b" ")[0]) for line in content.splitlines()]


@pytest.mark.parametrize("opened", [True, False], ids=["started again", "never started again"])
async def test_last_words_survive_daemon_and_sink(
    place: Place, policy: LogSpec, opened: bool
) -> None:
    """Both are killed at once, then the service prints and dies, before anybody else comes."""
    daemon = place.daemon(services={"tts": last_words(1000), "idle": last_words(0)})
    daemon.kill(daemon.sink)
    service = daemon.services["tts"]
    os.kill(service, signal.SIGUSR1)
    await until(lambda: not lives(service), "the service is dead")
    assert b"last word" not in place.content("tts")
    (old,) = place.holders()
    async with place.output() as output:
        if opened:
            output.open("tts", policy)
        await until(lambda: not lives(old.pid), "the old holder has an heir")
        await until(lambda: b"very last" in place.content("tts"), "the new sink has read it")
        lines = place.content("tts").decode().splitlines()
        assert lines[:1001] == ["ready", *(f"line {n}" for n in range(1000))]
        assert lines[-1] == "RuntimeError: the very last word"
        assert lines.count("Traceback (most recent call last):") == 1
    assert place.content("tts").decode().splitlines() == lines
    assert place.said == []


async def test_without_the_holder_they_are_lost(place: Place) -> None:
    """The loss that the holder's documentation admits, and the proof that the test above can fail.

    When all four who hold a FIFO are dead, the kernel throws away what was in it.
    """
    daemon = place.daemon(services={"tts": last_words(10)})
    daemon.kill(daemon.sink, *daemon.holders)
    service = daemon.services["tts"]
    os.kill(service, signal.SIGUSR1)
    await until(lambda: not lives(service), "the service is dead")
    async with place.output() as output:
        output.open("tts", LogSpec())
        assert await output.flush("tts")
        assert place.content("tts") == b"ready\n"


@pytest.mark.parametrize("seed", range(3))
async def test_kills_and_replacements_in_any_order_lose_and_double_nothing(
    place: Place, policy: LogSpec, seed: int
) -> None:
    chance = random.Random(seed)
    count, parts = 60_000, 10
    done: list[str] = []
    gate = place.state.parent / "gate"
    os.mkfifo(gate)

    def files() -> int:
        names = os.listdir(place.logs) if place.logs.exists() else []
        return len(reading_order(names, "tts.log"))

    async with place.output() as output:
        fd, opened = output.open("tts", policy), os.open(gate, os.O_RDWR)
        wanted = chance.randrange(1, 4)
        writer = place.write_lines(fd, count, seed, parts, gate)
        for _ in range(parts):

            def rotated(wanted: int = wanted) -> bool:
                return files() >= wanted

            await until(rotated, "files are rotated")
            match chance.randrange(4):
                case 0 if output.sink_pid is not None and output.sink_pid in output.pids:
                    done.append("kill sink")
                    os.kill(output.sink_pid, signal.SIGKILL)
                case 1 if holders := place.holders():
                    done.append("kill holder")
                    with contextlib.suppress(psutil.NoSuchProcess):
                        holders[0].kill()
                case _:
                    done.append("replace")
                    await output.replace_sink()
            # Each part is of three files and more, counted before it begins: the writer waits after
            # each, or a busy machine might have time for none of this.
            wanted = files() + chance.randrange(1, 4)
            os.write(opened, b".")
        await until(lambda: writer in place.ended, "the writer is done")
        os.close(opened)
    assert "replace" in done
    # Whatever was killed last, the end has found a sink to write the rest.
    assert numbers(place.content("tts")) == list(range(count)), done


async def test_a_line_half_printed_when_the_sink_is_replaced_stays_one_line(place: Place) -> None:
    async with place.output() as output:
        fd = output.open("tts", LogSpec())
        first = output.sink_pid
        os.write(fd, b"first\nhalf a ")
        await output.replace_sink()
        assert output.sink_pid not in (None, first)
        os.write(fd, b"line\n")
        assert await output.flush("tts")
        assert place.content("tts") == b"first\nhalf a line\n"
    assert place.said == []


async def test_what_is_printed_while_nobody_reads_is_read_by_the_next(place: Place) -> None:
    async with place.output(quit_sink=False) as output:
        fd = output.open("tts", LogSpec())
        os.write(fd, b"one\n")
        assert await output.flush("tts")
        sink = output.sink_pid
        assert sink is not None
    os.kill(sink, signal.SIGKILL)
    await until(lambda: not lives(sink), "the sink is dead")
    # Only the holder has it open now: whoever prints must not get SIGPIPE, nor lose a byte.
    writing = os.open(place.state / "fifo" / "tts", os.O_WRONLY)
    os.write(writing, b"two\n")
    os.close(writing)
    async with place.output() as output:
        output.open("tts", LogSpec())
        assert await output.flush("tts")
        assert place.content("tts") == b"one\ntwo\n"


async def test_a_sink_that_cannot_come_leaves_the_last_lines_to_the_next_daemon(
    place: Place,
) -> None:
    """At an orderly end, with no sink to be had: kept by the holder, and said."""
    async with place.output(quit_sink=False) as output:
        fd = output.open("tts", LogSpec())
        await until(lambda: len(output.pids) == 2, "there is a holder")
        sink = output.sink_pid
        assert sink is not None
        (place.state / "sink.lock").unlink()
        (place.state / "sink.lock").mkdir()  # no sink can start
        os.kill(sink, signal.SIGKILL)
        await until(lambda: not lives(sink), "the sink is dead")
        os.write(fd, b"unread\n")
        await output.close(quit_sink=True)
    assert "no log sink took the last output of tts" in place.said[-1]
    (old,) = place.holders()
    (place.state / "sink.lock").rmdir()
    async with place.output():
        await until(lambda: not lives(old.pid), "the old holder has an heir")
        await until(lambda: place.content("tts") == b"unread\n", "the new sink has read it")


async def test_a_service_that_is_gone_leaves_its_last_lines_and_no_fifo(place: Place) -> None:
    async with place.output() as output:
        fd = output.open("tts", LogSpec())
        output.open("other", LogSpec())
        os.write(fd, b"last\n")
        output.forget("tts")
        await until(lambda: os.listdir(place.state / "fifo") == ["other"], "its FIFO is gone")
        assert place.content("tts") == b"last\n"
        assert sorted(await output.lost()) == ["other"]
        # It comes back, with a FIFO of its own.
        fd = output.open("tts", LogSpec())
        os.write(fd, b"first again\n")
        assert await output.flush("tts")
        assert place.content("tts") == b"last\nfirst again\n"
    assert place.said == []


async def test_a_service_that_is_gone_while_there_is_no_sink_is_read_by_the_next(
    place: Place,
) -> None:
    async with place.output() as output:
        fd = output.open("tts", LogSpec())
        assert await output.flush("tts")
        sink = output.sink_pid
        assert sink is not None
        os.kill(sink, signal.SIGKILL)
        os.write(fd, b"last\n")
        output.forget("tts")
        await until(lambda: os.listdir(place.state / "fifo") == [], "its FIFO is gone")
        assert place.content("tts") == b"last\n"


async def test_one_that_comes_back_before_it_was_quite_gone_goes_on(place: Place) -> None:
    async with place.output() as output:
        fd = output.open("tts", LogSpec())
        os.write(fd, b"one\n")
        output.forget("tts")
        assert output.open("tts", LogSpec()) == fd
        os.write(fd, b"two\n")
        assert await output.flush("tts")
        assert place.content("tts") == b"one\ntwo\n"
        assert os.listdir(place.state / "fifo") == ["tts"]
    assert place.said == []


async def test_another_policy_is_gone_by_at_once(place: Place) -> None:
    async with place.output() as output:
        fd = output.open("tts", LogSpec())
        assert output.open("tts", LogSpec(max_size=4096, keep=2, compress=False)) == fd
        for number in range(200):
            os.write(fd, b"%d %s\n" % (number, b"x" * 90))
        assert await output.flush("tts")
        names = sorted(each.name for each in place.logs.glob("tts.log*"))
        assert names == ["tts.log", "tts.log.1", "tts.log.2"]
    assert place.said == []


def test_what_lies_in_a_fifo_is_asked_of_a_reading_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: LogSpec
) -> None:
    """macOS says 0 to whoever has it open for writing too."""

    def waiting(fd: int) -> int:
        both = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
        return 0 if both else waiting_bytes(fd)

    monkeypatch.setattr(output, "waiting_bytes", waiting)
    fifo = tmp_path / "tts"
    os.mkfifo(fifo)
    fd = os.open(fifo, os.O_RDWR)
    os.write(fd, b"12345")
    outlet = output.Outlet(str(fifo), "", policy, fd)
    assert output._waiting(outlet) == 5
    fifo.unlink()
    assert output._waiting(outlet) == 0  # nobody can tell
    os.close(fd)
