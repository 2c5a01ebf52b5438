"""`doctor`: what is wrong, missing or less than it could be, and what to do about it.

It looks at what costs nothing to look at and runs the doctor of each service that has one. It
changes nothing, and needs no supervisor.
"""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict

from supervisor.cli import checks
from supervisor.cli.connection import System, short_path
from supervisor.cli.examination import examine
from supervisor.cli.exits import ExitStatus, Interrupted
from supervisor.cli.findings import Finding, is_well, render
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
        yield from checks.problems(error)
        yield from checks.supervisor(system)[1]
        return
    check_names(call.services, [service.name for service in fleet.services])
    yield checks.configuration(fleet, short_path(system.config))
    yield from checks.models(fleet, system.config)
    status, findings = checks.supervisor(system)
    yield from findings
    running = None if status is None else {s["name"]: s for s in status["services"]}
    ours = checks.Ours.of(system.state_dir, status)
    for service in fleet.services:
        if service.name not in call.services if call.services else not service.enabled:
            continue
        if running is not None:
            yield checks.state(service.name, running.get(service.name))
        yield from checks.ports(service, ours)
        if service.doctor is not None:
            if is_terminal(sys.stderr):
                warn(
                    f"asking the doctor of {service.name}, for {service.doctor.timeout:g} s at most"
                )
            yield from examine(service, service.doctor, os.environ)
