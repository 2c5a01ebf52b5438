"""Names as Kubernetes takes them. Pure."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from supervisor.core.spec import ServiceSpec
from supervisor.export.exported import ExportError

LONGEST: Final = 56
"""Of the 63 characters of a label, with room for `-probes`."""
_PORT_NAME: Final = re.compile(r"(?=[^a-z]*[a-z])(?!.*--)[a-z0-9](?:[a-z0-9-]{0,13}[a-z0-9])?")


def names(services: Sequence[str]) -> dict[str, str]:
    """Return a name for each service: a DNS label that begins with a letter (RFC 1035).

    Raises ExportError if two have the same.
    """
    made: dict[str, str] = {}
    for service in services:
        label = service.replace("_", "-")
        if not label[:1].isalpha():
            label = f"s-{label}"
        label = label[:LONGEST].rstrip("-")
        twin = next((known for known, taken in made.items() if taken == label), None)
        if twin is not None:
            raise ExportError(
                f"{twin} and {service} would both be called {label} in Kubernetes: rename one"
            )
        made[service] = label
    return made


def ports(service: ServiceSpec) -> tuple[tuple[str, int], ...]:
    """Return name and number of each TCP port: that of its socket, where that can name a port."""
    named: dict[int, str] = {}
    for socket in service.sockets:
        name = socket.name.replace("_", "-")
        for port in dict.fromkeys(port for _, port in socket.addresses):
            fits = _PORT_NAME.fullmatch(name) and name not in named.values()
            named.setdefault(port, name if fits else f"port-{port}")
    for port in service.ports:
        named.setdefault(port, f"port-{port}")
    return tuple((name, port) for port, name in named.items())


def unused(wanted: str, taken: Iterable[str]) -> str:
    """Return the name wanted, or with a number behind it the first that is not taken."""
    taken = set(taken)
    number = 2
    name = wanted
    while name in taken:
        name = f"{wanted}-{number}"
        number += 1
    return name
