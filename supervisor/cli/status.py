"""`atlasctl status`, once or again every second; and the names of services, for completion."""

import json
import sys
import time

from supervisor.cli.connection import (
    TIMEOUT,
    System,
    fleet_status,
    no_daemon,
    short_path,
    speaking_to,
)
from supervisor.cli.exits import ExitStatus, Interrupted
from supervisor.cli.invocation import Invocation
from supervisor.cli.login_item import installed
from supervisor.cli.services import chosen, is_good
from supervisor.cli.status_table import asked_services, render_status
from supervisor.cli.terminal import Canvas, is_terminal
from supervisor.config.problems import ConfigError
from supervisor.control.client import ControlError, DaemonNotRunning
from supervisor.control.messages import FleetStatus

WATCH_EVERY = 1.0
PATIENCE = 2.0
"""Seconds that somebody who has pressed Tab may have to wait."""


def status(call: Invocation) -> int:
    """Print the state of services; the exit code says whether all is well."""
    if call.watch:
        return _watch(call)
    system = call.system()
    with speaking_to(system):
        fleet = _fleet(system)
    chosen(fleet["services"], call.services)
    if call.json:
        shown: FleetStatus = {
            "daemon": fleet["daemon"],
            "services": chosen(fleet["services"], call.services),
        }
        print(json.dumps(shown, ensure_ascii=False, indent=2))
    else:
        print("\n".join(_lines(call, fleet)))
    good = all(is_good(service) for service in asked_services(fleet, call.services))
    return ExitStatus.AS_ASKED if good else ExitStatus.NOT_REACHED


def _fleet(system: System, timeout: float = TIMEOUT) -> FleetStatus:
    """Ask the daemon, and add what it does not know: whether it is started at login."""
    fleet = fleet_status(system.client(timeout))
    fleet["daemon"]["login_item"] = installed(system)
    return fleet


def _lines(call: Invocation, fleet: FleetStatus) -> list[str]:
    services = chosen(fleet["services"], call.services)
    daemon = fleet["daemon"]
    # Its own file: it also answers who asks for another one of the same folder.
    return render_status(daemon, services, call.paint, short_path(daemon["config"]))


def _watch(call: Invocation) -> int:
    """Draw the state every second until Ctrl-C; a daemon that goes away may come back."""
    system = call.system()
    canvas = Canvas(sys.stdout) if is_terminal(sys.stdout) and not call.json else None
    try:
        while True:
            stamp = time.strftime("%H:%M:%S")
            try:
                fleet = _fleet(system, WATCH_EVERY)
            except DaemonNotRunning:
                gone = no_daemon(system)
                lines = [f"{gone.message}; waiting for it ({gone.hint})"]
            except ControlError as error:
                lines = [f"the supervisor does not answer: {error.message}"]
            else:
                if call.json:
                    lines = [json.dumps(fleet, ensure_ascii=False)]
                else:
                    lines = _lines(call, fleet)
            if canvas is None:
                print("\n".join(lines if call.json else [stamp, *lines, ""]), flush=True)
            else:
                canvas.draw([call.paint(stamp, "dim"), *lines])
            time.sleep(WATCH_EVERY)
    except KeyboardInterrupt:
        raise Interrupted("no longer watching; the services go on as they are") from None


def service_names(call: Invocation) -> int:
    """Print the names of the services, one a line; nothing where they cannot be known."""
    try:
        system = call.system()
        try:
            fleet = fleet_status(system.client(timeout=PATIENCE))
            names = [service["name"] for service in fleet["services"]]
        except (DaemonNotRunning, ControlError):
            from supervisor.config.loader import load

            names = [s.name for s in load(system.config, timeout=PATIENCE).services]
    except ConfigError:
        names = []
    for name in names:
        print(name)
    return ExitStatus.AS_ASKED
