"""Files of a model that are on this machine already, left by an older installation.

The old server kept them in whatever folder it was started in, so a bounded part of the disk is
walked: the project, its neighbours, and the usual caches. Names alone prove nothing; who asks
inspects and compares.
"""

import contextlib
import errno
import glob
import itertools
import os
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from supervisor.core.models import ModelSpec

MAX_FOLDERS = 2000
"""That are looked into; 2,000 take 0.1 s from a warm cache."""
MAX_DEPTH = 3
MAX_MATCHES = 200
"""Folders that one pattern of look_in stands for."""
MAX_ENTRIES = 2000
"""Of one folder: what has more is a store of something else."""

_SKIPPED = frozenset(("node_modules", "site-packages", "__pycache__", "venv", "env"))
# macOS asks the person, by name of the terminal, before a program may look into these.
_PRIVATE = frozenset(
    ("Desktop", "Documents", "Downloads", "Library", "Movies", "Music", "Pictures", "Public")
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where to look from; absolute paths."""

    root: str
    cwd: str
    home: str
    hub: str
    """Where Hugging Face's tools keep what they fetched."""


def surroundings(root: str, cwd: str, environ: Mapping[str, str]) -> Surroundings:
    """Return where this process is."""
    home = environ.get("HOME") or "/"
    cache = environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    hub = environ.get("HF_HUB_CACHE") or os.path.join(
        environ.get("HF_HOME") or os.path.join(cache, "huggingface"), "hub"
    )
    return Surroundings(root, cwd, home, hub)


def copies(spec: ModelSpec, around: Surroundings) -> dict[str, list[str]]:
    """Return, for each file, the paths where one of that name lies; the likeliest first."""
    names = [file.name for file in spec.files]
    found: dict[str, list[str]] = {name: [] for name in names}
    own = os.path.realpath(spec.directory)
    seen: set[str] = {own}
    for folder in itertools.islice(_folders(spec, around), MAX_FOLDERS):
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and os.path.dirname(os.path.realpath(path)) != own:
                found[name].append(path)
    return found


def _folders(spec: ModelSpec, around: Surroundings) -> Iterator[str]:
    for pattern in spec.look_in:
        yield from itertools.islice(glob.iglob(pattern), MAX_MATCHES)
    home = around.home
    yield from (around.cwd, around.root, os.path.dirname(spec.directory), home)
    for above in (home, os.path.join(home, ".cache"), os.path.dirname(around.root)):
        for name in dict.fromkeys((spec.name, spec.name.replace("-", "_"))):
            yield os.path.join(above, name)
    snapshots = os.path.join(glob.escape(around.hub), "models--*", "snapshots", "*")
    yield from itertools.islice(glob.iglob(snapshots), MAX_MATCHES)
    for start in dict.fromkeys((around.cwd, around.root, os.path.dirname(around.root))):
        if start != "/":
            yield from _below(start, home)


def _below(start: str, home: str) -> Iterator[str]:
    """Yield folders below, nearest first; what is hidden, private or a link is passed over."""
    pending = deque([(start, 0)])
    while pending:
        folder, depth = pending.popleft()
        yield folder
        if depth == MAX_DEPTH:
            continue
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in itertools.islice(entries, MAX_ENTRIES):
                name = entry.name
                private = sys.platform == "darwin" and folder == home and name in _PRIVATE
                if name.startswith(".") or name in _SKIPPED or private:
                    continue
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        pending.append((entry.path, depth + 1))


def link(origin: str, destination: str) -> bool:
    """Put a link to a file in place of whatever is at `destination`; tell whether it is symbolic.

    A hard link outlives the removal of the other installation; between two disks a symbolic one
    must do. Raises OSError.
    """
    origin = os.path.realpath(origin)
    folder, name = os.path.split(destination)
    with tempfile.TemporaryDirectory(prefix=".link-", dir=folder) as scratch:
        temporary = os.path.join(scratch, name)
        symbolic = False
        try:
            os.link(origin, temporary)
        except OSError as error:
            # EPERM: Linux links to nobody else's files (protected_hardlinks); exFAT has no links.
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP):
                raise
            os.symlink(origin, temporary)
            symbolic = True
        os.replace(temporary, destination)
    return symbolic
