"""Connections that somebody has taken: accepted, open, and not our own."""

import os
import socket

import pytest

from supervisor.posix.traffic import established, taken_connections

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid inode\n"


def row(local: int, remote: int, state: str = "01", inode: int = 7, host: str = "0100007F") -> str:
    return (
        f"   0: {host}:{local:04X} {host}:{remote:04X} {state} 00000000:00000000 00:00000000 "
        f"00000000     0        0 {inode} 1 00000000dbf0b08f 100 0 0 10 0\n"
    )


@pytest.mark.parametrize(
    ("lines", "count"),
    [
        ([], 0),
        ([row(3001, 50000)], 1),
        ([row(3001, 50000), row(3002, 50001)], 2),
        ([row(3001, 50000, host="0" * 31 + "1")], 1),
        ([row(50000, 3001)], 0),
        ([row(3001, 0, "0A")], 0),
        ([row(3001, 50000, "08")], 0),
        ([row(3001, 50000, "06", inode=0)], 0),
        ([row(3001, 50000, inode=0)], 0),
        ([row(3001, 40000)], 0),
        ([row(13001, 50000)], 0),
        (["", "nonsense\n", "a b c d e f g h i j k\n"], 0),
    ],
    ids=[
        "none", "one", "two ports", "IPv6", "its client's end", "listening", "the client is gone",
        "over", "in the backlog", "our own", "another port", "no table",
    ],
)  # fmt: skip
def test_which_lines_count(lines: list[str], count: int) -> None:
    assert established([HEAD, *lines], {3001, 3002}, {40000}) == count


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_connection_counts_from_its_accept_to_its_end(address: str) -> None:
    def me() -> tuple[int]:
        return (os.getpid(),)

    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as listening:
        port = listening.getsockname()[1]
        client = socket.create_connection((address, port), timeout=10)
        own = client.getsockname()[1]
        assert taken_connections({port}, (), me) == 0, "nobody works on what waits"
        taken, _ = listening.accept()
        with taken:
            assert taken_connections({port}, (), me) == 1
            assert taken_connections({port}, {own}, me) == 0
            with socket.create_server((address, 0), family=family) as other:
                # A port of ours: on any other there may be somebody's connection just now.
                assert taken_connections({other.getsockname()[1]}, (), me) == 0
            client.close()
            assert taken.recv(1) == b""
            assert taken_connections({port}, (), me) == 0, "for whom would it work?"


def test_no_ports_no_look() -> None:
    assert taken_connections((), (), tuple) == 0
