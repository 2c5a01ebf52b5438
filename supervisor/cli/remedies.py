"""`remedies`: the rules of services, what came of them, and what they would have done."""

import json
from dataclasses import asdict

from supervisor.cli import connection
from supervisor.cli.connection import System, speaking_to
from supervisor.cli.exits import CommandError, ExitStatus
from supervisor.cli.invocation import Invocation
from supervisor.cli.rehearsal import Rehearsed, rehearsal
from supervisor.cli.remedy_lines import forgotten, rehearsed_lines, treated_lines
from supervisor.cli.services import check_names
from supervisor.cli.terminal import warn
from supervisor.config.loader import load
from supervisor.control.client import ControlError, DaemonNotRunning
from supervisor.control.messages import Treated, TreatedService


def remedies(call: Invocation) -> int:
    """Show rules and what came of them; rehearse or forget them if that is asked."""
    system = call.system()
    if call.forget:
        return _forget(call, system)
    if call.dry_run:
        return _rehearse(call, system)
    services = _treated(system)["services"]
    check_names(call.services, [each["service"] for each in services])
    shown = [each for each in services if _is_shown(each, call)]
    if call.json:
        print(json.dumps({"services": shown}, ensure_ascii=False, indent=2))
        return ExitStatus.AS_ASKED
    for line in treated_lines(shown, call.paint):
        print(line)
    return ExitStatus.AS_ASKED


def _is_shown(service: TreatedService, call: Invocation) -> bool:
    if call.services:
        return service["service"] in call.services
    return bool(service["rules"]) or call.json


def _treated(system: System) -> Treated:
    """Return what the daemon knows; without one, what the last has written down."""
    try:
        return connection.treated(system.client())
    except DaemonNotRunning:
        return _written(system)
    except ControlError as error:
        warn(f"the supervisor does not answer ({error.message}); this is what it has written down")
        return _written(system)


def _written(system: System) -> Treated:
    import time
    from pathlib import Path

    from supervisor.ledger import NAME, read_records
    from supervisor.posix.identity import boot_id
    from supervisor.remedy_status import chart_of, treated_service

    spec = load(system.config)
    records = {record.unit: record for record in read_records(Path(system.state_dir) / NAME)}
    boot, now = boot_id(), time.monotonic()
    return {
        "services": [
            treated_service(one, chart_of(records.get(one.name), one, boot), now)
            for one in spec.services
        ]
    }


def _rehearse(call: Invocation, system: System) -> int:
    spec = load(system.config)
    check_names(call.services, [one.name for one in spec.services])
    chosen = [one for one in spec.services if not call.services or one.name in call.services]
    rehearsed: list[Rehearsed] = []
    for one in chosen:
        rehearsed += rehearsal(one, spec, system.state_dir)
    if call.json:
        told = {"rules": [asdict(each) for each in rehearsed]}
        print(json.dumps(told, ensure_ascii=False, indent=2))
        return ExitStatus.AS_ASKED
    for line in rehearsed_lines(rehearsed, call.paint):
        print(line)
    return ExitStatus.AS_ASKED


def _forget(call: Invocation, system: System) -> int:
    if not call.services:
        raise CommandError(
            ExitStatus.USAGE,
            "--forget needs to know of what service",
            "name one: remedies --forget tts",
        )
    if call.dry_run:
        raise CommandError(
            ExitStatus.USAGE, "--forget and --dry-run exclude each other", "give one of them"
        )
    with speaking_to(system):
        client = system.client()
        before = connection.treated(client)
        connection.forget(client, call.services)
    in_force = {
        service["service"]: [rule["name"] for rule in service["rules"] if rule["in_force"]]
        for service in before["services"]
        if service["service"] in call.services
    }
    if call.json:
        print(json.dumps({"forgotten": in_force}, ensure_ascii=False, indent=2))
        return ExitStatus.AS_ASKED
    for line in forgotten(in_force):
        print(line)
    return ExitStatus.AS_ASKED
