"""HTTP probes against servers that behave, and the many that do not."""

import asyncio
import json
import socket
import struct
import subprocess
import sys
from collections.abc import Callable

import pytest

from supervisor.core.events import Fault, ProbeResult
from supervisor.core.spec import Expectations, HttpCheck, Wav
from supervisor.probes import http
from supervisor.probes.http import http_probe
from tests.probes.conftest import DEADLINE, Script, Serving, playing, request_of

SOON = 0.15
"""Seconds of a probe that is to run out of time; no test waits longer than that for one."""


def reply(body: bytes = b"", *, status: str = "200 OK", header: bytes = b"") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body)
    return b"HTTP/1.1 " + status.encode() + b"\r\n" + length + header + b"\r\n" + body


async def ask(port: int, within: float = DEADLINE, **check: object) -> ProbeResult:
    return await http_probe(HttpCheck("127.0.0.1", port, **check), within)  # type: ignore[arg-type]


WHOLE = [
    pytest.param([reply(b"fine")], id="content-length"),
    pytest.param([b"HTTP/1.1 204 No Content\r\n\r\n"], id="no content"),
    pytest.param([b"HTTP/1.0 200 OK\r\n\r\nfine"], id="HTTP/1.0, ended by the close"),
    pytest.param([b"HTTP/1.1 200 OK\r\n\r\n", b"fi", b"ne"], id="ended by the close"),
    pytest.param(
        [
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nfi\r\n",
            b"2\r\nne\r\n0\r\n\r\n",
        ],
        id="chunked",
    ),
    pytest.param([bytes([byte]) for byte in reply(b"fine")], id="byte by byte"),
    pytest.param([b"HTTP/1.1 103 Early Hints\r\n\r\n", reply(b"fine")], id="1xx first"),
    pytest.param([b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"], id="no reason"),
    pytest.param([b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"], id="bare line feeds"),
]


@pytest.mark.parametrize("chunks", WHOLE)
async def test_well_formed_reply_passes(serve: Serving, chunks: list[bytes]) -> None:
    async with serve(playing(*chunks)) as port:
        result = await ask(port)
    assert result.ok is True, result
    assert 0 < result.latency < DEADLINE


@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        pytest.param([], "closed the connection unanswered", id="closes at once"),
        pytest.param([b"HTTP/1.1 20"], "closed the connection in the middle", id="cut in header"),
        pytest.param([b"SSH-2.0-OpenSSH_9.6\r\n\r\n"], "not HTTP", id="another protocol"),
        pytest.param([b"\x00\xff" * 4096], "not HTTP", id="bytes"),
        pytest.param([b"HTTP/1.1 200 OK\r\nA: " + b"a" * 200_000], "not HTTP", id="endless header"),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000], "not HTTP", id="endless headers"
        ),
        pytest.param(
            [b"HTTP/1.1 100 Continue\r\n\r\n" * 5000], "provisional replies", id="endless 1xx"
        ),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\nContent-Length: 5678\r\n\r\n" + b"a" * 1234],
            "reply cut off after 1234 of 5678 bytes",
            id="cut in body",
        ),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc"],
            "reply cut off after 3 bytes",
            id="cut in chunk",
        ),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
            "not HTTP",
            id="bad chunk",
        ),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"],
            "not HTTP",
            id="two lengths",
        ),
        pytest.param(
            [reply(b'{"error": "the model\\n is loading"}', status="503 Busy")],
            "503 Service Unavailable: the model is loading",
            id="JSON error",
        ),
        pytest.param(
            [reply(b"<h1>no\x1b[31m\x00</h1>" + b"x" * 500, status="500 Oops")],
            "500 Internal Server Error: <h1>no [31m </h1>xxx",
            id="page with escapes",
        ),
        pytest.param([reply(status="799 Odd")], "799", id="unknown status"),
        pytest.param(
            [reply(status="302 Found", header=b"Location: http://127.0.0.1:1/\r\n")],
            "302 Found",
            id="redirect",
        ),
    ],
)
async def test_failure_is_told_in_words(serve: Serving, chunks: list[bytes], words: str) -> None:
    async with serve(playing(*chunks)) as port:
        result = await ask(port)
    assert result.ok is False, result
    assert words in result.detail
    assert len(result.detail) < 300
    assert result.detail.isprintable()


SLOW = b'{"ready": true, "notice": "on the CPU: no GPU was found\\n"}'


@pytest.mark.parametrize(
    ("status", "body", "expect", "ok", "notice"),
    [
        ("200 OK", SLOW, Expectations(), True, "on the CPU: no GPU was found"),
        (
            "200 OK",
            SLOW,
            Expectations(json=(("ready", True),)),
            True,
            "on the CPU: no GPU was found",
        ),
        ("200 OK", b'{"ready": true, "notice": null}', Expectations(), True, None),
        ("200 OK", b"fine", Expectations(), True, None),
        ("200 OK", b" " * 100_000 + SLOW, Expectations(), True, "on the CPU: no GPU was found"),
        ("200 OK", SLOW, Expectations(json=(("ready", False),)), False, None),
        ("503 Busy", SLOW, Expectations(), False, None),
    ],
    ids=["alone", "beside what is expected", "null", "no JSON", "far in", "not ready", "busy"],
)
async def test_notice_of_a_success_is_brought_home(
    serve: Serving, status: str, body: bytes, expect: Expectations, ok: bool, notice: str | None
) -> None:
    async with serve(playing(reply(body, status=status))) as port:
        result = await ask(port, expect=expect, notice="notice")
    assert (result.ok, result.notice) == (ok, notice)


async def test_notice_is_only_looked_for_where_the_spec_says(serve: Serving) -> None:
    async with serve(playing(reply(SLOW))) as port:
        result = await ask(port)
    assert (result.ok, result.notice) == (True, None)


async def test_redirect_is_not_followed(serve: Serving) -> None:
    asked = asyncio.Event()

    async def elsewhere(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        asked.set()

    async with serve(elsewhere) as other:
        moved = reply(status="301 Moved", header=b"Location: http://127.0.0.1:%d/\r\n" % other)
        async with serve(playing(moved)) as port:
            refused = await ask(port)
            accepted = await ask(port, expect=Expectations(status=((301, 301),)))
    assert refused.ok is False
    assert accepted.ok is True
    assert not asked.is_set()


@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        pytest.param([], "no reply within 0.15 s (connected, request sent)", id="silence"),
        pytest.param([b"HTTP/1.1 200 OK\r\nA: "], "no reply within 0.15 s", id="in the header"),
        pytest.param(
            [b"HTTP/1.1 503 Busy\r\nContent-Length: 10\r\n\r\nabc"],
            "the reply was not whole within 0.15 s (503, 3 bytes of body)",
            id="in the body",
        ),
    ],
)
async def test_silence_is_not_waited_for(serve: Serving, chunks: list[bytes], words: str) -> None:
    async with serve(playing(*chunks, then=asyncio.Event())) as port:
        result = await ask(port, within=SOON)
    assert result.ok is False
    assert words in result.detail
    assert result.latency >= SOON


@pytest.mark.parametrize(
    ("first", "drip"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nA: ", b"a", id="header"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", b"a", id="body"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n", id="chunks"
        ),
        pytest.param(b"", b"\r", id="nothing"),
    ],
)
async def test_deadline_holds_over_a_drip(serve: Serving, first: bytes, drip: bytes) -> None:
    """One byte at a time, for ever: a time-out for each read would never end."""
    pause = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(first)
        while True:
            writer.write(drip)
            await writer.drain()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(pause.wait(), 0.01)

    async with asyncio.timeout(DEADLINE), serve(script) as port:
        result = await ask(port, within=SOON, expect=Expectations(min_bytes=1))
    assert result.ok is False
    assert "within 0.15 s" in result.detail or "not HTTP" in result.detail


def flood(first: bytes, again: bytes, sent: list[int]) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(first)
        while True:
            writer.write(again)
            sent[0] += len(again)
            await writer.drain()

    return script


async def test_only_a_little_of_an_unwanted_body_is_read(serve: Serving) -> None:
    sent = [0]
    async with serve(flood(b"HTTP/1.1 200 OK\r\n\r\n", b"a" * 4096, sent)) as port:
        result = await ask(port)
    assert result.ok is True
    # What sockets buffer between two ends, and no more.
    assert sent[0] < 16 * 1024 * 1024


async def test_body_over_the_most_expected_ends_the_reading(serve: Serving) -> None:
    sent = [0]
    async with serve(flood(b"HTTP/1.1 200 OK\r\n\r\n", b"a" * 4096, sent)) as port:
        result = await ask(port, expect=Expectations(max_bytes=10_000))
    assert result.ok is False
    assert result.detail == "a body of over 10000 bytes, the most that was expected"


async def test_least_size_alone_ends_the_reading(serve: Serving) -> None:
    """A stream without end has its first bytes; waiting for more would fail a good service."""
    sent = [0]
    async with serve(flood(b"HTTP/1.1 200 OK\r\n\r\n", b"a" * 4096, sent)) as port:
        result = await ask(port, expect=Expectations(min_bytes=10_000, body_prefix=b"aaa"))
    assert result.ok is True


@pytest.mark.parametrize(
    ("expect", "ok", "words"),
    [
        pytest.param(Expectations(wav=Wav(0.2)), True, "200 OK", id="wav"),
        pytest.param(Expectations(json=(("a", 1),)), False, "is over 16777216 bytes", id="json"),
        pytest.param(
            Expectations(min_bytes=2**30), False, "is over 16777216 bytes", id="min_bytes"
        ),
        pytest.param(Expectations(max_bytes=2**30), False, "is over 16777216 bytes", id="max"),
    ],
)
async def test_body_over_the_cap_is_judged_for_what_it_is(
    serve: Serving, expect: Expectations, ok: bool, words: str
) -> None:
    body = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + struct.pack(
        "<HHIIHH", 1, 1, 22050, 44100, 2, 16
    )
    sent = [0]
    script = flood(b"HTTP/1.1 200 OK\r\n\r\n" + body + b"data\0\0\0\x40", b"a" * 262_144, sent)
    async with serve(script) as port:
        result = await ask(port, expect=expect)
    assert result.ok is ok, result
    assert words in result.detail


async def test_request_is_what_the_spec_says(serve: Serving) -> None:
    seen: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request_of(reader))
        seen.append(await reader.readexactly(4))
        writer.write(reply(b"{}", header=b"Content-Type: application/json; charset=utf-8\r\n"))

    async with serve(script) as port:
        result = await http_probe(
            HttpCheck(
                "127.0.0.1",
                port,
                path="/tts?a=1",
                method="POST",
                headers=(("Content-Type", "text/plain"), ("user-agent", "me"), ("Host", "tts")),
                body=b"text",
                expect=Expectations(content_type="application/json"),
            ),
            DEADLINE,
        )
    assert result.ok is True, result
    head, *lines = seen[0].decode().split("\r\n")
    assert head == "POST /tts?a=1 HTTP/1.1"
    fields = sorted(line.lower() for line in lines if line)
    assert fields == [
        "accept: */*",
        "connection: close",
        "content-length: 4",
        "content-type: text/plain",
        "host: tts",
        "user-agent: me",
    ]
    assert seen[1] == b"text"


async def test_head_reply_has_no_body_to_wait_for(serve: Serving) -> None:
    header = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"
    async with serve(playing(header, then=asyncio.Event())) as port:
        result = await ask(port, method="HEAD")
    assert result.ok is True


async def test_upgrade_is_judged_by_its_status(serve: Serving) -> None:
    header = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
    async with serve(playing(header, then=asyncio.Event())) as port:
        result = await ask(
            port,
            headers=(("Upgrade", "websocket"),),
            expect=Expectations(status=((101, 101),)),
        )
    assert result.ok is True, result


async def test_refusal_sent_before_the_request_is_whole_is_read(serve: Serving) -> None:
    """A server that refuses a large body says why and closes: its words count, not the reset."""
    unread = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(reply(b"too large", status="413 No"))
        await unread.wait()

    async with serve(script) as port:
        result = await ask(port, method="POST", body=b"a" * 8_000_000)
    assert result.ok is False
    assert result.detail == "413 Request Entity Too Large: too large"


async def test_server_that_reads_nothing(serve: Serving) -> None:
    async def script(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with serve(script) as port:
        result = await ask(port, method="POST", body=b"a" * 8_000_000, within=SOON)
    assert result.ok is False
    assert "no reply within 0.15 s" in result.detail


async def test_reset_is_told_with_the_stage(serve: Serving) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with serve(script) as port:
        result = await ask(port)
    assert result.ok is False
    assert result.detail == "connection reset (connected, request sent)"


async def test_nobody_listens(unused_port: int) -> None:
    result = await ask(unused_port)
    assert result.ok is False
    assert result.detail == "connection refused"


async def test_ipv6_address_stands_in_brackets(serve: Serving) -> None:
    if not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    seen: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request_of(reader))
        writer.write(reply())

    try:
        async with serve(script, "::1") as port:
            result = await http_probe(HttpCheck("::1", port), DEADLINE)
    except OSError:
        pytest.skip("this machine has no ::1")
    assert result.ok is True, result
    assert b"\r\nHost: [::1]:%d\r\n" % port in seen[0]


async def test_proxy_of_the_environment_is_not_asked(
    serve: Serving, monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_port}")
    async with serve(playing(reply())) as port:
        assert (await ask(port)).ok is True


async def test_cancelled_probe_lets_go(serve: Serving) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def script(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await request_of(reader)
        asked.set()
        assert await reader.read() == b""
        gone.set()

    async with asyncio.timeout(DEADLINE), serve(script) as port:
        probe = asyncio.create_task(ask(port))
        await asked.wait()
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        await gone.wait()


async def test_json_expectation_over_the_wire(serve: Serving, play: Callable[..., Script]) -> None:
    body = json.dumps({"tts_ready": False, "text": "привіт"}).encode()
    async with serve(play(reply(body))) as port:
        result = await ask(port, expect=Expectations(json=(("tts_ready", True),)))
    assert result.detail == "JSON tts_ready is false; true was expected"


SCARCE = """
import asyncio, os, resource
from supervisor.core.spec import HttpCheck, ProbeSpec, TcpCheck, ExecCheck
from supervisor.launcher import Launcher
from supervisor.probes import Context, Prober
import supervisor.probes.exec, supervisor.probes.http, supervisor.probes.tcp

async def main():
    context = Context(os.getcwd(), dict, Launcher().run)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    held = []
    try:
        while True: held.append(os.dup(0))
    except OSError:
        pass
    for check in (HttpCheck("127.0.0.1", 9), TcpCheck("127.0.0.1", 9), ExecCheck(("true",))):
        result = await Prober().ask(ProbeSpec(check), context)
        print(result.ok, result.detail)

asyncio.run(main())
"""


def test_lack_of_descriptors_is_not_the_services_fault() -> None:
    found = subprocess.run(
        [sys.executable, "-c", SCARCE], capture_output=True, text=True, timeout=30, check=False
    )
    assert found.stderr == ""
    lines = found.stdout.splitlines()
    assert len(lines) == 3
    for line in lines:
        assert line.startswith("None ")
        assert "Too many open files" in line


def test_header_bound_is_one_that_real_headers_keep() -> None:
    # nginx and Apache allow 8 KiB a line; 64 KiB must not become 64 bytes by a slip.
    assert 32 * 1024 <= http.MAX_HEADER <= 1024 * 1024


HANGING = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"


@pytest.mark.parametrize(
    ("chunks", "then", "fault"),
    [
        pytest.param([], False, Fault.WRONG, id="closes unanswered"),
        pytest.param([b"SSH-2.0-OpenSSH_9.6\r\n\r\n"], False, Fault.WRONG, id="no HTTP"),
        pytest.param([HANGING], False, Fault.WRONG, id="cut off"),
        pytest.param([HANGING], True, Fault.SILENT, id="no end in time"),
        pytest.param([], True, Fault.SILENT, id="no answer in time"),
        pytest.param([reply(status="500 No")], False, Fault.WRONG, id="500"),
        pytest.param([reply(status="503 No")], False, Fault.REFUSED, id="503"),
        pytest.param([reply(status="429 No")], False, Fault.REFUSED, id="429"),
    ],
)
async def test_each_failure_is_of_its_kind(
    serve: Serving, chunks: list[bytes], then: bool, fault: Fault
) -> None:
    for_ever = asyncio.Event() if then else None
    async with serve(playing(*chunks, then=for_ever)) as port:
        result = await ask(port, SOON if then else DEADLINE)
    assert (result.ok, result.fault, result.busy) == (False, fault, None)


async def test_nobody_there_is_unreachable_and_so_is_a_reset_before_anything(
    unused_port: int, serve: Serving
) -> None:
    assert (await ask(unused_port)).fault is Fault.UNREACHABLE

    async def resets(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made = writer.get_extra_info("socket")
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with serve(resets) as port:
        result = await ask(port)
    assert (result.ok, result.fault) == (False, Fault.UNREACHABLE)


@pytest.mark.parametrize(
    ("body", "busy"),
    [
        ('{"tts": {"busy": true}}', True),
        ('{"tts": {"busy": 2}}', True),
        ('{"tts": {"busy": false}}', False),
        ('{"tts": {"busy": 0}}', False),
        ('{"tts": {"busy": null}}', False),
        ('{"tts": {}}', None),
        ("no json", None),
        ("[" * 100_000, None),
    ],
)
async def test_a_reply_may_say_that_it_is_busy(
    serve: Serving, body: str, busy: bool | None
) -> None:
    async with serve(playing(reply(body.encode()))) as port:
        result = await ask(port, busy="tts.busy")
        assert (await ask(port)).busy is None, "nobody asked"
    assert (result.ok, result.busy) == (True, busy)
