"""A control group for each run: who belongs to it whatever it did, and one kill for all of it.

Linux, cgroup v2 (cgroups(7)), the hybrid layout included. A process cannot leave its group by
forking, by setsid, or by wiping its environment, and `cgroup.kill` reaches what forks meanwhile.
Groups outlive the daemon; the next one finds them by fleet, unit and run, wherever in the tree
its predecessor was: a terminal and a login item are different places.

Controllers (memory, pids) are used where they may be: a group that has processes of its own
cannot give any to groups below it, unless it is the root. So under systemd they need a unit with
`Delegate=yes` and `DelegateSubgroup=supervisor`.
"""

import contextlib
import os
import re
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from supervisor.core.spec import Limits
from supervisor.posix.identity import ProcessIdentity, identify, is_alive

_MARGIN: Final = 10
"""Percent by which memory.max is above the limit: the daemon replaces a run that is over its
limit and can say why, and the kernel's kill is for what grows faster than that."""

_DEPTH: Final = 16
_DIRECTORIES: Final = 20_000
"""Bounds of the search for a predecessor's groups. A workstation has some 200 groups."""

_RUN: Final = re.compile(r"([a-z0-9][a-z0-9_-]*)\.([0-9]+)")

_CONTROLLERS: Final = ("memory", "pids")


class CgroupError(Exception):
    """A group cannot be made; the message says why."""


@dataclass(frozen=True, slots=True)
class Group:
    """The control group of one run, which may be gone by now."""

    path: str

    @property
    def bounds_processes(self) -> bool:
        """Whether the kernel holds this very run to a number of processes and threads."""
        return _read(f"{self.path}/pids.max").strip() not in ("", "max")

    @property
    def bounds_memory(self) -> bool:
        """Whether the kernel ends this run when it has too much memory."""
        return _read(f"{self.path}/memory.max").strip() not in ("", "max")

    def bound(self, limits: Limits) -> None:
        """Keep other limits from now on, as far as the kernel does here."""
        for file, unlimited in (("pids.max", "max"), ("memory.max", "max")):
            path = os.path.join(self.path, file)
            if os.path.exists(path):
                _write(path, dict(_settings(limits)).get(file, unlimited))

    def pids(self) -> frozenset[int]:
        """Return every living process in the group or in one below it. Zombies are not listed.

        A pid read here may be another's a moment later: to be compared with its start time.
        """
        found: set[int] = set()
        for directory in _below(self.path):
            found.update(int(word) for word in _read(f"{directory}/cgroup.procs").split())
        # 0 is a process of another pid namespace, which we could not name.
        return frozenset(found - {0})

    def oldest(self) -> ProcessIdentity | None:
        """Return the living process in it that started first, or None if nothing lives in it."""
        found = [each for each in map(identify, self.pids()) if each is not None]
        # Who was in it before and after it was identified is the one of that identity.
        inside = self.pids()
        found = [each for each in found if each.pid in inside]
        return min(found, key=lambda each: (each.started, each.pid), default=None)

    def kill(self) -> bool:
        """SIGKILL all of it at once, whatever forks meanwhile included.

        Returns at once; the processes take a moment to end. False: nothing was sent, since the
        kernel is older than 5.14, the group is gone, or we ourselves are in it.
        """
        if os.getpid() in self.pids():
            return False
        return _write(f"{self.path}/cgroup.kill", "1") is None

    def remove(self) -> bool:
        """Remove the group and those that its processes made below it; True if it is gone.

        False: something lives in it. Processes that are dead and not reaped do not matter.
        """
        with contextlib.suppress(OSError):
            # Most runs make no groups of their own, and this is in the way of every restart.
            os.rmdir(self.path)
            return True
        for directory in reversed(list(_below(self.path))):
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                continue
            except OSError:
                return False
        return True


class Cgroups:
    """The groups of one fleet, below a group that we may write to."""

    def __init__(self, base: str, fleet: str, *, earlier: Collection[str] = ()) -> None:
        """`base` is a directory of the hierarchy, `earlier` where predecessors had their groups."""
        self._home = os.path.join(base, _directory_name(fleet))
        self._homes = tuple(dict.fromkeys((self._home, *earlier)))

    @classmethod
    def find(cls, fleet: str) -> "Cgroups | None":
        """Return where this fleet may have groups; None where it may not, or there are none.

        Looks through the whole hierarchy once, for what an earlier daemon left: some 5 ms.
        """
        if sys.platform != "linux":
            return None
        place = _own_place()
        if place is None:
            return None
        mount, own = place
        base = _base(mount, own, fleet)
        return None if base is None else cls(base, fleet, earlier=_homes_below(mount, fleet))

    def make(self, unit: str, run: int, limits: Limits) -> Group:
        """Make the group of a run, with what limits the kernel can keep. Raises CgroupError.

        About 0.1 ms; entering it is what costs, see `supervisor.posix.trampoline`.
        """
        group = Group(os.path.join(self._home, f"{unit}.{run}"))
        try:
            self._make_home()
            os.mkdir(group.path, 0o755)
        except FileExistsError:
            # Of a run that had this number before the ledger was lost.
            if not group.remove():
                raise CgroupError(f"the control group {group.path} is in use already") from None
            return self.make(unit, run, limits)
        except OSError as error:
            raise CgroupError(
                f"cannot make the control group {group.path}: {error.strerror}"
            ) from None
        for file, value in _settings(limits):
            path = os.path.join(group.path, file)
            # Where the controller is missing so is the file.
            refusal = _write(path, value) if os.path.exists(path) else None
            if refusal is not None:
                group.remove()
                raise CgroupError(f"the kernel refuses {value} in {path}: {refusal.strerror}")
        return group

    def move(self, group: Group, process: ProcessIdentity) -> None:
        """Move one living process, not its children, into a group. Waits 10 to 25 ms.

        The kernel takes it by its number after that wait. Should the number be another's by then,
        that one is moved on to where our children are born, and is no member of anything.
        """
        if not is_alive(process) or _write(f"{group.path}/cgroup.procs", str(process.pid)):
            return
        now = identify(process.pid)
        if now is not None and now.started != process.started:
            _write(f"{os.path.dirname(self._home)}/cgroup.procs", str(process.pid))

    def group(self, unit: str, run: int) -> Group | None:
        """Return the group of a run, of whichever daemon, or None if there is none."""
        for home in self._homes:
            path = os.path.join(home, f"{unit}.{run}")
            if os.path.isdir(path):
                return Group(path)
        return None

    def groups(self) -> dict[tuple[str, int], Group]:
        """Return every group of this fleet, by unit and run."""
        found: dict[tuple[str, int], Group] = {}
        for home in self._homes:
            for name in _names(home):
                if match := _RUN.fullmatch(name):
                    key = (match[1], int(match[2]))
                    found.setdefault(key, Group(os.path.join(home, name)))
        return found

    def sweep(self, keep: Collection[tuple[str, int]]) -> dict[tuple[str, int], Group]:
        """Remove every empty group that is not in `keep`; return those that are not empty."""
        return {
            key: group
            for key, group in self.groups().items()
            if key not in keep and not group.remove()
        }

    def close(self) -> None:
        """Remove the directories that are empty, at an orderly end."""
        for home in self._homes:
            with contextlib.suppress(OSError):
                os.rmdir(home)

    def _make_home(self) -> None:
        try:
            os.mkdir(self._home, 0o755)
        except FileExistsError:
            return
        for directory in (os.path.dirname(self._home), self._home):
            _give_controllers(directory)


def _directory_name(fleet: str) -> str:
    return f"atlas-{fleet}"


def _settings(limits: Limits) -> Iterator[tuple[str, str]]:
    if limits.processes is not None:
        yield "pids.max", str(limits.processes)
    if limits.memory is not None:
        yield "memory.max", str(limits.memory + limits.memory * _MARGIN // 100)
        # Half a run that lives on is worse than one that is replaced.
        yield "memory.oom.group", "1"


def _own_place() -> tuple[str, str] | None:
    """Return where the v2 hierarchy is mounted, and the directory of our own group in it."""
    own = next(
        (line[3:] for line in _read("/proc/self/cgroup").splitlines() if line.startswith("0::")),
        None,
    )
    if own is None:
        return None
    for line in _read("/proc/self/mountinfo").splitlines():
        # proc_pid_mountinfo(5): … root mount-point options [tags …] - type source options
        mounted, _, kind = line.partition(" - ")
        if not kind.startswith("cgroup2 "):
            continue
        root, mount = (_unescaped(word) for word in mounted.split()[3:5])
        inside = os.path.relpath(own, root)
        directory = os.path.normpath(os.path.join(mount, inside))
        if not inside.startswith("..") and os.path.isdir(directory):
            return mount, directory
    return None


def _unescaped(word: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), word)


def _base(mount: str, own: str, fleet: str) -> str | None:
    """Return the directory below which groups are to be made, or None if we may nowhere."""
    parts = os.path.relpath(own, mount).split("/")
    if _directory_name(fleet) in parts:
        # A service of this fleet started us: not below its group, which is killed with it.
        own = os.path.join(mount, *parts[: parts.index(_directory_name(fleet))])
    candidates = [own]
    above = os.path.dirname(own)
    if own != mount and _is_delegated(above) and not _read(f"{above}/cgroup.procs"):
        # systemd put us into a leaf of what it gave us (DelegateSubgroup=): controllers work here.
        candidates.insert(0, above)
    # Whoever moves a process must be able to write to this file of the nearest common group, and
    # our children are born in our own.
    return next(
        (
            base
            for base in candidates
            if os.access(base, os.W_OK | os.X_OK) and os.access(f"{base}/cgroup.procs", os.W_OK)
        ),
        None,
    )


def _is_delegated(directory: str) -> bool:
    """Tell whether systemd gave this group to its unit: root may write to others' as well."""
    if sys.platform == "linux":
        for name in ("user.delegate", "trusted.delegate"):
            with contextlib.suppress(OSError):
                if os.getxattr(directory, name) == b"1":
                    return True
    return False


def _give_controllers(directory: str) -> None:
    """Let groups below use the controllers, where the rules allow it."""
    is_root = not os.path.exists(f"{directory}/cgroup.type")
    if not is_root and _read(f"{directory}/cgroup.procs"):
        return
    there = _read(f"{directory}/cgroup.controllers").split()
    for name in _CONTROLLERS:
        if name in there:
            _write(f"{directory}/cgroup.subtree_control", f"+{name}")


def _homes_below(mount: str, fleet: str) -> tuple[str, ...]:
    wanted = _directory_name(fleet)
    directories = list(_below(mount))
    return tuple(each for each in directories if os.path.basename(each) == wanted)


def _below(top: str) -> Iterator[str]:
    """Yield a group and every group below it, each before those below it. Bounded."""
    pending = [(top, 0)]
    for _ in range(_DIRECTORIES):
        if not pending:
            return
        directory, depth = pending.pop()
        yield directory
        if depth < _DEPTH:
            pending += [(os.path.join(directory, name), depth + 1) for name in _names(directory)]


def _names(directory: str) -> list[str]:
    """Return the groups directly below one, none if it is gone."""
    try:
        with os.scandir(directory) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _read(path: str) -> str:
    """Return the text of a file, nothing where it cannot be read: gone, or of another kind."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def _write(path: str, text: str) -> OSError | None:
    """Write to a control file; return the error, if any."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        return error
    try:
        os.write(fd, text.encode("ascii"))
    except OSError as error:
        return error
    finally:
        os.close(fd)
    return None
