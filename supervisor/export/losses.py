"""What a format has no word for, told of each service that asks for it."""

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from supervisor.core.spec import FleetSpec, ServiceSpec
from supervisor.export.exported import Note

_OF_THE_FILE: Final = frozenset({"source", "root", "state_dir", "logs_dir", "services"})
_OF_NO_EFFECT: Final = frozenset({"name", "description", "command", "enabled"})
_NO_WORDS: Final[Mapping[str, str]] = {}
_DEFAULT: Final = ServiceSpec("", (), "")
_KEYS: Final = {"env_files": "env_file"}
"""Fields that the YAML calls otherwise."""


def service_losses(
    service: ServiceSpec, carried: Collection[str], why: Mapping[str, str]
) -> Iterator[Note]:
    """Return a note for every key that is set and not among those carried over.

    `why` has the words for some; the rest, those of a later release too, get plain ones. A key is
    a field of the spec, or `field.part` of restart, stop and limits.
    """
    for key, value, default in _set(service, _DEFAULT):
        if key in _OF_NO_EFFECT or key in carried or value == default:
            continue
        yield Note(service.name, _KEYS.get(key, key), why.get(key, "is not carried over"))


def fleet_losses(fleet: FleetSpec, why: Mapping[str, str] = _NO_WORDS) -> Iterator[Note]:
    """Return the same for the keys of the whole file."""
    default = FleetSpec("", "", "", "")
    for entry in dataclasses.fields(fleet):
        key = entry.name
        if key not in _OF_THE_FILE and getattr(fleet, key) != getattr(default, key):
            yield Note("", key, why.get(key, "stays with atlasctl"))


def _set(service: ServiceSpec, default: ServiceSpec) -> Iterator[tuple[str, object, object]]:
    for entry in dataclasses.fields(service):
        value, usual = getattr(service, entry.name), getattr(default, entry.name)
        if entry.name not in ("restart", "stop", "limits"):
            yield entry.name, value, usual
            continue
        for part in dataclasses.fields(value):
            yield f"{entry.name}.{part.name}", getattr(value, part.name), getattr(usual, part.name)
