"""What is to be exported and what comes of it, whatever the format."""

import os.path
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from supervisor.core.spec import FleetSpec, ServiceSpec

PLACEHOLDER: Final = "REPLACE_ME"
"""Stands for a secret that was not to be written down."""

_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff]")


class ExportError(Exception):
    """This cannot be said in the format; the message says what to do about it."""


@dataclass(frozen=True, slots=True)
class Note:
    """What of the YAML is not, or not exactly, in the files."""

    service: str
    """Empty: of the whole system."""
    about: str
    """The key, or the variable."""
    text: str

    def line(self, services: Sequence[str] = ()) -> str:
        """Return it as one line for a person; `services`: of all these, if not of one."""
        whose = ", ".join(services) or self.service
        return one_line(
            f"{whose}: {self.about}: {self.text}" if whose else f"{self.about}: {self.text}"
        )


def told(notes: Sequence[Note]) -> list[str]:
    """Return the notes as lines; what is to be said of several services is said once."""
    services: dict[tuple[str, str], list[str]] = {}
    for note in notes:
        services.setdefault((note.about, note.text), []).append(note.service)
    return [
        Note("", about, text).line([name for name in whose if name])
        for (about, text), whose in services.items()
    ]


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """One file."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Exported:
    """The files and what is not in them."""

    files: tuple[ExportedFile, ...]
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be exported, with all that a renderer would otherwise have to look up."""

    fleet: FleetSpec
    services: tuple[ServiceSpec, ...]
    command: str
    """By which this is asked for: the files name it."""
    files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By service: what its env files say now."""
    inherited: Mapping[str, str] = field(default_factory=dict)
    """The environment of who asks, of which a service gets what its spec names, and no more."""
    with_secrets: bool = False
    python: str = "python3"
    """The interpreter that has this package, for what needs it on this machine."""

    def file_values(self, service: ServiceSpec) -> Mapping[str, str]:
        """Return what the env files of a service say."""
        return self.files.get(service.name, {})

    def heading(self, notes: Sequence[Note], how: str) -> list[str]:
        """Return the lines that begin every file: where it is from, its use, what it lacks."""
        source = os.path.relpath(self.fleet.source, self.fleet.root)
        lines = [f"Written by `{self.command}` from {source}.", how]
        if notes:
            lines.append("Not, or not exactly, as there:")
            lines += [f"- {line}" for line in told(notes)]
        return [one_line(line) for line in lines]


def one_line(text: str) -> str:
    """Return text that is one line wherever it is shown."""
    return _UNPRINTABLE.sub(" ", text)
