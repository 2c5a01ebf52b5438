"""What `up`, `start`, `stop` and `restart` say: on the way, on arrival, and at the end. Pure."""

from collections.abc import Sequence

from supervisor.cli import wording
from supervisor.cli.services import (
    Lost,
    Progress,
    Reached,
    Underway,
    addresses,
    notice_of,
    second_run,
    state_color,
)
from supervisor.cli.terminal import Paint, columns, printable
from supervisor.control.messages import ServiceStatus

_SHOWN = 20
"""Services listed at the end, before those without an address are only counted."""


def underway_lines(
    services: Sequence[ServiceStatus], elapsed: float, paint: Paint, *, verb: str
) -> list[str]:
    """Return the picture of what is still awaited: a head line, and a line a service."""
    rows = [
        (
            f"  {printable(service['name'])}",
            paint(service["state"], state_color(service["state"])),
            wording.age(service["since"]),
            printable(second_run(service) or service["reason"]),
        )
        for service in services
    ]
    waiting = wording.count(len(services), "service")
    head = f"{verb}: waiting for {waiting}, {wording.age(elapsed)}"
    return [paint(head, "bold"), *columns(rows, frozenset({2}))]


def change_line(service: ServiceStatus, paint: Paint) -> str:
    """Return the line that tells, where lines cannot be drawn again, how far a service is."""
    state = paint(service["state"], state_color(service["state"]))
    reason = printable(second_run(service) or service["reason"])
    name = printable(service["name"])
    return f"{name}: {state}: {reason}"


def arrival_line(
    service: ServiceStatus, progress: Progress, elapsed: float, paint: Paint, *, already: bool
) -> str:
    """Return the one line that tells how it ended for a service."""
    name = printable(service["name"])
    state = paint(service["state"], state_color(service["state"]))
    pid = f" (pid {service['pid']})" if service["pid"] is not None else ""
    notice = f"; notice: {text}" if (text := notice_of(service)) else ""
    match progress:
        case Reached() if already:
            return f"{name}: already {state}{pid}{notice}"
        case Reached():
            return f"{name}: {state} after {wording.duration(elapsed)}{pid}{notice}"
        case Lost(why=why):
            return f"{name}: {state} after {wording.duration(elapsed)}: {printable(why)}"
        case Underway():
            waited = wording.duration(elapsed)
            reason = printable(second_run(service) or service["reason"])
            return f"{name}: still {state} after {waited}{pid}: {reason}"


def where_lines(services: Sequence[ServiceStatus], logs: Sequence[str], paint: Paint) -> list[str]:
    """Return where each service is to be found; `logs` are their log files, as people see them."""
    pairs = list(zip(services, logs, strict=True))
    left_out = 0
    if len(pairs) > _SHOWN:
        listed = [pair for pair in pairs if pair[0]["ports"]][:_SHOWN]
        left_out = len(pairs) - len(listed)
        pairs = listed
    rows = [
        (
            f"  {printable(service['name'])}",
            paint(service["state"], state_color(service["state"])),
            " ".join(addresses(service)) or "-",
            f"log: {log}",
        )
        for service, log in pairs
    ]
    lines = columns(rows) if rows else []
    if left_out:
        lines.append(f"  … and {wording.count(left_out, 'more service')}: atlasctl status")
    return lines


def summary_line(services: Sequence[ServiceStatus], supervisor_pid: int, elapsed: float) -> str:
    """Return the sentence at the end of a successful `up`."""
    done = sum(service["state"] == "completed" for service in services)
    parts = []
    if up := len(services) - done:
        parts.append(f"{wording.count(up, 'service')} up")
    if done:
        parts.append(f"{done} completed")
    what = " and ".join(parts) or "no service to start"
    took = wording.duration(elapsed)
    return f"{what[0].upper()}{what[1:]} after {took}; the supervisor is pid {supervisor_pid}."


def next_steps(services: Sequence[ServiceStatus]) -> str:
    """Return the commands that a person most likely wants now."""
    follow = next((s["name"] for s in services if s["ports"]), None)
    if follow is None and services:
        follow = services[0]["name"]
    steps = [
        "atlasctl status",
        *([f"atlasctl logs -f {follow}"] if follow else []),
        "atlasctl down",
    ]
    return f"Next: {', '.join(steps)}"
