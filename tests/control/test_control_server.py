"""The daemon's end of the control socket, against clients that behave and those that do not."""

import asyncio
import json
import os
import resource
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from supervisor.control.client import ControlClient, ControlError
from supervisor.control.server import (
    BindError,
    ControlServer,
    Limits,
    Reply,
    Request,
    Routes,
    Stream,
    problem,
)
from supervisor.control.socket import LONGEST, SocketPathError, socket_path
from tests.control.conftest import DEADLINE, Serving, turn

CLOSE = b"Host: a\r\nConnection: close\r\n"


async def echo(request: Request) -> Reply:
    return Reply(200, {"query": dict(request.query), "json": request.json})


async def broken(_: Request) -> Reply:
    raise KeyError("bug")


async def cancelled(_: Request) -> Reply:
    raise asyncio.CancelledError


async def unwritable(_: Request) -> Reply:
    return Reply(200, {"a": object()})


async def three() -> AsyncIterator[object]:
    for number in range(3):
        yield {"n": number, "text": "привіт"}


async def half() -> AsyncIterator[object]:
    yield 1
    raise KeyError("bug")


async def stream(_: Request) -> Stream:
    return Stream(three())


async def half_stream(_: Request) -> Stream:
    return Stream(half())


ROUTES: Routes = {
    ("GET", "/echo"): echo,
    ("POST", "/echo"): echo,
    ("POST", "/only"): echo,
    ("GET", "/broken"): broken,
    ("GET", "/cancelled"): cancelled,
    ("GET", "/unwritable"): unwritable,
    ("GET", "/stream"): stream,
    ("GET", "/half"): half_stream,
}


def parted(reply: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = reply.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, body


def post(path: str, body: bytes) -> bytes:
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    return b"POST " + path.encode() + b" HTTP/1.1\r\n" + CLOSE + length + body


def get(path: str, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\n".encode() + CLOSE + b"\r\n"


@pytest.mark.parametrize(
    ("request_", "status", "error"),
    [
        pytest.param(get("/nowhere"), 404, "there is no /nowhere", id="path"),
        pytest.param(get("/only"), 405, "/only takes POST", id="method"),
        pytest.param(get("/echo", "PUT"), 405, "/echo takes GET or POST", id="method of two"),
        pytest.param(get("http://[::1"), 400, "is no address", id="target"),
        pytest.param(get("*", "OPTIONS"), 404, "there is no *", id="asterisk"),
        pytest.param(post("/echo", b"{"), 400, "the body is not JSON", id="JSON"),
        pytest.param(post("/echo", b"[" * 200_000), 400, "the body is not JSON", id="deep JSON"),
        pytest.param(post("/echo", b"\xff\xfe\xff"), 400, "the body is not JSON", id="no text"),
        pytest.param(b"nonsense\r\n\r\n", 400, "", id="no HTTP"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, "Host", id="no host"),
        pytest.param(b"GET /" + b"a" * 70_000, 431, "", id="endless line"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 9000, 431, "", id="endless header"),
        pytest.param(
            b"POST /echo HTTP/1.1\r\n" + CLOSE + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
            400, "", id="bad chunk",
        ),
        pytest.param(post("/echo", b" " * 17_000_000), 413, "over 16777216 bytes", id="large body"),
    ],
)  # fmt: skip
async def test_refusals(serve: Serving, request_: bytes, status: int, error: str) -> None:
    async with serve(ROUTES) as served:
        code, headers, body = parted(await served.exchange(request_))
    assert code == status
    assert headers["content-type"] == "application/json"
    said = json.loads(body)
    assert error in said["error"]
    assert said["hint"]
    assert served.errors == []


async def test_a_client_is_told_that_its_body_is_too_large(serve: Serving, tmp_path: Path) -> None:
    # More than the server takes before it closes: the rest cannot be sent, and is not missed.
    configuration = "x" * 12_000_000
    async with serve(ROUTES, limits=Limits(body=100_000)):
        client = ControlClient(str(tmp_path), DEADLINE)
        with pytest.raises(ControlError) as raised:
            await asyncio.to_thread(client.post, "/echo", configuration)
        small = await asyncio.to_thread(client.post, "/echo", "x" * 90_000)
    assert raised.value.status == 413
    assert raised.value.message == "the body is over 100000 bytes"
    assert small == {"query": {}, "json": "x" * 90_000}


async def test_wrong_method_is_told_the_right_ones(serve: Serving) -> None:
    async with serve(ROUTES) as served:
        assert parted(await served.exchange(get("/only")))[1]["allow"] == "post"
        both = parted(await served.exchange(get("/echo", "PUT")))[1]["allow"]
    assert both == "get, post, head"


async def test_request_and_reply(serve: Serving) -> None:
    async with serve(ROUTES) as served:
        code, _, body = parted(await served.exchange(post("/echo?a=%D1%97&b=2", b'{"x": [1]}')))
        assert code == 200
        assert json.loads(body) == {"query": {"a": "ї", "b": "2"}, "json": {"x": [1]}}
        assert body.endswith(b"\n")
        chunked = (
            b"POST /echo HTTP/1.1\r\n" + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n"
            b"2\r\n[1\r\n2\r\n,2\r\n1\r\n]\r\n0\r\n\r\n"
        )
        assert json.loads(parted(await served.exchange(chunked))[2])["json"] == [1, 2]


async def test_head_is_get_without_the_body(serve: Serving) -> None:
    async with serve(ROUTES) as served:
        whole = parted(await served.exchange(get("/echo")))
        code, headers, body = parted(await served.exchange(get("/echo", "HEAD")))
        assert (code, body) == (200, b"")
        assert headers["content-length"] == str(len(whole[2]))
        assert parted(await served.exchange(get("/stream", "HEAD")))[2] == b""
        assert parted(await served.exchange(get("/nowhere", "HEAD")))[0] == 404
    assert served.errors == []


async def test_connection_is_kept_and_pipelined(serve: Serving) -> None:
    first = b"GET /echo?n=1 HTTP/1.1\r\nHost: a\r\n\r\n"
    async with serve(ROUTES) as served:
        got = await served.exchange(first + first.replace(b"=1", b"=2") + get("/echo?n=3"))
    assert got.count(b"HTTP/1.1 200") == 3
    assert [got.index(b'"n":"%d"' % n) for n in (1, 2, 3)] == sorted(
        got.index(b'"n":"%d"' % n) for n in (1, 2, 3)
    )


async def test_client_that_waits_for_100_continue_gets_it(serve: Serving) -> None:
    head = b"POST /echo HTTP/1.1\r\n" + CLOSE + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    async with asyncio.timeout(DEADLINE), serve(ROUTES) as served:
        reader, writer = await served.connect()
        writer.write(head)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        writer.write(b"[]")
        assert parted(await reader.read())[0] == 200
        writer.close()


@pytest.mark.parametrize("first", [b"", b"GET /echo HT", b"POST /echo HTTP/1.1\r\nHost: a\r\n"])
async def test_slow_request_is_cut_off(serve: Serving, first: bytes) -> None:
    async with serve(ROUTES, limits=Limits(request=0.05)) as served:
        assert await served.exchange(first) == b""


async def test_large_reply_is_sent_whole_before_the_close(serve: Serving) -> None:
    """The socket's buffer takes part of it; what waits in ours must not go with the connection."""

    async def large(_: Request) -> Reply:
        return Reply(200, "a" * 3_000_000)

    async with asyncio.timeout(DEADLINE), serve({("GET", "/"): large}) as served:
        _, headers, body = parted(await served.exchange(get("/")))
    assert len(body) == int(headers["content-length"]) == 3_000_003


async def test_client_that_takes_no_reply_is_cut_off(serve: Serving) -> None:
    cut_off = asyncio.Event()

    async def large(_: Request) -> Reply:
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda _: cut_off.set())
        return Reply(200, "a" * 8_000_000)

    async with asyncio.timeout(DEADLINE):
        async with serve({("GET", "/"): large}, limits=Limits(write=0.05)) as served:
            reader, writer = await served.connect()
            transport = writer.transport
            assert isinstance(transport, asyncio.ReadTransport)
            transport.pause_reading()
            writer.write(get("/"))
            await cut_off.wait()
            transport.resume_reading()
            got = await reader.read()
            writer.close()
    assert 0 < len(got) < 8_000_000
    assert served.errors == []


async def test_bug_of_a_handler_is_reported_once_and_costs_one_reply(serve: Serving) -> None:
    async with serve(ROUTES) as served:
        code, _, body = parted(await served.exchange(get("/broken")))
        assert (code, json.loads(body)["error"]) == (500, "KeyError: 'bug'")
        assert served.errors == ["GET /broken: KeyError: 'bug'"]
        assert parted(await served.exchange(get("/cancelled")))[0] == 500
        assert len(served.errors) == 2
        assert parted(await served.exchange(get("/unwritable")))[0] == 500
        assert len(served.errors) == 3
        assert parted(await served.exchange(get("/echo")))[0] == 200


async def test_lone_surrogate_does_not_break_the_reply(serve: Serving) -> None:
    """A file name that is no UTF-8, in a reason, would have made every status a failure."""

    async def odd(_: Request) -> Reply:
        return Reply(200, os.fsdecode(b"a\xff"))

    async with serve({("GET", "/"): odd}) as served:
        assert json.loads(parted(await served.exchange(get("/")))[2]) == "a\udcff"
    assert served.errors == []


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_stream_is_one_value_a_line(serve: Serving, version: bytes) -> None:
    request = get("/stream").replace(b"HTTP/1.1", b"HTTP/" + version)
    async with serve(ROUTES) as served:
        code, headers, body = parted(await served.exchange(request))
    assert code == 200
    assert headers["content-type"] == "application/x-ndjson"
    assert ("transfer-encoding" in headers) == (version == b"1.1")
    assert body.count('"text":"привіт"'.encode()) == 3


async def test_failing_stream_is_reported_and_not_ended_as_if_whole(serve: Serving) -> None:
    async with serve(ROUTES) as served:
        got = await served.exchange(get("/half"))
    assert b"1\n" in got
    assert not got.endswith(b"0\r\n\r\n")
    assert served.errors == ["a stream: KeyError: 'bug'"]


class Idle:
    """A stream that says one thing and then nothing, and tells when it is let go."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()

    async def __call__(self, _: Request) -> Stream:
        return Stream(self.values())

    async def values(self) -> AsyncIterator[object]:
        try:
            yield "begun"
            await asyncio.Event().wait()
        finally:
            self.let_go.set()


async def test_idle_stream_ends_when_the_client_goes(serve: Serving) -> None:
    idle = Idle()
    async with asyncio.timeout(DEADLINE), serve({("GET", "/"): idle}) as served:
        reader, writer = await served.connect()
        writer.write(get("/"))
        await reader.readuntil(b'"begun"\n')
        writer.close()
        await idle.let_go.wait()
    assert served.errors == []


async def test_idle_stream_ends_when_the_daemon_closes(serve: Serving) -> None:
    idle = Idle()
    async with asyncio.timeout(DEADLINE), serve({("GET", "/"): idle}) as served:
        reader, writer = await served.connect()
        writer.write(get("/"))
        await reader.readuntil(b'"begun"\n')
        await served.server.close(grace=DEADLINE)
        await reader.read()
        writer.close()
    assert idle.let_go.is_set()
    assert served.errors == []


async def test_reader_of_a_stream_that_falls_behind_is_cut_off(serve: Serving) -> None:
    let_go = asyncio.Event()

    async def values() -> AsyncIterator[object]:
        try:
            while True:
                yield "a" * 65_536
        finally:
            let_go.set()

    async def flood(_: Request) -> Stream:
        return Stream(values())

    async with asyncio.timeout(DEADLINE):
        async with serve({("GET", "/"): flood}, limits=Limits(write=0.05)) as served:
            _, writer = await asyncio.open_unix_connection(served.path, limit=1024)
            writer.write(get("/"))
            await let_go.wait()
            writer.transport.abort()
    assert served.errors == []


async def test_close_finishes_the_reply_under_way_and_waits_no_longer(serve: Serving) -> None:
    begun, finish = asyncio.Event(), asyncio.Event()

    async def slow(_: Request) -> Reply:
        begun.set()
        await finish.wait()
        return Reply(200, "done")

    async with asyncio.timeout(DEADLINE), serve({("GET", "/"): slow}) as served:
        reader, writer = await served.connect()
        # Kept alive: the connection has no end of its own that close() could wait for.
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await begun.wait()
        closing = asyncio.create_task(served.server.close(grace=10 * DEADLINE))
        await asyncio.sleep(0)
        finish.set()
        assert b'"done"' in await reader.read()
        await closing
        writer.close()
    assert os.listdir(os.path.dirname(served.path)) == []


async def test_too_many_connections(serve: Serving) -> None:
    async with asyncio.timeout(DEADLINE), serve(ROUTES, limits=Limits(connections=2)) as served:
        held = []
        for _ in range(2):
            reader, writer = await served.connect()
            writer.write(b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n")
            await reader.readuntil(b"}\n")
            held.append(writer)
        assert parted(await served.exchange(get("/echo")))[0] == 503
        held.pop().close()
        while parted(await served.exchange(get("/echo")))[0] == 503:
            pass  # until the server has seen the close
        held.pop().close()


async def test_flood_of_connections_is_cut_off(serve: Serving) -> None:
    async with asyncio.timeout(DEADLINE), serve(ROUTES, limits=Limits(connections=1)) as served:
        held = [await served.connect() for _ in range(3)]
        assert await held[2][0].read() == b""
        for _, writer in held:
            writer.close()


@pytest.mark.parametrize(("uid", "status"), [(os.geteuid() + 1, 403), (0, 200)])
async def test_only_this_user_and_root_are_served(serve: Serving, uid: int, status: int) -> None:
    async with serve(ROUTES, peer=lambda _: uid) as served:
        assert parted(await served.exchange(get("/echo")))[0] == status


async def test_socket_is_the_users_alone(serve: Serving) -> None:
    async with serve(ROUTES) as served:
        mode = os.lstat(served.path).st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
        assert os.listdir(os.path.dirname(served.path)) == ["control.sock"]


def server_in(folder: Path) -> ControlServer:
    return ControlServer(str(folder), ROUTES, on_error=pytest.fail)


async def test_missing_folder_is_made_private(tmp_path: Path) -> None:
    server = server_in(tmp_path / "state")
    await server.start()
    assert stat.S_IMODE(os.lstat(tmp_path / "state").st_mode) == 0o700
    await server.close()


async def test_stale_socket_is_replaced(serve: Serving, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(socket_path(str(tmp_path)))
    async with serve(ROUTES) as served:
        assert parted(await served.exchange(get("/echo")))[0] == 200


@pytest.mark.parametrize("kind", ["file", "folder", "symlink"])
async def test_what_is_no_socket_is_left_alone(tmp_path: Path, kind: str) -> None:
    os.chmod(tmp_path, 0o700)
    place = tmp_path / "control.sock"
    target = tmp_path / "precious"
    target.write_text("precious")
    match kind:
        case "file":
            place.write_text("precious")
        case "folder":
            place.mkdir()
        case _:
            place.symlink_to(target)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(BindError, match="move it away"):
        await server_in(tmp_path).start()
    assert sorted(os.listdir(tmp_path)) == before
    assert target.read_text() == "precious"


async def test_folder_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)
    with pytest.raises(BindError, match="chmod 700"):
        await server_in(tmp_path).start()


async def test_long_state_dir_has_a_socket_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    # Not below tmp_path, which is long itself where tests run in several processes.
    home = Path(tempfile.mkdtemp(prefix="h"))
    request.addfinalizer(lambda: shutil.rmtree(home))
    monkeypatch.setenv("XDG_STATE_HOME", str(home))
    folder = tmp_path / ("long" * 30)
    folder.mkdir(mode=0o700)
    path = socket_path(str(folder))
    assert path == socket_path(str(folder))
    assert path != socket_path(str(folder) + "er")
    assert path.startswith(str(home))
    assert len(os.fsencode(path)) <= LONGEST
    server = server_in(folder)
    await server.start()
    assert stat.S_ISSOCK(os.lstat(path).st_mode)
    await server.close()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / ("home" * 30)))
    with pytest.raises(SocketPathError, match="XDG_STATE_HOME"):
        socket_path(str(folder))


async def test_curl_can_speak_to_it(serve: Serving) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("there is no curl")
    async with serve(ROUTES) as served:
        command = [curl, "-sS", "--max-time", "10", "--unix-socket", served.path]
        loop = asyncio.get_running_loop()

        def run(*rest: str) -> str:
            done = subprocess.run(
                [*command, *rest], capture_output=True, text=True, timeout=30, check=True
            )
            return done.stdout

        got = await loop.run_in_executor(None, run, "http://atlas/echo", "-d", '{"a": "ї"}')
        assert json.loads(got)["json"] == {"a": "ї"}
        lines = await loop.run_in_executor(None, run, "-N", "http://atlas/stream")
        assert [json.loads(line)["n"] for line in lines.splitlines()] == [0, 1, 2]
        await loop.run_in_executor(None, run, "-I", "http://atlas/echo")


def test_problem_names_error_and_hint() -> None:
    assert problem(404, "a", "b").value == {"error": "a", "hint": "b"}


@pytest.mark.parametrize("turns", range(12))
async def test_pause_turns_nobody_away(serve: Serving, turns: int) -> None:
    """However far the loop has come with a client: it is answered, or waits for other code."""
    async with asyncio.timeout(DEADLINE), serve(ROUTES) as served:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(served.path)
            client.sendall(get("/echo"))
            for _ in range(turns):
                await asyncio.sleep(0)
            await served.server.pause()
            await served.server.start()
            client.setblocking(False)
            reader, writer = await asyncio.open_unix_connection(sock=client.dup())
            assert parted(await reader.read())[0] == 200
            writer.close()


async def test_pause_waits_for_who_was_let_in_and_is_slow_to_ask(serve: Serving) -> None:
    async with asyncio.timeout(DEADLINE), serve(ROUTES) as served:
        reader, writer = await served.connect()
        early, late = get("/echo")[:9], get("/echo")[9:]
        writer.write(early)
        first = asyncio.create_task(served.server.pause())
        loop = asyncio.get_running_loop()
        # Later than the time that those have who keep a connection for later.
        loop.call_later(0.5, writer.write, late)
        assert parted(await reader.read())[0] == 200
        writer.close()
        await first
        await served.server.start()


async def test_accept_goes_on_after_descriptors_ran_out(
    serve: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asyncio.timeout(DEADLINE), serve(ROUTES) as served:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.connect(served.path)
        client.sendall(get("/echo"))
        client.setblocking(False)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            await turn()
            assert "Too many open files" in served.errors[0]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        reader, writer = await asyncio.open_unix_connection(sock=client)
        assert parted(await reader.read())[0] == 200
        writer.close()
