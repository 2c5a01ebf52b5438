"""The environment of a service: an allow-list, what the spec says, and the marks of its run.

Two starts of one spec get the same environment whatever shell started the daemon, so a service
cannot work from a terminal and fail from a login item. The marks let every process of a run be
told from a stranger's, after a daemon crash as well.
"""

import os
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # `status` asks for a mark, and the specs would cost it 20 ms
    from supervisor.core.spec import ServiceSpec

if sys.platform == "linux":
    from supervisor.posix import linux as system
else:
    from supervisor.posix import darwin as system

# Who and where the user is, and how to speak to them. Not in the list on purpose: proxies (a
# service that talks to loopback must not be sent through one), SSH_AUTH_SOCK (it lets its holder
# log in elsewhere; `inherit_env` takes it for a service that needs it), PYTHON* and the like.
ALLOWED: Final = frozenset(
    {
        "HOME",
        "LANG",
        "LOGNAME",
        "PATH",
        "SHELL",
        "TMPDIR",
        "TZ",
        "USER",
        "XDG_RUNTIME_DIR",  # where PulseAudio and PipeWire have their sockets
    }
)
ALLOWED_PREFIX: Final = "LC_"

DEFAULT_PATH: Final = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
"""For a daemon that was started with no PATH at all, as launchd and cron may do."""

UNIT_MARK: Final = "ATLAS_UNIT"
RUN_MARK: Final = "ATLAS_RUN"
FLEET_MARK: Final = "ATLAS_FLEET"


@dataclass(frozen=True, slots=True)
class Marker:
    """What the environment of every process of one run says, unless it was wiped."""

    fleet: str
    unit: str
    run: int

    def variables(self) -> dict[str, str]:
        """Return the marks as environment variables."""
        return {UNIT_MARK: self.unit, RUN_MARK: str(self.run), FLEET_MARK: self.fleet}


def marker_of(environment: Mapping[str, str]) -> Marker | None:
    """Return the marks in an environment, or None where they are missing or no marks of ours."""
    unit = environment.get(UNIT_MARK)
    run = environment.get(RUN_MARK)
    fleet = environment.get(FLEET_MARK)
    if unit is None or run is None or fleet is None or not run.isdecimal():
        return None
    return Marker(fleet, unit, int(run))


def checksum(environment: Mapping[str, str]) -> int:
    """Return a number that differs where environments do, the marks of runs left out. Never 0."""
    marks = (UNIT_MARK, RUN_MARK, FLEET_MARK)
    told = sorted(item for item in environment.items() if item[0] not in marks)
    return zlib.crc32(repr(told).encode()) or 1


def environment_of(pid: int) -> Mapping[str, str] | None:
    """Return the environment that a process was started with, or None if it may not be read."""
    return system.environment(pid)


def fleet_mark(state_dir: str) -> str:
    """Return the mark of the fleet whose state is in `state_dir`: eight hexadecimal digits.

    It tells two daemons of one user apart. It is no secret and resists no attack, so a checksum
    does: hashlib would bring OpenSSL's several megabytes into the daemon.
    """
    return f"{zlib.crc32(os.fsencode(os.path.realpath(state_dir))):08x}"


def service_environment(
    spec: "ServiceSpec",
    *,
    inherited: Mapping[str, str],
    files: Mapping[str, str],
    run: int,
    fleet: str,
) -> dict[str, str]:
    """Return the whole environment of run `run` of a service.

    Later wins: the allow-list and `inherit_env` out of `inherited` (the daemon's environment),
    `files` (what the spec's env files say now), `spec.env`, then the marks, which nothing
    overrides. With a venv its `bin` is first on PATH, whatever else PATH is.
    """
    wanted = ALLOWED.union(spec.inherit_env)
    environment = {
        name: value
        for name, value in inherited.items()
        if name in wanted or name.startswith(ALLOWED_PREFIX)
    }
    environment.setdefault("PATH", DEFAULT_PATH)
    # Output of a Python service that sits in a buffer is missing from the log when it is wanted
    # most: after a crash.
    environment["PYTHONUNBUFFERED"] = "1"
    if spec.venv is not None:
        # It would point a venv's interpreter at another installation's library.
        environment.pop("PYTHONHOME", None)
    environment.update(files)
    environment.update(spec.env)
    if not environment["PYTHONUNBUFFERED"]:
        del environment["PYTHONUNBUFFERED"]
    if spec.venv is not None:
        environment["VIRTUAL_ENV"] = spec.venv
        binaries = os.path.join(spec.venv, "bin")
        path = environment["PATH"]
        environment["PATH"] = f"{binaries}:{path}" if path else binaries
    environment.update(Marker(fleet, spec.name, run).variables())
    return environment
