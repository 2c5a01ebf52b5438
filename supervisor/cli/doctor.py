"""`doctor`: what is wrong, missing or less than it could be, and what to do about it.

It looks at what costs nothing to look at and runs the doctor of each service that has one. It
changes nothing, and needs no supervisor.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict

from supervisor.cli.checks import configuration, models, ports, supervision
from supervisor.cli.connection import System, short_path
from supervisor.cli.examination import examine
from supervisor.cli.exits import ExitStatus, Interrupted
from supervisor.cli.findings import OURS, Finding, is_well, render
from supervisor.cli.invocation import Invocation
from supervisor.cli.services import check_names
from supervisor.cli.terminal import is_terminal, warn
from supervisor.config.loader import load
from supervisor.config.problems import ConfigError


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


def _findings(call: Invocation, system: System) -> Iterator[Finding]:
    try:
        fleet = load(system.config)
    except ConfigError as error:
        yield from configuration.problems(error)
        yield from supervision.supervisor(system)[1]
        return
    check_names(call.services, [service.name for service in fleet.services])
    yield configuration.configuration(fleet, short_path(system.config))
    yield from looked(OURS, "models", lambda: models.models(fleet))
    status, findings = supervision.supervisor(system)
    yield from findings
    running = None if status is None else {s["name"]: s for s in status["services"]}
    ours = ports.Ours.of(system.state_dir, status)
    chosen = [
        service
        for service in fleet.services
        if (service.name in call.services if call.services else service.enabled)
    ]
    of_ports = ports.ports(chosen, ours)
    for service in chosen:
        if running is not None:
            yield from supervision.state(service.name, running.get(service.name))
        yield from of_ports[service.name]
        if service.doctor is not None:
            if is_terminal(sys.stderr):
                warn(
                    f"asking the doctor of {service.name}, for {service.doctor.timeout:g} s at most"
                )
            yield from examine(service, service.doctor, os.environ)


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
        found.append(Finding(subject, check, "wrong", text, "report this, with atlasctl doctor"))
    return found
