"""A real sink process, real FIFOs, and the proof that nothing of them is left."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import select
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from supervisor.logs.rotation import reading_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEADLINE = 20.0


def await_that(condition: Callable[[], object], what: str) -> None:
    """Ask until it holds; for facts (a file, a dead socket) that nobody announces."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE} s: {what}"
        select.select([], [], [], 0.002)


class Control:
    """A blocking client of the sink's socket, made from the protocol's description alone."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(DEADLINE)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self.descriptors: list[int] = []
        self._input = b""

    def send(self, raw: bytes, fds: list[int] | None = None) -> None:
        if fds:
            socket.send_fds(self.socket, [raw], fds)
        else:
            self.socket.sendall(raw)

    def receive(self) -> dict[str, object]:
        while b"\n" not in self._input:
            data, fds, _, _ = socket.recv_fds(self.socket, 65536, 256)
            self.descriptors.extend(fds)
            if not data:
                raise EOFError("the sink closed the connection")
            self._input += data
        line, _, self._input = self._input.partition(b"\n")
        reply = json.loads(line)
        assert isinstance(reply, dict)
        return reply

    @property
    def unread(self) -> bytes:
        """What was received with an earlier line, and belongs to the next."""
        return self._input

    def ask(self, op: str, fds: list[int] | None = None, /, **fields: object) -> dict[str, object]:
        self.send(json.dumps({"op": op, **fields}).encode() + b"\n", fds)
        return self.receive()

    def close(self) -> None:
        self.socket.close()
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors.clear()


class SinkHost:
    """Starts and kills sinks over one state folder, and makes FIFOs for services."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.logs = folder / "logs"
        self.state.mkdir(mode=0o700)
        self.process: subprocess.Popen[bytes] | None = None
        self._controls: list[Control] = []
        self._held: list[int] = []

    @property
    def socket_path(self) -> Path:
        return self.state / "sink.sock"

    def launch(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "supervisor.logs.sink", str(self.state)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def start(self) -> Control:
        self.process = self.launch()
        return self.connect()

    def start_with_files(self, most: int) -> Control:
        """Start a sink that may open only so many files."""
        sink = [sys.executable, "-m", "supervisor.logs.sink", str(self.state)]
        self.process = subprocess.Popen(
            ["sh", "-c", f'ulimit -n {most}; exec "$@"', "sh", *sink],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        return self.connect()

    def connect(self) -> Control:
        made: list[Control] = []

        def listening() -> bool:
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                made.append(Control(self.socket_path))
            return bool(made)

        await_that(listening, "the sink listens")
        self._controls.append(made[0])
        return made[0]

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.reap()

    def reap(self) -> int:
        assert self.process is not None
        code = self.process.wait(DEADLINE)
        assert self.process.stderr is not None
        error = self.process.stderr.read()
        self.process.stderr.close()
        self.process = None
        assert error == b""
        return code

    def fifo(self, name: str) -> int:
        """Make the FIFO of a service and return a writing end, as the daemon holds it."""
        path = self.state / name
        if not path.exists():
            os.mkfifo(path, 0o600)
        held = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._held.append(held)
        return held

    def release(self, held: int) -> None:
        self._held.remove(held)
        os.close(held)

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def attach(self, control: Control, name: str, **policy: object) -> dict[str, object]:
        fields = {"max_size": 1 << 20, "keep": 100, "compress": False, **policy}
        return control.ask(
            "attach", name=name, fifo=str(self.state / name), log=str(self.log(name)), **fields
        )

    def content(self, name: str) -> bytes:
        """All that is in the log, oldest file first."""
        whole = b""
        for file in reading_order(os.listdir(self.logs), f"{name}.log"):
            raw = (self.logs / file).read_bytes()
            whole += gzip.decompress(raw) if file.endswith(".gz") else raw
        return whole

    def close(self) -> None:
        for control in self._controls:
            control.close()
        for held in self._held:
            os.close(held)
        if self.process is not None:
            self.kill()


def open_descriptors() -> set[int]:
    found = set()
    for name in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError):
            os.fstat(int(name))
            found.add(int(name))
    return found


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    before = open_descriptors()
    yield
    assert open_descriptors() - before == set(), "descriptors left open"
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.fixture
def host(tmp_path: Path, nothing_left: None) -> Iterator[SinkHost]:
    made = SinkHost(tmp_path)
    yield made
    made.close()


@pytest.fixture
def eventually() -> Callable[[Callable[[], object], str], None]:
    return await_that
