"""What a new configuration means for what runs: pure, so that `plan` shows what `reload` does.

A change is *live* where the daemon can go by the new value while the run goes on (a probe, a
backoff), and needs a *restart* where the process itself was made with the old one (its command,
its environment). Which is which is written down for every field, `NEEDS_RESTART`.

The words of `why` never hold a secret (`supervisor.core.masking`); the values in `env` are as they
are until `masked` has been through them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Final
from zlib import crc32

from supervisor.core import masking
from supervisor.core.differences import Differences
from supervisor.core.spec import Limits, ServiceSpec

_OWN_MARKS = frozenset({"ATLAS_UNIT", "ATLAS_RUN", "ATLAS_FLEET"})
"""Variables of the daemon's own: the run's number among them differs at every start. Others of that
beginning are a service's, like ATLAS_TTS_URL."""

NEEDS_RESTART: Final[Mapping[str, bool]] = {
    "command": True,
    "cwd": True,
    "env": True,
    "env_files": True,
    "inherit_env": True,
    "venv": True,
    "ports": True,
    "sockets": True,
    "umask": True,
    "user": True,
    "limits.open_files": True,
    "limits.processes": True,
    "limits.nice": True,
    "limits.memory": False,
    "description": False,
    "enabled": False,
    "startup": False,
    "readiness": False,
    "liveness": False,
    "transaction": False,
    "busy_deadline": False,
    "doctor": False,
    "restart": False,
    "stop": False,
    "depends_on": False,
    "logs": False,
    "remedies": False,
}
"""Whether a run must be replaced for a change of this field to hold. `name` is what services are
matched by, so it never changes."""


class ChangeKind(StrEnum):
    """What happens to a service."""

    NONE = "none"
    LIVE = "live"
    """The new values hold at once, or from its next start where it does not run now."""
    RESTART = "restart"
    ADD = "add"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class EnvChange:
    """One variable of a service's environment: as its run has it, and as a start would set it."""

    name: str
    old: str | None
    """None: not set."""
    new: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """What the new configuration means for one service."""

    service: str
    kind: ChangeKind
    why: tuple[str, ...] = ()
    """A line of words for each difference; empty where there is none."""
    env: tuple[EnvChange, ...] = ()
    """Differences from the environment of the run; empty where nothing runs."""


def plan(
    old: Mapping[str, ServiceSpec],
    new: Mapping[str, ServiceSpec],
    running: Mapping[str, Mapping[str, str]],
    wanted: Mapping[str, Mapping[str, str]],
) -> tuple[Change, ...]:
    """Return what becomes of every service, in the order of `new`; what is removed comes last.

    `running` has the environment that each live run was started with, and no entry where nothing
    runs; `wanted` the one that a start would give now. Env files are read for that, so an edited
    one shows here although no spec has changed. Where `wanted` has no entry (an env file cannot be
    read) the specs alone decide.
    """
    changes = []
    for name, spec in new.items():
        before = old.get(name)
        if before is None:
            changes.append(Change(name, ChangeKind.ADD, (_added(spec),)))
        else:
            changes.append(_change(before, spec, running.get(name), wanted.get(name)))
    for name in old:
        if name not in new:
            ends = "; its run is stopped" if name in running else ""
            why = f"no longer in the configuration{ends}"
            changes.append(Change(name, ChangeKind.REMOVE, (why,)))
    return tuple(changes)


def fingerprint(spec: ServiceSpec) -> int:
    """Return a number that differs where a run of one spec would have to be replaced for another.

    Never 0. It is written down with the run, so that a daemon which adopts it under an edited
    configuration can tell: nobody else knows any more how it was started.
    """
    fixed = [value for name, value, _ in _pairs(spec, spec) if NEEDS_RESTART[name]]
    return crc32(repr(fixed).encode()) or 1


def masked(changes: tuple[Change, ...]) -> tuple[Change, ...]:
    """Return the changes with every secret replaced by a mask that still tells that it changed."""
    return tuple(replace(change, env=_masked(change.env)) for change in changes)


def _added(spec: ServiceSpec) -> str:
    return "new" if spec.enabled else "new; disabled, so it is not started"


def _change(
    old: ServiceSpec,
    new: ServiceSpec,
    running: Mapping[str, str] | None,
    wanted: Mapping[str, str] | None,
) -> Change:
    env: tuple[EnvChange, ...] = ()
    if running is not None and wanted is not None:
        env = tuple(_env_changes(running, wanted))
    if repr(old) == repr(new) and not env:
        return Change(new.name, ChangeKind.NONE)
    known = frozenset[str]().union(
        *(masking.secrets_of(values) for values in (old.env, new.env, running, wanted) if values)
    )
    differences = Differences(known)
    why: list[str] = []
    needs_restart = bool(env)
    for field, before, now in _pairs(old, new):
        if lines := list(differences.of(field, before, now)):
            why += lines
            needs_restart |= NEEDS_RESTART[field]
    for change in env:
        # What `env` of the spec says is among the lines already, if that is what has changed.
        if old.env.get(change.name) == new.env.get(change.name):
            why.append(differences.variable("environment", change.name, change.old, change.new))
    if not why:
        return Change(new.name, ChangeKind.NONE)
    restart = needs_restart and running is not None
    return Change(new.name, ChangeKind.RESTART if restart else ChangeKind.LIVE, tuple(why), env)


def _pairs(old: ServiceSpec, new: ServiceSpec) -> Iterator[tuple[str, object, object]]:
    """Yield both values of each field, under the name that it has in `NEEDS_RESTART`."""
    for field in fields(ServiceSpec):
        if field.name == "limits":
            for limit in fields(Limits):
                before, now = getattr(old.limits, limit.name), getattr(new.limits, limit.name)
                yield f"limits.{limit.name}", before, now
        elif field.name != "name":
            yield field.name, getattr(old, field.name), getattr(new, field.name)


def _env_changes(running: Mapping[str, str], wanted: Mapping[str, str]) -> Iterator[EnvChange]:
    for name in sorted(running.keys() | wanted.keys()):
        old, new = running.get(name), wanted.get(name)
        if old != new and name not in _OWN_MARKS:
            yield EnvChange(name, old, new)


def _masked(env: tuple[EnvChange, ...]) -> tuple[EnvChange, ...]:
    known: frozenset[str] = frozenset()
    for change in env:
        known |= masking.secrets_of({change.name: change.old or ""})
        known |= masking.secrets_of({change.name: change.new or ""})
    return tuple(
        EnvChange(change.name, *masking.masked_pair(change.name, change.old, change.new, known))
        for change in env
    )
