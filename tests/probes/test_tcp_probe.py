"""Connections that count as accepted, and those that only look so."""

import asyncio
import socket

import pytest

from supervisor.core.events import Fault
from supervisor.core.spec import TcpCheck
from supervisor.probes.tcp import tcp_probe
from tests.probes.conftest import DEADLINE, Serving


async def test_accepted(serve: Serving) -> None:
    gone = asyncio.Event()

    async def script(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        assert await reader.read() == b""
        gone.set()

    async with asyncio.timeout(DEADLINE), serve(script) as port:
        result = await tcp_probe(TcpCheck("127.0.0.1", port), DEADLINE)
        await gone.wait()
    assert result.ok is True
    assert result.latency > 0


async def test_refused(unused_port: int) -> None:
    result = await tcp_probe(TcpCheck("127.0.0.1", unused_port), DEADLINE)
    assert (result.ok, result.detail) == (False, "connection refused")
    assert result.fault is Fault.UNREACHABLE


async def test_full_backlog_runs_out_of_time() -> None:
    """A hung server's backlog fills; the kernel then drops the SYN and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        waiting = []
        try:
            for _ in range(8):
                each = socket.socket()
                each.setblocking(False)
                each.connect_ex(("127.0.0.1", port))
                waiting.append(each)
            result = await tcp_probe(TcpCheck("127.0.0.1", port), 0.1)
        finally:
            for each in waiting:
                each.close()
    assert result.ok is False
    assert result.detail == "no connection within 0.1 s"
    assert result.fault is Fault.SILENT


async def test_connection_to_itself_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    """Nobody listens, and the kernel picks that very port as the source: TCP connects to itself.

    Here the source port is bound first, which is how the kernel's rare choice is had every time.
    """
    real = socket.socket

    def bound(family: int, kind: int) -> socket.socket:
        made = real(family, kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
        return made

    with real() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with real() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        probe.connect(("127.0.0.1", port))
        assert probe.getsockname() == probe.getpeername(), "the trap is not there any more"
        # With SO_LINGER 0 the port is free at once.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    monkeypatch.setattr("supervisor.probes.connection.socket.socket", bound)
    result = await tcp_probe(TcpCheck("127.0.0.1", port), DEADLINE)
    assert (result.ok, result.detail) == (False, "connection refused")


async def test_name_is_never_resolved() -> None:
    """DNS has no deadline of ours and "localhost" two meanings: a name is the prober's error."""
    with pytest.raises(ValueError, match="localhost is no address"):
        await tcp_probe(TcpCheck("localhost", 9), DEADLINE)
