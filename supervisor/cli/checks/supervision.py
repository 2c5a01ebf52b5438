"""The supervisor: whether it runs, can be reached and writes, and what it says of services."""

import os
import stat
from collections.abc import Iterator, Sequence
from itertools import pairwise

from supervisor import __version__
from supervisor.cli.connection import System, fleet_status, no_daemon, short_path
from supervisor.cli.exits import CommandError
from supervisor.cli.findings import OURS, Finding, Level
from supervisor.cli.services import AILING, is_good, notice_of
from supervisor.cli.wording import count, size
from supervisor.control.client import ControlError, DaemonNotRunning
from supervisor.control.messages import DaemonStatus, FleetStatus, ServiceStatus
from supervisor.control.socket import SocketPathError, socket_path
from supervisor.journal import Entry
from supervisor.posix.lock import lock_holder, lock_path
from supervisor.posix.processes import is_stopped

CHECK = "supervisor"


def supervisor(system: System) -> tuple[FleetStatus | None, list[Finding]]:
    """Return the status that the supervisor gives, if it does, and what there is to say of it."""
    holder = lock_holder(lock_path(system.state_dir))
    if holder is not None and is_stopped(holder):  # it would not answer, for all of the time-out
        text = f"pid {holder} stands still: somebody has stopped it (SIGSTOP, Ctrl-Z)"
        return None, [Finding(OURS, CHECK, "wrong", text, f"kill -CONT {holder}")]
    try:
        status = fleet_status(system.client())
    except CommandError as error:  # the path of its socket is too long
        return None, [Finding(OURS, CHECK, "wrong", error.message, error.hint or None)]
    except DaemonNotRunning:
        return None, [_absent(system)]
    except ControlError as error:
        text = f"it does not answer: {error.message}"
        return None, [Finding(OURS, CHECK, "wrong", text, error.hint or None)]
    return status, [_daemon(status["daemon"], system.config), *_sink(status["daemon"])]


def _absent(system: System) -> Finding:
    # Who is named in the lock and lives holds it. To try the lock could keep a new one from it.
    holder = lock_holder(lock_path(system.state_dir))
    if holder is not None:
        text = f"pid {holder} holds its lock, but nobody listens at the control socket"
        # A killed supervisor harms nothing that runs, and one that is asked to end ends all.
        hint = (
            f"if it is not just starting or ending: kill -9 {holder}, then atlasctl up, which "
            "takes over what runs"
        )
        return Finding(OURS, CHECK, "wrong", text, hint)
    socket = _socket(system)
    if socket and not stat.S_ISSOCK(os.lstat(socket).st_mode):
        text = f"{short_path(socket)} is in the way of the control socket, and is none"
        return Finding(OURS, CHECK, "wrong", text, "move it away")
    refusal = no_daemon(system)
    # One that ends in order takes its socket with it.
    killed = "; the last one was killed" if socket and "killed" not in refusal.message else ""
    return Finding(OURS, CHECK, "note", refusal.message + killed, refusal.hint)


def _socket(system: System) -> str | None:
    try:
        path = socket_path(system.state_dir)
    except SocketPathError:
        return None
    return path if os.path.lexists(path) else None


def _daemon(daemon: DaemonStatus, config: str) -> Finding:
    pid = daemon["pid"]
    if os.path.realpath(daemon["config"]) != os.path.realpath(config):
        other = short_path(daemon["config"])
        text = f"pid {pid} was started with {other}, not with {short_path(config)}"
        return Finding(OURS, CHECK, "wrong", text, f"stop it: atlasctl -c {other} down")
    if daemon["version"] != __version__:
        text = f"pid {pid} is of version {daemon['version']}, and {__version__} is installed"
        return Finding(OURS, CHECK, "note", text, "atlasctl upgrade")
    return Finding(OURS, CHECK, "ok", f"runs, pid {pid}, version {__version__}")


def _sink(daemon: DaemonStatus) -> Iterator[Finding]:
    pid = daemon["sink_pid"]
    held = "what services print waits in their FIFOs, and they stand still when one is full"
    if pid is None:
        hint = "a new one is tried again and again; why it fails: atlasctl events -n 20"
        yield Finding(OURS, "log sink", "wrong", f"there is none: {held}", hint)
    elif is_stopped(pid):
        text = f"pid {pid} stands still, somebody has stopped it: {held}"
        yield Finding(OURS, "log sink", "wrong", text, f"kill -CONT {pid}")


def state(name: str, service: ServiceStatus | None) -> Iterator[Finding]:
    """Yield what the supervisor that runs says of a service; None: it does not know it."""
    if service is None:
        text = "it is in the configuration, and the supervisor that runs does not know it"
        yield Finding(name, "state", "note", text, "atlasctl reload")
        return
    yield _state(name, service)
    if lost := service["log_lost"]:
        text = f"{size(lost)} of it could not be written"
        yield Finding(name, "output", "note", text, "why not: atlasctl events -n 20")


def _state(name: str, service: ServiceStatus) -> Finding:
    said = service["state"]
    if is_good(service):
        if notice := notice_of(service):
            return Finding(name, "state", "note", f"{said}, but not as asked: {notice}")
        return Finding(name, "state", "ok", said)
    # What somebody has stopped, or what is on its way, is not wrong.
    level: Level = "wrong" if said in ("failed", "backoff", *AILING) else "note"
    return Finding(name, "state", level, f"{said}: {service['reason']}", f"atlasctl why {name}")


def journal(entries: Sequence[Entry]) -> Iterator[Finding]:
    """Yield whether the journal has gaps. Entries are numbered one by one."""
    lost = sum(max(0, later.seq - earlier.seq - 1) for earlier, later in pairwise(entries))
    if lost:
        are = count(lost, "entry is", "entries are")
        text = f"{are} missing: they could not be written, or are damaged"
        hint = "a full disk does that; what `atlasctl why` says of that time is not all"
        yield Finding(OURS, "journal", "note", text, hint)
