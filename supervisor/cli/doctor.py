"""`doctor`: what is wrong, missing or less than it could be, and what to do about it.

It looks at what costs nothing to look at and runs the doctor of each service that has one. It
changes nothing, and needs no supervisor.
"""

import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial

import supervisor
from supervisor.cli.checks import (
    clock,
    commands,
    configuration,
    disk,
    folders,
    imports,
    login,
    mac,
    models,
    mounts,
    notifications,
    ports,
    remains,
    session,
    supervision,
)
from supervisor.cli.connection import System, short_path
from supervisor.cli.examination import examine
from supervisor.cli.exits import ExitStatus, Interrupted
from supervisor.cli.findings import OURS, Finding, is_well, render
from supervisor.cli.invocation import Invocation
from supervisor.cli.login_item import runner
from supervisor.cli.services import check_names
from supervisor.cli.survivors import survivors
from supervisor.cli.terminal import is_terminal, warn
from supervisor.config.loader import load
from supervisor.config.problems import ConfigError
from supervisor.control.messages import FleetStatus
from supervisor.core.spec import FleetSpec, ServiceSpec
from supervisor.install.item import guarded_folder
from supervisor.journal import read
from supervisor.posix.environment import DEFAULT_PATH
from supervisor.posix.ports import PortOwner

ASK_TIMEOUT = 5.0
"""Seconds for a question to the system, which takes some 20 ms: launchctl, crontab, sysctl."""
_PACKAGE = os.path.dirname(os.path.abspath(supervisor.__file__))


def doctor(call: Invocation) -> int:
    """Look at all enabled services, or at those named, and at what they share."""
    system = call.system()
    try:
        findings = list(_findings(call, system))
    except KeyboardInterrupt:
        raise Interrupted("nothing was changed; the services go on as they are") from None
    if call.json:
        told = {"ok": is_well(findings), "findings": [asdict(finding) for finding in findings]}
        print(json.dumps(told, ensure_ascii=False, indent=2))
    else:
        print("\n".join(render(findings, call.paint, details=call.details)))
    return ExitStatus.AS_ASKED if is_well(findings) else ExitStatus.NOT_REACHED


def looked(subject: str, check: str, look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """Return what a check finds; where it raises, that too is a finding, and the others are told.

    A check that was not made must not look like one that passed.
    """
    found = []
    try:
        for finding in look():
            found.append(finding)  # noqa: PERF402 - what was found before it raised is kept
    except Exception as error:  # noqa: BLE001 - told as what it is
        why = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        text = f"could not be looked at: {why}"
        found.append(
            Finding(
                subject,
                check,
                "wrong",
                text,
                "report this, with what atlasctl doctor --json prints",
            )
        )
    return found


def _findings(call: Invocation, system: System) -> Iterator[Finding]:
    try:
        fleet = load(system.config)
    except ConfigError as error:
        yield from configuration.problems(error)
        yield from _supervisor(system)[1]
        yield from _installation()
        return
    check_names(call.services, [service.name for service in fleet.services])
    chosen = [
        service
        for service in fleet.services
        if (service.name in call.services if call.services else service.enabled)
    ]
    yield configuration.configuration(fleet, short_path(system.config))
    yield from looked(OURS, "models", lambda: models.models(fleet))
    status, findings = _supervisor(system)
    yield from findings
    known = _Ports(ports.Ours.of(system.state_dir, status))
    yield from looked(OURS, "ports", lambda: known.look(fleet.services))
    yield from looked(
        OURS, notifications.CHECK, lambda: notifications.notifications(fleet, os.environ)
    )
    yield from _history(system)
    yield from _installation()
    yield from _machine(fleet, chosen, os.environ)
    yield from _beside(fleet, system, known)
    finders = looked(
        OURS, "import supervisor", lambda: imports.service_imports(chosen, os.environ, _PACKAGE)
    )
    yield from (finding for finding in finders if finding.subject == OURS)
    for service in chosen:
        yield from _service(service, status, known)
        yield from (finding for finding in finders if finding.subject == service.name)
        yield from looked(service.name, "doctor", partial(_examined, service))


@dataclass(slots=True)
class _Ports:
    """What was found out about all ports at once."""

    ours: ports.Ours
    tried: dict[str, list[ports.Tried]] = field(default_factory=dict)
    owners: dict[int, PortOwner] = field(default_factory=dict)

    def look(self, services: Sequence[ServiceSpec]) -> Iterable[Finding]:
        """Find out; what there is to say of it is said with each service."""
        self.tried = ports.tried(services)
        self.owners = ports.owners(self.tried)
        return ()


def _supervisor(system: System) -> tuple[FleetStatus | None, list[Finding]]:
    said: list[FleetStatus] = []

    def look() -> Iterator[Finding]:
        status, findings = supervision.supervisor(system)
        said.extend([] if status is None else [status])
        yield from findings

    findings = looked(OURS, supervision.CHECK, look)
    return (said[0] if said else None), findings


def _examined(service: ServiceSpec) -> Iterable[Finding]:
    if service.doctor is None:
        return ()
    if is_terminal(sys.stderr):
        warn(f"asking the doctor of {service.name}, for {service.doctor.timeout:g} s at most")
    return examine(service, service.doctor, os.environ)


def _history(system: System) -> Iterator[Finding]:
    def look() -> Iterator[Finding]:
        entries = list(read(system.state_dir))
        yield from supervision.journal(entries)
        yield from clock.future(entries, time.time())

    yield from looked(OURS, "journal", look)


def _installation() -> Iterator[Finding]:
    """Look at this program itself: its Python, its import name, its clock."""
    version = platform.python_version()
    yield Finding(OURS, "python", "ok", f"{version} runs atlasctl, {sys.executable}")
    yield from looked(
        OURS,
        "import supervisor",
        lambda: imports.import_clash(_PACKAGE, sys.path, sys.executable),
    )
    own = [os.path.join(os.path.dirname(sys.executable), "atlasctl")]
    own += [os.path.join(os.path.dirname(_PACKAGE), "atlasctl"), sys.argv[0]]
    path = os.environ.get("PATH", DEFAULT_PATH)
    yield from looked(OURS, "atlasctl", lambda: session.other_atlasctl(path, own, _PACKAGE))
    yield from looked(OURS, "clock", lambda: clock.wall_clock(time.time(), clock.newest(_PACKAGE)))
    yield from looked(OURS, "time zone", lambda: clock.time_zone(os.environ))


def _machine(
    fleet: FleetSpec, chosen: Sequence[ServiceSpec], environ: Mapping[str, str]
) -> Iterator[Finding]:
    """Look at what all services share: folders, disks, limits, the shell, the Mac."""
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    hard = None if limit == resource.RLIM_INFINITY else limit
    yield from looked(OURS, "python", lambda: commands.pythons(chosen, environ))
    yield from looked(OURS, "env_file", lambda: commands.env_files(fleet, chosen))
    yield from looked(OURS, "folders", lambda: folders.folders(fleet))
    yield from looked(OURS, "disk", lambda: _disk(fleet))
    yield from looked(OURS, "disk", lambda: mounts.places(fleet, mounts.mounts()))
    yield from looked(OURS, "open files", lambda: session.open_files(fleet.services, hard))
    yield from looked(OURS, "proxy", lambda: session.proxies(environ))
    yield from looked(OURS, "locale", lambda: session.encoding(environ))
    if sys.platform == "darwin":
        yield from looked(OURS, "mac", lambda: mac.mac(mac.Machine(runner(environ, ASK_TIMEOUT))))


def _disk(fleet: FleetSpec) -> Iterator[Finding]:
    enabled = [service for service in fleet.services if service.enabled]
    growth = {fleet.logs_dir: disk.log_growth(enabled, fleet.logs_dir), fleet.state_dir: 0}
    for folder in disk.caches(enabled):
        growth.setdefault(folder, 0)
    for folder, missing in models.missing_bytes(fleet).items():
        growth[folder] = growth.get(folder, 0) + missing
    yield from disk.disk(growth, {folder: disk.space_of(folder) for folder in growth})


def _beside(fleet: FleetSpec, system: System, known: _Ports) -> Iterator[Finding]:
    """Look at what is beside this system: login items, what was started by hand, other ports."""

    def started_by_itself() -> Iterator[Finding]:
        ask = runner(os.environ, ASK_TIMEOUT)
        found = login.starters(sys.platform, os.environ, ask)
        yield from login.login_item(found, system.config, os.getuid(), ask)
        if any(agent.start.starts(system.config) for agent in found.agents):
            folder = guarded_folder(fleet.root, os.environ.get("HOME", "/"))
            if folder is not None:
                text, hint = login.out_of_reach(folder)
                yield Finding(OURS, login.CHECK, "note", text, hint)
        yield from remains.old_callers(found.starts(), system.config)

    def pid_files() -> Iterator[Finding]:
        processes = remains.Processes(
            known.ours,
            {survivor.pid for survivor in survivors(system.state_dir)},
            known.owners,
            {port: service.name for service in fleet.services for port in service.all_ports()},
        )
        yield from remains.pid_files(places, processes, now)

    places, now = (fleet.root, fleet.logs_dir), time.time()
    names = [service.name for service in fleet.services]
    yield from looked(OURS, login.CHECK, started_by_itself)
    yield from looked(OURS, "PID file", pid_files)
    yield from looked(OURS, "nohup.out", lambda: remains.nohup(places, now))
    yield from looked(OURS, "old logs", lambda: remains.strange_logs(fleet.logs_dir, names))
    yield from looked(
        OURS, "protected ports", lambda: ports.protected(fleet.protected_ports, known.ours)
    )


def _service(service: ServiceSpec, status: FleetStatus | None, known: _Ports) -> Iterator[Finding]:
    def state() -> Iterator[Finding]:
        if status is not None:
            said = next((each for each in status["services"] if each["name"] == name), None)
            yield from supervision.state(name, said)

    name, environ = service.name, os.environ
    tried = known.tried.get(name, [])
    yield from looked(name, "state", state)
    yield from looked(name, "command", lambda: commands.command(service, environ))
    yield from looked(name, "proxy", lambda: session.service_proxies(service, environ))
    if sys.platform == "darwin":
        yield from looked(name, "mps", lambda: mac.fallback(service, environ))
    yield from looked(name, "port", lambda: ports.ports(name, tried, known.owners, known.ours))
