"""What is elsewhere in a pod: paths, addresses to listen on, and the other services. Pure."""

import os.path
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from supervisor.core.spec import ServiceSpec
from supervisor.export.exported import Note, Request

_LISTENING: Final = re.compile(r"--?(?:[a-z]+-)*(?:host|bind|listen|address|addr|ip)")
_LOCAL: Final = re.compile(
    r"(?<![\w.:-])(?:127\.0\.0\.1|localhost|\[::1\]|::1)(?=:[0-9]+$|$)", re.ASCII
)
_PEER: Final = re.compile(
    r"(?<![\w.-])(?:127\.0\.0\.1|localhost|\[::1\]):([0-9]{1,5})(?![\w:])", re.ASCII
)
_BEFORE: Final = r"(?:(?<![^\s:=,;'\"@])|(?<=://)|(?<=:///))"
"""What may be in front of a path that stands in a text, `file://` and `sqlite:///` among it."""
_BEHIND: Final = r"(?=$|[/\s:=,;'\"])"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path of this machine is in the container."""

    root: str
    folder: str

    def inside(self, path: str) -> str | None:
        """Return the path there, or None if it is not below root."""
        relative = os.path.relpath(path, self.root)
        if relative == os.pardir or relative.startswith(os.pardir + os.sep):
            return None
        return os.path.normpath(os.path.join(self.folder, relative))

    def moved(self, text: str) -> str:
        """Return a text in which every path below root, also behind `=` or `:`, is one there."""
        if self.root == os.sep:
            return text
        return re.sub(_BEFORE + re.escape(self.root) + _BEHIND, lambda _: self.folder, text)


@dataclass(frozen=True, slots=True)
class Peers:
    """Other services, which on this machine are at its own address."""

    service: str
    own: Collection[int]
    """Its own ports, at which it is there as here."""
    owners: Mapping[int, tuple[str, str | None]]
    """By port: the service, and its name in the cluster; None if none leads to it there."""
    notes: list[Note] = field(default_factory=list)

    def named(self, text: str) -> str:
        """Return a text in which each of them is called by its name."""
        return _PEER.sub(self._name, text)

    def _name(self, found: re.Match[str]) -> str:
        port = int(found[1])
        if port in self.own:
            return found[0]
        owner, name = self.owners.get(port, (None, None))
        if owner is None:
            told = "is the pod itself there, and nothing that was exported has this port alone"
        elif name is None:
            told = f"is the pod itself there, and no Service leads to {owner}"
        else:
            told = f"is the pod itself there: {owner} is {name}:{found[1]}, and that is written"
        note = Note(self.service, found[0], told)
        if note not in self.notes:
            self.notes.append(note)
        return found[0] if name is None else f"{name}:{found[1]}"


def peers(
    request: Request, service: ServiceSpec, names: Mapping[str, str | None], notes: list[Note]
) -> Peers:
    """Return who else has which port; a port that several have may mean any of them."""
    mine = service.all_ports()
    others = [
        (port, each.name)
        for each in request.services
        for port in each.all_ports()
        if each.name != service.name and port not in mine
    ]
    several = Counter(port for port, _ in others)
    owners = {port: (name, names[name]) for port, name in others if several[port] == 1}
    return Peers(service.name, mine, owners, notes)


def reachable(service: ServiceSpec, words: list[str], notes: list[Note]) -> list[str]:
    """Return a command that listens for the pod's neighbours too, where it says where it does."""
    made: list[str] = []
    changed = False
    for word in words:
        option, equals, value = word.partition("=")
        if equals and _LISTENING.fullmatch(option):
            word = f"{option}={_LOCAL.sub('0.0.0.0', value, count=1)}"  # noqa: S104
        elif made and _LISTENING.fullmatch(made[-1]):
            word = _LOCAL.sub("0.0.0.0", word, count=1)  # noqa: S104
        changed = changed or word != words[len(made)]
        made.append(word)
    if changed:
        text = "listens on 0.0.0.0 instead of on loopback, where nobody else could reach it"
    else:
        text = "must not be opened on loopback alone, where nobody else could reach it"
    notes.append(Note(service.name, "ports", text))
    return made
