"""A command that exits 0, run as the service itself would run it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from supervisor.core.events import Exit, ExitCode, Fault, ProbeResult
from supervisor.core.exits import describe_exit
from supervisor.core.spec import ExecCheck
from supervisor.probes.expectations import line_of

_SHOWN: Final = 200
"""Characters of the command's last output that the verdict quotes."""
_KEPT: Final = slice(-4 * _SHOWN, None)


class LaunchError(Exception):
    """The command could not be started. `ours`: the machine lacked something, not the command."""

    def __init__(self, why: str, *, ours: bool) -> None:
        super().__init__(why)
        self.ours = ours


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and what it had printed by then."""

    ending: Exit | None
    """None: it did not end in time, and was killed."""
    printed: str
    """What was kept of it; what is no UTF-8 is replaced."""
    seconds: float
    """From its start to its end, or to its being killed."""


Runner = Callable[[tuple[str, ...], str, Mapping[str, str], float, slice], Awaitable[Ended]]
"""Runs a command in a folder, with an environment, to its end.

It kills the command's group after so many seconds, or when it is cancelled. The slice says which
bytes of the output are kept: the first or the last so many. Raises LaunchError.
"""


async def exec_probe(
    check: ExecCheck, within: float, cwd: str, env: Mapping[str, str], run: Runner
) -> ProbeResult:
    """Run the command for at most `within` seconds, then kill its group. Raises nothing."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        ended = await run(check.command, cwd, env, within, _KEPT)
    except LaunchError as error:
        return ProbeResult(None if error.ours else False, str(error), loop.time() - began)
    name, said = check.command[0], line_of(ended.printed)[-_SHOWN:]
    words = f": {said}" if said else ""
    if ended.ending is None:
        text = f"{name} did not end within {within:g} s{words}"
        return ProbeResult(False, text, ended.seconds, fault=Fault.SILENT)
    ok = ended.ending == ExitCode(0)
    text = f"{name} {describe_exit(ended.ending)}{'' if ok else words}"
    return ProbeResult(ok=ok, detail=text, latency=ended.seconds)
