"""One HTTP request on a connection of its own, judged by what the spec expects of the reply.

One deadline covers connect, request, header and body. Redirects are not followed (their status
is judged), proxies are not asked, names are not resolved, and the body is bounded.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import h11

from supervisor.core.events import ProbeResult
from supervisor.core.spec import HttpCheck
from supervisor.probes.connection import connect, refusal
from supervisor.probes.expectations import MAX_BODY, judge, said, wants_body

MAX_HEADER = 64 * 1024
_LITTLE = 4096
"""Bytes of body read when only the status counts: enough for the reason in words."""
_CHUNK = 64 * 1024


@dataclass(slots=True)
class _Progress:
    """How far the exchange has come: what a time-out reports."""

    stage: str = "connecting"
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    whole: bool = False


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
        return ProbeResult(ok=False, detail=_late(progress, within), latency=latency)
    except OSError as error:
        return refusal(error, loop.time() - began, progress.stage)
    except h11.RemoteProtocolError as error:
        latency = loop.time() - began
        return ProbeResult(ok=False, detail=_broken(progress, error), latency=latency)
    latency = loop.time() - began
    if progress.status is None:
        return ProbeResult(ok=False, detail="closed the connection unanswered", latency=latency)
    return judge(check.expect, progress.status, progress.headers, bytes(progress.body), latency)


async def _exchange(check: HttpCheck, progress: _Progress) -> None:
    reader, writer = await connect(check.host, check.port)
    try:
        progress.stage = "connected, request not sent"
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER)
        writer.write(_request(http, check))
        await writer.drain()
        progress.stage = "connected, request sent"
        most = min(MAX_BODY, _most(check))
        while True:
            event = http.next_event()
            match event:
                case h11.NEED_DATA:
                    http.receive_data(await reader.read(_CHUNK))
                case h11.Response():
                    progress.status = event.status_code
                    progress.headers = {
                        name.decode("latin-1"): value.decode("latin-1")
                        for name, value in event.headers
                    }
                    progress.stage = "header received"
                case h11.Data(data=data):
                    progress.body += data
                    if len(progress.body) > most:
                        return
                case h11.InformationalResponse():
                    continue
                case _:
                    progress.whole = True
                    return
    finally:
        # Not `close`: a server that never reads would keep the buffer, and the socket, for ever.
        writer.transport.abort()


def _most(check: HttpCheck) -> int:
    if not wants_body(check.expect):
        return _LITTLE
    return MAX_BODY if check.expect.max_bytes is None else check.expect.max_bytes


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


def _broken(progress: _Progress, error: h11.RemoteProtocolError) -> str:
    if progress.status is None:
        return f"not HTTP: {said(str(error).encode())}"
    announced = progress.headers.get("content-length")
    of = f" of {announced}" if announced else ""
    return f"reply cut off after {len(progress.body)}{of} bytes"
