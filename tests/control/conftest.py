"""A real control server on a real socket, and the proof that nothing is left open."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import psutil
import pytest

from supervisor.control.server import ControlServer, Limits, Routes
from supervisor.control.socket import peer_uid, socket_path

DEADLINE = 10.0
"""Seconds after which a wait has failed. Nothing here should need a tenth of them."""


class Served:
    """The server, what it reported, and raw connections to it."""

    def __init__(self, server: ControlServer, path: str, errors: list[str]) -> None:
        self.server = server
        self.path = path
        self.errors = errors

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(self.path)

    async def exchange(self, request: bytes) -> bytes:
        """Send bytes and return all that comes until the server closes."""
        reader, writer = await self.connect()
        try:
            async with asyncio.timeout(DEADLINE):
                writer.write(request)
                return await reader.read()
        finally:
            writer.close()


Serving = Callable[..., AbstractAsyncContextManager[Served]]


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def serve(tmp_path: Path) -> Serving:
    tmp_path.chmod(0o700)

    @contextlib.asynccontextmanager
    async def serving(
        routes: Routes,
        *,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        peer: Callable[[socket.socket], int] = peer_uid,
    ) -> AsyncIterator[Served]:
        errors: list[str] = []
        server = ControlServer(
            str(tmp_path), routes, on_error=errors.append, peer=peer, limits=limits
        )
        await server.start()
        try:
            yield Served(server, socket_path(str(tmp_path)), errors)
        finally:
            await server.close()
            await turn()

    return serving


def descriptors() -> set[str]:
    found = set()
    for fd in os.listdir("/dev/fd"):
        # The descriptor of the listing itself is closed by now.
        with contextlib.suppress(OSError):
            os.fstat(int(fd))
            found.add(fd)
    return found


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    before = descriptors()
    yield
    # What a test before this one left to the collector may be gone now.
    assert descriptors() <= before
    assert psutil.Process().children(recursive=True) == []
