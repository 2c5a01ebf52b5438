"""What a remedy does that takes time: a command, or waiting until something is true."""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from supervisor.core.remedy_words import doing
from supervisor.core.spec import (
    ExecCheck,
    FileExists,
    PortFree,
    RemedyCommand,
    RemedyStep,
    Succeeds,
    WaitFor,
)
from supervisor.posix.ports import owner_of
from supervisor.posix.spawn import SpawnError
from supervisor.probes.exec import Runner, exec_probe
from supervisor.sockets import port_is_free

EVERY = 1.0
"""Seconds between two looks at what is waited for."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a service's own commands run."""

    cwd: str
    environment: Callable[[], Mapping[str, str]]
    """May raise SpawnError: an env file cannot be read."""
    run: Runner


async def take(step: RemedyStep, ground: Ground, *, every: float = EVERY) -> tuple[bool, str]:
    """Take a step; tell whether it succeeded, and what came of it in words.

    To cancel it kills its command. `every` is in seconds.
    """
    match step:
        case RemedyCommand(command=command, timeout=timeout):
            return await _run(command, timeout, ground)
        case WaitFor():
            return await _wait(step, ground, every)


async def _run(command: tuple[str, ...], within: float, ground: Ground) -> tuple[bool, str]:
    try:
        environment = ground.environment()
    except SpawnError as error:
        return False, error.why
    check = ExecCheck(command)
    result = await exec_probe(check, within, ground.cwd, environment, ground.run)
    return result.ok is True, result.detail


async def _wait(step: WaitFor, ground: Ground, every: float) -> tuple[bool, str]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    deadline = began + step.timeout
    while True:
        left = max(0.0, deadline - loop.time())
        met, words = await _look(step.condition, left, ground)
        if met:
            return True, f"{words} after {loop.time() - began:.1f} s"
        left = deadline - loop.time()
        if left <= 0:
            what = doing(step).removeprefix("wait until ")
            return False, f"it did not come true within {step.timeout:g} s that {what}: {words}"
        await asyncio.sleep(min(every, left))


async def _look(
    condition: PortFree | FileExists | Succeeds, left: float, ground: Ground
) -> tuple[bool, str]:
    match condition:
        case PortFree(port=port):
            if port_is_free(port):
                return True, f"port {port} is free"
            return False, f"it is taken by {owner_of(port) or 'a socket that is going away'}"
        case FileExists(path=path):
            there = os.path.exists(path)  # noqa: ASYNC240 - one system call a second
            return there, f"{path} {'is there' if there else 'is not there'}"
        case Succeeds(command=command):
            return await _run(command, left, ground)
