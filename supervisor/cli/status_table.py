"""`atlasctl status` as text: one row a service, and a line for whatever is not as it should be.

Pure: from the daemon's message to lines.
"""

from collections.abc import Sequence

from supervisor.cli import wording
from supervisor.cli.services import is_good, notice_of, second_run, state_color
from supervisor.cli.terminal import Paint, columns, printable
from supervisor.control.messages import DaemonStatus, FleetStatus, ProbeStatus, ServiceStatus

_HEAD = (
    "SERVICE",
    "STATE",
    "PID",
    "UPTIME",
    "RESTARTS",
    "PORT",
    "PROBE",
    "CPU",
    "MEMORY",
)
_RIGHTS = frozenset({2, 4, 7, 8})


def render_status(
    daemon: DaemonStatus, services: Sequence[ServiceStatus], paint: Paint, config: str
) -> list[str]:
    """Return the lines of `status`. `config` is the path of the YAML as people see it."""
    rows = [tuple(paint(word, "bold") for word in _HEAD)]
    rows += [_row(service, paint) for service in services]
    lines = columns(rows, _RIGHTS)
    if not services:
        lines = [f"{config} has no services"]
    notes = [line for service in services for line in _notes(service, paint)]
    if notes:
        lines += ["", *notes]
    footer = [_daemon(daemon, config)]
    if item := daemon.get("login_item"):
        footer.append(f"starts at login: {item}")
    return [*lines, "", *(paint(line, "dim") for line in footer)]


def asked_services(fleet: FleetStatus, names: Sequence[str]) -> list[ServiceStatus]:
    """Return the services whose state decides the exit code of `status`.

    Those that were named; otherwise those that are enabled or were started by hand.
    """
    if names:
        return [s for s in fleet["services"] if s["name"] in names]
    return [s for s in fleet["services"] if s["enabled"] or s["goal"] == "up"]


def _row(service: ServiceStatus, paint: Paint) -> tuple[str, ...]:
    return (
        printable(service["name"]),
        paint(service["state"], state_color(service["state"])),
        "-" if service["pid"] is None else str(service["pid"]),
        "-" if service["uptime"] is None else wording.age(service["uptime"]),
        str(service["restarts"]),
        ",".join(map(str, service["ports"])) or "-",
        _probe(service, paint),
        "-" if service["cpu"] is None else f"{service['cpu']:.1f} %",
        "-" if service["memory"] is None else wording.size(service["memory"]),
    )


def _probe(service: ServiceStatus, paint: Paint) -> str:
    probe: ProbeStatus | None = service["probe"]
    if probe is None:
        return "-"
    if service["state"] == "busy" and not probe["ok"]:
        # It failed, or was put off, and that counts for nothing while the service works.
        return f"{probe['kind']} waits"
    latency = f"{probe['kind']} {wording.duration(probe['latency'])}"
    match probe["ok"]:
        case True:
            return latency
        case False:
            return paint(f"{probe['kind']} failed", "red")
        case None:
            return paint(f"{probe['kind']} not made", "yellow")


def _notes(service: ServiceStatus, paint: Paint) -> list[str]:
    notes = []
    name = printable(service["name"])
    reason = printable(service["reason"])
    if not is_good(service):
        state = f"{service['state']} for {wording.age(service['since'])}"
        head = paint(f"{name} ({state}):", state_color(service["state"]))
        notes.append(f"why: {head} {reason}")
        if service["last_exit"] is not None and service["last_exit"] not in service["reason"]:
            notes.append(f"     its last run {printable(service['last_exit'])}")
    elif service["probe"] is not None and service["probe"]["ok"] is not True:
        # One failure is no verdict yet, and worth knowing of.
        notes.append(f"note: {name}: {printable(service['probe']['detail'])}")
    if notice := notice_of(service):
        notes.append(f"{paint('notice:', 'yellow')} {name}: {notice}")
    if other := second_run(service):
        notes.append(f"note: {name}: {other}")
    if service["log_lost"]:
        lost = wording.size(service["log_lost"])
        notes.append(
            paint("lost:", "red")
            + f" {lost} of the output of {name} could not be written to {service['log']}"
            " (is the disk full?)"
        )
    return notes


def _daemon(daemon: DaemonStatus, config: str) -> str:
    state = "stopping everything" if daemon["stopping"] else f"up {wording.age(daemon['uptime'])}"
    return f"supervisor {daemon['version']}, pid {daemon['pid']}, {state}, {config}"
