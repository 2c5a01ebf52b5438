"""Listening sockets outlive the daemon, the sink, and both at once."""

import asyncio
import os
import signal
import socket
import subprocess
import sys

import pytest

from supervisor.core.spec import LogSpec
from supervisor.output import Output
from supervisor.posix.descriptors import is_listening, listening_sockets
from tests.output.conftest import Place, lives, until

LISTENER = """
import os, signal, socket, sys
http = socket.create_server(("127.0.0.1", 0))
again = http.dup()
others = [socket.socketpair(), socket.socket(socket.AF_INET), socket.socket(socket.AF_UNIX)]
client = socket.create_connection(http.getsockname())
accepted, _ = http.accept()
six = socket.create_server(("::1", 0), family=socket.AF_INET6) if socket.has_ipv6 else None
pipe = os.pipe()
print(http.getsockname()[1], six.getsockname()[1] if six else 0, flush=True)
signal.pause()
"""


def answer(listener: socket.socket, client: socket.socket) -> None:
    """Accept, and prove that it is this client who is served."""
    listener.settimeout(10)
    accepted, address = listener.accept()
    with accepted:
        assert address == client.getsockname()
        accepted.sendall(b"here")
    assert client.recv(10) == b"here"


async def test_a_connection_made_while_no_daemon_lived_is_accepted_by_the_next(
    place: Place,
) -> None:
    daemon = place.daemon(sockets={"tts/http": 1, "old/http": 2})
    daemon.kill()
    port = daemon.ports["tts/http"][0]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        async with place.output() as output:
            assert output.sink_pid == daemon.sink
            held = await output.held()
            assert {name: len(sockets) for name, sockets in held.items()} == {
                "tts/http": 1,
                "old/http": 2,
            }
            assert not any(each.get_inheritable() for each in held["tts/http"])
            output.hold("tts/http", held["tts/http"])
            answer(held["tts/http"][0], client)
            for each in held["old/http"]:
                each.close()
            output.release("old/http")
            # Nothing stale is left in the sink.
            await until_refused(daemon.ports["old/http"][0])
            assert list(await counts_of(output)) == ["tts/http"]
            for each in held["tts/http"]:
                each.close()


async def counts_of(output: Output) -> dict[str, int]:
    """What the sink holds: how many for each name."""
    held = await output.held()
    for sockets in held.values():
        for each in sockets:
            each.close()
    return {name: len(sockets) for name, sockets in held.items()}


async def until_refused(port: int) -> None:
    def refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=10).close()
        except ConnectionRefusedError:
            return True
        return False

    await until(refused, f"port {port} is closed")


async def test_a_new_sink_gets_every_socket_again(place: Place) -> None:
    """600 of them, more than fit beside one message, and a new daemon gets them all back."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(600)]
    async with place.output(quit_sink=False) as output:
        for at in range(200):
            output.hold(f"service{at}/http", servers[3 * at : 3 * at + 3])
        # Held again under a name: in place of what was there.
        output.hold("service7/http", servers[21:23])
        output.release("service8/http")
        assert await counts_of(output) == expected()
        sink = output.sink_pid
        assert sink is not None
        os.kill(sink, signal.SIGKILL)
        await until(lambda: output.sink_pid not in (None, sink), "there is another sink")
        await until(lambda: output.sink_version, "which has been told")
        assert await counts_of(output) == expected()
    ports = [each.getsockname()[1] for each in servers]
    for each in servers:
        each.close()
    async with place.output() as output:
        held = await output.held()
        again = [each.getsockname()[1] for name in held for each in held[name]]
        assert again == [*ports[:23], *ports[27:]]
        with socket.create_connection(("127.0.0.1", ports[-1]), timeout=10) as client:
            answer(held["service199/http"][2], client)
        for sockets in held.values():
            for one in sockets:
                one.close()
    assert place.said == ["the log sink ended; starting another (no output is lost)"]


def expected() -> dict[str, int]:
    counts = {f"service{at}/http": 3 for at in range(200) if at != 8}
    counts["service7/http"] = 2
    return counts


async def test_what_is_no_listening_socket_is_not_handed_out(place: Place) -> None:
    async with place.output(quit_sink=False) as output:
        with (
            socket.socket() as silent,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
            socket.create_server(("127.0.0.1", 0)) as server,
        ):
            output.hold("a/http", [silent, server])
            output.hold("b/http", [datagrams])
            assert await output.flush("nobody") is False
    async with place.output() as output:
        held = await output.held()
        assert [len(each) for each in held.values()] == [1]
        assert is_listening(held["a/http"][0])
        held["a/http"][0].close()
        assert await counts_of(output) == {"a/http": 1}


async def test_a_release_that_no_sink_heard_is_told_to_the_sink_that_has_it(place: Place) -> None:
    daemon = place.daemon(sockets={"old/http": 1})
    daemon.kill()
    async with place.output() as output:
        for sockets in (await output.held()).values():
            for each in sockets:
                each.close()
        # As if the connection, and not the sink, had broken just then.
        channel = output._sink._channel
        assert channel is not None
        channel.close("broken by the test")
        output.release("old/http")
        await until_refused(daemon.ports["old/http"][0])
        await until(lambda: output.sink_pid == daemon.sink, "it is joined again")


def start_listener() -> tuple[subprocess.Popen[bytes], list[int]]:
    process = subprocess.Popen([sys.executable, "-c", LISTENER], stdout=subprocess.PIPE)
    assert process.stdout is not None
    return process, [int(word) for word in process.stdout.readline().split() if word != b"0"]


@pytest.mark.skipif(sys.platform != "linux", reason="pidfd_getfd(2) is Linux's")
async def test_a_running_service_gives_its_sockets_back(place: Place) -> None:
    process, ports = start_listener()
    try:
        found = listening_sockets(process.pid)
        if not found:
            pytest.skip("this system does not allow it")
        assert sorted(each.getsockname()[1] for each in found) == sorted(ports)
        assert not any(each.get_inheritable() for each in found)
    finally:
        process.kill()
        process.communicate()
    # The service is dead, and its port still answers.
    with socket.create_connection(("127.0.0.1", ports[0]), timeout=10) as client:
        (listener,) = (each for each in found if each.getsockname()[1] == ports[0])
        answer(listener, client)
    for each in found:
        each.close()
    assert not lives(process.pid)


def test_nothing_is_taken_from_a_process_that_is_gone_or_listens_not() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        assert listening_sockets(process.pid) == []
        process.kill()
    assert listening_sockets(process.pid) == []


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root to be refused")
def test_without_the_right_to_there_is_nothing_and_no_error() -> None:
    script = (
        "import ctypes, os, sys\n"
        "from supervisor.posix.descriptors import listening_sockets\n"
        "os.setuid(65534)\n"
        "print(listening_sockets(int(sys.argv[1])))"
    )
    with socket.create_server(("127.0.0.1", 0)):
        done = subprocess.run(
            [sys.executable, "-c", script, str(os.getpid())],
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.stdout, done.stderr) == ("[]\n", "")


async def test_more_sockets_than_fit_are_said(place: Place) -> None:
    async with place.output() as output:
        with socket.create_server(("127.0.0.1", 0)) as server:
            output.hold("a/http", [server] * 129)
            assert "more sockets than can be kept" in place.said[0]
            output.open("a", LogSpec())
            assert await output.flush("a")
            await asyncio.sleep(0)
