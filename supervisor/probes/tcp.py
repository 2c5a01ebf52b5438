"""A connection that is accepted: the least that a listening service can show."""

import asyncio

from supervisor.core.events import Fault, ProbeResult
from supervisor.core.spec import TcpCheck
from supervisor.probes.connection import connect, refusal


async def tcp_probe(check: TcpCheck, within: float) -> ProbeResult:
    """Connect and close, within `within` seconds. Never raises."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(within):
            _, writer = await connect(check.host, check.port)
    except TimeoutError:
        # Its queue of connections is full: somebody listens there who does not accept.
        text = f"no connection within {within:g} s"
        return ProbeResult(False, text, loop.time() - began, fault=Fault.SILENT)
    except OSError as error:
        return refusal(error, loop.time() - began, "connecting")
    writer.transport.abort()
    latency = loop.time() - began
    return ProbeResult(ok=True, detail=f"accepted in {latency * 1000:.0f} ms", latency=latency)
