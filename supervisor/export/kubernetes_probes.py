"""Probes as the kubelet makes them: httpGet where that asks the same, otherwise a command. Pure."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

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
from supervisor.export.questions import Idle, Question, written
from supervisor.export.yaml_text import Tree

FOLDER: Final = "/etc/atlas/probes"
"""Where the questions are in the container."""
_START: Final = 2
"""Seconds that the interpreter of a command probe may take to start, on a busy node."""
_SOON: Final = 10.0
"""Seconds, at most, until a costly question that failed is asked again."""
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
    numbers = {port: name for name, port in ports}
    for kind, field in _FIELDS.items():
        spec = service.probe(kind)
        costly = service.transaction if kind is ProbeKind.LIVENESS else None
        if costly is not None:
            made.fields[field] = _with_transaction(request, service, spec, costly, made, notes)
        elif spec is not None:
            way, own = _way(request, service, kind, spec, numbers, made, notes)
            made.fields[field] = {**way, **_pace(kind, spec, spec.timeout + own)}
        if spec is not None and isinstance(spec.check, HttpCheck) and spec.check.notice is not None:
            text = "Kubernetes shows none; the probe itself is there"
            notes.append(Note(service.name, f"probes.{kind}.http.notice", text))
    if any(_says_busy(service.probe(kind)) for kind in ProbeKind):
        text = "to the kubelet, silence is a failure whatever the service is working on"
        notes.append(Note(service.name, "probes.busy", text))
    return made


def _way(
    request: Request,
    service: ServiceSpec,
    kind: ProbeKind,
    spec: ProbeSpec,
    ports: Mapping[int, str],
    made: Probes,
    notes: list[Note],
) -> tuple[dict[str, Tree], float]:
    """Return how it is asked, and the seconds that this costs beyond the question itself."""
    match spec.check:
        case HttpCheck() as check if _status_only(check) and _own(check, ports):
            headers: list[Tree] = [
                {"name": name, "value": value}
                for name, value in _headers(request, service, kind, check, notes)
            ]
            got: dict[str, Tree] = {"path": check.path, "port": ports[check.port]}
            return {"httpGet": {**got, **({"httpHeaders": headers} if headers else {})}}, 0
        case TcpCheck() as check if _own(check, ports):
            return {"tcpSocket": {"port": ports[check.port]}}, 0
        case ExecCheck(command):
            return {"exec": {"command": [word.replace("$", "$$") for word in command]}}, 0
        case _:
            question = _question(request, service, kind, spec, notes)
            return _asked(f"{kind}.json", (question,), made), _START


def _with_transaction(
    request: Request,
    service: ServiceSpec,
    liveness: ProbeSpec | None,
    costly: ProbeSpec,
    made: Probes,
    notes: list[Note],
) -> dict[str, Tree]:
    """Return the one liveness probe that a container may have, which asks both.

    The cheap question every time, the costly one when its time has come: a success is noted, and
    after a failure it is asked again the next time, until the kubelet has had enough.
    """
    question = _question(request, service, ProbeKind.TRANSACTION, costly, notes)
    question = replace(question, every=costly.every)
    seconds = costly.timeout + _START
    if costly.idle:
        tells = next((p for p in map(service.probe, ProbeKind) if _says_busy(p)), None)
        if tells is not None and isinstance(tells.check, HttpCheck):
            # What its headers hide has been told where it is asked for itself.
            headers = tuple(_headers(request, service, ProbeKind.READINESS, tells.check, []))
            check = replace(tells.check, headers=headers, notice=None)
            question = replace(question, idle=Idle(check, tells.timeout, service.busy_deadline))
            seconds += tells.timeout
        else:
            text = "no probe says when it is busy, so it is asked then too"
            notes.append(Note(service.name, "probes.transaction.when", text))
    if liveness is None:
        pace = replace(costly, every=min(costly.every, _SOON))
        return {
            **_asked("liveness.json", (question,), made),
            **_pace(ProbeKind.LIVENESS, pace, seconds),
        }
    cheap = _question(request, service, ProbeKind.LIVENESS, liveness, notes)
    pace = replace(liveness, failures=max(liveness.failures, costly.failures))
    seconds += liveness.timeout
    way = _asked("liveness.json", (cheap, question), made)
    return {**way, **_pace(ProbeKind.LIVENESS, pace, seconds)}


def _asked(file: str, questions: tuple[Question, ...], made: Probes) -> dict[str, Tree]:
    made.files[file] = written(questions)
    # A file, not an argument: no `$` in it is expanded and no shell has a say (podman has one).
    command: list[Tree] = ["python", "-m", "supervisor.export.check", f"{FOLDER}/{file}"]
    return {"exec": {"command": command}}


def _question(
    request: Request, service: ServiceSpec, kind: ProbeKind, spec: ProbeSpec, notes: list[Note]
) -> Question:
    check = spec.check
    if isinstance(check, HttpCheck):
        headers = tuple(_headers(request, service, kind, check, notes))
        check = replace(check, headers=headers, notice=None, busy=None)
    return Question(check, spec.timeout)


def _says_busy(spec: ProbeSpec | None) -> bool:
    return spec is not None and isinstance(spec.check, HttpCheck) and spec.check.busy is not None


def _own(check: HttpCheck | TcpCheck, ports: Mapping[int, str]) -> bool:
    """Tell whether it asks the service itself, which is where the kubelet can ask too."""
    return check.port in ports and check.host in _LOOPBACK


def _status_only(check: HttpCheck) -> bool:
    """Tell whether the kubelet would ask and judge the same.

    It takes 200 to 399, and follows a redirect on the same host: close enough to 200 to 299.
    """
    usual = Expectations()
    asked = check.expect
    fits = asked.status in (usual.status, ((200, 399),)) and replace(asked, status=usual.status)
    return check.method == "GET" and check.body is None and fits == usual


def _headers(
    request: Request, service: ServiceSpec, kind: ProbeKind, check: HttpCheck, notes: list[Note]
) -> Iterator[tuple[str, str]]:
    """Return the headers of a question, with placeholders for what is secret in them."""
    for name, value in check.headers:
        if request.with_secrets or not is_secret(name, value):
            yield name, value
            continue
        about = f"probes.{kind}.http.headers {name}"
        text = f"a secret: write it where {PLACEHOLDER} stands, or export --with-secrets"
        notes.append(Note(service.name, about, text))
        yield name, PLACEHOLDER


def _pace(kind: ProbeKind, spec: ProbeSpec, seconds: float) -> dict[str, Tree]:
    """Return how often, and how long it may take; the kubelet counts whole seconds."""
    every = max(1, math.ceil(spec.every))
    failures = spec.failures
    if kind is ProbeKind.STARTUP:
        failures = _LONGEST if spec.budget is None else max(1, math.ceil(spec.budget / every))
    pace: dict[str, Tree] = {
        "periodSeconds": every,
        "timeoutSeconds": max(1, math.ceil(seconds)),
        "failureThreshold": failures,
    }
    # Of the other two the kubelet takes 1 and nothing else.
    if kind is ProbeKind.READINESS and spec.successes > 1:
        pace["successThreshold"] = spec.successes
    return pace
