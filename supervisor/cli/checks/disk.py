"""Whether there is room for what services, logs and models will write."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from supervisor.cli.checks.folders import nearest
from supervisor.cli.connection import short_path
from supervisor.cli.findings import OURS, Finding
from supervisor.cli.wording import count, listing, size
from supervisor.core.spec import ServiceSpec
from supervisor.logs.rotation import family

TOO_LITTLE: Final = 100 * 1024**2
"""Bytes, below which the next log file or journal may be the one that is lost."""
_LITTLE: Final = 0.05
"""Part of a disk, below which it is nearly full; a large one has enough all the same."""
_ENOUGH: Final = 10 * 1024**3
_FEW_FILES: Final = 1000
_PLENTY: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Space:
    """What statvfs(3) says of one file system."""

    device: int
    total: int
    free: int
    """Bytes for us; what is kept for root is left out."""
    files: int
    """Inodes that are free for us. A file system that makes them as needed has plenty."""
    read_only: bool


@dataclass(slots=True)
class _Place:
    """One file system, and what is to be written to it."""

    space: Space
    folders: list[str] = field(default_factory=list)
    growth: int = 0


def space_of(path: str) -> Space:
    """Return the room in the file system that a path is in, or would be in. Raises OSError."""
    there = nearest(path)
    found = os.statvfs(there)
    return Space(
        os.stat(there).st_dev,
        found.f_blocks * found.f_frsize,
        found.f_bavail * found.f_frsize,
        found.f_favail if found.f_files else _PLENTY,
        bool(found.f_flag & os.ST_RDONLY),
    )


def log_growth(services: Sequence[ServiceSpec], logs_dir: str) -> int:
    """Return by how many bytes the logs of these services may still grow, as their limits are."""
    try:
        with os.scandir(logs_dir) as entries:
            sizes = {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
    except OSError:
        sizes = {}
    growth = 0
    for service in services:
        base = f"{service.name}.log"
        there = [base, *(rotated.name(base) for rotated in family(sizes, base))]
        limit = service.logs.max_size * (service.logs.keep + 1)
        growth += max(0, limit - sum(sizes.get(name, 0) for name in there))
    return growth


def caches(services: Sequence[ServiceSpec]) -> list[str]:
    """Return the folders that environments of services name as a cache."""
    return [
        os.path.join(service.cwd, value)
        for service in services
        for name, value in service.env.items()
        if name.endswith("CACHE_DIR") and value
    ]


def disk(folders: Mapping[str, int], spaces: Mapping[str, Space]) -> Iterator[Finding]:
    """Yield how much room each file system has.

    `folders` are what is written to, and by how many bytes each may grow; `spaces` has the same.
    """
    places: dict[int, _Place] = {}
    for folder, growth in folders.items():
        place = places.setdefault(spaces[folder].device, _Place(spaces[folder]))
        place.folders.append(folder)
        place.growth += growth
    for place in places.values():
        yield _room(place)


def _room(place: _Place) -> Finding:
    space = place.space
    where = listing([short_path(folder) for folder in dict.fromkeys(place.folders)])
    free = f"{size(space.free)} of {size(space.total)} free for {where}"
    hint = "make room there, or move logs_dir or root to another disk"
    if space.read_only:
        return Finding(OURS, "disk", "wrong", f"{where}: mounted read-only", "mount it writable")
    if space.free < TOO_LITTLE:
        return Finding(OURS, "disk", "wrong", f"only {free}", hint)
    if space.files < _FEW_FILES:
        text = f"{where}: only {count(space.files, 'more file')} can be made (inodes)"
        return Finding(OURS, "disk", "note", text, "remove folders with many small files")
    if space.free < place.growth:
        text = f"{free}, and logs and models may take {size(place.growth)} more"
        hint = f"{hint}, or lower max_size or keep of logs"
        return Finding(OURS, "disk", "note", text, hint)
    if space.free < min(_ENOUGH, _LITTLE * space.total):
        return Finding(OURS, "disk", "note", f"only {free}", hint)
    return Finding(OURS, "disk", "ok", free)
