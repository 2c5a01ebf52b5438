"""One probe of one run, with what else must be known to judge its answer: is the service at work?

Its own word counts most (`busy:` of an HTTP check). Where it says nothing, the connections that it
has taken tell: a server with one thread answers nobody while it works for somebody.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from supervisor.core.events import Fault, ProbeResult
from supervisor.core.spec import HttpCheck, ProbeKind, ProbeSpec, ServiceSpec, TcpCheck
from supervisor.posix.traffic import taken_connections
from supervisor.probes import Context, Prober
from supervisor.probes.connection import own_ports
from supervisor.sockets import Private


async def inquire(
    spec: ServiceSpec,
    kind: ProbeKind,
    door: Private | None,
    prober: Prober,
    context: Context,
    pids: Callable[[], Iterable[int]],
    *,
    even_if_busy: bool,
) -> ProbeResult:
    """Make the probe of this kind, or say that the service works on something.

    `door` leads to this run alone where another one shares its sockets. `pids` tells the run's
    processes. Never raises but when it is cancelled.
    """
    probe = spec.probe(kind)
    if probe is None:
        return ProbeResult(None, "there is no such probe any more")

    def taken() -> int:
        return taken_connections(_ports(spec, door), own_ports(), pids)

    if not even_if_busy:
        work = await _work(spec, door, prober, context, taken)
        if work:
            return ProbeResult(None, f"put off: {work}", busy=True)
    result = await prober.ask(_through(door, probe), context)
    if kind is ProbeKind.STARTUP or result.ok is not False or result.busy is not None:
        return result
    if result.fault not in (Fault.SILENT, Fault.REFUSED):
        return result
    count = taken()
    if not count:
        return replace(result, busy=False)
    return replace(result, busy=True, detail=f"{result.detail} while {_in_flight(count)}")


async def _work(
    spec: ServiceSpec,
    door: Private | None,
    prober: Prober,
    context: Context,
    taken: Callable[[], int],
) -> str:
    """Return what the service does now, in words, or nothing if it is idle."""
    for kind in (ProbeKind.READINESS, ProbeKind.LIVENESS):
        probe = spec.probe(kind)
        if probe is not None and isinstance(probe.check, HttpCheck) and probe.check.busy:
            # Asked for now: the last answer is some seconds old.
            word = (await prober.ask(_through(door, probe), context)).busy
            if word is not None:
                return "it works on something, by its own word" if word else ""
    count = taken()
    return _in_flight(count) if count else ""


def _in_flight(count: int) -> str:
    return "1 request is in flight" if count == 1 else f"{count} requests are in flight"


def _ports(spec: ServiceSpec, door: Private | None) -> set[int]:
    """Return every port at which the service may have taken a connection."""
    ports = set(spec.all_ports())
    for kind in ProbeKind:
        probe = spec.probe(kind)
        if probe is not None and isinstance(probe.check, HttpCheck | TcpCheck):
            ports.add(probe.check.port)
    if door is not None:
        ports.update(port for _, port in door.doors.values())
    return ports


def _through(door: Private | None, spec: ProbeSpec) -> ProbeSpec:
    """Return the probe as it meets one run alone, where another run shares the socket."""
    check = spec.check
    if door is not None and isinstance(check, HttpCheck | TcpCheck) and check.port in door.doors:
        host, port = door.doors[check.port]
        return replace(spec, check=replace(check, host=host, port=port))
    return spec
