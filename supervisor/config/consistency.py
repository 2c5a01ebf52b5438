"""What services need of each other: dependencies that exist and end, ports that are given once."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches

from supervisor.config.translation import Finding
from supervisor.core.graph import find_cycle
from supervisor.core.notify import Target
from supervisor.core.spec import Condition, ServiceSpec

MAX_SUGGESTIONS = 3
"""A service. difflib takes 10 ms for a thousand names, and a generated file may be all wrong."""

MAX_SHOWN = 10
"""Services of a cycle, in one line of an error message."""


def inconsistencies(
    services: Sequence[ServiceSpec], names: Sequence[str], protected: Collection[int]
) -> Iterator[Finding]:
    """Yield what does not fit; `names` are all services of the file, readable or not.

    `protected` are the ports that no service may have, a disabled one neither.
    """
    by_name = {service.name: service for service in services}
    for service in services:
        yield from _dependencies(service, by_name, names)
        yield from _own_ports(service)
        yield from _protected_ports(service, protected)
    yield from _shared_ports(services)
    edges = {s.name: [d.on for d in s.depends_on if d.on in by_name] for s in services}
    # A service that waits for itself was told so already.
    edges = {name: [on for on in ons if on != name] for name, ons in edges.items()}
    if cycle := find_cycle(edges):
        message = f"the services wait for each other: {_shown(cycle)}"
        path = ("services", cycle[0], "depends_on", cycle[1])
        yield Finding(path, message, "remove one of these dependencies")


def _shown(cycle: Sequence[str]) -> str:
    if len(cycle) <= MAX_SHOWN:
        return " → ".join(cycle)
    left_out = len(cycle) - MAX_SHOWN
    return " → ".join((*cycle[: MAX_SHOWN - 1], f"… {left_out} more …", cycle[-1]))


def _dependencies(
    service: ServiceSpec, by_name: Mapping[str, ServiceSpec], names: Sequence[str]
) -> Iterator[Finding]:
    suggestions = MAX_SUGGESTIONS
    for dependency in service.depends_on:
        on = dependency.on
        path = ("services", service.name, "depends_on", on)
        if on == service.name:
            yield Finding(path, "a service cannot wait for itself", "remove it")
        elif on not in names:
            near = get_close_matches(on, names, n=1) if suggestions > 0 else []
            suggestions -= 1
            hint = f"did you mean {near[0]}?" if near else "define it under services:"
            yield Finding(path, f"there is no service {on!r}", hint)
        elif (other := by_name.get(on)) is not None:
            if service.enabled and not other.enabled:
                yield Finding(path, f"{on} is disabled", f"enable {on}, or remove the dependency")
            if dependency.condition is Condition.COMPLETED and other.restart.policy == "always":
                message = f"{on} never completes, for its restart policy is always"
                hint = f"set restart: {{policy: on-failure}} for {on}, or wait for ready"
                yield Finding(path, message, hint)


def unknown_services(targets: Sequence[Target], names: Sequence[str]) -> Iterator[Finding]:
    """Yield what `notify:` says of services that there are not."""
    for index, target in enumerate(targets):
        for at, name in enumerate(target.services or ()):
            if name not in names:
                near = get_close_matches(name, names, n=1)
                hint = f"did you mean {near[0]}?" if near else "define it under services:"
                path = ("notify", index, "services", at)
                yield Finding(path, f"there is no service {name!r}", hint)


def _own_ports(service: ServiceSpec) -> Iterator[Finding]:
    held: dict[int, str] = {}
    for socket in service.sockets:
        for port in dict.fromkeys(port for _, port in socket.addresses):
            if port in held:
                path = ("services", service.name, "sockets", socket.name)
                message = f"port {port} is also the port of socket {held[port]}"
                yield Finding(path, message, "give each socket its own port")
            held.setdefault(port, socket.name)
    for index, port in enumerate(service.ports):
        if port in held:
            where = ("services", service.name, "ports", index)
            message = f"port {port} is held by the supervisor as socket {held[port]}"
            yield Finding(where, message, "list it in ports or in sockets, not in both")


def _protected_ports(service: ServiceSpec, protected: Collection[int]) -> Iterator[Finding]:
    for port in service.all_ports():
        if port in protected:
            path = ("services", service.name, *_port_path(service, port))
            message = f"port {port} is in protected_ports: it belongs to another program"
            hint = "give the service another port, or take this one out of protected_ports"
            yield Finding(path, message, hint)


def _shared_ports(services: Sequence[ServiceSpec]) -> Iterator[Finding]:
    owners: dict[int, str] = {}
    for service in services:
        # A disabled service may be the other one's stand-in; `start` meets a taken port anyway.
        if not service.enabled:
            continue
        for port in service.all_ports():
            first = owners.setdefault(port, service.name)
            if first != service.name:
                path = ("services", service.name, *_port_path(service, port))
                message = f"port {port} is already the port of {first}"
                yield Finding(path, message, "give it another port, or disable one of the two")


def _port_path(service: ServiceSpec, port: int) -> tuple[str | int, ...]:
    for socket in service.sockets:
        if any(port == own for _, own in socket.addresses):
            return ("sockets", socket.name)
    return ("ports", service.ports.index(port))
