"""The program that opens sockets and becomes the service, as real processes."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.conftest import free_port

REPORT = """\
import json, os, socket, sys
count = int(os.environ["LISTEN_FDS"])
sockets = [socket.socket(fileno=3 + at) for at in range(count)]
print(json.dumps({
    "mine": os.environ["LISTEN_PID"] == str(os.getpid()),
    "names": os.environ["LISTEN_FDNAMES"].split(":"),
    "at": [one.getsockname()[:2] for one in sockets],
    "open": sorted(int(name) for name in os.listdir("/dev/fd") if int(name) > 2),
    "argv": sys.argv[1:],
}), flush=True)
answer, _ = sockets[0].accept()
answer.sendall(b"here")
"""
LISTEN = [sys.executable, "-m", "supervisor.export.listen"]


@contextmanager
def started(*words: str, **more: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*LISTEN, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,  # type: ignore[call-overload]
    )
    with process:
        try:
            yield process
        finally:
            process.kill()
            process.wait(30)


def test_the_command_finds_its_sockets_and_answers() -> None:
    port, other = free_port(), free_port()
    sockets = (f"http=127.0.0.1:{port}", f"more={other}")
    with started(*sockets, "--", sys.executable, "-c", REPORT, "a b", "--") as process:
        told = json.loads(process.stdout.readline())  # type: ignore[union-attr]
        with socket.create_connection(("127.0.0.1", port), 30) as client:
            assert client.recv(10) == b"here"
    assert told["mine"]
    assert told["names"][:2] == ["http", "more"]
    assert told["argv"] == ["a b", "--"]
    assert told["at"][0] == ["127.0.0.1", port]
    assert told["at"][1] == ["0.0.0.0", other]
    # Where there is IPv6, every interface of it too.
    assert told["at"][2:] in ([], [["::", other]])
    # Nothing else: 3, 4, … and what listing the folder takes.
    count = len(told["at"])
    assert told["open"][:count] == list(range(3, 3 + count))
    assert len(told["open"]) == count + 1


def test_a_descriptor_that_is_in_the_way_is_kept_from_the_command() -> None:
    read, write = os.pipe()
    try:
        os.set_inheritable(read, True)
        words = (f"http=127.0.0.1:{free_port()}", "--", sys.executable, "-c", REPORT)
        with started(*words, pass_fds=(read,)) as process:
            told = json.loads(process.stdout.readline())  # type: ignore[union-attr]
    finally:
        os.close(read)
        os.close(write)
    assert told["at"][0][0] == "127.0.0.1"


def test_the_command_dies_of_a_broken_pipe_as_others_do() -> None:
    script = "import signal; print(signal.getsignal(signal.SIGPIPE).name)"
    reset = ["sh", "-c", "kill -PIPE $$; echo survived"]
    with started("--", *reset) as process:
        assert process.wait(30) == -13, script


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "write -- and a command"),
        (("http=1",), "write -- and a command"),
        (("--",), "write a command after --"),
        (("3001", "--", "true"), "'3001' is no socket: write NAME=ADDRESS:PORT"),
        (("http=127.0.0.1", "--", "true"), "'127.0.0.1' has no port"),
        (("http=127.0.0.1:70000", "--", "true"), "has no port"),
        (("http=192.0.2.99:1", "--", "true"), "this machine has no address 192.0.2.99:1"),
        (("--", "/nonexistent"), "cannot execute /nonexistent: No such file"),
    ],
)
def test_what_cannot_be_is_said(words: tuple[str, ...], said: str) -> None:
    with started(*words) as process:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 125
    assert said in err
    assert "Traceback" not in err


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with started(f"http=127.0.0.1:{port}", "--", "true") as process:
            _, err = process.communicate(timeout=60)
    assert process.returncode == 125
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in err
