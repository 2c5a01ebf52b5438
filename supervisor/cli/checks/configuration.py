"""Whether the YAML is valid, and what is wrong with it."""

from collections.abc import Iterator

from supervisor.cli.connection import short_path
from supervisor.cli.findings import OURS, Finding
from supervisor.cli.wording import count
from supervisor.config.problems import ConfigError
from supervisor.core.spec import FleetSpec


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
