"""How a file is: there and right, there and wrong, begun, or missing."""

import os
from dataclasses import dataclass

from supervisor.models import inspection
from supervisor.models.digest import sha256_of
from supervisor.models.manifest import Wanted
from supervisor.models.part import Part


@dataclass(frozen=True, slots=True)
class Present:
    """It is there, and nothing that was looked at is wrong."""

    size: int
    target: str | None
    """Where it really is, if a symbolic link stands in its place."""
    sha256: str | None
    """None unless it was asked for."""


@dataclass(frozen=True, slots=True)
class Missing:
    """It is not there."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A part of it is there. `total` is None if the server did not say."""

    done: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Wrong:
    """It is there and cannot be used."""

    why: str
    size: int


Condition = Present | Missing | Begun | Wrong


def look(wanted: Wanted, *, thorough: bool) -> Condition:
    """Return how a file is. `thorough` reads all of it for its SHA-256: 0.5 s for each GB or so."""
    try:
        size = os.stat(wanted.path).st_size
    except OSError as error:
        if os.path.islink(wanted.path):
            return Wrong(f"is a link to {os.readlink(wanted.path)}, which is not there", 0)
        if not isinstance(error, FileNotFoundError):
            return Wrong(f"cannot be looked at: {error.strerror}", 0)
        part = Part(wanted.path)
        version = part.version(wanted.url)
        done = part.length()
        return Begun(done, version.size) if version is not None and done else Missing()
    try:
        return _present(wanted, size, thorough)
    except OSError as error:
        return Wrong(f"cannot be read: {error.strerror}", size)


def _present(wanted: Wanted, size: int, thorough: bool) -> Condition:
    if why := inspection.fault(wanted.path, wanted.name):
        return Wrong(why, size)
    if wanted.size is not None and size != wanted.size:
        return Wrong(f"has {size} bytes; {wanted.source} says {wanted.size}", size)
    sha256 = None
    if thorough:
        sha256 = sha256_of(wanted.path)
        if wanted.sha256 is not None and sha256 != wanted.sha256:
            said = f"{wanted.source} says {wanted.sha256[:12]}…"
            return Wrong(f"has another content: SHA-256 {sha256[:12]}…; {said}", size)
    target = os.path.realpath(wanted.path) if os.path.islink(wanted.path) else None
    return Present(size, target, sha256)
