"""Property lists of launchd: an agent for each service (launchd.plist(5)). Pure."""

import math
import os.path
import plistlib
import re
import shlex
import signal
from collections.abc import Iterator
from typing import Final

from supervisor.core.spec import ServiceSpec
from supervisor.export.exported import Exported, ExportedFile, ExportError, Note, Request
from supervisor.export.losses import fleet_losses, service_losses
from supervisor.export.program import program
from supervisor.export.secrets import secrets
from supervisor.export.variables import for_machine

PREFIX: Final = "org.atlasctl.service."

_CARRIED: Final = frozenset(
    {
        "cwd",
        "env",
        "env_files",
        "inherit_env",
        "limits.nice",
        "limits.open_files",
        "limits.processes",
        "restart.policy",
        "sockets",
        "stop.signal",
        "stop.timeout",
        "umask",
        "user",
        "venv",
    }
)
_PROBE: Final = "launchd asks nobody whether it works; it looks at processes alone"
_WHY: Final = {
    "depends_on": "launchd has no order; the service must fail while that is missing",
    "doctor": "stays with atlasctl",
    "limits.memory": "launchd limits no memory",
    "liveness": _PROBE,
    "logs": "the output goes to one file, which nothing rotates",
    "ports": "launchd does not look whether they are free",
    "readiness": _PROBE,
    "remedies": "stay with atlasctl: nobody else knows what helps",
    "restart.backoff": "ThrottleInterval is the shortest time between two starts, whole seconds",
    "restart.give_up": "launchd goes on trying",
    "restart.proven_after": "launchd counts no failures",
    "startup": _PROBE,
    "transaction": _PROBE,
}
_NO_TEXT: Final = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")
"""What XML has no place for, and the carriage return, which plistlib writes as a line feed."""
_LOG: Final = "the output goes to {}, which nothing rotates"


def render(request: Request) -> Exported:
    """Return all property lists. Raises ExportError."""
    notes = list(fleet_losses(request.fleet))
    told = []
    for service in request.services:
        notes += service_losses(service, _CARRIED, _WHY)
        told.append((service, _agent(request, service, notes)))
    by_root = any(service.user for service in request.services)
    folder = "/Library/LaunchDaemons" if by_root else "~/Library/LaunchAgents"
    domain = "system" if by_root else "gui/$UID"
    files = []
    for service, agent in told:
        name = f"{PREFIX}{service.name}.plist"
        # launchd makes the file for the output, and not its folder.
        logs = shlex.quote(request.fleet.logs_dir)
        start = f"launchctl bootstrap {domain} {folder}/{name}"
        how = f"Copy to {folder}, then: mkdir -p {logs} && {start}"
        # In a comment of XML there may be no two dashes together, and none at its end.
        own = [note for note in notes if note.service in ("", service.name)]
        lines = [line.replace("--", "- -") for line in request.heading(own, how)]
        comment = "<!--\n" + "\n".join(f"  {line}" for line in lines) + "\n-->\n"
        head, plist, body = _dump(service, agent).partition("<plist")
        files.append(ExportedFile(name, f"{head}{comment}{plist}{body}"))
    return Exported(tuple(files), tuple(notes))


def _agent(request: Request, service: ServiceSpec, notes: list[Note]) -> dict[str, object]:
    variables = for_machine(request, service, notes, with_files=True)
    for path in service.env_files:
        text = "launchd reads no such file: what it said at the export is in the property list"
        notes.append(Note(service.name, f"env_file {path}", text))
    if service.stop.signal != signal.SIGTERM:
        notes.append(Note(service.name, "stop.signal", "launchd sends TERM"))
    log = os.path.join(request.fleet.logs_dir, f"{service.name}.log")
    notes.append(Note(service.name, "output", _LOG.format(log)))
    limits = {}
    if service.limits.open_files is not None:
        limits["NumberOfFiles"] = service.limits.open_files
    if service.limits.processes is not None:
        limits["NumberOfProcesses"] = service.limits.processes
    agent: dict[str, object] = {
        "Label": f"{PREFIX}{service.name}",
        "ProgramArguments": _command(request, service, notes),
        "WorkingDirectory": service.cwd,
        "EnvironmentVariables": variables.all(),
        "RunAtLoad": True,
        **_kept_alive(service),
        "ThrottleInterval": max(1, math.ceil(service.restart.backoff.first)),
        # 0 would be "for ever".
        "ExitTimeOut": max(1, math.ceil(service.stop.timeout)),
        # Anything less, and macOS gives it less processor and disk.
        "ProcessType": "Interactive",
        "Umask": service.umask,
        "StandardOutPath": log,
        "StandardErrorPath": log,
    }
    if service.user is not None:
        agent["UserName"] = service.user
    if service.limits.nice:
        agent["Nice"] = service.limits.nice
    if limits:
        agent |= {"SoftResourceLimits": limits, "HardResourceLimits": limits}
    return agent


def _kept_alive(service: ServiceSpec) -> dict[str, object]:
    match service.restart.policy:
        case "always":
            return {"KeepAlive": True}
        case "on-failure":
            return {"KeepAlive": {"SuccessfulExit": False}}
        case "never":
            return {}


def _command(request: Request, service: ServiceSpec, notes: list[Note]) -> list[str]:
    words = secrets(request, service, notes).words("command", service.command)
    if not service.sockets:
        return list(program(service, words))
    # launchd hands over sockets by a call of its own, so a small program opens them instead.
    text = "are opened by supervisor.export.listen: while it restarts, clients are refused"
    notes.append(Note(service.name, "sockets", text))
    opened = [
        f"{socket.name}={f'[{host}]' if ':' in host else host}:{port}"
        for socket in service.sockets
        for host, port in socket.addresses
    ]
    listener = (request.python, "-m", "supervisor.export.listen", *opened, "--")
    return [*listener, *program(service, words)]


def _dump(service: ServiceSpec, agent: dict[str, object]) -> str:
    for place, text in _texts("", agent):
        found = _NO_TEXT.search(text)
        if found is not None:
            # The place and not the text, which may be a secret.
            raise ExportError(
                f"{service.name}: {place} has the character {found[0]!r}, and a property list "
                "cannot hold it: take it out"
            )
    return plistlib.dumps(agent, sort_keys=False).decode("utf-8")


def _texts(place: str, tree: object) -> Iterator[tuple[str, str]]:
    """Return every text, and where it stands."""
    match tree:
        case str():
            yield place, tree
        case dict():
            for key, value in tree.items():
                yield place, key
                yield from _texts(f"{place}.{key}" if place else key, value)
        case list():
            for number, value in enumerate(tree):
                yield from _texts(f"{place}[{number}]", value)
        case _:
            pass
