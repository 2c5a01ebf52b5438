"""Listening sockets that the supervisor holds, so that no restart refuses a connection.

They outlive a service's run here, and this daemon in the sink's descriptor store. Where both daemon
and sink were killed, the running service itself still has its sockets, and they are taken back
from there if the kernel lets us; if not, the address is bound anew when the service next starts,
and connections are refused for the moment in between.
"""

import asyncio
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from supervisor.core.spec import ServiceSpec, SocketSpec
from supervisor.posix.descriptors import listening_sockets
from supervisor.posix.ports import ListenError, is_free, listen, owner_of
from supervisor.posix.spawn import SpawnError

PORT_TIMEOUT = 2.0
"""Seconds that a port may take to become free after its last holder is gone."""


class Store(Protocol):
    """Keeps copies of sockets where they outlive this process."""

    def hold(self, name: str, sockets: Sequence[socket.socket]) -> None:
        """Keep these under a name, instead of what was there."""

    def release(self, name: str) -> None:
        """Keep them no longer."""


@dataclass(frozen=True, slots=True)
class Private:
    """Sockets that only one run has, so that a probe can be sure to meet this very run."""

    sockets: tuple[tuple[str, socket.socket], ...] = ()
    """By the name of the held socket that each stands beside."""
    doors: Mapping[int, tuple[str, int]] = field(default_factory=dict)
    """For each port that all runs share: where this run alone listens."""

    def close(self) -> None:
        """Close our copies; the run has its own."""
        for _, each in self.sockets:
            each.close()


class HeldSockets:
    """Every listening socket, by service and by its name in the spec."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: dict[str, dict[str, list[socket.socket]]] = {}

    def adopt(self, kept: Mapping[str, list[socket.socket]], specs: Iterable[ServiceSpec]) -> None:
        """Take those that an earlier daemon held and that a spec still asks for; close others."""
        wanted = {
            _key(spec.name, one.name): (spec.name, one) for spec in specs for one in spec.sockets
        }
        for key, sockets in kept.items():
            if key in wanted and _fits(sockets, wanted[key][1]):
                service, one = wanted[key]
                self._keep(service, one.name, sockets)
            else:
                self._store.release(key)
                _close(sockets)

    def take_from(self, pid: int, spec: ServiceSpec) -> tuple[str, ...]:
        """Take what is not held from a running service; return the names that could not be had."""
        held = self._held.get(spec.name, {})
        missing = [one for one in spec.sockets if one.name not in held]
        if not missing:
            return ()
        found = listening_sockets(pid)
        lost: list[str] = []
        for one in missing:
            its = [each for each in found if _address(each) in one.addresses]
            if its and _fits(its, one):
                found = [each for each in found if each not in its]
                self._keep(spec.name, one.name, its)
            else:
                lost.append(one.name)
        _close(found)
        return tuple(lost)

    def listening(self, spec: ServiceSpec) -> list[tuple[str, int]]:
        """Return name and descriptor of every socket, listening from now on if not before.

        Raises SpawnError where an address cannot be had.
        """
        held = self._held.setdefault(spec.name, {})
        for name in [n for n in held if n not in {one.name for one in spec.sockets}]:
            self._drop(spec.name, name)
        for one in spec.sockets:
            if one.name in held and not _fits(held[one.name], one):
                self._drop(spec.name, one.name)
            if one.name not in held:
                self._keep(spec.name, one.name, _listen(one))
        return [(one.name, s.fileno()) for one in spec.sockets for s in held[one.name]]

    def stop_listening(self, service: str) -> None:
        """Close a service's sockets: who connects is refused from now on."""
        for name in list(self._held.get(service, {})):
            self._drop(service, name)
        self._held.pop(service, None)

    def close(self) -> None:
        """Close our copies; the store keeps its own."""
        for sockets in self._held.values():
            for each in sockets.values():
                _close(each)
        self._held.clear()

    def _keep(self, service: str, name: str, sockets: list[socket.socket]) -> None:
        self._held.setdefault(service, {})[name] = sockets
        self._store.hold(_key(service, name), sockets)

    def _drop(self, service: str, name: str) -> None:
        self._store.release(_key(service, name))
        _close(self._held[service].pop(name))


def private(spec: ServiceSpec) -> Private:
    """Listen, for one run alone, on a port that the system chooses. Raises SpawnError.

    The run gets it as a further socket of the same name, as it gets `::1` beside `127.0.0.1`: two
    runs accept from one shared socket in turn, so through that no probe knows whom it will meet.
    """
    sockets: list[tuple[str, socket.socket]] = []
    doors: dict[int, tuple[str, int]] = {}
    for one in spec.sockets:
        try:
            each = listen("127.0.0.1", 0, one.backlog)
        except ListenError as error:
            _close([made for _, made in sockets])
            raise SpawnError(error.why, retry=error.retry) from None
        sockets.append((one.name, each))
        doors.update({port: _address(each) for _, port in one.addresses})
    return Private(tuple(sockets), doors)


def port_is_free(port: int) -> bool:
    """Tell whether nobody listens on a port, whatever the address."""
    # A wildcard address meets every listener of its family on this port.
    return all(_is_free_if_there(wildcard, port) for wildcard in ("0.0.0.0", "::"))  # noqa: S104


async def busy_ports(ports: Sequence[int]) -> tuple[str, ...]:
    """Return words for each port that is not free even after `PORT_TIMEOUT` seconds.

    The kernel may hold a port for a moment after its last holder is gone; naming a foreign owner
    at once would be a false alarm.
    """
    deadline = time.monotonic() + PORT_TIMEOUT
    # No event tells that a port has become free.
    while not all(map(port_is_free, ports)) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    return tuple(
        f"port {port} is held by {owner_of(port) or 'a socket that is going away'}"
        for port in ports
        if not port_is_free(port)
    )


def _is_free_if_there(address: str, port: int) -> bool:
    try:
        return is_free(address, port)
    except ListenError as error:
        # Without IPv6 nobody listens there. Where we may not bind, the system's tables must do.
        return error.absent or owner_of(port) is None


def _key(service: str, name: str) -> str:
    return f"{service}/{name}"


def _address(sock: socket.socket) -> tuple[str, int]:
    host, port = sock.getsockname()[:2]
    return str(host), int(port)


def _fits(sockets: Sequence[socket.socket], spec: SocketSpec) -> bool:
    """Tell whether these are what the spec asks for; `::1` may be missing on the machine."""
    bound = {_address(each) for each in sockets}
    return bool(bound) and spec.addresses[0] in bound and bound <= set(spec.addresses)


def _close(sockets: Iterable[socket.socket]) -> None:
    for each in sockets:
        each.close()


def _listen(spec: SocketSpec) -> list[socket.socket]:
    """Listen on every address of a socket; `::1` may be missing on the machine, a port may not."""
    bound: list[socket.socket] = []
    refusal: ListenError | None = None
    for address, port in spec.addresses:
        try:
            bound.append(listen(address, port, spec.backlog))
        except ListenError as error:
            if error.retry or len(spec.addresses) == 1:
                refusal = error
                break
            refusal = refusal or error
    if bound and (refusal is None or not refusal.retry):
        return bound
    _close(bound)
    assert refusal is not None, "a socket has at least one address"  # noqa: S101
    raise SpawnError(refusal.why, retry=refusal.retry)
