"""`export kubernetes|systemd|launchd`: the same services for what runs them elsewhere."""

import os
import re
import shlex
import sys
from typing import TYPE_CHECKING, Final, assert_never

from supervisor.cli.connection import short_path
from supervisor.cli.exits import CommandError, ExitStatus
from supervisor.cli.invocation import Invocation
from supervisor.cli.services import check_names
from supervisor.cli.terminal import printable, warn
from supervisor.config.files import read_regular
from supervisor.config.loader import load
from supervisor.core.spec import FleetSpec, ServiceSpec

if TYPE_CHECKING:
    from supervisor.export.exported import Exported, ExportedFile, Request
    from supervisor.export.kubernetes_pod import Cluster

MARK: Final = "Written by `atlasctl export"
"""In the first lines of every file of ours; one without it is somebody else's, and stays."""
_DASHBOARD: Final = "supervisor.dashboard"
_HEAD: Final = 4096
_IMAGE: Final = re.compile(r"(?:([a-z0-9][a-z0-9_-]*)=)?([A-Za-z0-9][A-Za-z0-9._:/@-]*)")
_NAMESPACE: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_REPLICAS: Final = re.compile(r"([1-9][0-9]{0,3})(?::([1-9][0-9]{0,3}))?")
_VOLUME: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|/[^\s:]+")
_CPU: Final = re.compile(r"[1-9][0-9]{0,3}|[1-9][0-9]{0,6}m|[0-9]{1,3}\.[0-9]{1,3}")


def export(call: Invocation) -> int:
    """Render what was asked for and print it, or write it into a folder."""
    from supervisor.export.exported import ExportError, told

    fleet = load(call.system().config)
    check_names(call.services, [service.name for service in fleet.services])
    # Named, one that `up` does not start is meant all the same.
    chosen = tuple(
        s
        for s in fleet.services
        if (s.name in call.services if call.services else s.enabled and not _is_dashboard(s))
    )
    if not chosen:
        message = f"{short_path(fleet.source)} has no service that is enabled"
        raise CommandError(ExitStatus.USAGE, message, "name one, or enable it")
    try:
        exported = _render(call, _request(call, fleet, chosen))
    except ExportError as error:
        raise CommandError(ExitStatus.USAGE, str(error)) from None
    for service in fleet.services:
        if service.enabled and service not in chosen and not call.services:
            warn(f"{service.name}: left out: it shows what a supervisor does, and none is there")
    for line in told(exported.notes):
        warn(printable(line))
    if call.output == "-":
        _print(exported)
        return ExitStatus.AS_ASKED
    for file in exported.files:
        print(_write(call.output, file, 0o600 if call.with_secrets else 0o644))
    return ExitStatus.AS_ASKED


def _is_dashboard(service: ServiceSpec) -> bool:
    return _DASHBOARD in service.command


def _request(call: Invocation, fleet: FleetSpec, services: tuple[ServiceSpec, ...]) -> "Request":
    from supervisor.config.dotenv import read_env_file
    from supervisor.export.exported import Request

    files: dict[str, dict[str, str]] = {}
    for service in services:
        said: dict[str, str] = {}
        for path in service.env_files:
            said |= read_env_file(path)
        files[service.name] = said
    return Request(
        fleet=fleet,
        services=services,
        command=_command(call),
        files=files,
        inherited=dict(os.environ),
        with_secrets=call.with_secrets,
        python=sys.executable,
    )


def _command(call: Invocation) -> str:
    """Return what is typed to have the same again; from which YAML stands beside it."""
    options = [
        *(("--image", image) for image in call.images),
        ("--namespace", call.namespace),
        ("--replicas", call.replicas),
        ("--cpu", call.cpu),
        ("--models", call.volume),
    ]
    words = [word for option, value in options if value is not None for word in (option, value)]
    secrets = ["--with-secrets"] if call.with_secrets else []
    return shlex.join(["atlasctl", "export", call.format, *call.services, *words, *secrets])


def _render(call: Invocation, request: "Request") -> "Exported":
    match call.format:
        case "kubernetes":
            from supervisor.export import kubernetes

            return kubernetes.render(request, _cluster(call, request.services))
        case "systemd":
            from supervisor.export import systemd

            return systemd.render(request)
        case "launchd":
            from supervisor.export import launchd

            return launchd.render(request)
        case _:
            assert_never(call.format)


def _cluster(call: Invocation, services: tuple[ServiceSpec, ...]) -> "Cluster":
    from supervisor.export.kubernetes_pod import Cluster

    usual = Cluster()
    images: dict[str, str] = {}
    for text in call.images:
        service, image = _matched(_IMAGE, "--image", text, "NAME or SERVICE=NAME").groups("")
        if service:
            check_names([service], [each.name for each in services])
        images[service] = image
    least, most = usual.least, usual.most
    if call.replicas is not None:
        shape = "a number, or the fewest and the most, like 2:6"
        low, high = _matched(_REPLICAS, "--replicas", call.replicas, shape).groups()
        least, most = int(low), int(high or low)
        if most < least:
            raise _wrong("--replicas", call.replicas, "the fewest first, like 2:6")
    if call.namespace is not None:
        _matched(_NAMESPACE, "--namespace", call.namespace, "a-z, 0-9 and -, 63 at most")
    if call.cpu is not None:
        _matched(_CPU, "--cpu", call.cpu, "cores, like 2, 0.5 or 500m")
    if call.volume is not None:
        shape = "the name of a claim, or an absolute path on the nodes"
        _matched(_VOLUME, "--models", call.volume, shape)
    return Cluster(
        images=images,
        namespace=call.namespace,
        least=least,
        most=most,
        cpu=call.cpu or usual.cpu,
        models=call.volume,
    )


def _matched(pattern: re.Pattern[str], option: str, text: str, shape: str) -> re.Match[str]:
    found = pattern.fullmatch(text)
    if found is None:
        raise _wrong(option, text, shape)
    return found


def _wrong(option: str, text: str, shape: str) -> CommandError:
    return CommandError(ExitStatus.USAGE, f"{option} {text!r} is not understood", f"write {shape}")


def _print(exported: "Exported") -> None:
    for file in exported.files:
        if len(exported.files) > 1:
            print(f"==> {file.name} <==")
        print(file.text, end="")


def _write(folder: str, file: "ExportedFile", mode: int) -> str:
    """Put a file into the folder, whole or not at all, and return where it is."""
    from supervisor.posix.state import write_whole

    path = os.path.join(folder, file.name)
    try:
        _check_ours(path)
        os.makedirs(folder, exist_ok=True)
        write_whole(path, file.text.encode(), mode=mode)
    except OSError as error:
        message = f"cannot write {short_path(path)}: {error.strerror}"
        raise CommandError(ExitStatus.NOT_REACHED, message) from None
    return short_path(path)


def _check_ours(path: str) -> None:
    """Refuse to write over what somebody else has written. Raises OSError and CommandError."""
    try:
        head = read_regular(path, _HEAD)
    except FileNotFoundError:
        return
    if MARK.encode() not in head:
        message = f"{short_path(path)} was not written by atlasctl, and stays as it is"
        raise CommandError(ExitStatus.USAGE, message, "move it away, or choose another folder")
