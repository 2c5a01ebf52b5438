"""Probes as the kubelet makes them: httpGet where that asks the same, otherwise a command. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, assert_never

from supervisor.core.masking import is_secret
from supervisor.core.spec import (
    ExecCheck,
    Expectations,
    HttpCheck,
    ProbeKind,
    ProbeSpec,
    ServiceSpec,
    TcpCheck,
)
from supervisor.export.exported import PLACEHOLDER, Note, Request
from supervisor.export.questions import Question, written
from supervisor.export.yaml_text import Tree

FOLDER: Final = "/etc/atlas/probes"
"""Where the questions are in the container."""
_START: Final = 2
"""Seconds that the interpreter of a command probe may take to start, on a busy node."""
_LONGEST: Final = 2**31 - 1
_FIELDS: Final = {
    ProbeKind.STARTUP: "startupProbe",
    ProbeKind.READINESS: "readinessProbe",
    ProbeKind.LIVENESS: "livenessProbe",
}
_LOOPBACK: Final = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Probes:
    """Fields of the container, and the files with questions that they name."""

    fields: dict[str, Tree]
    files: dict[str, str]


def build(
    request: Request, service: ServiceSpec, ports: Sequence[tuple[str, int]], notes: list[Note]
) -> Probes:
    """Return the probes of a service."""
    made = Probes({}, {})
    for kind, field in _FIELDS.items():
        spec = service.probe(kind)
        if spec is None:
            continue
        way, own = _way(request, service, kind, spec, ports, made.files, notes)
        made.fields[field] = {**way, **_pace(kind, spec, own)}
        if isinstance(spec.check, HttpCheck) and spec.check.notice is not None:
            text = "Kubernetes shows none; the probe itself is there"
            notes.append(Note(service.name, f"probes.{kind}.http.notice", text))
    return made


def _way(
    request: Request,
    service: ServiceSpec,
    kind: ProbeKind,
    spec: ProbeSpec,
    ports: Sequence[tuple[str, int]],
    files: dict[str, str],
    notes: list[Note],
) -> tuple[dict[str, Tree], float]:
    """Return how it is asked, and the seconds that this costs beyond the question itself."""
    names = {port: name for name, port in ports}
    match spec.check:
        case HttpCheck() as check if _status_only(check) and _own(check, names):
            headers: list[Tree] = [
                {"name": name, "value": _shown(request, service, kind, name, value, notes)}
                for name, value in check.headers
            ]
            got: dict[str, Tree] = {"path": check.path, "port": names[check.port]}
            return {"httpGet": {**got, **({"httpHeaders": headers} if headers else {})}}, 0
        case TcpCheck() as check if _own(check, names):
            return {"tcpSocket": {"port": names[check.port]}}, 0
        case ExecCheck(command):
            return {"exec": {"command": [word.replace("$", "$$") for word in command]}}, 0
        case HttpCheck() as check:
            shown = tuple(
                (name, _shown(request, service, kind, name, value, notes))
                for name, value in check.headers
            )
            question = Question(replace(check, headers=shown, notice=None), spec.timeout)
        case TcpCheck():
            question = Question(spec.check, spec.timeout)
        case _:
            assert_never(spec.check)
    file = f"{kind}.json"
    files[file] = written((question,))
    # A file, not an argument: no `$` in it is expanded and no shell has a say (podman has one).
    ask: list[Tree] = ["python", "-m", "supervisor.export.check", f"{FOLDER}/{file}"]
    return {"exec": {"command": ask}}, _START


def _own(check: HttpCheck | TcpCheck, names: dict[int, str]) -> bool:
    """Tell whether it asks the service itself, which is where the kubelet can ask too."""
    return check.port in names and check.host in _LOOPBACK


def _status_only(check: HttpCheck) -> bool:
    """Tell whether the kubelet would ask and judge the same.

    It takes 200 to 399, and follows a redirect on the same host: close enough to 200 to 299.
    """
    usual = Expectations()
    asked = check.expect
    fits = asked.status in (usual.status, ((200, 399),)) and replace(asked, status=usual.status)
    return check.method == "GET" and check.body is None and fits == usual


def _shown(
    request: Request,
    service: ServiceSpec,
    kind: ProbeKind,
    name: str,
    value: str,
    notes: list[Note],
) -> str:
    if request.with_secrets or not is_secret(name, value):
        return value
    about = f"probes.{kind}.http.headers {name}"
    text = f"a secret: write it where {PLACEHOLDER} stands, or export --with-secrets"
    notes.append(Note(service.name, about, text))
    return PLACEHOLDER


def _pace(kind: ProbeKind, spec: ProbeSpec, own: float) -> dict[str, Tree]:
    """Return how often and how long; the kubelet counts whole seconds."""
    every = max(1, math.ceil(spec.every))
    failures = spec.failures
    if kind is ProbeKind.STARTUP:
        failures = _LONGEST if spec.budget is None else max(1, math.ceil(spec.budget / every))
    pace: dict[str, Tree] = {
        "periodSeconds": every,
        "timeoutSeconds": max(1, math.ceil(spec.timeout + own)),
        "failureThreshold": failures,
    }
    # Of the other two the kubelet takes 1 and nothing else.
    if kind is ProbeKind.READINESS and spec.successes > 1:
        pace["successThreshold"] = spec.successes
    return pace
