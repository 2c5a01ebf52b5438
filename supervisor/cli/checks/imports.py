"""Whether `import supervisor` is us: supervisord's distribution has the same import name."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

from supervisor.cli.asking import run_bounded
from supervisor.cli.connection import short_path
from supervisor.cli.examination import unmarked
from supervisor.cli.findings import OURS, Finding
from supervisor.core.spec import ServiceSpec
from supervisor.posix.spawn import SpawnError

IMPORT_TIMEOUT: Final = 5.0
"""Seconds that an interpreter may take to find a module; it takes 0.03."""
_CHECK: Final = "import supervisor"
_SUPERVISORD: Final = re.compile(r"supervisor-([0-9][^-]*)(?:-[^/]*)?\.(?:dist|egg)-info")
_PYTHON: Final = re.compile(r"python[0-9.]*")
_FIND: Final = (
    "import importlib.util as u; s = u.find_spec('supervisor'); print(s and s.origin or '')"
)


def import_clash(package: str, search_path: Sequence[str], python: str) -> Iterator[Finding]:
    """Yield what else has our import name where modules are looked for.

    `package` is the folder of ours, `search_path` as sys.path, `python` the interpreter.
    """
    for folder in dict.fromkeys(os.path.realpath(entry or ".") for entry in search_path):
        there = os.path.join(folder, "supervisor")
        ours = os.path.realpath(there) == os.path.realpath(package)
        version = _supervisord(folder)
        if version is not None:
            mixed = ", and has put its files among ours" if ours else ""
            text = f"supervisor {version} (supervisord) is installed in {folder}{mixed}"
            again = ", then install atlas-supervisor again" if ours else ""
            hint = f"{python} -m pip uninstall supervisor{again}"
            yield Finding(OURS, _CHECK, "wrong", text, hint)
        elif not ours and os.path.isfile(os.path.join(there, "__init__.py")):
            text = f"{there} has the same name; what is started there may get that one"
            yield Finding(OURS, _CHECK, "note", text, f"ours is {package}: remove the other")


def _supervisord(folder: str) -> str | None:
    """Return the version of supervisord that is installed in a folder of modules, if it is."""
    try:
        names = os.listdir(folder)
    except OSError:  # a zip file, or nothing at all, as sys.path may have it
        return None
    found = (_SUPERVISORD.fullmatch(name) for name in names)
    return next((match[1] for match in found if match), None)


def service_imports(
    services: Sequence[ServiceSpec], environ: Mapping[str, str], package: str
) -> Iterator[Finding]:
    """Yield of services that run a module of ours whether their own Python finds ours."""
    asked: dict[tuple[object, ...], str | None] = {}
    for service in services:
        interpreter = _interpreter(service.command)
        if interpreter is None:
            continue
        key = (interpreter, service.venv, service.cwd, service.user)
        if key not in asked:
            asked[key] = _origin(service, interpreter, environ)
        origin = asked[key]
        if origin is not None:
            yield from _judged(service, origin, package)


def _interpreter(command: Sequence[str]) -> tuple[str, ...] | None:
    """Return the words before `-m supervisor…`: the interpreter and its options.

    None where they are anything else: a script or a wrapper would be started by asking it.
    """
    if not _PYTHON.fullmatch(os.path.basename(command[0])):
        return None
    for at, (option, following) in enumerate(pairwise(command[1:]), start=1):
        if option == "-m":
            ours = following.partition(".")[0] == "supervisor"
            return tuple(command[:at]) if ours else None
        if not option.startswith("-") and command[at - 1] not in ("-W", "-X"):
            return None
        if option.startswith("-c"):
            return None
    return None


def _origin(
    service: ServiceSpec, interpreter: Sequence[str], environ: Mapping[str, str]
) -> str | None:
    """Return which file `import supervisor` would run there, "" for none, None: it did not say."""
    try:
        env = unmarked(service, environ)
        argv = (*interpreter, "-c", _FIND)
        ran = run_bounded(argv, env, service.cwd, IMPORT_TIMEOUT, user=service.user)
    except SpawnError:
        return None  # `commands` tells
    if ran.ending is None or not ran.printed.endswith(b"\n"):
        return None
    return os.fsdecode(ran.printed).strip()


def _judged(service: ServiceSpec, origin: str, package: str) -> Iterator[Finding]:
    folder = os.path.dirname(origin)
    if not origin:
        text = "the Python of its command finds no module supervisor"
        hint = f"install atlas-supervisor there, or correct venv of {service.name}"
        yield Finding(service.name, _CHECK, "wrong", text, hint)
    elif os.path.realpath(folder) == os.path.realpath(package):
        return
    elif os.path.exists(os.path.join(folder, "supervisord.py")):
        text = f"the Python of its command finds supervisord in {short_path(folder)}, not atlasctl"
        hint = "uninstall supervisor from that environment, and install atlas-supervisor"
        yield Finding(service.name, _CHECK, "wrong", text, hint)
    else:
        text = f"the Python of its command finds another atlasctl: {short_path(folder)}"
        yield Finding(service.name, _CHECK, "note", text, f"this one is {package}")
