"""The environment of a service elsewhere: what it is, what of it is secret, and what is unknown."""

from collections.abc import Mapping
from dataclasses import dataclass

from supervisor.core.masking import is_secret, split_arguments
from supervisor.core.spec import ServiceSpec
from supervisor.export.exported import PLACEHOLDER, Note, Request
from supervisor.posix.environment import (
    ALLOWED_PREFIX,
    DEFAULT_PATH,
    Marker,
    service_environment,
)

_LOCALE = ("LANG", "TZ")
"""Of the allow-list, what is not the login's own business: HOME, USER and the like are set by
whatever starts a service."""
_PLACEHOLDER_NOTE = f"a secret: write it where {PLACEHOLDER} stands, or export --with-secrets"


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
    hidden = {n for n, value in values.items() if n in from_files or is_secret(n, value)}
    return _split(request, service, values, hidden, notes)


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
    hidden = {name for name, value in values.items() if is_secret(name, value)}
    return _split(request, service, dict(sorted(values.items())), hidden, notes)


def shown_command(request: Request, service: ServiceSpec, notes: list[Note]) -> tuple[str, ...]:
    """Return the command, with a placeholder for what looks like a secret in it."""
    if request.with_secrets:
        return service.command
    words = []
    for text in split_arguments(service.command):
        words.append(text.shown + (PLACEHOLDER if text.hidden else ""))
        if text.hidden:
            notes.append(Note(service.name, "command", _PLACEHOLDER_NOTE))
    return tuple(words)


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


def _split(
    request: Request,
    service: ServiceSpec,
    values: Mapping[str, str],
    secret: set[str],
    notes: list[Note],
) -> Variables:
    # An empty value is none that must be hidden, and a placeholder would turn something on.
    hidden = [name for name, value in values.items() if name in secret and value]
    if not request.with_secrets:
        notes.extend(Note(service.name, name, _PLACEHOLDER_NOTE) for name in hidden)
    return Variables(
        plain={name: value for name, value in values.items() if name not in hidden},
        secret={name: values[name] if request.with_secrets else PLACEHOLDER for name in hidden},
    )
