"""What systemd is told, over real sockets."""

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from supervisor.notification import Notifier, taken_from


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.settimeout(20.0)
        yield ear


def test_what_is_said(heard: socket.socket) -> None:
    notifier = Notifier(heard.getsockname())
    before = time.monotonic_ns() // 1000
    notifier.ready("1 of 2 services ready")
    notifier.alive("2 of 2 services ready")
    notifier.reloading()
    notifier.stopping()
    said = [heard.recv(4096).decode().splitlines() for _ in range(4)]
    assert said[0] == ["READY=1", "WATCHDOG=1", "STATUS=1 of 2 services ready"]
    assert said[1] == ["WATCHDOG=1", "STATUS=2 of 2 services ready"]
    assert said[2][0] == "RELOADING=1"
    # sd_notify(3) wants the monotonic clock with it, and asyncio's is the same one.
    assert before <= int(said[2][1].removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    assert said[3] == ["STOPPING=1", "WATCHDOG=1", "STATUS=stopping everything"]


def test_the_end_may_take_as_long_as_signs_of_life_come(heard: socket.socket) -> None:
    Notifier(heard.getsockname(), 30.0).stopping()
    assert heard.recv(4096).decode().splitlines()[3:] == ["EXTEND_TIMEOUT_USEC=60000000"]


@pytest.mark.skipif(sys.platform != "linux", reason="the abstract namespace is Linux's")
def test_an_abstract_address() -> None:
    name = f"atlas-test-{os.getpid()}"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as ear:
        ear.bind(f"\0{name}")
        ear.settimeout(20.0)
        Notifier(f"@{name}").stopping()
        assert ear.recv(4096).startswith(b"STOPPING=1")


@pytest.mark.parametrize("address", ["", "/no/such/socket", "/" + "x" * 200, "/etc/hostname"])
def test_nobody_listens(address: str) -> None:
    before = set(os.listdir("/dev/fd"))
    Notifier(address).ready("x")
    assert set(os.listdir("/dev/fd")) <= before


def test_a_full_socket_keeps_nobody_waiting(heard: socket.socket) -> None:
    notifier = Notifier(heard.getsockname())
    for _ in range(2000):  # ten are kept, or some hundreds
        notifier.alive("x" * 100)
    assert heard.recv(4096).startswith(b"WATCHDOG=1")


@pytest.mark.parametrize(
    ("environ", "notifier"),
    [
        ({}, Notifier()),
        ({"NOTIFY_SOCKET": "/run/n"}, Notifier("/run/n")),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "60000000"}, Notifier("@n", 30.0)),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "7"},
         Notifier("/n", 1.5)),
        # It is another process that is watched.
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "8"}, Notifier("/n")),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "0"}, Notifier("/n")),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "-5"}, Notifier("/n")),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "soon"}, Notifier("/n")),
        ({"NOTIFY_SOCKET": "vsock:2:1"}, Notifier()),
        ({"NOTIFY_SOCKET": "@"}, Notifier()),
        ({"WATCHDOG_USEC": "60000000"}, Notifier()),
    ],
)  # fmt: skip
def test_who_is_told_and_how_often(environ: dict[str, str], notifier: Notifier) -> None:
    environ |= {"HOME": "/"}
    assert taken_from(environ, 7) == notifier
    assert environ == {"HOME": "/"}  # nobody else is to speak for us
