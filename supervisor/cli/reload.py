"""`plan` and `reload`: what the configuration says now, compared with what runs, and applied.

The YAML is compiled here and not by the daemon: one with an error changes nothing, its errors are
told where they were made, and `${NAME}` is the variable of whoever asks.
"""

import json
import time
from collections.abc import Mapping

from supervisor.cli import connection
from supervisor.cli.connection import (
    System,
    check_same_file,
    fleet_status,
    short_path,
    speaking_to,
)
from supervisor.cli.exits import CommandError, ExitStatus, Interrupted
from supervisor.cli.invocation import Invocation
from supervisor.cli.lifecycle import report_failure
from supervisor.cli.plan_table import change_lines, is_change, plan_summary, reload_summary
from supervisor.cli.services import (
    Progress,
    Reached,
    is_up,
    progress_reload,
)
from supervisor.cli.terminal import printable
from supervisor.cli.waiting import Outcome, View, wait
from supervisor.config.codec import encode
from supervisor.config.loader import load
from supervisor.control.messages import ChangeMessage, Reloading, ServiceStatus
from supervisor.core.spec import FleetSpec

TIMEOUT = 30.0
"""Seconds for the daemon to compare a thousand services and to read their env files."""


def plan(call: Invocation) -> int:
    """Show what `reload` would change; nothing is changed."""
    system = call.system()
    spec = load(system.config)
    with speaking_to(system):
        client = system.client(TIMEOUT)
        check_same_file(fleet_status(client)["daemon"], spec.source)
        found = connection.compare(client, _encoded(spec))
    if call.json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
        return ExitStatus.AS_ASKED
    _print_changes(call, found["changes"])
    print(plan_summary(found["changes"], short_path(system.config)))
    return ExitStatus.AS_ASKED


def reload(call: Invocation) -> int:
    """Apply the configuration, and wait until what has changed works."""
    began = time.monotonic()
    system = call.system()
    spec = load(system.config)
    with speaking_to(system):
        client = system.client(TIMEOUT)
        fleet = fleet_status(client)
        check_same_file(fleet["daemon"], spec.source)
        applied = connection.apply(client, _encoded(spec), rolling=call.rolling)
        before = {service["name"]: service for service in fleet["services"]}
        if not call.json:
            _print_changes(call, applied["changes"])
        outcome: Outcome | None = None
        if call.wait:
            try:
                left = max(0.0, call.timeout - (time.monotonic() - began))
                outcome = _follow(call, system, applied, before, left)
            except KeyboardInterrupt:
                raise Interrupted("the reload goes on; see: atlasctl status") from None
    if call.json:
        print(json.dumps(_told(applied, outcome), ensure_ascii=False, indent=2))
        reached = outcome is None or outcome.reached
        return ExitStatus.AS_ASKED if reached else ExitStatus.NOT_REACHED
    if outcome is not None and not outcome.reached:
        return report_failure(outcome)
    elapsed = None if outcome is None else time.monotonic() - began
    print(reload_summary(applied["changes"], short_path(system.config), elapsed))
    return ExitStatus.AS_ASKED


def _encoded(spec: FleetSpec) -> object:
    encoded = encode(spec)
    try:
        json.dumps(encoded, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise CommandError(
            ExitStatus.USAGE,
            f"{printable(spec.source)} leads to a path or a value that is not UTF-8",
            "rename it; or apply it so: atlasctl down, then atlasctl up",
        ) from None
    return encoded


def _print_changes(call: Invocation, changes: list[ChangeMessage]) -> None:
    if lines := change_lines(changes, call.paint):
        print("\n".join([*lines, ""]), flush=True)


def _follow(
    call: Invocation,
    system: System,
    applied: Reloading,
    before: Mapping[str, ServiceStatus],
    timeout: float,
) -> Outcome:
    kinds = {c["service"]: c["kind"] for c in applied["changes"] if is_change(c)}
    kinds = {name: kinds.get(name, "live") for name in (*applied["services"], *applied["also"])}
    already = [
        name
        for name, kind in kinds.items()
        if kind == "live" and (name in before and (is_up(before[name]) or _is_down(before[name])))
    ]

    def judge(service: ServiceStatus, fleet: Mapping[str, ServiceStatus]) -> Progress:
        name = service["name"]
        kind, earlier = kinds[name], before.get(name)
        return progress_reload(kind, service, fleet, earlier, rolling=call.rolling)

    view = View(call.paint, "reload", quiet=call.json)
    outcome = wait(system.client(), kinds, judge, view, timeout=timeout, already=already)
    if not call.json:
        listed = {service["name"] for service in outcome.services}
        for name, kind in kinds.items():
            if kind == "remove" and name not in listed:
                print(f"{printable(name)}: removed")
    return outcome


def _is_down(service: ServiceStatus) -> bool:
    return service["state"] == "stopped" and service["goal"] == "down"


def _told(applied: Reloading, outcome: Outcome | None) -> dict[str, object]:
    """Return what `--json` prints: the answer, and what became of it if that was waited for."""
    if outcome is None:
        return {**applied, "reached": None, "states": None}
    states = {
        service["name"]: {
            "state": service["state"],
            "reason": service["reason"],
            "reached": isinstance(outcome.progress[service["name"]], Reached),
        }
        for service in outcome.services
    }
    return {**applied, "reached": outcome.reached, "states": states}
