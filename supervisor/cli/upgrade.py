"""`upgrade`: the daemon executes the code that is installed now, and nothing else changes.

The daemon's word that it will do so is not taken for the deed: the command waits until the process
says that it has executed itself once more, and then compares every service with what it was.
"""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from supervisor.cli import connection, wording
from supervisor.cli.connection import System, fleet_status, speaking_to
from supervisor.cli.daemon_log import LOG_NAME, what_it_said
from supervisor.cli.exits import CommandError, ExitStatus, Interrupted
from supervisor.cli.invocation import Invocation
from supervisor.cli.terminal import printable, warn
from supervisor.cli.waiting import View
from supervisor.control.client import ControlError, DaemonNotRunning
from supervisor.control.messages import FleetStatus, ServiceStatus
from supervisor.posix.identity import ProcessIdentity, identify, is_alive

POLL = 0.05
LOOK_TIMEOUT = 2.0
"""Seconds for one look. While the code is replaced, clients wait in the socket's backlog."""
SWITCH_TIMEOUT = 10.0
"""Seconds after which a daemon that still answers with its old code has not replaced it. It does
so within milliseconds of its answer, unless execve(2) fails."""


@dataclass(frozen=True, slots=True)
class Run:
    """One service at one moment: which of its runs is in service, and its pid."""

    service: str
    run: int
    pid: int | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What ran before, and what runs after."""

    undisturbed: tuple[str, ...]
    disturbed: tuple[tuple[Run, Run | None], ...]
    """Before and after; None: the daemon does not know it any more."""


def compare(before: Sequence[ServiceStatus], after: Sequence[ServiceStatus]) -> Comparison:
    """Compare the runs of all services that ran before. Pure."""
    now = {service["name"]: _run(service) for service in after}
    pairs = [(_run(s), now.get(s["name"])) for s in before if s["pid"] is not None]
    return Comparison(
        tuple(old.service for old, new in pairs if old == new),
        tuple((old, new) for old, new in pairs if old != new),
    )


def _run(service: ServiceStatus) -> Run:
    return Run(service["name"], service["run"], service["pid"])


def upgrade(call: Invocation) -> int:
    """Let the daemon execute the installed code, and prove that no service noticed."""
    deadline = time.monotonic() + call.timeout
    system = call.system()
    view = View(call.paint, "upgrade", quiet=call.json)
    try:
        with speaking_to(system):
            before = fleet_status(system.client())
            daemon = identify(before["daemon"]["pid"])
            view.say("the supervisor lets the installed code prove itself")
            connection.upgrade(system.client(timeout=call.timeout))
            view.say("the supervisor executes the new code")
            after = _upgraded(system, before, daemon, deadline)
    except KeyboardInterrupt:
        raise Interrupted("the upgrade goes on; see: atlasctl status") from None
    finally:
        view.clear()
    compared = compare(before["services"], after["services"])
    same_process = before["daemon"]["pid"] == after["daemon"]["pid"]
    if call.json:
        print(json.dumps(_told(before, after, compared), ensure_ascii=False, indent=2))
    else:
        print(summary(before, after, compared))
        for old, new in compared.disturbed:
            warn(disturbance(old, new))
        if not same_process:
            warn("the supervisor is another process now: it ended, and another was started")
    good = same_process and not compared.disturbed
    return ExitStatus.AS_ASKED if good else ExitStatus.NOT_REACHED


def _upgraded(
    system: System, before: FleetStatus, daemon: ProcessIdentity | None, deadline: float
) -> FleetStatus:
    """Return the first answer of the new code. Raises CommandError if it does not come."""
    about = before["daemon"]
    pid = about["pid"]
    answered = time.monotonic()
    while True:
        try:
            after = fleet_status(system.client(timeout=LOOK_TIMEOUT))
        except (DaemonNotRunning, ControlError):
            # Cut off in the middle of an answer, or not listening for a moment. Its end is final.
            if daemon is not None and not is_alive(daemon):
                raise CommandError(
                    ExitStatus.NO_DAEMON,
                    f"the supervisor (pid {pid}) ended when it executed the new code; its "
                    "services go on without it",
                    "let a new one take over: atlasctl up\n"
                    + what_it_said(os.path.join(system.state_dir, LOG_NAME)),
                ) from None
        else:
            if after["daemon"]["upgrades"] > about["upgrades"] or after["daemon"]["pid"] != pid:
                return after
            if time.monotonic() - answered > SWITCH_TIMEOUT:
                raise CommandError(
                    ExitStatus.NOT_REACHED,
                    f"the supervisor (pid {pid}) goes on with its old code, {about['version']}",
                    "why: atlasctl events",
                )
        if time.monotonic() > deadline:
            raise CommandError(
                ExitStatus.NOT_REACHED,
                f"the supervisor (pid {pid}) does not answer with its new code",
                "it may still come: atlasctl status",
            )
        time.sleep(POLL)


def summary(before: FleetStatus, after: FleetStatus, compared: Comparison) -> str:
    """Return the sentence that tells how it went: versions, pid, services."""
    old, new = before["daemon"], after["daemon"]
    version = f"{old['version']} → {new['version']}"
    if old["version"] == new["version"]:
        version = f"{new['version']}, executed anew"
    pid = f"pid {new['pid']} as before"
    if old["pid"] != new["pid"]:
        pid = f"pid {old['pid']} → {new['pid']}"
    services = wording.count(len(compared.undisturbed), "service")
    disturbed = f", {len(compared.disturbed)} not" if compared.disturbed else ""
    return f"atlasctl {version}, {pid}, {services} undisturbed{disturbed}"


def disturbance(old: Run, new: Run | None) -> str:
    """Return what has become of a service that did not stay as it was."""
    name = printable(old.service)
    if new is None:
        return f"{name}: was run {old.run} (pid {old.pid}) and is not known any more"
    now = "does not run now" if new.pid is None else f"is run {new.run} (pid {new.pid}) now"
    return f"{name}: was run {old.run} (pid {old.pid}) and {now}; see: atlasctl why {name}"


def _told(before: FleetStatus, after: FleetStatus, compared: Comparison) -> dict[str, object]:
    return {
        "from": before["daemon"]["version"],
        "to": after["daemon"]["version"],
        "pid_before": before["daemon"]["pid"],
        "pid": after["daemon"]["pid"],
        "upgrades": after["daemon"]["upgrades"],
        "undisturbed": list(compared.undisturbed),
        "disturbed": [
            {
                "service": old.service,
                "run_before": old.run,
                "pid_before": old.pid,
                "run": None if new is None else new.run,
                "pid": None if new is None else new.pid,
            }
            for old, new in compared.disturbed
        ],
    }
