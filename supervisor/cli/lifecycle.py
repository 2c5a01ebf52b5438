"""`up`, `down`, `start`, `stop` and `restart`: ask the daemon, wait, and say how it went."""

import os
import sys
import time
from collections.abc import Mapping, Sequence

from supervisor.cli import takedown, wording
from supervisor.cli.connection import (
    System,
    Verb,
    check_same_file,
    command,
    compare,
    fleet_status,
    short_path,
    shutdown,
    speaking_to,
)
from supervisor.cli.daemon_log import LOG_NAME, what_it_said
from supervisor.cli.exits import CommandError, ExitStatus, Interrupted
from supervisor.cli.invocation import Invocation
from supervisor.cli.launch import POLL, launch, running, wait_until_gone
from supervisor.cli.log_files import LATE, await_end, last_lines
from supervisor.cli.progress import next_steps, summary_line, where_lines
from supervisor.cli.services import (
    Lost,
    Progress,
    Underway,
    check_names,
    first_runs_after_restart,
    is_up,
    needs_start,
    progress_down,
    progress_roll,
    progress_up,
)
from supervisor.cli.terminal import printable, warn
from supervisor.cli.waiting import Outcome, View, wait
from supervisor.config.codec import encode
from supervisor.config.loader import load
from supervisor.control.client import ControlError, DaemonNotRunning
from supervisor.control.messages import FleetStatus, ServiceStatus
from supervisor.core.effects import Topic
from supervisor.core.spec import FleetSpec
from supervisor.posix.identity import identify
from supervisor.posix.lock import lock_holder, lock_path

_ENDS = (Topic.LEFT_OVER, Topic.STOPPED)

EXCERPT = 10
"""Log lines shown of a service that failed."""


def up(call: Invocation) -> int:
    """Start the daemon unless it runs, and what is not up; wait; say where everything is."""
    began = time.monotonic()
    system = call.system()
    spec = load(system.config)
    check_names(call.services, [service.name for service in spec.services])
    view = View(call.paint, "up")
    try:
        with speaking_to(system):
            fleet = _daemon_for(system, spec, view, began + call.timeout)
            view.clear()
            return _bring_up(call, system, spec, fleet, view, began)
    except KeyboardInterrupt:
        view.clear()
        raise Interrupted(_goes_on(system)) from None


def _daemon_for(system: System, spec: FleetSpec, view: View, deadline: float) -> FleetStatus:
    fleet = running(system)
    if fleet is not None and fleet["daemon"]["stopping"]:
        pid = fleet["daemon"]["pid"]
        view.say(f"the supervisor (pid {pid}) is stopping; waiting for its end")
        if not wait_until_gone(identify(pid), deadline):
            raise CommandError(
                ExitStatus.NOT_REACHED,
                f"the supervisor (pid {pid}) is still stopping its services",
                "see: atlasctl status",
            )
        fleet = None
    return launch(system, spec, view.say) if fleet is None else fleet


def _bring_up(
    call: Invocation,
    system: System,
    spec: FleetSpec,
    fleet: FleetStatus,
    view: View,
    began: float,
) -> int:
    wanted = list(call.services) or [s.name for s in spec.services if s.enabled]
    _check_same_system(fleet, spec, wanted)
    before = {s["name"]: s for s in fleet["services"]}
    settled = [name for name in wanted if is_up(before[name])]
    fresh = fleet["daemon"]["uptime"] < time.monotonic() - began
    if not fresh:
        _warn_of_changes(system, spec)
    if len(settled) == len(wanted) and not fresh:
        services = [before[name] for name in wanted]
        print("everything is already up, nothing changed")
        _print_where(call, services)
        return ExitStatus.AS_ASKED
    client = system.client()
    also: list[str] = []
    # What a daemon of ours has tried and seen fail just now need not be tried twice.
    tried = {name for name in wanted if fresh and before[name]["last_exit"] is not None}
    if ask := [name for name in wanted if needs_start(before[name]) and name not in tried]:
        also = command(client, "start", ask)["also"]
    if not call.wait:
        print(f"asked for {wording.listing(wanted)}; see: atlasctl status")
        return ExitStatus.AS_ASKED
    left = max(0.0, call.timeout - (time.monotonic() - began))
    try:
        outcome = wait(
            client,
            {*wanted, *also},
            progress_up,
            view,
            timeout=left,
            already=() if fresh else settled,
        )
    except DaemonNotRunning:
        said = what_it_said(os.path.join(system.state_dir, LOG_NAME))
        raise CommandError(
            ExitStatus.NOT_REACHED, "the supervisor ended while services were starting", said
        ) from None
    if not outcome.reached:
        return report_failure(outcome)
    if outcome.gone:
        return _report_gone(outcome)
    print()
    _print_where(call, outcome.services)
    elapsed = time.monotonic() - began
    print(summary_line(outcome.services, fleet["daemon"]["pid"], elapsed))
    print(call.paint(next_steps(outcome.services), "dim"))
    return ExitStatus.AS_ASKED


def _check_same_system(fleet: FleetStatus, spec: FleetSpec, wanted: Sequence[str]) -> None:
    """Raise CommandError if the daemon that answers does not run what this file asks for."""
    daemon = fleet["daemon"]
    check_same_file(daemon, spec.source)
    known = {service["name"] for service in fleet["services"]}
    if new := [name for name in wanted if name not in known]:
        raise CommandError(
            ExitStatus.NOT_REACHED,
            f"{wording.listing(new)}: not known to the supervisor (pid {daemon['pid']}), which "
            f"has read {short_path(spec.source)} before this was added",
            "to apply it: atlasctl reload",
        )


def _warn_of_changes(system: System, spec: FleetSpec) -> None:
    """Say which services do not run as the file describes them now; `up` itself changes none."""
    try:
        changes = compare(system.client(), encode(spec))["changes"]
    except ControlError:
        return  # it was not asked for; whatever is wrong will be told by what was
    differ = [change["service"] for change in changes if change["kind"] != "none"]
    if differ:
        shown = differ[:5] + ([f"{len(differ) - 5} more"] if len(differ) > 5 else [])
        warn(
            f"{short_path(spec.source)} has changed since the supervisor read it "
            f"({wording.listing(shown)}); what it means: atlasctl plan, to apply it: "
            "atlasctl reload"
        )


def _print_where(call: Invocation, services: Sequence[ServiceStatus]) -> None:
    logs = [short_path(service["log"]) for service in services]
    for line in where_lines(services, logs, call.paint):
        print(line)


def start(call: Invocation) -> int:
    """Start services and wait until they work."""
    return _ask(call, "start")


def stop(call: Invocation) -> int:
    """Stop services and wait until nothing of them is left."""
    return _ask(call, "stop")


def restart(call: Invocation) -> int:
    """Restart services and wait until the new runs work."""
    return _ask(call, "restart")


def _ask(call: Invocation, verb: Verb) -> int:
    system = call.system()
    client = system.client()
    view = View(call.paint, verb)
    with speaking_to(system):
        before = {s["name"]: s for s in fleet_status(client)["services"]}
        accepted = command(client, verb, call.services, rolling=call.rolling)
        names = [*accepted["services"], *accepted["also"]]
        if not names:
            print("there is no enabled service" if before else "there are no services")
            return ExitStatus.AS_ASKED
        if not call.wait:
            print(f"{verb} asked for {wording.listing(names)}; see: atlasctl status")
            return ExitStatus.AS_ASKED
        try:
            outcome = _wait_for(call, system, verb, names, before, view)
        except KeyboardInterrupt:
            raise Interrupted(f"the {verb} goes on; see: atlasctl status") from None
    if not outcome.reached:
        return report_failure(outcome)
    return _report_gone(outcome) if outcome.gone and verb != "stop" else ExitStatus.AS_ASKED


def _wait_for(
    call: Invocation,
    system: System,
    verb: Verb,
    names: Sequence[str],
    before: Mapping[str, ServiceStatus],
    view: View,
) -> Outcome:
    known = [before[name] for name in names if name in before]
    first_runs: dict[str, int] = {}
    already: list[str] = []
    match verb:
        case "stop":
            already = [s["name"] for s in known if s["state"] == "stopped"]
        case "start":
            already = [s["name"] for s in known if is_up(s) and s["state"] != "completed"]
        case "restart":
            first_runs = first_runs_after_restart(known)

    going_down: set[str] = set()

    def judge(service: ServiceStatus, fleet: Mapping[str, ServiceStatus]) -> Progress:
        name = service["name"]
        if verb == "stop":
            if service["goal"] == "down":
                going_down.add(name)
            return progress_down(service, overruled=name in going_down)
        first_run = first_runs.get(name, 0)
        if call.rolling:
            old_pid = before[name]["pid"] if name in before else None
            return progress_roll(service, fleet, first_run, old_pid)
        return progress_up(service, fleet, first_run)

    return wait(system.client(), names, judge, view, timeout=call.timeout, already=already)


def _judge_down(service: ServiceStatus, _fleet: Mapping[str, ServiceStatus]) -> Progress:
    return progress_down(service)


def down(call: Invocation) -> int:
    """Stop every service and the daemon, and wait until both are gone."""
    began = time.monotonic()
    system = call.system()
    client = system.client()
    view = View(call.paint, "down")
    deadline = began + call.timeout
    while (fleet := _once_it_answers(system, deadline)) is None:
        status = _nothing_to_stop(system, max(0.0, deadline - time.monotonic()))
        if status is not None:
            return status
    pid = fleet["daemon"]["pid"]
    daemon = identify(pid)
    names = [service["name"] for service in fleet["services"]]
    stopped = [s["name"] for s in fleet["services"] if s["pid"] is None]
    outcome: Outcome | None = None
    seq: int | None = None
    try:
        with speaking_to(system):
            try:
                seq = shutdown(client)["seq"]
                outcome = wait(
                    client,
                    [name for name in names if name not in stopped],
                    _judge_down,
                    view,
                    timeout=call.timeout,
                    daemon=pid,
                )
            except DaemonNotRunning:
                pass  # it has ended, which is what was asked for; the wait below proves it
            except ControlError as error:
                # It may have ended in the middle of an answer; a refusal has a status.
                if error.status:
                    raise
        gone = wait_until_gone(daemon, deadline)
    except KeyboardInterrupt:
        raise Interrupted("the supervisor goes on stopping; see: atlasctl status") from None
    if gone:
        took = wording.duration(time.monotonic() - began)
        ran = wording.count(len(names) - len(stopped), "service")
        print(f"stopped {ran} and the supervisor (pid {pid}) after {took}")
        _tell_of_login_item(system)
        return ExitStatus.AS_ASKED if seq is None else _report_left(system, seq)
    left = [] if outcome is None else [*outcome.of(Underway), *outcome.of(Lost)]
    what = wording.listing([s["name"] for s in left]) or "its own end"
    warn(
        f"the supervisor (pid {pid}) still waits for {what} after {call.timeout:g} s; it goes on "
        "stopping: atlasctl status"
    )
    return ExitStatus.NOT_REACHED


def running_or_none(system: System) -> FleetStatus | None:
    """Return the state of the daemon that answers, or None if there is none."""
    with speaking_to(system):
        return running(system)


def _once_it_answers(system: System, deadline: float) -> FleetStatus | None:
    """Return the state of the daemon, or None if there is none.

    One that has the lock and does not answer is starting, or ending: that it runs not is not said
    before it is so. Raises CommandError at the deadline.
    """
    lock = lock_path(system.state_dir)
    while (fleet := running_or_none(system)) is None:
        pid = lock_holder(lock)
        if pid is None:
            return None
        if time.monotonic() >= deadline:
            raise CommandError(
                ExitStatus.NOT_REACHED,
                f"the supervisor (pid {pid}) does not answer",
                what_it_said(os.path.join(system.state_dir, LOG_NAME)),
            )
        time.sleep(POLL)
    return fleet


def _nothing_to_stop(system: System, timeout: float) -> int | None:
    # A daemon that was killed may be about to be started again, by whoever starts it at login.
    from supervisor.cli import login_item

    if login_item.installed(system) and (why := login_item.cancel(system)):
        warn(f"the login item may start everything again: {why}")
    if takedown.is_needed(system.state_dir):
        return takedown.take_down(system, timeout)
    print("nothing runs, nothing changed")
    return ExitStatus.AS_ASKED


def _tell_of_login_item(system: System) -> None:
    from supervisor.cli import login_item

    if name := login_item.installed(system):
        print(f"at the next login {name} starts all again; if it is not to: atlasctl uninstall")


def report_failure(outcome: Outcome) -> int:
    """Print what a person needs to mend it: the last lines of what failed, and what goes on."""
    sys.stdout.flush()
    deadline = time.monotonic() + LATE
    for service in outcome.of(Lost):
        never_ran = service["pid"] is None and service["last_exit"] is None
        if never_ran or service["state"] == "blocked":
            continue  # what it printed on another day explains nothing
        await_end(service["log"], service["run"], deadline)
        if lines := last_lines(service["log"], EXCERPT):
            print(f"\nlast lines of {short_path(service['log'])}:", file=sys.stderr)
            for line in lines:
                print(f"  {printable(line)}", file=sys.stderr)
    names = [s["name"] for s in (*outcome.of(Lost), *outcome.of(Underway))]
    first = names[0]
    hint = f"more: atlasctl why {first}, atlasctl logs {first}"
    if pending := outcome.of(Underway):
        listed = wording.listing([s["name"] for s in pending])
        hint = f"{listed} may still get there; {hint}"
    warn(f"not as asked: {wording.listing(names)}; {hint}")
    return ExitStatus.NOT_REACHED


def _report_left(system: System, seq: int) -> int:
    """Say what the supervisor could not end: its status, in which that stood, went with it."""
    from supervisor.journal import read

    latest = {entry.unit: entry for entry in read(system.state_dir, seq) if entry.topic in _ENDS}
    left = [entry for unit, entry in latest.items() if unit and entry.topic == Topic.LEFT_OVER]
    for entry in left:
        warn(f"not wholly stopped: {entry.unit}: {printable(entry.text)}")
    return ExitStatus.NOT_REACHED if left else ExitStatus.AS_ASKED


def _report_gone(outcome: Outcome) -> int:
    names = wording.listing(list(outcome.gone))
    warn(f"not as asked: {names}: taken out of the configuration meanwhile; see: atlasctl events")
    return ExitStatus.NOT_REACHED


def _goes_on(system: System) -> str:
    try:
        fleet = running(system)
    except Exception:  # noqa: BLE001 - the interruption must be reported whatever else is wrong
        fleet = None
    if fleet is None:
        return "a supervisor that was being started may go on; see: atlasctl status"
    alive = [s["name"] for s in fleet["services"] if s["pid"] is not None]
    what = f" and {wording.listing(alive)}" if 0 < len(alive) <= 5 else " and its services"
    pid = fleet["daemon"]["pid"]
    return f"the supervisor (pid {pid}){what} go on; to stop all: atlasctl down"
