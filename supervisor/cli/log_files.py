"""Where the log of each service is, and its last lines. No daemon is needed for either."""

import contextlib
import re
import time
from collections.abc import Sequence

from supervisor.cli.connection import System, fleet_status
from supervisor.cli.services import check_names
from supervisor.config.loader import load
from supervisor.config.problems import ConfigError
from supervisor.control.client import ControlError, DaemonNotRunning
from supervisor.logs import follow
from supervisor.logs.marks import PREFIX

_MARKS_PER_LINE = 5
"""A service that writes one line and fails leaves two or three marks with it."""
TIMEOUT = 2.0
"""Seconds after which the YAML is asked instead of the daemon."""
LATE = 1.0
"""Seconds that the last words of a service may take into its log: a sink has others to serve."""
_PAUSE = 0.02


def log_paths(system: System, names: Sequence[str]) -> dict[str, str]:
    """Return the log file of each service named, or of all; in the configuration's order.

    Raises CommandError for unknown names, and ConfigError where neither a daemon nor a valid
    configuration says which services there are.
    """
    try:
        fleet = fleet_status(system.client(timeout=TIMEOUT))
        paths = {service["name"]: service["log"] for service in fleet["services"]}
    except (DaemonNotRunning, ControlError):
        spec = load(system.config)
        paths = {s.name: f"{spec.logs_dir}/{s.name}.log" for s in spec.services}
    check_names(names, list(paths))
    return {name: path for name, path in paths.items() if not names or name in names}


def log_path(system: System, name: str) -> str | None:
    """Return the log file of one service; None if it is not known or the YAML has errors."""
    try:
        spec = load(system.config)
    except ConfigError:
        return None
    return f"{spec.logs_dir}/{name}.log" if spec.service(name) else None


def await_end(path: str, run: int, deadline: float) -> None:
    """Return when the mark of a run's end is in its log, and so what it printed before.

    Or at the deadline (of time.monotonic()), where no sink is there to write it.
    """
    ended = re.compile(rf"{re.escape(PREFIX)}\S+ run {run} (?!begins)")
    while not _has(path, ended) and time.monotonic() < deadline:
        time.sleep(_PAUSE)


def _has(path: str, mark: re.Pattern[str]) -> bool:
    with contextlib.suppress(OSError):
        return any(mark.match(line.text) for line in follow.last_lines(path, _MARKS_PER_LINE))
    return False


def last_lines(path: str, count: int) -> list[str]:
    """Return the last lines that a service itself wrote; none if its log cannot be read.

    Our own marks are left out: each restart writes several, and would crowd out what matters.
    """
    try:
        lines = [line.text for line in follow.last_lines(path, count * _MARKS_PER_LINE)]
    except OSError:
        return []
    return [line for line in lines if not line.startswith(PREFIX)][-count:]
