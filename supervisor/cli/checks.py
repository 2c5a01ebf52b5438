"""What `doctor` looks at by itself: configuration, model files, supervisor, states, ports."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from supervisor import __version__
from supervisor.cli.connection import System, fleet_status, no_daemon, short_path
from supervisor.cli.findings import OURS, Finding, Level
from supervisor.cli.models import LOCK_NAME
from supervisor.cli.services import is_good, notice_of
from supervisor.cli.wording import count, listing
from supervisor.config.problems import ConfigError
from supervisor.control.client import ControlError, DaemonNotRunning
from supervisor.control.messages import DaemonStatus, FleetStatus, ServiceStatus
from supervisor.core.models import ModelSpec
from supervisor.core.spec import FleetSpec, ServiceSpec
from supervisor.models.condition import Present, Wrong, look
from supervisor.models.failures import ModelError
from supervisor.models.lockfile import Lock, read_lock
from supervisor.models.manifest import wanted_files
from supervisor.posix.environment import FLEET_MARK, environment_of, fleet_mark
from supervisor.posix.ports import ListenError, PortOwner, is_free, owner_of


def configuration(fleet: FleetSpec, where: str) -> Finding:
    """Return what a valid configuration has in it; `where` is its path as people see it."""
    services = count(len(fleet.services), "service")
    return Finding(OURS, "configuration", "ok", f"{where} is valid, {services}")


def problems(error: ConfigError) -> Iterator[Finding]:
    """Yield everything that is wrong with the configuration."""
    for problem in error.problems:
        place = (short_path(problem.file), problem.line, problem.column)
        where = ":".join(str(part) for part in place if part)
        what = f"{problem.path}: {problem.message}" if problem.path else problem.message
        yield Finding(OURS, "configuration", "wrong", f"{where} {what}", problem.hint or None)
    text = "not looked at, for the configuration does not say what they are"
    yield Finding(OURS, "services", "note", text)


def models(fleet: FleetSpec, config: str) -> Iterator[Finding]:
    """Yield how the files of each model are, so far as can be told without reading all of them."""
    if not fleet.models:
        return
    try:
        lock = read_lock(os.path.join(os.path.dirname(config), LOCK_NAME))
    except ModelError as error:
        yield Finding(OURS, "models", "wrong", error.message, error.hint or None)
        return
    for model in fleet.models:
        yield _model(model, lock, os.path.basename(config))


def _model(model: ModelSpec, lock: Lock, yaml_name: str) -> Finding:
    wanted = wanted_files(model, lock, yaml_name, LOCK_NAME)
    looked = [(file.name, look(file, thorough=False)) for file in wanted]
    fetch = f"atlasctl models fetch {model.name}"
    wrong = [f"{name} {found.why}" for name, found in looked if isinstance(found, Wrong)]
    if wrong:
        return Finding(OURS, "models", "wrong", f"{model.name}: {'; '.join(wrong)}", fetch)
    missing = [name for name, found in looked if not isinstance(found, Present)]
    if missing:
        # Whether a service can do without them, it knows itself.
        are = "is" if len(missing) == 1 else "are"
        text = f"{model.name}: {listing(missing)} {are} not there"
        return Finding(OURS, "models", "note", text, fetch)
    return Finding(OURS, "models", "ok", f"{model.name}: {count(len(wanted), 'file')}, all there")


def supervisor(system: System) -> tuple[FleetStatus | None, list[Finding]]:
    """Return the status that the supervisor gives, if it does, and what there is to say of it."""
    try:
        status = fleet_status(system.client())
    except DaemonNotRunning:
        refusal = no_daemon(system)
        return None, [Finding(OURS, "supervisor", "note", refusal.message, refusal.hint)]
    except ControlError as error:
        text = f"it does not answer: {error.message}"
        return None, [Finding(OURS, "supervisor", "wrong", text, error.hint or None)]
    return status, [_daemon(status["daemon"], system.config)]


def _daemon(daemon: DaemonStatus, config: str) -> Finding:
    pid = daemon["pid"]
    if os.path.realpath(daemon["config"]) != os.path.realpath(config):
        other = short_path(daemon["config"])
        text = f"pid {pid} was started with {other}, not with {short_path(config)}"
        return Finding(OURS, "supervisor", "wrong", text, f"stop it: atlasctl -c {other} down")
    if daemon["version"] != __version__:
        text = f"pid {pid} is of version {daemon['version']}, and {__version__} is installed"
        return Finding(OURS, "supervisor", "note", text, "atlasctl upgrade")
    return Finding(OURS, "supervisor", "ok", f"runs, pid {pid}, version {__version__}")


def state(name: str, service: ServiceStatus | None) -> Finding:
    """Return what the supervisor that runs says of a service; None: it does not know it."""
    if service is None:
        text = "it is in the configuration, and the supervisor that runs does not know it"
        return Finding(name, "state", "note", text, "atlasctl reload")
    said = service["state"]
    if is_good(service):
        if notice := notice_of(service):
            return Finding(name, "state", "note", f"{said}, but not as asked: {notice}")
        return Finding(name, "state", "ok", said)
    # What somebody has stopped, or what is on its way, is not wrong.
    level: Level = "wrong" if said in ("failed", "backoff", "unready") else "note"
    return Finding(name, "state", level, f"{said}: {service['reason']}", f"atlasctl why {name}")


@dataclass(frozen=True, slots=True)
class Ours:
    """By what a process of this system is known."""

    fleet: str
    """The mark in the environment of what the supervisor has started."""
    state_dir: str
    """It stands in the command line of the log sink."""
    pids: frozenset[int]

    @classmethod
    def of(cls, state_dir: str, status: FleetStatus | None) -> "Ours":
        """Return what the processes of the system in `state_dir` are known by."""
        daemon = None if status is None else status["daemon"]
        pids = () if daemon is None else (daemon["pid"], daemon["sink_pid"])
        return cls(fleet_mark(state_dir), state_dir, frozenset(pid for pid in pids if pid))

    def has(self, owner: PortOwner) -> bool:
        """Tell whether a process is of this system."""
        if owner.pid is None:
            return False
        marked = (environment_of(owner.pid) or {}).get(FLEET_MARK) == self.fleet
        return marked or owner.pid in self.pids or self.state_dir in owner.command


def ports(service: ServiceSpec, ours: Ours) -> Iterator[Finding]:
    """Yield who has the ports of a service, if they are not free."""
    addresses: dict[int, list[str]] = {port: ["127.0.0.1"] for port in service.ports}
    for socket in service.sockets:
        for host, port in socket.addresses:
            addresses.setdefault(port, []).append(host)
    for port, hosts in addresses.items():
        yield _port(service.name, port, hosts, ours)


def _port(name: str, port: int, hosts: list[str], ours: Ours) -> Finding:
    check = f"port {port}"
    for host in hosts:
        try:
            if is_free(host, port):
                continue
        except ListenError as error:
            if error.absent and len(hosts) > 1:
                continue  # a machine without ::1 does with 127.0.0.1
            return Finding(name, check, "wrong", error.why)
        owner = owner_of(port)
        if owner is None:
            continue  # it was going away
        if ours.has(owner):
            return Finding(name, check, "ok", f"its own, {owner}")
        hint = f"end that process, or give {name} another port"
        return Finding(name, check, "wrong", f"{owner} has it, which is not of this system", hint)
    return Finding(name, check, "ok", "free")
