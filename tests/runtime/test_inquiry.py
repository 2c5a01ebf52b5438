"""Whether a service is at work: by its own word, or by the connections that it has taken."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

import pytest

from supervisor.core.events import Fault, ProbeResult
from supervisor.core.spec import HttpCheck, ProbeKind, ProbeSpec, ServiceSpec
from supervisor.inquiry import inquire
from supervisor.launcher import Launcher
from supervisor.probes import Context, Prober
from supervisor.sockets import Private

DEADLINE = 30.0
SOON = 0.2
"""Seconds of a probe that is to run out of time."""
STARTUP, READINESS, LIVENESS, TRANSACTION = ProbeKind


class Server:
    """Answers each path as it is told to, and says nothing at the others."""

    def __init__(self, replies: Mapping[str, tuple[int, str]]) -> None:
        self.replies = replies
        self.asked: list[str] = []
        self.port = 0
        self._taken: set[asyncio.Task[None]] = set()

    async def play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._taken.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split()[1].decode()
            self.asked.append(path)
            if path in self.replies:
                status, body = self.replies[path]
                length = f"Content-Length: {len(body)}"
                writer.write(f"HTTP/1.1 {status} x\r\n{length}\r\n\r\n{body}".encode())
                await writer.drain()
            # It has one thread, and that is busy: it does not see that a client has gone.
            await asyncio.Event().wait()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def close(self) -> None:
        for task in self._taken:
            task.cancel()
        await asyncio.gather(*self._taken, return_exceptions=True)


@contextlib.asynccontextmanager
async def serving(replies: Mapping[str, tuple[int, str]]) -> AsyncIterator[Server]:
    made = Server(replies)
    server = await asyncio.start_server(made.play, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.close()


@contextlib.asynccontextmanager
async def client(server: Server) -> AsyncIterator[None]:
    """A request of somebody else, in flight."""
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(b"POST /long HTTP/1.1\r\n\r\n")
        before = len(server.asked)
        async with asyncio.timeout(DEADLINE):
            while len(server.asked) == before:  # noqa: ASYNC110 - what a real client does not see
                await asyncio.sleep(0.001)
        yield
    finally:
        writer.close()
        await writer.wait_closed()


def spec_for(port: int, *, busy: str | None = None, within: float = DEADLINE) -> ServiceSpec:
    def asking(path: str, **more: str | None) -> ProbeSpec:
        return ProbeSpec(HttpCheck("127.0.0.1", port, path, **more), timeout=within)  # type: ignore[arg-type]

    return ServiceSpec(
        "tts",
        ("serve",),
        "/",
        startup=asking("/tts"),
        readiness=asking("/health", busy=busy),
        liveness=asking("/alive"),
        transaction=replace(asking("/tts"), idle=True),
    )


async def ask(
    spec: ServiceSpec,
    kind: ProbeKind,
    *,
    even_if_busy: bool = True,
    door: Private | None = None,
) -> ProbeResult:
    context = Context("/", dict, Launcher().run)
    return await inquire(
        spec, kind, door, Prober(), context, lambda: (os.getpid(),), even_if_busy=even_if_busy
    )


async def test_silence_is_told_with_how_many_wait_for_an_answer() -> None:
    async with serving({}) as server:
        spec = spec_for(server.port, within=SOON)
        alone = await ask(spec, LIVENESS)
        assert (alone.ok, alone.fault, alone.busy) == (False, Fault.SILENT, False)
        assert "in flight" not in alone.detail
        async with client(server):
            one = await ask(spec, LIVENESS)
            assert (one.ok, one.fault, one.busy) == (False, Fault.SILENT, True)
            words = "no reply within 0.2 s (connected, request sent) while 1 request is in flight"
            assert one.detail == words
            async with client(server):
                two = await ask(spec, READINESS)
            assert two.detail.endswith("while 2 requests are in flight")
            startup = await ask(spec, STARTUP)
            assert startup.busy is None, "what loads has no work yet"
        assert (await ask(spec, LIVENESS)).busy is False


async def test_an_answer_needs_no_look() -> None:
    async with serving({"/alive": (200, "{}"), "/health": (500, "{}")}) as server:
        spec = spec_for(server.port)
        async with client(server):
            assert (await ask(spec, LIVENESS)).busy is None
            wrong = await ask(spec, READINESS)
            assert (wrong.ok, wrong.fault, wrong.busy) == (False, Fault.WRONG, None)


async def test_a_refusal_is_told_with_whether_there_is_work() -> None:
    async with serving({"/tts": (503, "{}")}) as server:
        spec = spec_for(server.port)
        assert (await ask(spec, TRANSACTION)).busy is False
        async with client(server):
            result = await ask(spec, TRANSACTION)
        assert (result.ok, result.fault, result.busy) == (False, Fault.REFUSED, True)


async def test_a_transaction_is_not_begun_while_there_is_work() -> None:
    async with serving({"/tts": (200, "")}) as server:
        spec = spec_for(server.port)
        async with client(server):
            put_off = await ask(spec, TRANSACTION, even_if_busy=False)
            assert put_off == ProbeResult(None, "put off: 1 request is in flight", busy=True)
            assert server.asked == ["/long"]
            assert (await ask(spec, TRANSACTION, even_if_busy=True)).ok is True
        assert (await ask(spec, TRANSACTION, even_if_busy=False)).ok is True
        assert server.asked == ["/long", "/tts", "/tts"]


@pytest.mark.parametrize("work", ["true", "3", "false", "0"])
async def test_its_own_word_counts_more_than_connections(work: str) -> None:
    health = (200, f'{{"busy": {work}}}')
    async with serving({"/tts": (200, ""), "/health": health}) as server:
        spec = spec_for(server.port, busy="busy")
        async with client(server):
            result = await ask(spec, TRANSACTION, even_if_busy=False)
        if work in ("true", "3"):
            words = "put off: it works on something, by its own word"
            assert result == ProbeResult(None, words, busy=True)
        else:
            assert result.ok is True, "a connection that is kept alive is no work"
        assert server.asked[:2] == ["/long", "/health"]


async def test_where_its_word_cannot_be_had_connections_tell() -> None:
    async with serving({"/tts": (200, "")}) as server:
        spec = spec_for(server.port, busy="busy", within=SOON)
        async with client(server):
            result = await ask(spec, TRANSACTION, even_if_busy=False)
            assert (result.ok, result.busy) == (None, True)
        result = await ask(spec, TRANSACTION, even_if_busy=False)
        assert result.ok is True


async def test_of_two_runs_the_one_that_is_meant_is_asked() -> None:
    async with (
        serving({"/tts": (500, "")}) as old,
        serving({"/tts": (200, "")}) as new,
    ):
        spec = spec_for(old.port)
        door = Private(doors={old.port: ("127.0.0.1", new.port)})
        assert (await ask(spec, TRANSACTION, door=door)).ok is True
        assert (await ask(spec, TRANSACTION, door=None)).ok is False
        async with client(new):
            result = await ask(spec, TRANSACTION, door=door, even_if_busy=False)
            assert result.busy is True
    assert new.asked == ["/tts", "/long"]


async def test_a_probe_that_a_reload_took_away_says_nothing() -> None:
    result = await ask(replace(spec_for(1), transaction=None), TRANSACTION)
    assert result.ok is None
