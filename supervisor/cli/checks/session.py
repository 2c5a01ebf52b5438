"""The session that `atlasctl` is typed in: proxies, text encoding, limits, which atlasctl it is."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from supervisor.cli.findings import OURS, Finding
from supervisor.cli.wording import count, listing
from supervisor.core.spec import ServiceSpec
from supervisor.posix.executable import ExecutableError, find_executable
from supervisor.posix.spawn import SpawnError
from supervisor.surroundings import surroundings

_PROXIES: Final = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
"""Services speak plain HTTP, for which https_proxy is not asked."""
_LOCAL: Final = {
    "localhost": {"localhost", ".localhost"},
    "127.0.0.1": {"127.0.0.1", "127.0.0.0/8", "127.0.0.1/32", "127."},
}
_FILES_OF_ALL: Final = 64
_FILES_EACH: Final = 6
"""Descriptors of the log sink, which has the most: 3 a service were counted, and one for each
address that is listened on. A restart and a log that is packed take some more for a while."""


def proxies(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield whether a proxy of this shell stands between it and the services."""
    if found := _proxied(environ):
        name, missing = found
        text = f"{name} is set and no_proxy lacks {listing(missing)}: programs of this shell "
        hint = f"export no_proxy={','.join(_LOCAL)}"
        yield Finding(OURS, "proxy", "note", f"{text}may ask that proxy for services here", hint)


def service_proxies(service: ServiceSpec, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield whether a service is sent through a proxy to reach its neighbours."""
    try:
        found = _proxied(surroundings(service, environ, run=0, fleet=""))
    except SpawnError:
        return  # `commands.command` tells
    if found:
        name, missing = found
        text = f"it has {name}, and its no_proxy lacks {listing(missing)}: it may ask that proxy"
        hint = f'env of {service.name}: {{no_proxy: "{",".join(_LOCAL)}"}}'
        yield Finding(service.name, "proxy", "note", f"{text} for other services here", hint)


def _proxied(environ: Mapping[str, str]) -> tuple[str, list[str]] | None:
    """Return the variable with a proxy, and which names of this machine go through it."""
    name = next((name for name in _PROXIES if environ.get(name)), None)
    if name is None:
        return None
    spared = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    words = {word.strip().lower() for word in spared.split(",")}
    missing = [local for local, spared_by in _LOCAL.items() if not words & (spared_by | {"*"})]
    return (name, missing) if missing else None


def encoding(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield whether text is UTF-8 here. Services get LANG and LC_* of whoever starts them."""
    # locale(7): the first of these that is set and not empty.
    name = next((name for name in ("LC_ALL", "LC_CTYPE", "LANG") if environ.get(name)), None)
    value = environ[name] if name else ""
    if "utf8" in value.lower().replace("-", ""):
        return
    what = f"{name}={value} is no UTF-8" if name else "neither LANG nor LC_ALL is set"
    text = f"{what}: programs other than Python may spoil what is not English"
    yield Finding(OURS, "locale", "note", text, "export LANG=C.UTF-8 (on a Mac en_US.UTF-8)")


def open_files(services: Collection[ServiceSpec], hard: int | None) -> Iterator[Finding]:
    """Yield whether there may be too few open files; `hard` is RLIMIT_NOFILE, None without limit.

    The soft limit does not matter: the supervisor raises its own.
    """
    addresses = sum(len(socket.addresses) for each in services for socket in each.sockets)
    needed = _FILES_OF_ALL + _FILES_EACH * len(services) + addresses
    if hard is not None and hard < needed:
        services_ = count(len(services), "service")
        text = f"a process may have {hard} open files, and {services_} may take {needed}"
        hint = "raise the hard limit where the supervisor is started (ulimit -Hn)"
        yield Finding(OURS, "open files", "note", text, hint)


def other_atlasctl(path: str, own: Sequence[str], package: str) -> Iterator[Finding]:
    """Yield whether typing `atlasctl` starts another than this one, whose files are `own`."""
    try:
        found = find_executable("atlasctl", path=path, cwd=os.getcwd())
    except (ExecutableError, OSError):
        return
    if os.path.realpath(found) not in {os.path.realpath(each) for each in own}:
        text = f"PATH has another one: {found}; this one is of {os.path.dirname(package)}"
        hint = "remove it, or put the folder of this one before it"
        yield Finding(OURS, "atlasctl", "note", text, hint)
