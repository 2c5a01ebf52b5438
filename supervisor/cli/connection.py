"""Which system a command is about, and what it asks of that system's daemon.

Finding the socket never compiles the YAML: `status` must answer at once, and also while somebody
is in the middle of an edit.
"""

import contextlib
import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from supervisor.cli.exits import CommandError, ExitStatus
from supervisor.config.discovery import config_path, find_config
from supervisor.config.problems import ConfigError
from supervisor.config.root import state_dir
from supervisor.control.client import ControlClient, ControlError, DaemonNotRunning
from supervisor.control.messages import (
    Accepted,
    DaemonStatus,
    EventMessage,
    FleetStatus,
    Metrics,
    Plan,
    Reloading,
    Treated,
    Upgrading,
)
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
    config = config_path(named, start_dir, environ)
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
    # Only here: a command that finds its daemon does not read the ledger, nor look at processes.
    from supervisor.cli.survivors import left_running

    message = f"no supervisor runs for {short_path(system.config)}"
    start = f"atlasctl {_choice(system.config)}up"
    hint = f"start it: {start}"
    if left := left_running(system.state_dir):
        message += f", but one that was killed has left {left} running"
        hint = f"let a new one take over: {start}"
    return CommandError(ExitStatus.NO_DAEMON, message, hint)


def _choice(config: str) -> str:
    """Return the option without which another file would be meant, and a space.

    Who has come by restart_system.sh may not know of ATLAS_CONFIG, which that sets.
    """
    try:
        usual = os.fspath(find_config(os.getcwd(), {}))
    except (ConfigError, OSError):
        usual = ""
    return "" if usual == config else f"-c {shlex.quote(short_path(config))} "


def check_same_file(daemon: DaemonStatus, config: str) -> None:
    """Raise CommandError if the daemon that answers runs something other than this file."""
    if os.path.realpath(daemon["config"]) != os.path.realpath(config):
        if os.path.exists(daemon["config"]):
            hint = f"stop it first: atlasctl -c {shlex.quote(short_path(daemon['config']))} down"
        else:
            hint = f"moved while it ran, has it? to stop it and all it runs: kill {daemon['pid']}"
        raise CommandError(
            ExitStatus.NOT_REACHED,
            f"the supervisor that runs here (pid {daemon['pid']}) was started with "
            f"{short_path(daemon['config'])}, not with {short_path(config)}",
            hint,
        )


@contextlib.contextmanager
def speaking_to(system: System) -> Iterator[None]:
    """Turn what the client raises into errors with an exit code."""
    try:
        yield
    except DaemonNotRunning:
        raise no_daemon(system) from None
    except ControlError as error:
        raise _refused(error) from None


def _refused(error: ControlError) -> CommandError:
    if error.status == 413:
        return CommandError(
            ExitStatus.NOT_REACHED,
            f"the configuration is too large for the supervisor that runs: {error.message}",
            "make it smaller, or apply it so: atlasctl down, then atlasctl up",
        )
    if error.status in (404, 405) and "/v1/" in error.message:
        return CommandError(
            ExitStatus.NOT_REACHED,
            f"the supervisor that runs is older than this command: {error.message}",
            "to replace it: atlasctl down, then atlasctl up",
        )
    # 400 and 404: the request names what does not exist. The rest is the daemon's own trouble.
    usage = error.status in (400, 404)
    status = ExitStatus.USAGE if usage else ExitStatus.NOT_REACHED
    return CommandError(status, error.message, error.hint)


def fleet_status(client: ControlClient) -> FleetStatus:
    """Return the state of everything. Raises DaemonNotRunning or ControlError."""
    return cast("FleetStatus", client.get("/v1/status"))


def metrics(client: ControlClient) -> Metrics:
    """Return the figures of everything. Raises DaemonNotRunning or ControlError."""
    return cast("Metrics", client.get("/v1/metrics"))


def command(
    client: ControlClient, verb: Verb, names: Sequence[str], *, rolling: bool = False
) -> Accepted:
    """Ask the daemon to start, stop or restart services; it answers before that is done."""
    body: dict[str, object] = {"services": list(names)}
    if rolling:
        body["rolling"] = True
    return cast("Accepted", client.post(f"/v1/{verb}", body))


def compare(client: ControlClient, spec: object) -> Plan:
    """Ask the daemon what would change with this spec, which is as the codec encodes it."""
    return cast("Plan", client.post("/v1/plan", {"spec": spec}))


def apply(client: ControlClient, spec: object, *, rolling: bool) -> Reloading:
    """Let the daemon go by this spec from now on; it answers before services have followed."""
    return cast("Reloading", client.post("/v1/reload", {"spec": spec, "rolling": rolling}))


def treated(client: ControlClient) -> Treated:
    """Return the remedies of every service. Raises DaemonNotRunning or ControlError."""
    return cast("Treated", client.get("/v1/remedies"))


def forget(client: ControlClient, names: Sequence[str]) -> Accepted:
    """Let what remedies have set hold no more from the next start on."""
    return cast("Accepted", client.post("/v1/remedies/forget", {"services": list(names)}))


def upgrade(client: ControlClient) -> Upgrading:
    """Let the daemon try the code that is installed; after the answer it executes it."""
    return cast("Upgrading", client.post("/v1/upgrade", {}))


def shutdown(client: ControlClient) -> Accepted:
    """Ask the daemon to stop everything and to end."""
    return cast("Accepted", client.post("/v1/shutdown", {}))


def follow_events(
    client: ControlClient, after: int, accepted: Callable[[], None]
) -> Iterator[EventMessage]:
    """Yield the journal's entries after number `after` as they come, until the daemon ends.

    `accepted` is called when it has answered, which may be long before the next entry.
    """
    stream = client.stream("/v1/events", accepted, after=str(after), follow="1")
    return cast("Iterator[EventMessage]", stream)
