"""Starting the daemon in the background, in a session of its own, and knowing that it answers.

The daemon's own lock decides which of two that start at once lives; the loser's launcher joins the
winner. Nothing here ever starts a second one beside a daemon that answers.
"""

import os
import sys
import time
from collections.abc import Callable

from supervisor.cli.connection import System, fleet_status
from supervisor.cli.daemon_log import LOG_NAME, open_log, size_of, what_it_said
from supervisor.cli.exits import CommandError, ExitStatus
from supervisor.cli.terminal import warn
from supervisor.compiled import leave, path_of_ours
from supervisor.control.client import ControlError, DaemonNotRunning
from supervisor.control.messages import FleetStatus
from supervisor.core.spec import FleetSpec
from supervisor.posix.identity import ProcessIdentity, is_alive
from supervisor.posix.lock import EXIT_SECOND, lock_holder, lock_path
from supervisor.posix.spawn import Command, SpawnError, spawn

START_TIMEOUT = 15.0
"""Seconds until a new daemon must answer; it takes about 0.4 on an idle machine."""
POLL = 0.03


def running(system: System) -> FleetStatus | None:
    """Return the state of the daemon that answers, or None. Raises ControlError."""
    try:
        return fleet_status(system.client())
    except DaemonNotRunning:
        return None


def launch(system: System, spec: FleetSpec, tell: Callable[[str], None]) -> FleetStatus:
    """Start a daemon, or join one that is just starting, and return its first answer.

    Raises CommandError with what the daemon said if it ends, or does not answer in
    `START_TIMEOUT` seconds.
    """
    log = os.path.join(spec.state_dir, LOG_NAME)
    lock = lock_path(spec.state_dir)
    began = time.monotonic()
    said_before = size_of(log)
    pid: int | None = None
    ended: int | None = None
    lost_race = False
    by_item = _by_login_item(system)
    deadline = began + START_TIMEOUT
    while True:
        fleet = _answer(system)
        if fleet is not None:
            return fleet
        if pid is not None and ended is None:
            ended = _ending(pid)
            lost_race = ended == EXIT_SECOND
        holder = lock_holder(lock)
        if holder is not None:
            # Another is starting, and is joined, or is ending, and is waited for.
            lost_race = lost_race or ended is not None
        elif by_item and time.monotonic() < deadline:
            pass  # it is for launchd or systemd to start it again
        elif by_item:
            _give_login_item_up(system)
            by_item, deadline = False, time.monotonic() + START_TIMEOUT
            continue
        elif pid is None or lost_race:
            pid, said_before = _start(system, spec, log)
            ended, lost_race = None, False
        elif ended is not None:
            raise CommandError(
                ExitStatus.NOT_REACHED,
                f"the supervisor {_words(ended)} before it answered",
                what_it_said(log, said_before),
            )
        elapsed = time.monotonic() - began
        if time.monotonic() > deadline:
            who = lock_holder(lock) or pid
            raise CommandError(
                ExitStatus.NOT_REACHED,
                f"the supervisor (pid {who}) does not answer after {START_TIMEOUT:g} s",
                what_it_said(log, said_before),
            )
        tell(f"starting the supervisor, {elapsed:.1f} s")
        time.sleep(POLL)


def _by_login_item(system: System) -> bool:
    """Start the daemon as a login does, if a login item is installed; tell whether that was done.

    Where it cannot be, the daemon is started here, and that is said.
    """
    from supervisor.cli import login_item

    name = login_item.installed(system)
    if name is None:
        return False
    why = login_item.start(system)
    if why is not None:
        warn(f"the login item {name} cannot start it now, so this command does: {why}")
    return why is None


def _give_login_item_up(system: System) -> None:
    """Let it start no supervisor: launchd says that it has, and knows not what came of that."""
    from supervisor.cli import login_item

    warn(
        f"the login item has brought up no supervisor in {START_TIMEOUT:g} s, so this command "
        "does; why: atlasctl doctor"
    )
    if why := login_item.cancel(system):
        warn(f"the login item may go on trying: {why}")


def wait_until_gone(daemon: ProcessIdentity | None, deadline: float) -> bool:
    """Return True when this process has ended, and with it its lock; False at the deadline.

    Who it is must have been asked while it answered: afterwards its pid may be another's.
    """
    while daemon is not None and is_alive(daemon):
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL)
    return True


def _answer(system: System) -> FleetStatus | None:
    try:
        return fleet_status(system.client(timeout=1.0))
    except (DaemonNotRunning, ControlError):
        return None  # not yet; the deadline of the caller bounds this


def _start(system: System, spec: FleetSpec, log: str) -> tuple[int, int]:
    """Return the pid of the new daemon and how long its log was before."""
    output = open_log(spec.state_dir, log)
    try:
        command = Command(
            argv=(*daemon_command(system), "--compiled", _compiled(spec)),
            env=environment(),
            cwd=spec.root,
            output_fd=output,
        )
        return spawn(command), os.fstat(output).st_size
    except SpawnError as error:
        raise CommandError(
            ExitStatus.NOT_REACHED, f"cannot start the supervisor: {error.why}"
        ) from None
    finally:
        os.close(output)


def daemon_command(system: System) -> tuple[str, ...]:
    """Return the command that is a daemon of this system in the foreground."""
    # -P: a folder called `supervisor` in the root of the system must not be taken for us.
    return (sys.executable, "-P", "-m", "supervisor.cli", "-c", system.config, "run")


def _compiled(spec: FleetSpec) -> str:
    """Write down what the YAML has come to, and return the path; "" if that cannot be."""
    path = path_of_ours(spec.state_dir)
    return path if leave(spec, path) else ""


def environment() -> dict[str, str]:
    """Return our environment, with which the child finds this package in a bare checkout too."""
    env = dict(os.environ)
    holder = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if os.path.basename(holder) not in ("site-packages", "dist-packages"):
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (holder, env.get("PYTHONPATH"))))
    return env


def _ending(pid: int) -> int | None:
    """Return the exit code of our child, negative of a signal, or None while it lives."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _words(code: int) -> str:
    return f"ended with code {code}" if code >= 0 else f"was killed by signal {-code}"
