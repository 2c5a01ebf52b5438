"""Which services there are, from whoever knows: the daemon, else the journal and the YAML."""

from collections.abc import Sequence

from supervisor.cli.connection import System, fleet_status
from supervisor.cli.exits import CommandError, ExitStatus
from supervisor.cli.services import check_names
from supervisor.cli.terminal import warn
from supervisor.config.loader import load
from supervisor.config.problems import ConfigError
from supervisor.control.client import ControlError, DaemonNotRunning
from supervisor.control.messages import ServiceStatus
from supervisor.journal import Entry


def services_of_daemon(system: System) -> dict[str, ServiceStatus] | None:
    """Return what the daemon says of every service, or None if there is none."""
    try:
        return {s["name"]: s for s in fleet_status(system.client())["services"]}
    except DaemonNotRunning:
        return None
    except ControlError as error:
        warn(f"the supervisor does not answer ({error.message}); this is what the journal knows")
        return None


def check_known(
    names: Sequence[str],
    system: System,
    services: dict[str, ServiceStatus] | None,
    entries: Sequence[Entry],
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
