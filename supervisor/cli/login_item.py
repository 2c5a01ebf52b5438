"""The login item of a system, for the commands that have to go by it: no second daemon beside it.

That it is there is told by its file alone, which costs nothing; only what starts or ends a daemon
asks launchd or systemd.
"""

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from supervisor.cli.connection import System
from supervisor.install.place import place_of

if TYPE_CHECKING:
    from supervisor.install.manager import Manager, Run

PLATFORM: Final = sys.platform
WITHIN: Final = 20.0
"""Seconds for one program: `systemctl start` waits for the daemon, which takes 0.5 s."""


def installed(system: System) -> str | None:
    """Return the name of this system's login item, or None if `install` has made none."""
    place = place_of(system.state_dir, os.environ, PLATFORM)
    return place.name if place.is_for(system.config) else None


def manager_of(system: System) -> "Manager":
    """Return who starts this system at login, or would."""
    place, run = place_of(system.state_dir, os.environ, PLATFORM), runner(os.environ)
    if PLATFORM == "darwin":
        from supervisor.install.launchctl import Launchctl

        return Launchctl(place, os.getuid(), run)
    from supervisor.install.systemctl import Systemctl

    return Systemctl(place, run, _session_folder(os.environ))


def runner(environ: Mapping[str, str], within: float = WITHIN) -> "Run":
    """Return what runs programs of the system, each for `within` seconds."""
    from supervisor.cli.asking import run_bounded
    from supervisor.core.events import ExitCode
    from supervisor.install.manager import Outcome
    from supervisor.posix.environment import DEFAULT_PATH
    from supervisor.posix.spawn import SpawnError

    # Answers are read here: they must not be in the user's language.
    env = {"PATH": DEFAULT_PATH, **environ, "LC_ALL": "C"}
    if os.path.isdir(session := _session_folder(environ)):
        env["XDG_RUNTIME_DIR"] = session

    def run(argv: Sequence[str]) -> Outcome:
        try:
            ran = run_bounded(argv, env, "/", within)
        except SpawnError as error:
            return Outcome(None, error.why)
        said = (ran.printed + b"\n" + ran.complaints).decode("utf-8", "replace")
        if not isinstance(ran.ending, ExitCode):
            return Outcome(None, f"{said}\nno answer in {within:g} s")
        return Outcome(ran.ending.code, said)

    return run


def _session_folder(environ: Mapping[str, str]) -> str:
    # After `su` and in cron it is missing, and systemctl does not find the user's manager.
    return environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"


def cancel(system: System) -> str | None:
    """See that the login item starts no daemon now; return why it may, or None if it will not.

    For where no daemon answers: one that was killed comes back after some seconds.
    """
    from supervisor.install.manager import ManagerError

    try:
        manager_of(system).cancel()
    except ManagerError as error:
        return str(error)
    return None


def start(system: System) -> str | None:
    """Have the login item start the daemon; return why it cannot, or None if it has."""
    from supervisor.install.manager import ManagerError

    manager = manager_of(system)
    try:
        if why := manager.obstacle():
            return why
        manager.start()
    except ManagerError as error:
        # Nor is it to try again and again beside whoever starts it then.
        with contextlib.suppress(ManagerError):
            manager.cancel()
        return str(error)
    return None
