"""What a login item says, whichever system keeps it: the command, its environment, its name. Pure.

But for the names of things on this machine that its arguments hold.
"""

import math
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from supervisor.core import graph
from supervisor.core.spec import FleetSpec
from supervisor.install.names import label, system_name
from supervisor.posix.environment import ALLOWED_PREFIX

_TAKEN: Final = ("LANG", "PATH", "TZ", "XDG_STATE_HOME")
"""Variables that a login item would not have by itself, and that decide which programs are found,
in which language they speak, and where the control socket is if its path is long."""
_GUARDED: Final = (
    "Desktop",
    "Documents",
    "Downloads",
    "Library/CloudStorage",
    "Library/Mobile Documents",
)
"""Below a Mac's home: folders that are a person's own for macOS (TCC), the last one iCloud's."""
_KILL: Final = 3.0
"""Seconds that the end of one service may take after its time to stop: SIGKILL, and the proof."""
_SHORTEST, _MARGIN = 20, 10
_UNWRITABLE: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


class UnwritableError(Exception):
    """The item has text that such a file cannot hold; the message says what to do."""


@dataclass(frozen=True, slots=True)
class LoginItem:
    """One login item."""

    name: str
    """Of the system, as `names.system_name` makes it."""
    command: tuple[str, ...]
    """The supervisor in the foreground; absolute, since nothing expands it."""
    config: str
    log: str
    """Where launchd has it print, until it prints into the log of its state folder; absolute."""
    stop_seconds: int
    """How long it may take to stop all services, before it is killed."""
    environment: Mapping[str, str] = field(default_factory=dict)


def describe(spec: FleetSpec, environ: Mapping[str, str]) -> LoginItem:
    """Return the item of a system as this user has it now. Raises UnwritableError."""
    name = system_name(spec.state_dir)
    item = LoginItem(
        name=name,
        command=command(spec.source),
        config=spec.source,
        # launchd starts nothing whose log it cannot open, as on another volume (EX_CONFIG, 78).
        log=os.path.join(environ.get("HOME") or "/", "Library", "Logs", f"{label(name)}.log"),
        stop_seconds=stop_seconds(spec),
        environment=login_environment(environ),
    )
    for text in (*item.command, item.log, *item.environment.values()):
        if _UNWRITABLE.search(text):
            raise UnwritableError(
                f"{text!r} has a character that a login item cannot hold: rename that folder"
            )
    return item


def command(config: str) -> tuple[str, ...]:
    """Return the command of a login item.

    With --login it ends with code 0 also where no other attempt would go better.
    """
    # -P: a folder called `supervisor` in the working directory must not be taken for us.
    return (sys.executable, "-P", "-m", "supervisor.cli", "-c", config, "run", "--login")


def login_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what the item sets beyond what every program has after a login."""
    kept = {
        name: value
        for name, value in sorted(environ.items())
        if value and (name in _TAKEN or name.startswith(ALLOWED_PREFIX))
    }
    # Relative folders would be others there, and twice the same is noise.
    folders = [each for each in kept.get("PATH", "").split(":") if os.path.isabs(each)]
    if folders:
        kept["PATH"] = ":".join(dict.fromkeys(folders))
    holder = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if os.path.basename(holder) not in ("site-packages", "dist-packages"):
        kept["PYTHONPATH"] = holder
    return kept


def guarded_folder(root: str, home: str) -> str | None:
    """Return the folder in which a Mac lets no program of a login item read without asking.

    Terminal has been given leave long ago; what launchd starts has not, and nobody is asked. It is
    so of volumes other than the Mac's own, too. None: the system is in none of them.
    """
    real = os.path.realpath(root)
    if real.startswith("/Volumes/"):
        return "/".join(real.split("/")[:3])
    inside = os.path.relpath(real, os.path.realpath(home))
    return next(
        (
            os.path.join(home, folder)
            for folder in _GUARDED
            if inside == folder or inside.startswith(f"{folder}/")
        ),
        None,
    )


def stop_seconds(spec: FleetSpec) -> int:
    """Return how long the stop of everything may take: dependents first, so its longest chain."""
    edges = {s.name: [dependency.on for dependency in s.depends_on] for s in spec.services}
    timeouts = {service.name: service.stop.timeout + _KILL for service in spec.services}
    chains: dict[str, float] = {}
    for name in graph.closure(edges, edges):
        before = max((chains[on] for on in edges[name]), default=0.0)
        chains[name] = before + timeouts[name]
    return max(_SHORTEST, math.ceil(max(chains.values(), default=0.0)) + _MARGIN)
