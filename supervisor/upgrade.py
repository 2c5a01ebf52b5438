"""The daemon executes itself anew, in place: same pid, so its children stay its children.

First the new code proves in a process of its own that it can start and read the state
(`supervisor.trial`). Only then does execve(2) replace the old code; what must not have a gap goes
over as open descriptors, named in one environment variable: the lock, so that no second daemon can
come between, and the control socket, so that clients wait in its backlog instead of being refused.
Everything else is found by the way that also follows a crash (`supervisor.succession`).
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from supervisor.core.spec import ExecCheck
from supervisor.launcher import Launcher
from supervisor.probes.exec import exec_probe

VARIABLE = "ATLAS_HANDOVER"
TRIAL_TIMEOUT = 60.0
"""Seconds that the new code may take to prove itself; it takes about 0.5 on an idle machine."""
SETTLE_TIMEOUT = 20.0
"""Seconds that an upgrade waits for starts and stops under way."""
DELIVERY = 0.01
"""Seconds in which a signal that has come reaches its handler, which is some turns of the loop."""
HELD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that wait while nobody is there to handle them."""


@dataclass(frozen=True, slots=True)
class Handover:
    """What goes from the old code to the new: two descriptors and what cannot be looked up."""

    lock: int
    control: int
    upgrades: int
    """How often this process has executed itself anew, this time included."""
    version: str
    """Of the old code."""
    compiled: str = ""
    """Where the trial has left what it made of the configuration (`supervisor.compiled`)."""


_TOLD = frozenset(field.name for field in fields(Handover))


@dataclass(frozen=True, slots=True)
class Origin:
    """How this process was started, for it to start itself the same way again."""

    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]

    @classmethod
    def here(cls) -> "Origin":
        """Return it, before the process changes its directory."""
        # Not sys.argv: that has lost the interpreter's own arguments, `-P -m supervisor.cli`.
        return cls((sys.executable, *sys.orig_argv[1:]), os.getcwd(), dict(os.environ))


def inherited(environ: "os._Environ[str]") -> Handover | None:
    """Return what an earlier code of this process has handed over, once, and None otherwise."""
    text = environ.pop(VARIABLE, None)
    if text is None:
        return None
    try:
        told = json.loads(text)
        # Code of another release may have more to tell.
        handover = Handover(**{key: told[key] for key in told.keys() & _TOLD})
        os.fstat(handover.lock)
        os.fstat(handover.control)
    except (ValueError, TypeError, AttributeError, OSError):
        return None  # the variable was set by somebody else
    return handover


async def refusal(
    origin: Origin, config: str, records: int, compiled: str, launcher: Launcher
) -> str | None:
    """Return why the code that is installed now cannot take over, or None if it has shown it can.

    `records` is how many records of the ledger it must be able to read, `compiled` the file in
    which it leaves what it makes of the configuration.
    """
    asked = ("--records", str(records), "--compiled", compiled, config)
    command = (sys.executable, "-P", "-m", "supervisor.trial", *asked)
    result = await exec_probe(
        ExecCheck(command), TRIAL_TIMEOUT, origin.cwd, origin.env, launcher.run
    )
    return None if result.ok else result.detail


def execute(origin: Origin, handover: Handover) -> None:
    """Replace the code of this process. Returns only by OSError, with everything as it was.

    To be called with signals held: one that came just before would be lost with the old code.
    """
    here = os.getcwd()
    for fd in (handover.lock, handover.control):
        os.set_inheritable(fd, True)
    try:
        os.chdir(origin.cwd)
        env = {**origin.env, VARIABLE: json.dumps(asdict(handover))}
        os.execve(origin.argv[0], origin.argv, env)  # noqa: S606 - our own command, no shell
    except OSError:
        os.chdir(here)
        for fd in (handover.lock, handover.control):
            os.set_inheritable(fd, False)
        raise


async def hold_signals() -> None:
    """Let no further signal come; return when those that have come are handled.

    What is held waits through execve for the handlers of the new code.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    await asyncio.sleep(DELIVERY)


def release_signals() -> None:
    """Let the signals come that were held back; to be called when there are handlers for them."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
