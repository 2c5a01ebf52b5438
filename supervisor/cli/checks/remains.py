"""What a hand-made start has left: PID files, nohup.out, logs, and what still calls the old script.

Nothing is removed here and nobody is ended: a pid in a file proves nothing.
"""

import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from supervisor.cli.checks.ports import Ours
from supervisor.cli.checks.startup import OLD_SCRIPT, Start
from supervisor.cli.connection import short_path
from supervisor.cli.findings import OURS, Finding
from supervisor.cli.wording import count, duration, listing, size
from supervisor.config.files import read_regular
from supervisor.logs.rotation import family
from supervisor.posix.identity import identify, is_alive, started_monotonic
from supervisor.posix.ports import PortOwner
from supervisor.posix.processes import command_of, parent_of

LARGE: Final = 100 * 1024**2
"""Bytes of logs of nobody that are worth a word."""
_LONGEST: Final = 64
"""Bytes of a PID file."""
_LOOKED: Final = 5000
"""Files of a folder that are looked at."""
_SLACK: Final = 2.0
"""Seconds by which a clock in whole seconds may differ."""
_SHOWN: Final = 80
"""Characters of a command line."""
_GENERATIONS: Final = 20


@dataclass(frozen=True, slots=True)
class Processes:
    """What is known of the processes of this system."""

    ours: Ours
    pids: Collection[int]
    """Of its runs, as its ledger proves them."""
    owners: Mapping[int, PortOwner]
    """Who has ports of its services."""
    services: Mapping[int, str]
    """Whose port it is."""


def pid_files(folders: Sequence[str], known: Processes, now: float) -> Iterator[Finding]:
    """Yield each PID file that no run of ours has written; `now` in Unix seconds."""
    for folder in dict.fromkeys(folders):
        for name in _names(folder, ".pid"):
            path = os.path.join(folder, name)
            try:
                text, changed = read_regular(path, _LONGEST), os.stat(path).st_mtime
            except OSError:
                continue
            word = text.split()[0] if text.split() else b""
            pid = int(word) if word.isdigit() and len(word) < 10 else None
            yield from _pid_file(short_path(path), pid, changed, known, now)


def _pid_file(
    path: str, pid: int | None, changed: float, known: Processes, now: float
) -> Iterator[Finding]:
    check, remove = "PID file", f"rm {path}"
    found = None if pid is None else identify(pid)
    if pid is None:
        yield Finding(OURS, check, "note", f"{path} holds no process number", remove)
        return
    if found is None or not is_alive(found):
        yield Finding(OURS, check, "note", f"{path} names pid {pid}, which has ended", remove)
        return
    if pid in known.pids or pid in known.ours.pids or known.ours.marked(pid):
        return
    started = started_monotonic(found)
    age = 0.0 if started is None else time.monotonic() - started
    who = f"pid {pid} ({command_of(pid)[:_SHOWN]})"
    if now - age > changed + _SLACK:
        text = f"{path} names {who}, which is younger than the file, and another program"
        yield Finding(OURS, check, "note", text, remove)
        return
    held = [port for port, owner in known.owners.items() if _descends(owner.pid, pid)]
    hint = f"end it if it is not needed: kill {pid}"
    what = "is not of this system"
    if held:
        whose = [f"port {port} of {known.services[port]}" for port in held]
        what = f"was started without atlasctl, and has {listing(whose)}"
        hint = f"end it, and atlasctl can start its own: kill {pid}, then atlasctl up"
    text = f"{path} names {who}, started {duration(age)} ago; it {what}"
    yield Finding(OURS, check, "note", text, hint)


def _descends(pid: int | None, ancestor: int) -> bool:
    """Tell whether a process is another, or a descendant of it, as of the shell that started it."""
    for _ in range(_GENERATIONS):
        if pid is None or pid <= 1:
            return False
        if pid == ancestor:
            return True
        pid = parent_of(pid)
    return False


def nohup(folders: Sequence[str], now: float) -> Iterator[Finding]:
    """Yield what nohup(1) has collected of servers that were started by hand."""
    for folder in dict.fromkeys(folders):
        path = os.path.join(folder, "nohup.out")
        try:
            found = os.stat(path)
        except OSError:
            continue
        written = duration(now - found.st_mtime)
        text = f"{short_path(path)} ({size(found.st_size)}) was last written {written} ago"
        hint = f"a start by hand has made it, atlasctl has no use for it: rm {short_path(path)}"
        yield Finding(OURS, "nohup.out", "note", text, hint)


def strange_logs(folder: str, services: Iterable[str]) -> Iterator[Finding]:
    """Yield logs that no service writes, if there is much of them."""
    bases = [f"{name}.log" for name in services]
    names = [name for name in _names(folder) if ".log" in name]
    written = set(bases)
    for base in bases:
        written.update(rotated.name(base) for rotated in family(names, base))
    sizes = {}
    for name in names:
        if name not in written and os.path.isfile(os.path.join(folder, name)):
            sizes[name] = os.stat(os.path.join(folder, name)).st_size
    if (total := sum(sizes.values())) > LARGE:
        largest = max(sizes, key=lambda name: sizes[name])
        files = count(len(sizes), "file")
        where = short_path(folder)
        text = f"{size(total)} in {files} of no service in {where}, the largest {largest}"
        hint = "put them away: atlasctl clean --all"
        yield Finding(OURS, "old logs", "note", text, hint)


def old_callers(starts: Iterable[Start], config: str) -> Iterator[Finding]:
    """Yield what still starts the script that atlasctl has replaced."""
    for start in starts:
        if start.calls_old_script():
            text = f"{start.where} still starts {OLD_SCRIPT}"
            hint = f"let it start atlasctl -c {config} up, or take it out"
            yield Finding(OURS, "old script", "note", text, hint)


def _names(folder: str, ending: str = "") -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(
                islice((entry.name for entry in entries if entry.name.endswith(ending)), _LOOKED)
            )
    except OSError:
        return []
