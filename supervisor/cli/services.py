"""What the states of services mean for a person who asked for something. Pure.

One place decides which state is good, which is on its way, and which will not get better by
waiting; `status`, `up`, `start`, `stop` and `restart` all ask here.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from supervisor.cli.exits import CommandError, ExitStatus
from supervisor.cli.terminal import printable
from supervisor.control.messages import ServiceStatus

GOOD = ("healthy", "busy", "running", "completed")
AILING = ("unready", "unreachable", "hung", "broken")
"""States of what is up and does not do its work."""
STEADY = 0.3
"""Seconds that a service without probes must have lived before we say that it is up: a command
that ends at once is "running" for the first few milliseconds."""

_COLORS = {
    "healthy": "green",
    "busy": "green",
    "running": "green",
    "completed": "green",
    "failed": "red",
    "hung": "red",
    "broken": "red",
    "stopped": "dim",
}


@dataclass(frozen=True, slots=True)
class Reached:
    """The service is as it was asked to be."""


@dataclass(frozen=True, slots=True)
class Underway:
    """The service may yet get there."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The service will not get there unless somebody does something; `why` says what is wrong."""

    why: str


Progress = Reached | Underway | Lost


def state_color(state: str) -> str:
    """Return the colour of a state's word."""
    return _COLORS.get(state, "yellow")


def is_good(service: ServiceStatus) -> bool:
    """Tell whether a service is as an enabled service should be."""
    return service["state"] in GOOD


def is_up(service: ServiceStatus) -> bool:
    """Tell whether a service is up to stay, so far as can be seen now."""
    match service["state"]:
        case "running":
            return (service["uptime"] or 0.0) >= STEADY
        case "healthy" | "busy" | "completed":
            return True
        case _:
            return False


def needs_start(service: ServiceStatus) -> bool:
    """Tell whether `up` must ask for this service: it is down, or waits to be tried again."""
    return service["state"] in ("stopped", "failed", "backoff") or service["goal"] == "down"


def progress_up(
    service: ServiceStatus, fleet: Mapping[str, ServiceStatus], first_run: int = 0
) -> Progress:
    """Return how far a service is on its way up.

    `first_run` is the earliest run that counts: after a restart, the old run is no success. A
    service that waits for one that has failed is lost as well.
    """
    if service["run"] >= first_run and is_up(service):
        return Reached()
    if service["goal"] == "down" and service["state"] == "stopped":
        return Lost(service["reason"])
    if service["state"] == "failed":
        return Lost(service["reason"])
    if service["state"] == "blocked" and _waits_in_vain(service, fleet, frozenset()):
        return Lost(service["reason"])
    return Underway()


def progress_roll(
    service: ServiceStatus,
    fleet: Mapping[str, ServiceStatus],
    first_run: int,
    old_pid: int | None,
) -> Progress:
    """Return how far a rolling restart is; it is over when the old run has ended too.

    `old_pid` is that of the run to be replaced, None if there was none; `first_run` the earliest
    run that counts. A new run that does not become ready is given up, and the old one stays in
    service: a failure in which everything looks well.
    """
    if service["overlap"] is not None:
        return Underway()
    # The pid tells: `run` is the number of the latest attempt, of the one that failed as well.
    if old_pid is not None and service["pid"] == old_pid:
        if service["settled"] and is_up(service):
            return Lost(f"its new run did not become ready, so pid {old_pid} stays in service")
        return Underway()
    return progress_up(service, fleet, first_run)


def progress_reload(
    kind: str,
    service: ServiceStatus,
    fleet: Mapping[str, ServiceStatus],
    before: ServiceStatus | None,
    *,
    rolling: bool,
) -> Progress:
    """Return how far a service is on its way to what a new configuration says of it.

    `kind` is that of its change, `before` its state when that was asked for. What is gone is
    awaited until the daemon has forgotten it.
    """
    if kind == "remove":
        return Lost(service["reason"]) if service["state"] == "failed" else Underway()
    if service["goal"] == "down":
        # Disabled now, new and disabled, or stopped by hand before: it need not come up.
        return progress_down(service)
    if kind != "restart" or before is None:
        return progress_up(service, fleet)
    first_run = first_runs_after_restart([before])[service["name"]]
    if rolling:
        return progress_roll(service, fleet, first_run, before["pid"])
    return progress_up(service, fleet, first_run)


def notice_of(service: ServiceStatus) -> str:
    """Return in what a service works otherwise than asked, or nothing."""
    # A daemon that is older than this command sends none.
    return printable(service.get("notice") or "")


def second_run(service: ServiceStatus) -> str:
    """Return what the second run of a rolling restart is doing, or nothing if there is none."""
    overlap = service["overlap"]
    if overlap is None:
        return ""
    pid = f" (pid {overlap['pid']})" if overlap["pid"] is not None else ""
    if overlap["incoming"]:
        return f"run {overlap['run']}{pid} is to take over and is {overlap['state']}"
    return f"run {overlap['run']}{pid} is on its way out and is {overlap['state']}"


def _waits_in_vain(
    service: ServiceStatus, fleet: Mapping[str, ServiceStatus], seen: frozenset[str]
) -> bool:
    for name in service["depends_on"]:
        other = fleet.get(name)
        if other is None or name in seen:
            continue
        if other["state"] == "failed" or (other["state"] == "stopped" and other["goal"] == "down"):
            return True
        if other["state"] == "blocked" and _waits_in_vain(other, fleet, seen | {name}):
            return True
    return False


def progress_down(service: ServiceStatus, *, overruled: bool = False) -> Progress:
    """Return how far a service is on its way down.

    `overruled`: where it is to be up it was to be down already, so somebody has started it since.
    Else it is a stop that waits until its dependents have ended.
    """
    if service["goal"] == "up":
        return Lost("somebody has asked to start it meanwhile") if overruled else Underway()
    if service["state"] == "stopped":
        return Reached()
    return Lost(service["reason"]) if service["state"] == "failed" else Underway()


def first_runs_after_restart(before: Iterable[ServiceStatus]) -> dict[str, int]:
    """Return, by name, the earliest run that a restart asked for now can lead to."""
    # A run that is just being spawned is young enough: the daemon lets it be.
    return {s["name"]: s["run"] + (s["state"] != "starting") for s in before}


def addresses(service: ServiceStatus) -> list[str]:
    """Return where a service is to be found, as URLs."""
    return [f"http://127.0.0.1:{port}" for port in service["ports"]]


def chosen(services: Sequence[ServiceStatus], names: Sequence[str]) -> list[ServiceStatus]:
    """Return the services of these names in the fleet's order; all if there are no names.

    Raises CommandError with a suggestion for a name that no service has.
    """
    check_names(names, [s["name"] for s in services])
    return [s for s in services if s["name"] in names] if names else list(services)


def check_names(names: Iterable[str], known: Sequence[str], what: str = "service") -> None:
    """Raise CommandError, with a suggestion, if a name is not among the known ones."""
    unknown = [name for name in dict.fromkeys(names) if name not in known]
    if not unknown:
        return
    near = [n for name in unknown for n in difflib.get_close_matches(name, known, n=1)]
    if near:
        hint = f"did you mean {' '.join(dict.fromkeys(near))}?"
    else:
        hint = f"there are: {', '.join(known[:20]) or 'none'}{' …' if len(known) > 20 else ''}"
    raise CommandError(
        ExitStatus.USAGE, f"no {what} is called {', '.join(map(repr, unknown))}", hint
    )
