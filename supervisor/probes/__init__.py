"""One module a probe type; each makes one check and returns one `ProbeResult`."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from supervisor.core.events import ProbeResult
from supervisor.core.spec import ExecCheck, HttpCheck, ProbeSpec, TcpCheck

if TYPE_CHECKING:
    from supervisor.probes.exec import Runner

MAX_AT_ONCE = 32
"""Probes in flight over the whole fleet; further ones wait, which does not count against them."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a probe needs of the service that it asks."""

    cwd: str
    environment: Callable[[], Mapping[str, str]]
    """The service's environment; it may raise what a spawn would."""
    run: "Runner"


class Prober:
    """Makes probes, `at_once` of them at the same time."""

    def __init__(self, at_once: int = MAX_AT_ONCE) -> None:
        self._slots = asyncio.Semaphore(at_once)

    async def ask(self, spec: ProbeSpec, context: Context) -> ProbeResult:
        """Make one check. Never raises but when it is cancelled: its own bugs are no verdict."""
        async with self._slots:
            try:
                return await _check(spec, context)
            except Exception as error:  # noqa: BLE001 - see above
                return ProbeResult(None, f"the prober failed: {type(error).__name__}: {error}")


async def _check(spec: ProbeSpec, context: Context) -> ProbeResult:
    # Imported when the first probe of the kind is made: most systems have one kind.
    match spec.check:
        case HttpCheck():
            from supervisor.probes.http import http_probe

            return await http_probe(spec.check, spec.timeout)
        case TcpCheck():
            from supervisor.probes.tcp import tcp_probe

            return await tcp_probe(spec.check, spec.timeout)
        case ExecCheck():
            from supervisor.probes.exec import exec_probe

            return await exec_probe(
                spec.check, spec.timeout, context.cwd, context.environment(), context.run
            )
        case _:
            assert_never(spec.check)
