"""Listening sockets, and the owner of a port by name."""

import asyncio
import contextlib
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from supervisor.posix.ports import (
    ListenError,
    PortOwner,
    is_free,
    listen,
    listening_inodes,
    owner_of,
    owners_of,
)
from supervisor.sockets import busy_ports, port_is_free


@pytest.fixture
def foreign() -> Iterator[tuple[int, int]]:
    """The pid of a process of ours that listens, and its port."""
    code = (
        "import socket, sys\n"
        "s = socket.create_server(('127.0.0.1', 0))\n"
        "print(s.getsockname()[1], flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
    finally:
        process.communicate()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "0.0.0.0", "::"])
def test_connection_waits_in_the_backlog(address: str) -> None:
    with listen(address, 0, 8) as held:
        assert not held.get_inheritable()
        port = held.getsockname()[1]
        to = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
        with socket.create_connection((to, port), timeout=5):
            assert not is_free(address, port)
    assert is_free(address, port)


def test_both_families_of_localhost_can_be_held_on_one_port() -> None:
    for _ in range(20):
        with listen("::", 0, 8) as six:
            port = six.getsockname()[1]
            try:
                four = listen("127.0.0.1", port, 8)
            except ListenError:
                # It was free in one family; in the other it may be somebody's connection.
                continue
            with four:
                assert four.getsockname()[1] == port
                return
    pytest.fail("none of 20 ports could be held in both families")


@contextlib.contextmanager
def stranger(address: str, *, alone: bool) -> Iterator[int]:
    """A listener as others make them, on a port that was free."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as held:
        if family == socket.AF_INET6:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, alone)
        held.bind((address, 0))
        held.listen(1)
        yield held.getsockname()[1]


@pytest.mark.parametrize(
    ("address", "alone"),
    [("127.0.0.1", True), ("0.0.0.0", True), ("::1", True), ("::", True), ("::", False)],
)
def test_port_is_not_free_wherever_a_stranger_listens_on_it(
    monkeypatch: pytest.MonkeyPatch, address: str, *, alone: bool
) -> None:
    monkeypatch.setattr("supervisor.sockets.PORT_TIMEOUT", 0.05)
    with stranger(address, alone=alone) as port:
        assert not port_is_free(port)
        told = asyncio.run(busy_ports((port,)))
        assert len(told) == 1
        assert told[0].startswith(f"port {port} is held by pid {os.getpid()} (")
    assert port_is_free(port)
    assert asyncio.run(busy_ports((port,))) == ()


def bind_of_macos(listening: tuple[str, int]) -> Callable[[str, int], socket.socket]:
    """A bind that fails only where somebody listens on this very address, as with SO_REUSEADDR."""

    def bind(address: str, port: int) -> socket.socket:
        if (address, port) == listening:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        if port < 1024 and address not in ("0.0.0.0", "::"):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return socket.socket(socket.AF_INET, socket.SOCK_STREAM)

    return bind


@pytest.mark.parametrize(
    ("address", "taken"),
    [
        ("127.0.0.1", {"127.0.0.1", "0.0.0.0"}),
        ("0.0.0.0", {"127.0.0.1", "0.0.0.0"}),
        ("::1", {"::1", "::"}),
        ("::", {"::1", "::"}),
    ],
)
def test_macos_is_asked_for_whom_it_would_not_notice(
    monkeypatch: pytest.MonkeyPatch, address: str, taken: set[str]
) -> None:
    from supervisor.posix import ports

    monkeypatch.setattr(ports, "sys", SimpleNamespace(platform="darwin"))
    monkeypatch.setattr(ports, "_listeners", lambda _: {})
    monkeypatch.setattr(ports, "_bind", bind_of_macos((address, 8999)))
    everywhere = ("127.0.0.1", "0.0.0.0", "::1", "::")
    assert {each for each in everywhere if not is_free(each, 8999)} == taken
    assert not port_is_free(8999)
    assert owners_of((8999, 80)) == {8999: PortOwner(None, "another user's process")}
    for each in taken:
        with pytest.raises(ListenError, match="in use by another user's process") as caught:
            listen(each, 8999, 8)
        assert caught.value.retry
    assert port_is_free(80)


def test_machine_without_ipv6_has_free_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    class Socket(socket.socket):
        def __init__(self, family: int, kind: int) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(family, kind)

    with stranger("127.0.0.1", alone=True) as port:
        monkeypatch.setattr("socket.socket", Socket)
        with pytest.raises(ListenError) as caught:
            is_free("::", port)
        assert caught.value.absent
        assert not port_is_free(port)
    assert port_is_free(port)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.skipif(sys.platform != "linux", reason="macOS lets everybody bind the low ports")
def test_port_that_we_may_not_bind_is_free_if_nobody_listens(tmp_path: Path) -> None:
    start = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if start <= 1:
        pytest.skip("everybody may bind every port here")
    pid = os.fork()
    if pid == 0:
        told = 9
        with contextlib.suppress(BaseException):
            os.setuid(65534)
            told = 0 if port_is_free(1) else 1
        os._exit(told)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_taken_port_names_its_owner(foreign: tuple[int, int]) -> None:
    pid, port = foreign
    owner = owner_of(port)
    assert owner is not None
    assert owner.pid == pid
    # Without argv[0]: Python of a macOS framework starts another file in its place.
    assert " -S -c import socket" in owner.command
    assert not is_free("127.0.0.1", port)
    with pytest.raises(ListenError) as caught:
        listen("127.0.0.1", port, 8)
    assert caught.value.why.startswith(f"127.0.0.1:{port} is in use by pid {pid} (")
    assert caught.value.retry
    assert caught.value.owner == owner


def test_free_port_has_no_owner(foreign: tuple[int, int]) -> None:
    with listen("127.0.0.1", 0, 8) as held:
        port = held.getsockname()[1]
        owner = owner_of(port)
        assert owner is not None
        assert owner.pid == os.getpid()
    assert owner_of(port) is None


def test_service_is_the_owner_rather_than_the_supervisor_that_handed_over() -> None:
    with listen("127.0.0.1", 0, 8) as held:
        child = subprocess.Popen(["sleep", "60"], pass_fds=[held.fileno()])
        try:
            owner = owner_of(held.getsockname()[1])
        finally:
            child.kill()
            child.wait()
    assert owner == PortOwner(child.pid, "sleep 60")


def test_impossible_addresses_are_explained() -> None:
    for address, words in (
        ("192.0.2.1", "this machine has no address 192.0.2.1"),
        ("256.1.1.1", "not a numeric address: 256.1.1.1"),
    ):
        with pytest.raises(ListenError, match=words) as caught:
            listen(address, 0, 8)
        assert not caught.value.retry


def test_connections_to_a_port_do_not_make_an_owner() -> None:
    lines = [
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n",  # noqa: E501
        "   0: 0100007F:0BB9 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0 100 0 0 10 0\n",  # noqa: E501
        "   1: 0100007F:0BB9 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0 20 4 30 10 -1\n",  # noqa: E501
        "   2: 0100007F:9C40 0100007F:0BB9 01 00000000:00000000 00:00000000 00000000     0        0 333 1 0 20 4 30 10 -1\n",  # noqa: E501
        "   3: 00000000000000000000000001000000:0BB9 0:0000 0A 0:0 00:0 0 0 0 444 1\n",
        "   4: broken\n",
    ]
    assert listening_inodes(lines, {3001, 40000}) == {3001: {"111", "444"}}
    assert listening_inodes(lines, {40000}) == {}


def test_owners_of_many_ports_are_found_in_one_pass() -> None:
    with listen("127.0.0.1", 0, 8) as one, listen("127.0.0.1", 0, 8) as two:
        held = {one.getsockname()[1], two.getsockname()[1]}
        found = owners_of({*held, 1})
        assert {port: owner.pid for port, owner in found.items()} == dict.fromkeys(
            held, os.getpid()
        )
    assert owners_of(held) == {}
    assert owners_of(()) == {}


def test_owner_that_may_not_be_seen_is_said_to_be_another_users() -> None:
    assert str(PortOwner(None, "another user's process")) == "another user's process"
