"""A valid model becomes a `FleetSpec`: paths absolute, targets found, bodies encoded.

What can only be known here (a probe without a target, a URL that is no address) is reported as a
`Finding`, with the path of keys that it is about.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import assert_never
from urllib.parse import urlsplit

from supervisor.config import model, probe_model
from supervisor.config.document import Path
from supervisor.config.findings import Finding as Finding
from supervisor.config.model_files import model_spec
from supervisor.config.notify_model import metrics_file, targets
from supervisor.config.payloads import connectable
from supervisor.config.quantities import SpellingError, parse_host
from supervisor.config.remedies import remedies_of
from supervisor.config.root import STATE_DIR, Folders
from supervisor.core import spec


def fleet_spec(
    read: "model.Fleet | None",
    services: tuple[spec.ServiceSpec, ...],
    source: str,
    folders: Folders,
) -> spec.FleetSpec:
    """Return the whole; `read` is None while errors are still being collected."""
    logs_dir = read.logs_dir if read else "logs"
    default = spec.FleetSpec("", "", "", "").start_limit
    return spec.FleetSpec(
        source=source,
        root=folders.root,
        state_dir=os.path.join(folders.root, STATE_DIR),
        logs_dir=folders.absolute(logs_dir),
        services=services,
        protected_ports=tuple(dict.fromkeys(read.protected_ports)) if read else (),
        start_limit=read.start_limit if read else default,
        models=tuple(model_spec(name, given, folders) for name, given in read.models.items())
        if read
        else (),
        notify=targets(read.notify) if read else (),
        metrics=metrics_file(read.metrics, folders) if read else None,
    )


def service_spec(
    name: str, read: model.Service, folders: Folders, findings: list[Finding]
) -> spec.ServiceSpec:
    """Return one service; what does not fit together is added to `findings`."""
    path: Path = ("services", name)
    sockets = tuple(
        spec.SocketSpec(name=socket, addresses=addresses)
        for socket, addresses in read.sockets.items()
    )
    target = _Target.of(sockets, read.ports)
    probes = {
        kind: _probe_spec(given, target, (*path, "probes", kind.value), findings)
        for kind, given in _probes(read.probes).items()
    }
    made = spec.ServiceSpec(
        name=name,
        description=read.description,
        command=tuple(read.command),
        cwd=folders.absolute(read.cwd or "."),
        env=dict(read.env),
        env_files=tuple(folders.absolute(file) for file in read.env_file),
        inherit_env=tuple(dict.fromkeys(read.inherit_env)),
        venv=None if read.venv is None else folders.absolute(read.venv),
        enabled=read.enabled,
        ports=tuple(dict.fromkeys(read.ports)),
        sockets=sockets,
        startup=probes.get(spec.ProbeKind.STARTUP),
        readiness=probes.get(spec.ProbeKind.READINESS),
        liveness=probes.get(spec.ProbeKind.LIVENESS),
        transaction=probes.get(spec.ProbeKind.TRANSACTION),
        busy_deadline=read.probes.busy.deadline,
        doctor=_doctor_spec(read.doctor),
        restart=_restart_spec(read.restart, (*path, "restart"), findings),
        stop=spec.StopSpec(signal=read.stop.signal, timeout=read.stop.timeout),
        depends_on=tuple(
            spec.Dependency(on=on, condition=dependency.condition)
            for on, dependency in read.depends_on.items()
        ),
        logs=spec.LogSpec(
            max_size=read.logs.max_size, keep=read.logs.keep, compress=read.logs.compress
        ),
        limits=spec.Limits(
            memory=read.limits.memory,
            open_files=read.limits.open_files,
            processes=read.limits.processes,
            nice=read.limits.nice,
        ),
        umask=read.umask,
        user=read.user,
    )
    return replace(made, remedies=remedies_of(read.remedies, made, folders, findings))


def _doctor_spec(read: model.Doctor | None) -> spec.DoctorSpec | None:
    return None if read is None else spec.DoctorSpec(tuple(read.command), read.timeout)


def _restart_spec(read: model.Restart, path: Path, findings: list[Finding]) -> spec.RestartSpec:
    backoff, give_up = read.backoff, read.give_up
    if backoff.first == 0 and give_up is None and read.policy != "never":
        # 0 times any factor is 0.
        message = "with give_up: false, one that fails at once is restarted without pause for ever"
        hint = "write first: 200ms, or give_up: {after: 5, within: 60s}"
        findings.append(Finding((*path, "backoff", "first"), message, hint))
    return spec.RestartSpec(
        policy=read.policy,
        backoff=spec.Backoff(backoff.first, backoff.factor, backoff.max, backoff.jitter),
        give_up=None if give_up is None else spec.GiveUp(give_up.after, give_up.within),
        proven_after=read.proven_after,
    )


def _probes(read: probe_model.Probes) -> Mapping[spec.ProbeKind, probe_model.AnyProbe]:
    given = {
        spec.ProbeKind.STARTUP: read.startup,
        spec.ProbeKind.READINESS: read.readiness,
        spec.ProbeKind.LIVENESS: read.liveness,
        spec.ProbeKind.TRANSACTION: read.transaction,
    }
    return {kind: probe for kind, probe in given.items() if probe is not None}


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a service listens: address of each port, the first one first."""

    hosts: Mapping[int, str]

    @classmethod
    def of(cls, sockets: tuple[spec.SocketSpec, ...], ports: list[int]) -> "_Target":
        hosts: dict[int, str] = {}
        for socket in sockets:
            for host, port in socket.addresses:
                hosts.setdefault(port, connectable(host))
        for port in ports:
            hosts.setdefault(port, "127.0.0.1")
        return cls(hosts)

    def find(self, port: int | None, host: str | None) -> tuple[str, int] | None:
        if port is None:
            port = next(iter(self.hosts), None)
        if port is None:
            return None
        return host or self.hosts.get(port, "127.0.0.1"), port


def _probe_spec(
    read: probe_model.AnyProbe, target: _Target, path: Path, findings: list[Finding]
) -> spec.ProbeSpec | None:
    check: spec.Check | None
    if read.http is not None:
        check = _http_check(read.http, target, (*path, "http"), findings)
        if read.http.notice is not None and isinstance(read, probe_model.StartupProbe):
            message = "a startup probe is not asked again, so nothing would ever withdraw a notice"
            hint = "name it in the readiness or the liveness probe"
            findings.append(Finding((*path, "http", "notice"), message, hint))
        if read.http.busy is not None and not _is_frequent(read):
            message = "only a probe that is asked often can tell whether it is busy"
            hint = "name it in the readiness or the liveness probe"
            findings.append(Finding((*path, "http", "busy"), message, hint))
        if read.http.latency is not None and read.http.latency >= read.timeout:
            message = "is not below the probe's timeout, which always comes first"
            findings.append(Finding((*path, "http", "latency"), message, "make timeout longer"))
    elif read.tcp is not None:
        found = target.find(read.tcp.port, read.tcp.host)
        check = None if found is None else spec.TcpCheck(*found)
        if found is None:
            findings.append(_no_target((*path, "tcp")))
    else:
        check = spec.ExecCheck(tuple(read.exec or ()))
    defaults = spec.ProbeSpec(spec.ExecCheck(()))
    failures, successes, budget = defaults.failures, defaults.successes, defaults.budget
    idle = False
    match read:
        case probe_model.StartupProbe():
            successes, budget = read.successes, read.for_
        case probe_model.ReadinessProbe():
            failures, successes = read.failures, read.successes
        case probe_model.LivenessProbe():
            failures = read.failures
        case probe_model.TransactionProbe():
            failures, idle = read.failures, read.when == "idle"
        case _:
            assert_never(read)
    if budget is not None and budget < read.every:
        message = "is shorter than every, so the probe could run once at most"
        findings.append(Finding((*path, "for"), message, "make for longer, or every shorter"))
    if check is None:
        return None
    return spec.ProbeSpec(
        check=check,
        every=read.every,
        timeout=read.timeout,
        failures=failures,
        successes=successes,
        budget=budget,
        idle=idle,
    )


def _is_frequent(read: probe_model.AnyProbe) -> bool:
    return isinstance(read, probe_model.ReadinessProbe | probe_model.LivenessProbe)


def _no_target(path: Path) -> Finding:
    hint = "give the check a port, or the service ports or sockets"
    return Finding(path, "has no port to ask, for the service has none", hint)


def _http_check(
    read: probe_model.Http, target: _Target, path: Path, findings: list[Finding]
) -> spec.HttpCheck | None:
    if read.url is not None:
        try:
            host, port, resource = _split_url(read.url)
        except SpellingError as error:
            findings.append(Finding((*path, "url"), error.message, error.hint))
            return None
    else:
        found = target.find(read.port, None)
        if found is None:
            findings.append(_no_target(path))
            return None
        (host, port), resource = found, read.path or "/"
    headers, body = _message(read)
    return spec.HttpCheck(
        host=host,
        port=port,
        path=resource,
        method=read.method,
        headers=headers,
        body=body,
        expect=_expectations(read),
        notice=read.notice,
        busy=read.busy,
    )


def _expectations(read: probe_model.Http) -> spec.Expectations:
    prefix = read.body_prefix
    return spec.Expectations(
        status=tuple(read.status) if read.status is not None else spec.Expectations().status,
        content_type=None if read.content_type is None else read.content_type.lower(),
        json=read.json_,
        body_prefix=None if prefix is None else prefix.encode("utf-8", "surrogateescape"),
        min_bytes=read.min_bytes,
        max_bytes=read.max_bytes,
        latency=read.latency,
        wav=None if read.wav is None else spec.Wav(read.wav.min_seconds),
    )


def _message(read: probe_model.Http) -> tuple[tuple[tuple[str, str], ...], bytes | None]:
    headers = dict(read.headers)
    if "body" not in read.model_fields_set:
        return tuple(headers.items()), None
    if isinstance(read.body, str):
        return tuple(headers.items()), read.body.encode()
    if "content-type" not in {name.lower() for name in headers}:
        headers["Content-Type"] = "application/json"
    return tuple(headers.items()), json.dumps(read.body, ensure_ascii=False).encode()


def _split_url(url: str) -> tuple[str, int, str]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SpellingError(
            f"{url!r} is not a URL: {error}", "write http://127.0.0.1:3001/"
        ) from None
    if parts.scheme == "https":
        hint = "write http://, or use an exec probe with curl"
        raise SpellingError("https is not supported in a probe", hint)
    if parts.scheme != "http" or not parts.hostname:
        raise SpellingError(
            f"{url!r} is not an http URL", "write it like http://127.0.0.1:3001/health"
        )
    if parts.username is not None or parts.fragment:
        raise SpellingError("a user or a #fragment cannot be sent", "use headers for a password")
    resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not url.isascii() or any(c <= " " or c == "\x7f" for c in url):
        raise SpellingError(f"{url!r} has characters a URL may not have", "percent-encode them")
    host = "127.0.0.1" if parts.hostname == "localhost" else parse_host(parts.hostname)
    return host, 80 if port is None else port, resource
