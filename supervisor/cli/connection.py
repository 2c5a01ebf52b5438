"""Which system a command is about, and what it asks of that system's daemon.

Finding the socket never compiles the YAML: `status` must answer at once, and also while somebody
is in the middle of an edit.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from supervisor.cli.exits import CommandError, ExitStatus
from supervisor.config.discovery import find_config
from supervisor.config.root import state_dir
from supervisor.control.client import ControlClient, ControlError, DaemonNotRunning
from supervisor.control.messages import Accepted, EventMessage, FleetStatus
from supervisor.control.socket import SocketPathError

TIMEOUT = 10.0
"""Seconds that the daemon may take for one answer. It takes milliseconds, unless it is stopped."""

Verb = Literal["start", "stop", "restart"]


@dataclass(frozen=True, slots=True)
class System:
    """One YAML file and where its state is; both absolute."""

    config: str
    state_dir: str

    def client(self, timeout: float = TIMEOUT) -> ControlClient:
        """Return a client of this system's daemon; nothing is sent yet."""
        try:
            return ControlClient(self.state_dir, timeout)
        except SocketPathError as error:
            raise CommandError(ExitStatus.USAGE, str(error)) from None


def locate(named: str | None, start_dir: str, environ: Mapping[str, str]) -> System:
    """Return the system of the file named on the command line, or of the one that is found.

    Raises ConfigError if there is none or it cannot be read; it need not be valid.
    """
    config = os.path.abspath(named) if named else os.fspath(find_config(start_dir, environ))
    return System(config, state_dir(config, environ))


def short_path(path: str) -> str:
    """Return the path as short as it can be said from the working directory."""
    try:
        relative = os.path.relpath(path)
    except (OSError, ValueError):  # the working directory is gone
        return path
    return path if relative.startswith("..") else relative


def no_daemon(system: System) -> CommandError:
    """Return the error for a command that needs a daemon where none runs."""
    return CommandError(
        ExitStatus.NO_DAEMON,
        f"no supervisor runs for {short_path(system.config)}",
        "start it: atlasctl up",
    )


@contextlib.contextmanager
def speaking_to(system: System) -> Iterator[None]:
    """Turn what the client raises into errors with an exit code."""
    try:
        yield
    except DaemonNotRunning:
        raise no_daemon(system) from None
    except ControlError as error:
        # 400 and 404: the request names what does not exist. The rest is the daemon's own trouble.
        usage = error.status in (400, 404)
        status = ExitStatus.USAGE if usage else ExitStatus.NOT_REACHED
        raise CommandError(status, error.message, error.hint) from None


def fleet_status(client: ControlClient) -> FleetStatus:
    """Return the state of everything. Raises DaemonNotRunning or ControlError."""
    return cast("FleetStatus", client.get("/v1/status"))


def command(client: ControlClient, verb: Verb, names: Sequence[str]) -> Accepted:
    """Ask the daemon to start, stop or restart services; it answers before that is done."""
    return cast("Accepted", client.post(f"/v1/{verb}", {"services": list(names)}))


def shutdown(client: ControlClient) -> Accepted:
    """Ask the daemon to stop everything and to end."""
    return cast("Accepted", client.post("/v1/shutdown", {}))


def follow_events(client: ControlClient, after: int) -> Iterator[EventMessage]:
    """Yield the journal's entries after number `after` as they come, until the daemon ends."""
    stream = client.stream("/v1/events", after=str(after), follow="1")
    return cast("Iterator[EventMessage]", stream)
