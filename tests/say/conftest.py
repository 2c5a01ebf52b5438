"""A speech service, a daemon that says where it is, and a player that notes what was heard."""

import threading
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.cli.conftest import ctl, root  # noqa: F401
from tests.cli.fake_daemon import FakeDaemon
from tests.cli.fleets import service
from tests.say.stand_in import DEADLINE, StandIn

BASE_PATH = "/usr/bin:/bin"


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    made = StandIn()
    yield made
    made.close()


@pytest.fixture
def daemon(root: Path, stand_in: StandIn) -> Iterator[FakeDaemon]:  # noqa: F811
    """A daemon whose service `tts` is the stand-in."""
    with FakeDaemon(root, [service("tts", ports=[stand_in.port])]) as made:
        yield made


class Ear:
    """A folder with one file for everything that was played, and the players that put it there."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.heard_in = folder / "heard"
        self.heard_in.mkdir()

    def player(self, name: str, script: str) -> None:
        """Put a program on the PATH; `$file` is what it is to play."""
        path = self.bin / name
        path.write_text(f"#!/bin/sh\nfor file; do :; done\n{script}\n")
        path.chmod(0o755)

    def files(self) -> list[Path]:
        return sorted(self.heard_in.glob("*.wav"), key=lambda path: int(path.stem))

    def heard(self) -> list[bytes]:
        """Return the sound of each file, in order; all are WAVs with true sizes."""
        sounds = []
        for path in self.files():
            with wave.open(str(path)) as file:
                assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (
                    22050,
                    1,
                    2,
                )
                sounds.append(file.readframes(file.getnframes()))
                assert len(sounds[-1]) == 2 * file.getnframes() == path.stat().st_size - 44
        return sounds

    def wait_for(self, count: int) -> Callable[[], None]:
        """Return what waits until so many files were heard."""

        def wait() -> None:
            pause = threading.Event()
            for _ in range(round(DEADLINE / 0.01)):
                if len(self.files()) >= count:
                    return
                pause.wait(0.01)
            raise AssertionError(f"{count} parts were not heard in time")

        return wait


@pytest.fixture
def ear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ear]:
    """The first of the players that are looked for, and what it has played.

    Fails a test that leaves a player, a thread or what was to be played.
    """
    made = Ear(tmp_path)
    monkeypatch.setenv("PATH", f"{made.bin}:{BASE_PATH}")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    copied = f"{made.heard_in}/$(ls {made.heard_in} | wc -l | tr -d ' ')"
    # Renamed when it is whole, since others look at it meanwhile.
    made.player("afplay", f'to={copied}; cp "$file" "$to.part" && mv "$to.part" "$to.wav"')
    before = {child.pid for child in psutil.Process().children()}
    yield made
    assert not [c for c in psutil.Process().children() if c.pid not in before]
    assert not [one for one in threading.enumerate() if one.name == "say"]
    assert not list(temporary.iterdir())
