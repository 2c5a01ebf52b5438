"""The environment of a service elsewhere: what it is, what of it is secret, and what is unknown."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from supervisor.core.spec import ServiceSpec
from supervisor.export.exported import PLACEHOLDER, Note, Request
from supervisor.export.secrets import Secrets, secrets
from supervisor.posix.environment import (
    ALLOWED_PREFIX,
    DEFAULT_PATH,
    Marker,
    service_environment,
)

_LOCALE = ("LANG", "TZ")
"""Of the allow-list, what is not the login's own business: HOME, USER and the like are set by
whatever starts a service."""


@dataclass(frozen=True, slots=True)
class Variables:
    """Names and values, apart by whether others may see them."""

    plain: Mapping[str, str]
    secret: Mapping[str, str]
    """Placeholders, unless secrets were asked for."""

    def all(self) -> dict[str, str]:
        """Return both."""
        return {**self.plain, **self.secret}


def for_pod(request: Request, service: ServiceSpec, notes: list[Note]) -> Variables:
    """Return what a container is to have beyond its image's own environment.

    Whatever comes from an env file is a secret there: that is what such files are for.
    """
    taken = _inherited(request, service, notes)
    values = {"PYTHONUNBUFFERED": "1", **taken, **request.file_values(service), **service.env}
    from_files = request.file_values(service).keys() - service.env.keys()
    return _split(values, from_files, secrets(request, service, notes))


def for_machine(
    request: Request, service: ServiceSpec, notes: list[Note], *, with_files: bool
) -> Variables:
    """Return what a service of this machine has by the supervisor, PATH among it.

    `with_files`: what its env files say now too.
    """
    taken = _inherited(request, service, notes)
    locale = {
        name: value
        for name, value in request.inherited.items()
        if name in _LOCALE or name.startswith(ALLOWED_PREFIX)
    }
    path = request.inherited.get("PATH") or DEFAULT_PATH
    values = service_environment(
        service,
        inherited={"PATH": path, **locale, **taken},
        files=request.file_values(service) if with_files else {},
        run=0,
        fleet="",
    )
    for mark in Marker("", "", 0).variables():
        del values[mark]
    return _split(dict(sorted(values.items())), (), secrets(request, service, notes))


def _inherited(request: Request, service: ServiceSpec, notes: list[Note]) -> dict[str, str]:
    taken = {}
    for name in service.inherit_env:
        if name in request.inherited:
            taken[name] = request.inherited[name]
            text = "taken from the environment of who exported it, as it was then"
        else:
            text = "is not in the environment of who exported it, and is missing here"
        if name not in service.env:
            notes.append(Note(service.name, f"inherit_env {name}", text))
    return taken


def _split(values: Mapping[str, str], from_files: Collection[str], hidden: Secrets) -> Variables:
    # An empty value is none that must be hidden, and a placeholder would turn something on.
    found = [n for n, v in values.items() if v and (n in from_files or hidden.hides(n, v))]
    if not hidden.openly:
        for name in found:
            hidden.tell(name)
    return Variables(
        plain={name: value for name, value in values.items() if name not in found},
        secret={name: values[name] if hidden.openly else PLACEHOLDER for name in found},
    )
