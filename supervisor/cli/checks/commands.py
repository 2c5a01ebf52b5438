"""Whether services could be started: command, working directory, environment, interpreter."""

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from supervisor.cli.asking import run_bounded
from supervisor.cli.connection import short_path
from supervisor.cli.findings import OURS, Finding
from supervisor.cli.wording import listing
from supervisor.config.dotenv import read_env_file
from supervisor.config.problems import ConfigError
from supervisor.core.events import ExitCode
from supervisor.core.exits import describe_exit
from supervisor.core.masking import names_secret
from supervisor.core.spec import ExecCheck, FleetSpec, ProbeKind, ServiceSpec
from supervisor.posix.executable import ExecutableError, bad_interpreter, find_executable
from supervisor.posix.spawn import SpawnError
from supervisor.surroundings import surroundings

PYTHON_TIMEOUT: Final = 5.0
"""Seconds that an interpreter may take to tell its version; it takes 0.02."""
_VERSION: Final = "import sys; print('.'.join(map(str, sys.version_info[:3])))"
_MENTION: Final = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")
_NAMED: Final = 5
"""Services named in one sentence; more are counted."""


def command(service: ServiceSpec, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what would keep a service from being started. Nothing where nothing would."""
    name = service.name
    if why := _unusable_folder(service.cwd):
        hint = f"make it, or correct cwd of {name}"
        yield Finding(name, "cwd", "wrong", f"{short_path(service.cwd)} {why}", hint)
        return
    yield from _venv(service)
    try:
        environment = surroundings(service, environ, run=0, fleet="")
    except SpawnError as error:
        yield Finding(name, "environment", "wrong", error.why)
        return
    path = environment["PATH"]
    yield from _program(service, "command", service.command[0], path)
    for kind in ProbeKind:
        probe = service.probe(kind)
        if probe is not None and isinstance(probe.check, ExecCheck):
            yield from _program(service, f"probes.{kind}.exec", probe.check.command[0], path)


def _unusable_folder(path: str) -> str | None:
    if not os.path.lexists(path):
        return "does not exist"
    if not os.path.isdir(path):
        return "is no directory"
    return None if os.access(path, os.X_OK) else "may not be entered by you"


def _venv(service: ServiceSpec) -> Iterator[Finding]:
    if service.venv is None:
        return
    where = short_path(service.venv)
    python = os.path.join(service.venv, "bin", "python")
    hint = (
        f"make it anew (python3 -m venv {where}) and install what {service.name} needs, or "
        f"correct venv of {service.name}"
    )
    if not os.path.isdir(service.venv):
        yield Finding(service.name, "venv", "wrong", f"{where} does not exist", hint)
    elif os.path.exists(python):
        return
    elif os.path.islink(python):
        # As after an upgrade of Homebrew's Python, whose path has its version in it.
        gone = os.path.realpath(python)
        yield Finding(service.name, "venv", "wrong", f"{where} is of {gone}, which is gone", hint)
    else:
        yield Finding(service.name, "venv", "wrong", f"{where} has no bin/python", hint)


def _program(service: ServiceSpec, key: str, word: str, path: str) -> Iterator[Finding]:
    try:
        why = bad_interpreter(find_executable(word, path=path, cwd=service.cwd))
    except ExecutableError as error:
        why = str(error)
    if why is not None:
        hint = f"correct {key} of {service.name}, or install it"
        yield Finding(service.name, key, "wrong", why, hint)


def pythons(services: Sequence[ServiceSpec], environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield which Python each virtual environment has, or why it does not start."""
    users: dict[str, list[ServiceSpec]] = {}
    for service in services:
        if service.venv is not None:
            users.setdefault(service.venv, []).append(service)
    for venv, using in users.items():
        python = os.path.join(venv, "bin", "python")
        if os.access(python, os.X_OK):  # otherwise `command` tells
            yield _python(venv, python, using, environ)


def _python(
    venv: str, python: str, using: Sequence[ServiceSpec], environ: Mapping[str, str]
) -> Finding:
    where = short_path(venv)
    try:
        ran = run_bounded((python, "-I", "-c", _VERSION), environ, "/", PYTHON_TIMEOUT)
    except SpawnError as error:
        why = error.why
    else:
        version = ran.printed.decode("ascii", "replace").strip()
        if ran.ending == ExitCode(0) and version:
            return Finding(OURS, "python", "ok", f"{where}: {version}")
        ended = (
            f"it did not answer within {PYTHON_TIMEOUT:g} s"
            if ran.ending is None
            else f"it {describe_exit(ran.ending)}"
        )
        why = f"{ended}: {ran.complaint()}" if ran.complaint() else ended
    text = f"{where} does not start, and {_named(using)} cannot either: {why}"
    hint = "make the environment anew, and install into it what they need"
    return Finding(OURS, "python", "wrong", text, hint)


def env_files(fleet: FleetSpec, services: Sequence[ServiceSpec]) -> Iterator[Finding]:
    """Yield what is surprising about the environment files. That one is missing, others tell."""
    users: dict[str, list[ServiceSpec]] = {}
    beside = os.path.join(fleet.root, ".env")
    if os.path.isfile(beside):
        users[beside] = []
    for service in services:
        for path in service.env_files:
            users.setdefault(path, []).append(service)
    for path, using in users.items():
        try:
            values, mode = read_env_file(path), os.stat(path).st_mode
        except (ConfigError, OSError):
            continue
        yield from _env_file(path, values, mode, using)


def _env_file(
    path: str, values: Mapping[str, str], mode: int, using: Sequence[ServiceSpec]
) -> Iterator[Finding]:
    where = short_path(path)
    secrets = [name for name, value in values.items() if value and names_secret(name)]
    if mode & stat.S_IWOTH:
        text = f"everybody on this machine may write to {where}, and so decide what is run"
        yield Finding(OURS, "env_file", "wrong", text, f"chmod 600 {where}")
    elif secrets and mode & stat.S_IROTH:
        text = f"everybody on this machine may read {where}, and {secrets[0]} in it"
        yield Finding(OURS, "env_file", "note", text, f"chmod 600 {where}")
    mentions = [
        f"{name} holds ${found[1]}"
        for name, value in values.items()
        if not names_secret(name) and (found := _MENTION.search(value))
    ]
    if mentions:
        text = f"{where}: {listing(mentions[:_NAMED])}, which stays as it is: nothing is expanded"
        yield Finding(OURS, "env_file", "note", text, f"write the value itself{_for(using)}")


def _for(using: Sequence[ServiceSpec]) -> str:
    return f", or set it in env of {_named(using)} with ${{NAME}}" if using else ""


def _named(services: Sequence[ServiceSpec]) -> str:
    names = [service.name for service in services[:_NAMED]]
    more = len(services) - len(names)
    return listing([*names, f"{more} more"] if more else names)
