"""Units of systemd: a .service for each service, and a .socket for each socket it is handed. Pure.

Everything in them is understood by systemd 252, so that none says "unknown key".
"""

import re
import signal
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from supervisor.core.spec import Condition, ServiceSpec, SocketSpec
from supervisor.export import unit_text
from supervisor.export.exported import Exported, ExportedFile, ExportError, Note, Request, one_line
from supervisor.export.losses import fleet_losses, service_losses
from supervisor.export.program import program
from supervisor.export.secrets import secrets
from supervisor.export.variables import for_machine

PREFIX: Final = "atlas-"
"""So that no service meets a unit of the system's own, like postgresql.service."""

_CARRIED: Final = frozenset(
    {
        "cwd",
        "depends_on",
        "env",
        "env_files",
        "inherit_env",
        "limits.memory",
        "limits.nice",
        "limits.open_files",
        "limits.processes",
        "restart.give_up",
        "restart.policy",
        "sockets",
        "stop.signal",
        "stop.timeout",
        "umask",
        "user",
        "venv",
    }
)
_PROBE: Final = "systemd asks nobody whether it works; it looks at processes alone"
_WHY: Final = {
    "doctor": "stays with atlasctl",
    "liveness": _PROBE,
    "logs": "the output goes to the journal (journalctl), which has limits of its own",
    "ports": "systemd does not look whether they are free",
    "readiness": _PROBE,
    "remedies": "stay with atlasctl: nobody else knows what helps",
    "restart.backoff": "RestartSec= is the first wait, and all are alike",
    "restart.proven_after": "only time forgets a failure (StartLimitIntervalSec=)",
    "startup": _PROBE,
    "transaction": _PROBE,
}
_POLICIES: Final = {"always": "always", "on-failure": "on-failure", "never": "no"}
_CLEAN: Final = "SIGHUP SIGINT SIGTERM SIGPIPE"
_SHORTEST: Final = 0.001
"""Seconds. 0 would be "for ever"."""
_GLOB: Final = re.compile(r"([*?\[\]\\])")


@dataclass(frozen=True, slots=True)
class _Unit:
    service: str
    name: str
    lines: list[str]


def render(request: Request) -> Exported:
    """Return all units. Raises ExportError."""
    notes = list(fleet_losses(request.fleet))
    by_root = any(service.user for service in request.services)
    target = "multi-user.target" if by_root else "default.target"
    awaited = {
        dependency.on
        for service in request.services
        for dependency in service.depends_on
        if dependency.condition is Condition.COMPLETED
    }
    units: list[_Unit] = []
    for service in request.services:
        notes += service_losses(service, _CARRIED, _WHY)
        once = service.name in awaited
        try:
            units.append(_service(request, service, target, notes, once=once))
        except ExportError as error:
            raise ExportError(f"{service.name}: {error}") from None
        units += (_socket(service, socket) for socket in service.sockets)
    for name, several in Counter(unit.name for unit in units).items():
        if several > 1:
            raise ExportError(f"two sockets would both be called {name}: rename one")
    folder = "/etc/systemd/system" if by_root else "~/.config/systemd/user"
    control = "systemctl" if by_root else "systemctl --user"
    files = []
    for unit in units:
        names = " ".join(each.name for each in units if each.service == unit.service)
        how = f"Copy to {folder}, then: {control} daemon-reload && {control} enable --now {names}"
        own = [
            note
            for note in notes
            if unit.name.endswith(".service") and note.service in ("", unit.service)
        ]
        lines = [*(f"# {line}" for line in request.heading(own, how)), *unit.lines, ""]
        files.append(ExportedFile(unit.name, "\n".join(lines)))
    return Exported(tuple(files), tuple(notes))


def _service(
    request: Request, service: ServiceSpec, target: str, notes: list[Note], *, once: bool
) -> _Unit:
    variables = for_machine(request, service, notes, with_files=False)
    words = program(service, secrets(request, service, notes).words("command", service.command))
    command = [unit_text.word(_path(words[0])), *map(unit_text.argument, words[1:])]
    told = one_line(service.description or service.name).replace("%", "%%").rstrip("\\")
    restart, limits = service.restart, service.limits
    lines = ["[Unit]", f"Description={told}", *_order(request, service, notes)]
    if restart.policy != "never" and restart.give_up is not None:
        lines.append(f"StartLimitIntervalSec={_seconds(restart.give_up.within)}")
        lines.append(f"StartLimitBurst={restart.give_up.after}")
    else:
        lines.append("StartLimitIntervalSec=0")
    lines += [
        "",
        "[Service]",
        # Of a oneshot its end is awaited by what comes after it.
        f"Type={'oneshot' if once else 'exec'}",
        f"ExecStart={' '.join(command)}",
        f"WorkingDirectory={unit_text.literal(service.cwd)}",
    ]
    if once:
        lines.append("RemainAfterExit=yes")
    lines += [
        f"Environment={unit_text.assignment(name, value)}"
        for name, value in variables.all().items()
    ]
    lines += _files(request, service, notes)
    # A oneshot may not be restarted after a success, which is what `always` says.
    policy = "on-failure" if once and restart.policy == "always" else restart.policy
    lines.append(f"Restart={_POLICIES[policy]}")
    if policy == "on-failure" and not once:
        # By itself systemd takes an end by one of these for a success.
        lines.append(f"RestartForceExitStatus={_CLEAN}")
    if policy != "never":
        lines.append(f"RestartSec={_seconds(restart.backoff.first)}")
    lines += [
        f"KillSignal={signal.Signals(service.stop.signal).name}",
        f"TimeoutStopSec={_seconds(max(_SHORTEST, service.stop.timeout))}",
        f"UMask={service.umask:04o}",
    ]
    if service.user is not None:
        lines.append(f"User={unit_text.literal(service.user)}")
    if limits.memory is not None:
        lines.append(f"MemoryMax={limits.memory}")
    if limits.open_files is not None:
        lines.append(f"LimitNOFILE={limits.open_files}")
    if limits.processes is not None:
        lines.append(f"TasksMax={limits.processes}")
    if limits.nice:
        lines.append(f"Nice={limits.nice}")
    lines += ["", "[Install]", f"WantedBy={target}"]
    return _Unit(service.name, f"{PREFIX}{service.name}.service", lines)


def _order(request: Request, service: ServiceSpec, notes: list[Note]) -> list[str]:
    exported = {other.name for other in request.services}
    needed = [_socket_name(service, socket) for socket in service.sockets]
    wanted: list[str] = []
    for dependency in service.depends_on:
        about = f"depends_on {dependency.on}"
        unit = f"{PREFIX}{dependency.on}.service"
        if dependency.on not in exported:
            notes.append(Note(service.name, about, "is not among what was exported"))
        elif dependency.condition is Condition.COMPLETED:
            text = "if its first try fails, this is not started, also if a later one succeeds"
            notes.append(Note(service.name, about, text))
            needed.append(unit)
        else:
            # Not Requires=, with which a restart of the one would be a restart of the other.
            text = "is started before; that it is ready, or is there at all, is not waited for"
            notes.append(Note(service.name, about, text))
            wanted.append(unit)
    made = [f"Requires={' '.join(needed)}"] if needed else []
    made += [f"Wants={' '.join(wanted)}"] if wanted else []
    return [*made, f"After={' '.join([*needed, *wanted])}"] if made else []


def _files(request: Request, service: ServiceSpec, notes: list[Note]) -> list[str]:
    lines = []
    for path in service.env_files:
        text = "systemd reads it by its own rules: no `export`, no comment behind a value"
        notes.append(Note(service.name, f"env_file {path}", text))
        escaped = _GLOB.sub(r"\\\1", unit_text.literal(path))
        lines.append(f"EnvironmentFile={escaped}")
    for name in sorted(_both(request, service)):
        text = "stands in env and in env_file, and systemd lets the file win"
        notes.append(Note(service.name, name, text))
    return lines


def _both(request: Request, service: ServiceSpec) -> Collection[str]:
    return request.file_values(service).keys() & service.env.keys()


def _socket_name(service: ServiceSpec, socket: SocketSpec) -> str:
    return f"{PREFIX}{service.name}-{socket.name}.socket"


def _socket(service: ServiceSpec, socket: SocketSpec) -> _Unit:
    listened = [
        f"ListenStream={f'[{host}]' if ':' in host else host}:{port}"
        for host, port in socket.addresses
    ]
    lines = [
        "[Unit]",
        f"Description=Socket {socket.name} of {service.name}",
        "",
        "[Socket]",
        *listened,
        "BindIPv6Only=ipv6-only",
        # Also where ::1 is not there: all would fail for that one.
        "FreeBind=yes",
        f"Backlog={socket.backlog}",
        f"FileDescriptorName={socket.name}",
        f"Service={PREFIX}{service.name}.service",
        "",
        "[Install]",
        "WantedBy=sockets.target",
    ]
    return _Unit(service.name, _socket_name(service, socket), lines)


def _path(path: str) -> str:
    # What systemd does not take for the path of a program.
    if re.search("[\x00-\x1f\x7f\"'\\\\]", path):
        raise ExportError(f"{path!r} cannot be the program of a unit: rename it")
    return path


def _seconds(number: float) -> str:
    return f"{number:.6f}".rstrip("0").rstrip(".")
