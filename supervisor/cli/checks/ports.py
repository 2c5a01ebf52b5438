"""Who has the ports of services, and those that are others'."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from supervisor.cli.findings import OURS, Finding
from supervisor.cli.wording import duration
from supervisor.control.messages import FleetStatus
from supervisor.core.spec import ServiceSpec
from supervisor.posix.account import account_name
from supervisor.posix.environment import FLEET_MARK, environment_of, fleet_mark
from supervisor.posix.identity import identify, started_monotonic
from supervisor.posix.lock import lock_holder, lock_path
from supervisor.posix.ports import ListenError, PortOwner, is_free, owners_of


@dataclass(frozen=True, slots=True)
class Ours:
    """By what a process of this system is known."""

    fleet: str
    """The mark in the environment of what the supervisor has started."""
    state_dir: str
    """It stands in the command line of the log sink."""
    pids: frozenset[int]
    supervised: bool
    """A supervisor runs, whether it answers or not."""

    @classmethod
    def of(cls, state_dir: str, status: FleetStatus | None) -> "Ours":
        """Return what the processes of the system in `state_dir` are known by."""
        daemon = None if status is None else status["daemon"]
        pids = () if daemon is None else (daemon["pid"], daemon["sink_pid"])
        known = frozenset(pid for pid in pids if pid)
        holder = lock_holder(lock_path(state_dir))
        supervised = daemon is not None or holder is not None
        return cls(fleet_mark(state_dir), state_dir, known, supervised)

    def has(self, owner: PortOwner) -> bool:
        """Tell whether a process is of this system."""
        if owner.pid is None:
            return False
        return owner.pid in self.pids or self.state_dir in owner.command or self.marked(owner.pid)

    def marked(self, pid: int) -> bool:
        """Tell whether a process carries the mark of this system."""
        return (environment_of(pid) or {}).get(FLEET_MARK) == self.fleet


@dataclass(frozen=True, slots=True)
class Tried:
    """What was found when it was tried whether a port could be listened on."""

    port: int
    taken: bool = False
    why: str | None = None
    """Why it could not, where that is not for somebody who has it."""


def tried(services: Sequence[ServiceSpec]) -> dict[str, list[Tried]]:
    """Return by service how each of its ports is. Nothing ever listens because of this."""
    return {service.name: list(_tried(service)) for service in services}


def owners(tried: Mapping[str, Sequence[Tried]]) -> dict[int, PortOwner]:
    """Return who has those that are taken."""
    return owners_of({each.port for ports in tried.values() for each in ports if each.taken})


def _tried(service: ServiceSpec) -> Iterator[Tried]:
    addresses: dict[int, list[str]] = {port: ["127.0.0.1"] for port in service.ports}
    for socket in service.sockets:
        for host, port in socket.addresses:
            addresses.setdefault(port, []).append(host)
    for port, hosts in addresses.items():
        yield _try(port, hosts)


def _try(port: int, hosts: Sequence[str]) -> Tried:
    for host in hosts:
        try:
            if not is_free(host, port):
                return Tried(port, taken=True)
        except ListenError as error:
            if error.absent and len(hosts) > 1:
                continue  # a machine without ::1 does with 127.0.0.1
            return Tried(port, why=error.why)
    return Tried(port)


def ports(
    name: str, tried: Sequence[Tried], owners: Mapping[int, PortOwner], ours: Ours
) -> Iterator[Finding]:
    """Yield who has the ports of a service, if they are not free."""
    for each in tried:
        yield _finding(name, each, owners.get(each.port), ours)


def _finding(name: str, tried: Tried, owner: PortOwner | None, ours: Ours) -> Finding:
    check = f"port {tried.port}"
    if tried.why is not None:
        return Finding(name, check, "wrong", tried.why)
    if owner is None:  # nobody has it, or it was going away
        return Finding(name, check, "ok", "free")
    if not ours.has(owner):
        hint = f"end that process, or give {name} another port"
        text = f"{described(owner)}, has it, and is not of this system"
        return Finding(name, check, "wrong", text, hint)
    if not ours.supervised:
        text = f"its own, {described(owner)}, and no supervisor watches it now"
        hint = "atlasctl up takes it over, atlasctl down ends it"
        return Finding(name, check, "note", text, hint)
    return Finding(name, check, "ok", f"its own, {described(owner)}")


def protected(numbers: Sequence[int], ours: Ours) -> Iterator[Finding]:
    """Yield who is on the ports that are others', where nothing is ever done to anybody."""
    owners = owners_of(numbers)
    for port in numbers:
        check, owner = f"protected port {port}", owners.get(port)
        if owner is None:
            hint = "start what belongs there, if services here need it"
            yield Finding(OURS, check, "note", "nobody listens there", hint)
        elif ours.has(owner):
            text = f"{described(owner)}, has it, and is of this system"
            hint = "give that service another port, or take this one out of protected_ports"
            yield Finding(OURS, check, "note", text, hint)
        else:
            yield Finding(OURS, check, "ok", described(owner))


def described(owner: PortOwner) -> str:
    """Return `pid 41 (node app.js) of anna, started 2 h 3 min ago`; the user unless it is you."""
    found = None if owner.pid is None else identify(owner.pid)
    if found is None:
        return str(owner)
    whose = "" if found.uid == os.geteuid() else f" of {account_name(found.uid)}"
    started = started_monotonic(found)
    since = "" if started is None else f", started {duration(time.monotonic() - started)} ago"
    return f"{owner}{whose}{since}"
