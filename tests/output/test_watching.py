"""Lines that match are told to the daemon, whatever becomes of sinks and daemons."""

import asyncio
import os
import signal
import sys

import psutil
import pytest

from supervisor.core.spec import LogSpec
from supervisor.output import Output
from supervisor.posix.spawn import Command, spawn
from supervisor.watches import MOST_EARLY, Match, Watches
from tests.output.conftest import CHILDREN, Place, until

OOM = "out of memory"


def told(place: Place) -> list[tuple[str, str, int | None]]:
    return [(name, match.line, match.run) for name, match in place.matches]


async def subscribed(place: Place, output: Output, fd: int, pattern: str = OOM) -> None:
    """Return when a match was told; from then on one is told before the next flush ends."""
    assert await output.flush("tts")  # what is printed sooner may be of the time before
    os.write(fd, f"first {pattern}\n".encode())
    await until(lambda: place.matches, "the first is told")
    place.matches.clear()


async def halted(output: Output) -> int:
    """Stop the sink; return its pid when it has stopped."""
    pid = output.sink_pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    stopped = psutil.STATUS_STOPPED
    await until(lambda: psutil.Process(pid).status() == stopped, "the sink has stopped")
    return pid


async def test_a_match_is_told_with_the_run_that_printed_it(place: Place) -> None:
    async with place.output(watch=(OOM, "never")) as output:
        fd = output.open("tts", LogSpec())
        output.mark("tts", "run 7 begins", 7)
        assert await output.flush("tts")
        os.write(fd, b"\x1b[31mCUDA out of memory\x1b[0m\n")
        await until(lambda: place.matches, "it is told")
        assert place.matches == [("tts", Match(OOM, "CUDA out of memory", 7, 1))]
    assert place.said == []


async def test_it_is_told_before_the_flush_ends_whose_run_is_over(place: Place) -> None:
    async with place.output() as output:
        fd = output.open("tts", LogSpec())
        output.watch("tts", (OOM, "disk full"))
        await subscribed(place, output, fd)
        for run in range(1, 6):
            output.mark("tts", f"run {run} begins", run)
            assert await output.flush("tts")
            os.write(fd, b"%d: out of memory\n" % run)
            assert await output.flush("tts")
            assert told(place)[-1] == ("tts", f"{run}: {OOM}", run)
        # The half line of a run that is dead is a line.
        os.write(fd, b"no newline, disk full")
        output.mark("tts", "run 5 exited")
        output.mark("tts", "run 6 begins", 6)
        assert await output.flush("tts")
        assert told(place)[-1] == ("tts", "no newline, disk full", 5)
        os.write(fd, b"6: out of memory\n")
        assert await output.flush("tts")
        assert told(place)[-1] == ("tts", "6: out of memory", 6)
    assert place.said == []


async def test_what_a_run_prints_at_once_is_its_own_though_the_sink_is_late(place: Place) -> None:
    async with place.output() as output:
        fd = output.open("tts", LogSpec())
        output.watch("tts", (OOM, "disk full"))
        output.mark("tts", "run 1 begins", 1)
        await subscribed(place, output, fd)
        sink = await halted(output)
        os.write(fd, b"1: disk full\n")
        output.mark("tts", "run 2 begins", 2)
        os.write(fd, b"2: out of memory\n")
        os.kill(sink, signal.SIGCONT)
        await until(lambda: len(place.matches) == 2, "both are told")
        assert told(place) == [("tts", "1: disk full", 1), ("tts", "2: out of memory", 2)]
        assert b"run 2 begins\n2: out of memory\n" in place.content("tts")


async def test_patterns_are_set_replaced_and_cleared_while_it_runs(place: Place) -> None:
    async with place.output() as output:
        fd = output.open("tts", LogSpec())
        os.write(fd, b"CUDA out of ")
        assert await output.flush("tts")
        output.watch("tts", (OOM,))
        assert await output.flush("tts")
        os.write(fd, b"memory\n")
        await until(lambda: place.matches, "the half before counts")
        output.watch("tts", ("disk full",))
        assert await output.flush("tts")
        os.write(fd, b"out of memory\ndisk full\n")
        assert await output.flush("tts")
        output.watch("tts", ())
        assert await output.flush("tts")
        os.write(fd, b"out of memory\ndisk full\n")
        assert await output.flush("tts")
    assert told(place) == [("tts", "CUDA out of memory", None), ("tts", "disk full", None)]
    assert place.said == []


async def test_another_sink_looks_for_the_same_and_tells_the_same_daemon(place: Place) -> None:
    async with place.output() as output:
        fd = output.open("tts", LogSpec())
        output.watch("tts", (OOM,))
        output.mark("tts", "run 3 begins", 3)
        await subscribed(place, output, fd)
        os.write(fd, b"half a line, out of")
        assert await output.flush("tts")
        for _ in range(2):
            sink = output.sink_pid
            assert sink is not None
            os.kill(sink, signal.SIGKILL)
            os.write(fd, b" memory\n")
            await until(lambda: place.matches, "the new sink tells it")
            assert told(place) == [("tts", "half a line, out of memory", 3)]
            place.matches.clear()
            os.write(fd, b"half a line, out of")
            assert await output.flush("tts")
        await output.replace_sink()
        os.write(fd, b" memory\n")
        await until(lambda: place.matches, "the replaced sink tells it")
        assert told(place) == [("tts", "half a line, out of memory", 3)]


async def test_a_run_that_began_without_a_sink_does_not_get_the_lines_of_the_last(
    place: Place,
) -> None:
    async with place.output() as output:
        fd = output.open("tts", LogSpec())
        output.watch("tts", (OOM,))
        output.mark("tts", "run 3 begins", 3)
        await subscribed(place, output, fd)
        sink = await halted(output)
        os.write(fd, b"of run 3, out of memory\n")
        output.mark("tts", "run 4 begins", 4)
        os.kill(sink, signal.SIGKILL)
        await until(lambda: place.matches, "the new sink tells it")
        assert told(place) == [("tts", "of run 3, out of memory", None)]
        place.matches.clear()
        os.write(fd, b"of run 4, out of memory\n")
        await until(lambda: place.matches, "the next is told")
        assert told(place) == [("tts", "of run 4, out of memory", 4)]


@pytest.mark.parametrize("late", [True, False], ids=["watched late", "watched early"])
async def test_what_matched_without_a_daemon_is_told_to_the_next(place: Place, late: bool) -> None:
    script = f"import signal; signal.sigwait([signal.SIGUSR1]); print('{OOM}')"
    block = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])"
    service = [sys.executable, "-c", f"{block}; {script}"]
    daemon = place.daemon(services={"b": service, "tts": service}, watch={"b": [OOM], "tts": [OOM]})
    daemon.kill()
    for pid in daemon.services.values():
        os.kill(pid, signal.SIGUSR1)
    line = OOM.encode()
    await until(lambda: all(line in place.content(n) for n in ("b", "tts")), "both are in the logs")
    async with place.output() as output:
        output.watch("b", (OOM,))
        output.open("b", LogSpec())
        if late:  # all is told at once: of tts before anybody has asked for it
            await until(lambda: place.matches, "the first is told")
        output.watch("tts", (OOM,))
        output.open("tts", LogSpec())
        await until(lambda: len(place.matches) == 2, "both are told")
        output.watch("tts", ())
        output.watch("tts", (OOM,))
        assert await output.flush("tts")
    assert sorted(told(place)) == [("b", OOM, 1), ("tts", OOM, 1)]


async def test_a_service_that_is_gone_tells_nothing_when_it_comes_back(place: Place) -> None:
    async with place.output() as output:
        fd = output.open("tts", LogSpec())
        output.watch("tts", (OOM,))
        await subscribed(place, output, fd)
        os.write(fd, b"last words: out of memory\n")
        output.forget("tts")
        await until(lambda: os.listdir(place.state / "fifo") == [], "it is gone")
        output.watch("tts", (OOM,))
        fd = output.open("tts", LogSpec())
        output.mark("tts", "run 1 begins", 1)
        assert await output.flush("tts")
        os.write(fd, b"first words: out of memory\n")
        await until(lambda: place.matches, "the new one is told")
    assert told(place) == [("tts", "first words: out of memory", 1)]


async def test_an_older_sink_is_lived_with(place: Place) -> None:
    """It does not know `subscribe`: nothing is told, nothing is complained of, all is written."""
    argv = (sys.executable, str(CHILDREN / "older_sink.py"), str(place.state))
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    null = os.open(os.devnull, os.O_RDWR)
    old = spawn(Command(argv, environment, "/", null))
    os.close(null)
    await until((place.state / "sink.sock").exists, "the old sink listens")
    async with place.output() as output:
        assert output.sink_pid == old
        output.watch("tts", (OOM,))
        fd = output.open("tts", LogSpec())
        os.write(fd, b"out of memory\n")
        assert await output.flush("tts")
        await output.replace_sink()
        assert place.matches == []
        os.write(fd, b"another out of memory\n")
        await until(lambda: place.matches, "the present sink tells it")
        assert place.content("tts") == b"out of memory\nanother out of memory\n"
    assert told(place) == [("tts", "another out of memory", None)]
    assert place.said == []


async def test_what_comes_early_is_bounded_and_what_is_no_match_is_passed_over() -> None:
    found: list[tuple[str, Match]] = []
    watches = Watches(lambda name, match: found.append((name, match)))
    said = {"pattern": OOM, "run": 1, "line": "x", "times": 1}
    nonsense: list[object] = [None, [], {}, {**said, "name": 5}, {**said, "name": "0", "run": "1"}]
    for bad in nonsense:
        watches.told(bad)
    for number in range(MOST_EARLY + 2):
        watches.told({**said, "name": str(number)})
    for number in range(MOST_EARLY + 2):
        watches.set(str(number), (OOM,))
    await asyncio.sleep(0)
    assert [name for name, _ in found] == [str(number) for number in range(2, MOST_EARLY + 2)]
    watches.told({**said, "name": "0", "pattern": "another"})
    assert len(found) == MOST_EARLY
