"""`atlasctl say` as a process: what is left of it when it is interrupted."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.cli.fake_daemon import FakeDaemon
from tests.say.conftest import Ear
from tests.say.stand_in import DEADLINE, StandIn, sentence, stream
from tests.tts.doubles import until

YAML = "version: 1\nservices:\n  tts: {command: [sleep, '1000'], ports: [3001]}\n"
CHECKOUT = Path(__file__).parents[2]
ONE = sentence(1000)

Begin = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def begin(daemon: FakeDaemon, root: Path, ear: Ear) -> Iterator[Begin]:
    begun: list[subprocess.Popen[bytes]] = []

    def start(*argv: str) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "supervisor.cli", "say", *argv],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), "TMPDIR": str(root / "tmp")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # The suite may have been started in the background, where shells let it be ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        with process:
            if process.poll() is None:
                process.kill()


def is_playing(process: psutil.Process) -> bool:
    # What nobody has reaped yet is no less dead; an init may take its time.
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_an_interrupted_speech_is_silent_at_once(
    number: signal.Signals, code: int, begin: Begin, stand_in: StandIn, ear: Ear, root: Path
) -> None:
    started = root / "started"
    # What a player has started plays on as well.
    ear.player(
        "afplay", f"sleep 1000 & echo $$ $! >{started}.new; mv {started}.new {started}; wait"
    )
    left = threading.Event()

    def wait() -> None:
        assert left.wait(DEADLINE)

    stand_in.answers = [stream(ONE, wait)]
    process = begin("Раз. Два.")
    until(started.exists, "the player was started")
    playing = [psutil.Process(int(pid)) for pid in started.read_text().split()]
    process.send_signal(number)
    _, err = process.communicate(timeout=DEADLINE)
    left.set()
    assert process.returncode == code
    assert b"Traceback" not in err
    until(lambda: not any(map(is_playing, playing)), "the player has ended")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_file_stays_as_it_was(
    number: signal.Signals, code: int, begin: Begin, stand_in: StandIn, root: Path
) -> None:
    (root / "x.wav").write_bytes(b"old")
    stand_in.answers = [stand_in.wait_until_left]
    process = begin("Раз", "-o", "x.wav")
    assert stand_in.came.wait(DEADLINE)
    process.send_signal(number)
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == code
    assert b"Traceback" not in err
    if number == signal.SIGINT:
        assert err == b"atlasctl: interrupted: x.wav was not written\n"
    # The service is told, and speaks no further.
    assert stand_in.left.wait(DEADLINE)
    assert (root / "x.wav").read_bytes() == b"old"
    assert not list(root.glob("*.new"))
