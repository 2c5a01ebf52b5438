"""What lies in the folder of logs: what `clean` takes, what it leaves, and why."""

import os
import re
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from supervisor.cli.log_archive import files_in
from supervisor.logs.rotation import family
from supervisor.posix.identity import identify, is_alive
from supervisor.posix.open_files import openers
from supervisor.posix.pidfile import PidFile
from supervisor.posix.state import UnsafePathError

SETTLED = 60.0
"""Seconds after which nobody writes to a dump any more: making one is bounded by less."""
_ROTATED = re.compile(r"\.[1-9][0-9]{0,5}(?:\.gz)?")


@dataclass(frozen=True, slots=True)
class Taken:
    """A file that goes to the archive; one with a `log` goes with all that belongs to that log."""

    name: str
    size: int
    service: str | None
    """None: no service of the configuration writes it."""
    log: str | None
    """The name of the log that it is a part of, like tts.log."""


@dataclass(frozen=True, slots=True)
class Left:
    """A file that stays, and the reason in words."""

    name: str
    why: str
    is_stranger: bool = False
    """It stays for no other reason than that no service here writes it."""


def survey(
    folder: str, known: Collection[str], asked: Sequence[str], *, strangers: bool
) -> tuple[list[Taken], list[Left]]:
    """Return what is to be archived of the services `asked` (none: of all) and what stays.

    `known` are all services; `strangers` takes also what none of them writes, unless it is in
    use. Empty logs stay and are not told. Raises OSError, but for a folder that is not there.
    """
    taken: list[Taken] = []
    left: list[Left] = []
    strange: list[Taken] = []
    try:
        files = dict(files_in(folder))
    except FileNotFoundError:
        return [], []
    for name, size in files.items():
        service = _service(name, known)
        if service is None:
            strange.append(Taken(name, size, None, _log_of(name, files)))
        elif asked and service not in asked:
            continue
        elif name.endswith(".pid"):
            if not names_living(os.path.join(folder, name)):
                taken.append(Taken(name, size, service, None))
        elif name.startswith(f"{service}.dump-"):
            if time.time() - os.stat(os.path.join(folder, name)).st_mtime < SETTLED:
                left.append(Left(name, "may still be being written"))
            else:
                taken.append(Taken(name, size, service, None))
        elif size or name != f"{service}.log":
            taken.append(Taken(name, size, service, f"{service}.log"))
    if strangers:
        used = dict(_in_use(folder, strange))
        taken += [each for each in strange if each.name not in used]
        left += [Left(name, why) for name, why in used.items()]
    elif not asked:
        why = "no service of this configuration writes it"
        left += [Left(each.name, why, is_stranger=True) for each in strange]
    return taken, left


def names_living(path: str) -> bool:
    """Tell whether a PID file names a process that lives; True of one that is not to be touched.

    The process may be a stranger that has the pid by now: then the file stays, which harms nobody.
    """
    try:
        pid = PidFile(path).read()
    except (UnsafePathError, OSError):
        return True
    found = None if pid is None else identify(pid)
    return found is not None and is_alive(found)


def _service(name: str, known: Collection[str]) -> str | None:
    """Return the service whose log, PID file or dump this is; their names have no dot in them."""
    service, _, rest = name.partition(".")
    if service not in known:
        return None
    ours = (
        rest in ("log", "pid")
        or bool(family([name], f"{service}.log"))
        or (rest.startswith("dump-") and rest.endswith(".txt"))
    )
    return service if ours else None


def _log_of(name: str, files: Collection[str]) -> str | None:
    """Return the log that a stranger's file belongs to, which may be the file itself."""
    if name.endswith(".pid"):
        return None
    rotated = _ROTATED.search(name)
    base = name[: rotated.start()] if rotated and rotated.end() == len(name) else name
    return base if base in files or base.endswith(".log") else name


def _in_use(folder: str, files: Sequence[Taken]) -> Iterator[tuple[str, str]]:
    """Yield which of these must stay, and why. A log stays with all that belongs to it."""
    paths = [os.path.join(folder, each.name) for each in files]
    busy = {os.path.basename(path): pid for path, pid in openers(paths).items()}
    logs = {each.log or each.name: busy[each.name] for each in files if each.name in busy}
    for each in files:
        pid = logs.get(each.log or each.name)
        if pid is not None:
            yield each.name, f"pid {pid} has it open: end that process first"
        elif each.name.endswith(".pid") and names_living(os.path.join(folder, each.name)):
            yield each.name, "names a process that lives"
