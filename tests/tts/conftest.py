"""Servers for the tests, and the check that each test leaves nothing behind."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
import pytest

from services.tts import sockets
from services.tts.app import create_app
from services.tts.cache import PhraseCache
from services.tts.chain import Chain
from services.tts.server import Server
from services.tts.worker import Worker
from tests.tts.doubles import PATIENCE, FakeEngine, plain_text, until
from tests.tts.processes import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.tts.text import Spoken


def _open_fds() -> set[int]:
    return {int(name) for name in os.listdir("/dev/fd")} - {-1}


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """Fails a test that leaves a child process, a thread of the service or a descriptor."""
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    fds = len(_open_fds())
    yield
    left = [
        child for child in psutil.Process().children(recursive=True) if child.pid not in children
    ]
    assert not left, f"left running: {left}"
    until(lambda: len(_open_fds()) <= fds, "every descriptor was closed again")
    threads = [one.name for one in threading.enumerate() if one.name.startswith("tts-")]
    assert not threads, f"left running: {threads}"


@dataclass(frozen=True, slots=True)
class Harness:
    """A whole server in this process over a fake engine."""

    url: str
    worker: Worker
    server: Server
    engine: FakeEngine
    thread: threading.Thread
    cut_off: list[int]

    def stop(self) -> int:
        """Drains as SIGTERM does; returns how many connections were cut off."""
        self.server.stop()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        return self.cut_off[0]


@pytest.fixture
def serve() -> Iterator[Callable[..., Harness]]:
    """A factory: `serve(engine, queue=…)` starts a server, whatever it takes to stop it follows."""
    with ExitStack() as stack:

        def start(
            engine: FakeEngine | None = None,
            *,
            queue: int = 2,
            sentence_limit: float = 60.0,
            drain_timeout: float = PATIENCE,
            patience: float = PATIENCE,
            retry_pauses: tuple[float, ...] = (0.01,),
            normalise: Callable[[str], Spoken] = plain_text,
        ) -> Harness:
            engine = engine or FakeEngine()
            chain = Chain(
                (),
                engine,
                sentence_limit=sentence_limit,
                prepare=lambda: None,
                retry_pauses=retry_pauses,
            )
            worker = Worker(chain, queue=queue, phrases=PhraseCache(), patience=patience)
            listening = sockets.bind("127.0.0.1", 0)
            url = sockets.url(listening[0])
            server = Server(create_app(worker, normalise=normalise), listening, waiting=queue + 1)
            cut_off: list[int] = []

            def run() -> None:
                server.run()
                cut_off.append(server.drain(timeout=drain_timeout, take_backlog=True))

            thread = threading.Thread(target=run, name="tts-server")

            def stop() -> None:
                engine.release()
                server.stop()
                thread.join(PATIENCE)
                assert worker.close(timeout=PATIENCE)
                server.close()

            worker.start()
            thread.start()
            stack.callback(stop)
            return Harness(url, worker, server, engine, thread, cut_off)

        yield start


@pytest.fixture
def launch() -> Iterator[Callable[..., ServerProcess]]:
    """A factory of server processes, each killed at the end whatever the test did to it."""
    with ExitStack() as stack:

        def start(*arguments: str, **options: object) -> ServerProcess:
            process = ServerProcess(*arguments, **options)  # type: ignore[arg-type]
            stack.callback(process.close)
            return process

        yield start
