"""Probes as the kubelet makes them: httpGet where that asks the same, otherwise a command. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from supervisor.core.spec import (
    ExecCheck,
    Expectations,
    HttpCheck,
    ProbeKind,
    ProbeSpec,
    ServiceSpec,
    TcpCheck,
)
from supervisor.export.exported import Note
from supervisor.export.kubernetes_place import Peers, Place
from supervisor.export.questions import Idle, Question, written
from supervisor.export.secrets import Secrets
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
    service: ServiceSpec,
    ports: Sequence[tuple[str, int]],
    place: Place,
    peers: Peers,
    secrets: Secrets,
) -> Probes:
    """Return the probes of a service."""
    made = Probes({}, {})
    numbers = {port: name for name, port in ports}
    asked = {kind: _shown(service, kind, place, peers, secrets) for kind in ProbeKind}
    notes = secrets.notes
    for kind, field in _FIELDS.items():
        spec = asked[kind]
        costly = asked[ProbeKind.TRANSACTION] if kind is ProbeKind.LIVENESS else None
        if costly is not None:
            made.fields[field] = _with_transaction(service, asked, costly, made, notes)
        elif spec is not None:
            made.fields[field] = _alone(service, kind, spec, numbers, made, notes)
        if spec is not None and isinstance(spec.check, HttpCheck) and spec.check.notice is not None:
            text = "Kubernetes shows none; the probe itself is there"
            notes.append(Note(service.name, f"probes.{kind}.http.notice", text))
    if any(map(_says_busy, asked.values())):
        text = "to the kubelet, silence is a failure whatever the service is working on"
        notes.append(Note(service.name, "probes.busy", text))
    return made


def _shown(
    service: ServiceSpec, kind: ProbeKind, place: Place, peers: Peers, secrets: Secrets
) -> ProbeSpec | None:
    """Return a probe as it is there; None also if it can never succeed in a pod."""
    spec = service.probe(kind)
    if spec is None:
        return None
    check = spec.check
    if not isinstance(check, ExecCheck) and check.host in _LOOPBACK and check.port in peers.owners:
        owner, _ = peers.owners[check.port]
        text = f"left out: it asks port {check.port}, which is {owner} and not in this pod"
        secrets.notes.append(Note(service.name, f"probes.{kind}", text))
        return None
    check = secrets.check(f"probes.{kind}", check)
    if isinstance(check, ExecCheck):
        words = tuple(peers.named(place.moved(word)) for word in check.command)
        check = ExecCheck(words)
    return replace(spec, check=check)


def _alone(
    service: ServiceSpec,
    kind: ProbeKind,
    spec: ProbeSpec,
    ports: Mapping[int, str],
    made: Probes,
    notes: list[Note],
) -> dict[str, Tree]:
    """Return a probe that asks one thing."""
    match spec.check:
        case HttpCheck() as check if _status_only(check) and _own(check, ports):
            headers: list[Tree] = [{"name": name, "value": text} for name, text in check.headers]
            got: dict[str, Tree] = {"path": check.path, "port": ports[check.port]}
            way: dict[str, Tree] = {
                "httpGet": {**got, **({"httpHeaders": headers} if headers else {})}
            }
        case TcpCheck() as check if _own(check, ports):
            way = {"tcpSocket": {"port": ports[check.port]}}
        case ExecCheck(command):
            way = {"exec": {"command": [word.replace("$", "$$") for word in command]}}
        case _:
            return _by_question(kind, spec, made)
    if kind is ProbeKind.STARTUP:
        _tell_of_budget(service, spec, notes)
    return {**way, **_pace(kind, spec, spec.timeout)}


def _by_question(kind: ProbeKind, spec: ProbeSpec, made: Probes) -> dict[str, Tree]:
    question = _question(spec)
    if kind is not ProbeKind.STARTUP:
        way = _asked(f"{kind}.json", (question,), made)
        return {**way, **_pace(kind, spec, spec.timeout + _START)}
    # Asked until it succeeds or its time is over, so that every failure takes that time, and so
    # many of them are the budget, whether nobody answers or nobody is there.
    way = _asked(f"{kind}.json", (replace(question, again=spec.every),), made)
    lasting = replace(spec, every=max(spec.every, spec.timeout))
    pace = _pace(kind, lasting, spec.timeout + _START)
    return {**way, **pace, "periodSeconds": max(1, math.ceil(spec.every))}


def _tell_of_budget(service: ServiceSpec, spec: ProbeSpec, notes: list[Note]) -> None:
    """Tell if a start that hangs has much longer than one that is refused."""
    period = max(1, math.ceil(spec.every))
    if spec.budget is not None and spec.timeout > 2 * period:
        most = math.ceil(spec.budget / period) * math.ceil(spec.timeout)
        text = f"failures are counted, not seconds: a start that answers nothing has {most} s"
        notes.append(Note(service.name, "probes.startup.for", text))


def _with_transaction(
    service: ServiceSpec,
    asked: Mapping[ProbeKind, ProbeSpec | None],
    costly: ProbeSpec,
    made: Probes,
    notes: list[Note],
) -> dict[str, Tree]:
    """Return the one liveness probe that a container may have, which asks both.

    The cheap question every time, the costly one when its time has come: a success is noted, and
    after a failure it is asked again the next time, until the kubelet has had enough.
    """
    liveness = asked[ProbeKind.LIVENESS]
    question = replace(_question(costly), every=costly.every)
    seconds = costly.timeout + _START
    if costly.idle:
        tells = next(filter(_says_busy, asked.values()), None)
        if tells is not None and isinstance(tells.check, HttpCheck):
            check = replace(tells.check, notice=None)
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
    pace = replace(liveness, failures=max(liveness.failures, costly.failures))
    seconds += liveness.timeout
    way = _asked("liveness.json", (_question(liveness), question), made)
    return {**way, **_pace(ProbeKind.LIVENESS, pace, seconds)}


def _asked(file: str, questions: tuple[Question, ...], made: Probes) -> dict[str, Tree]:
    made.files[file] = written(questions)
    # A file, not an argument: no `$` in it is expanded and no shell has a say (podman has one).
    command: list[Tree] = ["python", "-m", "supervisor.export.check", f"{FOLDER}/{file}"]
    return {"exec": {"command": command}}


def _question(spec: ProbeSpec) -> Question:
    check = spec.check
    if isinstance(check, HttpCheck):
        check = replace(check, notice=None, busy=None)
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
    codes = {code for first, last in check.expect.status for code in range(first, last + 1)}
    if codes not in ({*range(200, 300)}, {*range(200, 400)}):
        return False
    rest = replace(check.expect, status=usual.status)
    return check.method == "GET" and check.body is None and rest == usual


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
