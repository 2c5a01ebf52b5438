"""One HTTP request on a connection of its own, judged by what the spec expects of the reply.

One deadline covers connect, request, header and body. Redirects are not followed (their status
is judged), proxies are not asked, names are not resolved, and the body is bounded.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import h11

from supervisor.core.events import Fault, ProbeResult
from supervisor.core.spec import HttpCheck
from supervisor.probes.connection import RECEIVING, connect, refusal
from supervisor.probes.expectations import MAX_BODY, busy_in, judge, notice_in, said, wants_body

MAX_HEADER = 64 * 1024
_LITTLE = 4096
"""Bytes of body read when only the status counts: enough for the reason in words."""
_CHUNK = 64 * 1024
_PROVISIONAL = 32
"""1xx replies before the real one; more is a server that will never come to it."""


class _NoReplyError(Exception):
    """The server closed, or went on and on, before the header of a reply was whole."""


@dataclass(slots=True)
class _Progress:
    """How far the exchange has come: what a time-out reports."""

    stage: str = "connecting"
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    whole: bool = False
    """False too when more was there than a probe reads."""


async def http_probe(check: HttpCheck, within: float) -> ProbeResult:
    """Make the request and judge the reply; `within` seconds for all of it. Never raises."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    progress = _Progress()
    try:
        async with asyncio.timeout(within):
            await _exchange(check, progress)
    except TimeoutError:
        latency = loop.time() - began
        return ProbeResult(False, _late(progress, within), latency, fault=Fault.SILENT)
    except OSError as error:
        return refusal(error, loop.time() - began, progress.stage)
    except _NoReplyError as error:
        return ProbeResult(ok=False, detail=str(error), latency=loop.time() - began)
    except h11.RemoteProtocolError as error:
        text = f"not HTTP: {said(str(error).encode())}"
        return ProbeResult(ok=False, detail=text, latency=loop.time() - began)
    except EOFError:
        return ProbeResult(ok=False, detail=_cut_off(progress), latency=loop.time() - began)
    assert progress.status is not None, "the exchange ends with a reply or an error"  # noqa: S101
    body = bytes(progress.body)
    latency = loop.time() - began
    result = judge(
        check.expect, progress.status, progress.headers, body, latency, whole=progress.whole
    )
    if result.ok and check.notice is not None:
        result = replace(result, notice=notice_in(body, check.notice))
    if result.ok and check.busy is not None:
        result = replace(result, busy=busy_in(body, check.busy))
    return result


async def _exchange(check: HttpCheck, progress: _Progress) -> None:
    reader, writer = await connect(check.host, check.port)
    try:
        progress.stage = "connected, request sent"
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER)
        # Not drained: a server that refuses a large body says so without reading it.
        writer.write(_request(http, check))
        await _read_reply(reader, http, progress, _most(check))
    finally:
        if writer.transport.get_write_buffer_size():
            progress.stage = "connected, request not taken"
        # Not `close`: a server that never reads would keep the buffer, and the socket, for ever.
        writer.transport.abort()


async def _read_reply(
    reader: asyncio.StreamReader, http: h11.Connection, progress: _Progress, most: int
) -> None:
    """Read until the reply is whole, or over `most` bytes of body.

    Raises OSError, RemoteProtocolError, _NoReplyError, and EOFError in the middle of a body.
    """
    provisional = 0
    something = ended = False
    while True:
        try:
            event = http.next_event()
        except h11.RemoteProtocolError:
            if not ended:
                raise
            # h11 has many words for an end that comes too early, and none for people.
            if progress.status is not None:
                raise EOFError from None
            how = "in the middle of its header" if something else "unanswered"
            raise _NoReplyError(f"closed the connection {how}") from None
        match event:
            case h11.NEED_DATA:
                data = await reader.read(_CHUNK)
                ended = not data
                something = something or bool(data)
                http.receive_data(data)
            case h11.Response() | h11.InformationalResponse(status_code=101):
                progress.status = event.status_code
                progress.headers = {
                    name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers
                }
                progress.stage = RECEIVING
                if event.status_code == 101:
                    return  # what follows is another protocol
            case h11.InformationalResponse():
                provisional += 1
                if provisional > _PROVISIONAL:
                    raise _NoReplyError(f"over {_PROVISIONAL} provisional replies, and no real one")
            case h11.Data(data=data):
                progress.body += data
                if len(progress.body) > most:
                    return
            case _:
                progress.whole = True
                return


def _most(check: HttpCheck) -> int:
    if check.notice is None and check.busy is None and not wants_body(check.expect):
        return _LITTLE
    most = check.expect.max_bytes
    return MAX_BODY if most is None else min(MAX_BODY, most)


def _request(http: h11.Connection, check: HttpCheck) -> bytes:
    body = check.body or b""
    literal = f"[{check.host}]" if ":" in check.host else check.host
    headers = [("Host", f"{literal}:{check.port}"), ("User-Agent", "atlasctl"), ("Accept", "*/*")]
    given = {name.lower() for name, _ in check.headers}
    headers = [(name, value) for name, value in headers if name.lower() not in given]
    headers += [*check.headers, ("Connection", "close")]
    if body or check.method in ("POST", "PUT", "PATCH"):
        headers.append(("Content-Length", str(len(body))))
    data = http.send(h11.Request(method=check.method, target=check.path, headers=headers)) or b""
    if body:
        data += http.send(h11.Data(data=body)) or b""
    return data + (http.send(h11.EndOfMessage()) or b"")


def _late(progress: _Progress, within: float) -> str:
    if progress.status is None:
        return f"no reply within {within:g} s ({progress.stage})"
    return (
        f"the reply was not whole within {within:g} s "
        f"({progress.status}, {len(progress.body)} bytes of body)"
    )


def _cut_off(progress: _Progress) -> str:
    announced = progress.headers.get("content-length")
    of = f" of {announced}" if announced else ""
    return f"reply cut off after {len(progress.body)}{of} bytes"
