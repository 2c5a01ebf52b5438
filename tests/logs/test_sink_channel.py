"""The daemon's channel to a real sink."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

import pytest

from supervisor.logs.channel import SinkChannel, SinkError, SinkGoneError

from .conftest import SinkHost

if TYPE_CHECKING:
    from pathlib import Path


async def test_connect_waits_for_a_sink_that_is_just_starting(host: SinkHost) -> None:
    host.process = host.launch()
    channel = await SinkChannel.connect(str(host.socket_path), 20)
    reply = await channel.request("stats")
    assert reply.fields["logs"] == {}
    channel.close()


async def test_no_sink_is_said_within_the_time(tmp_path: Path) -> None:
    with pytest.raises(SinkGoneError, match="no sink listens"):
        await SinkChannel.connect(str(tmp_path / "sink.sock"), 0.05)


async def test_a_folder_of_any_depth_will_do(tmp_path: Path) -> None:
    """The name of a Unix socket has 103 bytes at most, and a Mac's own paths are long."""
    here = os.getcwd()
    deep = tmp_path / ("x" * 120)
    deep.mkdir()
    host = SinkHost(deep)
    host.process = host.launch()
    channel = await SinkChannel.connect(str(host.socket_path), 20)
    assert (await channel.request("stats")).fields["logs"] == {}
    await channel.request("quit")
    channel.close()
    assert host.reap() == 0
    assert not host.socket_path.exists()
    assert os.getcwd() == here


async def test_answers_come_to_their_askers_whoever_gives_up(host: SinkHost) -> None:
    host.fifo("tts")
    host.start()
    channel = await SinkChannel.connect(str(host.socket_path), 20)
    with pytest.raises(SinkError, match="'tts' is not attached"):
        await channel.request("flush", {"name": "tts"})
    given_up = asyncio.ensure_future(channel.request("stats"))
    await asyncio.sleep(0)
    given_up.cancel()
    requests = [channel.request("stats") if i % 2 else channel.request("fetch") for i in range(50)]
    replies = await asyncio.gather(*requests)
    assert [("logs" in reply.fields) for reply in replies] == [bool(i % 2) for i in range(50)]
    channel.close()


async def test_descriptors_go_and_come_back(host: SinkHost) -> None:
    host.start()
    channel = await SinkChannel.connect(str(host.socket_path), 20)
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        ports = [one.getsockname(), two.getsockname()]
        fds = [one.fileno(), two.fileno()]
        await channel.request("store", {"name": "tts", "count": 2}, fds)
    channel.close()
    channel = await SinkChannel.connect(str(host.socket_path), 20)
    reply = await channel.request("fetch")
    assert reply.fields["names"] == ["tts", "tts"]
    found = []
    for descriptor in reply.descriptors:
        assert not os.get_inheritable(descriptor)
        with socket.socket(fileno=descriptor) as inherited:
            found.append(inherited.getsockname())
    assert found == ports
    channel.close()


async def test_the_death_of_the_sink_is_told_at_once(host: SinkHost) -> None:
    host.start()
    channel = await SinkChannel.connect(str(host.socket_path), 20)
    await channel.request("stats")
    waiting = asyncio.ensure_future(channel.request("quit"))
    host.kill()
    reason = await asyncio.wait_for(asyncio.shield(channel.closed), 10)
    assert "gone" in reason
    # Answered before the kill, or not at all: never left waiting.
    (outcome,) = await asyncio.gather(waiting, return_exceptions=True)
    if isinstance(outcome, BaseException):
        assert isinstance(outcome, SinkGoneError)
    else:
        assert outcome.fields == {"ok": True}
    with pytest.raises(SinkGoneError):
        await channel.request("stats")


async def test_a_silent_sink_times_out_and_nonsense_ends_the_channel(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        channel = await SinkChannel.connect(path, 5)
        peer, _ = listener.accept()
        with peer:
            with pytest.raises(TimeoutError):
                await channel.request("stats", within=0.01)
            assert peer.recv(100) == b'{"op": "stats"}\n'
            waiting = asyncio.ensure_future(channel.request("stats"))
            await asyncio.sleep(0)
            peer.sendall(b'{"ok": true}\nnonsense\n')
            with pytest.raises(SinkGoneError, match="nonsense"):
                await waiting
    assert "nonsense" in channel.closed.result()
