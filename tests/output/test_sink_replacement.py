"""Putting a sink of the present code in the place of the one that serves."""

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from supervisor import __version__
from supervisor.core.spec import LogSpec
from supervisor.output import OutputError
from tests.output.conftest import Place, lives, until


async def test_the_new_sink_knows_logs_and_sockets(place: Place) -> None:
    async with place.output() as output:
        for name in ("a", "b"):
            output.open(name, LogSpec())
        with socket.create_server(("127.0.0.1", 0)) as server:
            output.hold("a/http", [server])
            old = output.sink_pid
            await output.replace_sink()
            assert output.sink_version == __version__
            assert old is not None
            await until(lambda: not lives(old), "the old one has ended")
            assert sorted(await output.lost()) == ["a", "b"]
            held = await output.held()
            assert [each.getsockname() for each in held["a/http"]] == [server.getsockname()]
            for each in held["a/http"]:
                each.close()
            output.release("a/http")
            assert await output.held() == {}
    assert place.said == []


async def test_a_sink_that_would_not_start_leaves_the_old_one_alone(place: Place) -> None:
    async with place.output() as output:
        fd = output.open("a", LogSpec())
        old = output.sink_pid
        (place.state / "sink.journal").unlink(missing_ok=True)
        (place.state / "sink.journal").mkdir()
        with pytest.raises(OutputError, match=r"would not start, so the old one .*Is a directory"):
            await output.replace_sink()
        assert output.sink_pid == old
        os.write(fd, b"still written\n")
        assert await output.flush("a")
        assert place.content("a") == b"still written\n"


async def test_a_sink_that_says_much_before_its_verdict_is_heard_to_the_end(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an interpreter does that warns of every module: a pipe takes 64 KiB without a reader."""
    wordy = tmp_path / "python"
    wordy.write_text(f'#!/bin/sh\nhead -c 300000 /dev/zero\necho\nexec {sys.executable} "$@"\n')
    wordy.chmod(0o755)
    async with place.output() as output:
        old = output.sink_pid
        monkeypatch.setattr(sys, "executable", str(wordy))
        await output.replace_sink()
        assert output.sink_pid != old
    assert place.said == []


async def test_a_sink_that_does_not_answer_is_replaced_all_the_same(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.sinks.QUIT_TIMEOUT", 0.2)
    async with place.output() as output:
        fd = output.open("a", LogSpec())
        assert await output.flush("a")
        old = output.sink_pid
        assert old is not None
        os.kill(old, signal.SIGSTOP)
        os.write(fd, b"while it hangs\n")
        await output.replace_sink()
        await until(lambda: not lives(old), "the old one has ended")
        assert await output.flush("a")
        assert place.content("a") == b"while it hangs\n"


async def test_a_sink_that_ends_at_its_start_is_told_of_at_once(place: Place) -> None:
    (place.state / "sink.lock").mkdir()
    async with place.output() as output:
        fd = output.open("a", LogSpec())
        os.write(fd, b"patient\n")
        assert not await output.flush("a")
        await until(lambda: place.said, "it is said")
        assert "the one that was started exited with code 1; trying again" in place.said[0]
        (place.state / "sink.lock").rmdir()
        await until(lambda: place.content("a") == b"patient\n", "a later start succeeds")


async def test_requests_reach_the_sink_in_the_order_of_the_calls(place: Place) -> None:
    async with place.output() as output:
        fd = output.open("a", LogSpec())
        os.write(fd, b"printed\n")
        output.mark("a", "run 1 ends")
        assert await output.flush("a")
        printed, mark = place.content("a").splitlines()
        assert printed == b"printed"
        assert mark.endswith(b"run 1 ends")
    assert place.said == []


async def test_the_end_waits_for_the_rest_though_the_sink_dies_just_then(place: Place) -> None:
    async with place.output() as output:
        fd = output.open("a", LogSpec())
        assert await output.flush("a")
        sink = output.sink_pid
        assert sink is not None
        os.kill(sink, signal.SIGSTOP)
        os.write(fd, b"last\n")
        os.kill(sink, signal.SIGKILL)
    assert place.content("a") == b"last\n"


async def test_the_end_does_not_wait_for_ever_for_a_sink_that_hangs(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.sinks.QUIT_TIMEOUT", 0.2)
    async with place.output() as output:
        fd = output.open("a", LogSpec())
        assert await output.flush("a")
        sink = output.sink_pid
        assert sink is not None
        os.kill(sink, signal.SIGSTOP)
        os.write(fd, b"last\n")
    assert place.content("a") == b"last\n"
    assert "quit: no answer" in place.said[0]


async def test_the_end_waits_for_a_sink_that_gzips(place: Place) -> None:
    """Who has seen the supervisor's end finds nothing at work in its folders."""
    async with place.output() as output:
        fd = output.open("a", LogSpec(max_size=1_000_000, keep=100, compress=True))
        for _ in range(100):
            os.write(fd, os.urandom(100_000))
        assert await output.flush("a")
        await output.close(quit_sink=True)
        left = {each.name for each in place.logs.glob("a.log.*") if each.suffix != ".gz"}
        assert left == set()
        assert not (place.state / "sink.sock").exists()
    assert place.said == []
