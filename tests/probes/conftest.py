"""Scripted TCP servers, each connection a coroutine, and the proof that nothing is left open."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager

import psutil
import pytest

DEADLINE = 10.0
"""Seconds after which a wait has failed. Nothing here should need a tenth of them."""

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Serving = Callable[..., AbstractAsyncContextManager[int]]


async def turn() -> None:
    """Let the loop do what has been scheduled: aborted transports close in its next turns."""
    for _ in range(5):
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def serving(script: Script, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """Play a script to each client; yield the port. A failing script fails the test."""
    tasks: set[asyncio.Task[None]] = set()
    failures: list[BaseException] = []

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await script(reader, writer)
            await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass  # the probe has seen enough
        except Exception as error:  # noqa: BLE001 - handed to the test below
            failures.append(error)
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(play, host, 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(tuple(tasks), timeout=DEADLINE)
        await turn()
    assert failures == []


async def request_of(reader: asyncio.StreamReader) -> bytes:
    """Return the header of the client's request."""
    return await reader.readuntil(b"\r\n\r\n")


def playing(*chunks: bytes, then: asyncio.Event | None = None) -> Script:
    """Return a script: read the request, send the chunks one by one, and close.

    With `then`, wait for that event before closing.
    """

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        for chunk in chunks:
            writer.write(chunk)
            await writer.drain()
            await turn()
        if then is not None:
            await then.wait()

    return script


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
    # Orphans come to us if another test of this process has made it a subreaper, and wait there.
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    assert psutil.Process().children(recursive=True) == []


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port on which nobody listens, and which nobody else can get meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


@pytest.fixture
def serve() -> Serving:
    return serving


@pytest.fixture
def play() -> Callable[..., Script]:
    return playing
