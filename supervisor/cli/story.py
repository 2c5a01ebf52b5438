"""`why` and `events`: what the journal knows. Both read it on disk, so they need no daemon."""

import collections
import json
import sys
import time
from dataclasses import asdict

from supervisor import journal
from supervisor.cli.connection import (
    System,
    fleet_status,
    follow_events,
    no_daemon,
    speaking_to,
)
from supervisor.cli.episode import event_line, headline, last_episode, timeline
from supervisor.cli.exits import CommandError, ExitStatus, Interrupted
from supervisor.cli.invocation import Invocation
from supervisor.cli.log_files import last_lines, log_path
from supervisor.cli.services import check_names, is_good, notice_of
from supervisor.cli.terminal import printable, warn
from supervisor.config.loader import load
from supervisor.config.problems import ConfigError
from supervisor.control.client import ControlError, DaemonNotRunning
from supervisor.control.messages import EventMessage, ServiceStatus
from supervisor.journal import Entry

LISTED = 50
EXCERPT = 5


def why(call: Invocation) -> int:
    """Tell what led to the present state of a service."""
    system = call.system()
    name = call.services[0]
    services = _services(system)
    entries = list(journal.read(system.state_dir))
    _check([name], system, services, entries)
    status = None if services is None else services[name]
    episode = last_episode(name, entries)
    now = time.time()
    sentence = headline(episode, status, now)
    if call.json:
        told = {
            "service": name,
            "state": None if status is None else status["state"],
            "reason": None if status is None else status["reason"],
            "notice": (notice_of(status) or None) if status is not None else None,
            "summary": sentence,
            "events": [asdict(entry) for entry in episode.entries],
        }
        print(json.dumps(told, ensure_ascii=False, indent=2))
        return ExitStatus.AS_ASKED
    print(sentence)
    if episode.entries:
        print()
    for line in timeline(episode, now, call.paint):
        print(line)
    if status is None or not is_good(status):
        _print_excerpt(name, status, system)
    return ExitStatus.AS_ASKED


def _services(system: System) -> dict[str, ServiceStatus] | None:
    """Return what the daemon says of every service, or None if there is none."""
    try:
        return {s["name"]: s for s in fleet_status(system.client())["services"]}
    except DaemonNotRunning:
        return None
    except ControlError as error:
        warn(f"the supervisor does not answer ({error.message}); this is what the journal knows")
        return None


def _check(
    names: list[str],
    system: System,
    services: dict[str, ServiceStatus] | None,
    entries: list[Entry],
) -> None:
    """Raise CommandError for a name that neither daemon, journal nor configuration knows."""
    if services is not None:
        check_names(names, list(services))
        return
    known = {entry.unit for entry in entries if entry.unit}
    if not known.issuperset(names):
        try:
            known |= {service.name for service in load(system.config).services}
        except ConfigError as error:
            raise CommandError(
                ExitStatus.USAGE,
                f"nothing is written of {', '.join(names)}, and the configuration has errors",
                f"they are:\n{error}",
            ) from None
    check_names(names, sorted(known))


def _print_excerpt(name: str, status: ServiceStatus | None, system: System) -> None:
    path = status["log"] if status is not None else log_path(system, name)
    lines = last_lines(path, EXCERPT) if path is not None else []
    if lines:
        print(f"\nlast lines of its log ({path}):")
        for line in lines:
            print(f"  {printable(line)}")


def events(call: Invocation) -> int:
    """List the journal, and go on with what comes."""
    system = call.system()
    wanted = LISTED if call.lines is None else call.lines
    latest: collections.deque[Entry] = collections.deque(maxlen=wanted)
    seq = 0
    units = set()
    for entry in journal.read(system.state_dir):
        seq = entry.seq
        units.add(entry.unit)
        if not call.services or entry.unit in call.services:
            latest.append(entry)
    if unknown := [name for name in call.services if name not in units]:
        _check(unknown, system, _services(system), [])
    for entry in latest:
        _print_entry(entry, call)
    if not call.follow:
        return ExitStatus.AS_ASKED
    sys.stdout.flush()
    try:
        return _follow(call, system, seq)
    except KeyboardInterrupt:
        raise Interrupted("no longer following; the services go on as they are") from None


def _follow(call: Invocation, system: System, seq: int) -> int:
    with speaking_to(system):
        for message in follow_events(system.client(), seq):
            if not call.services or message["unit"] in call.services:
                _print_entry(_entry(message), call)
                sys.stdout.flush()
    raise CommandError(
        ExitStatus.NO_DAEMON,
        "the supervisor has ended, and with it the events",
        no_daemon(system).hint,
    )


def _entry(message: EventMessage) -> Entry:
    return Entry(
        message["seq"],
        message["at"],
        message["unit"],
        message["topic"],
        message["text"],
        message["run"],
    )


def _print_entry(entry: Entry, call: Invocation) -> None:
    if call.json:
        print(json.dumps(asdict(entry), ensure_ascii=False, separators=(",", ":")))
    else:
        print(event_line(entry, time.time(), call.paint))
