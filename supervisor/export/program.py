"""How a service of this machine is started by something that does not know its PATH. Pure."""

import os.path
from collections.abc import Sequence

from supervisor.core.spec import ServiceSpec
from supervisor.export.exported import ExportError

ENV = "/usr/bin/env"
"""Finds a program on the PATH that it is given; systemd and launchd have one of their own."""


def program(service: ServiceSpec, command: Sequence[str]) -> tuple[str, ...]:
    """Return the command with an absolute path in front. Raises ExportError."""
    name = command[0]
    if "/" in name:
        return (os.path.normpath(os.path.join(service.cwd, name)), *command[1:])
    if "=" in name or name.startswith("-"):
        raise ExportError(f"{service.name}: write the whole path of the program {name!r}")
    return (ENV, *command)
