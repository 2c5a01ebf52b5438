"""A service's own doctor: its command, run here and now as the service itself would be run.

No daemon is needed, and none is asked. One that fails, hangs or prints what is no finding is a
finding itself: a check that did not take place must not look like one that passed.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from supervisor.cli import asking
from supervisor.cli.asking import Ran, run_bounded
from supervisor.cli.findings import Finding, parse_finding
from supervisor.core.exits import describe_exit, succeeded
from supervisor.core.spec import DoctorSpec, ServiceSpec
from supervisor.posix.environment import FLEET_MARK, RUN_MARK, UNIT_MARK
from supervisor.posix.spawn import SpawnError
from supervisor.probes.expectations import line_of
from supervisor.surroundings import surroundings

_SHOWN: Final = 200
"""Characters of a line that is no finding."""


def examine(spec: ServiceSpec, doctor: DoctorSpec, environ: Mapping[str, str]) -> list[Finding]:
    """Return what the doctor of a service finds. Blocks for little longer than its timeout."""
    try:
        ran = run_bounded(
            doctor.command,
            unmarked(spec, environ),
            spec.cwd,
            doctor.timeout,
            umask=spec.umask,
            user=spec.user,
        )
    except SpawnError as error:
        why = f"it could not be started: {error.why}"
        return [Finding(spec.name, "doctor", "wrong", why)]
    return list(_findings(spec, doctor, ran))


def unmarked(spec: ServiceSpec, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a service for a process that is of no run of it.

    No daemon may take it for what a run has left. Raises SpawnError.
    """
    environment = surroundings(spec, environ, run=0, fleet="")
    for mark in (UNIT_MARK, RUN_MARK, FLEET_MARK):
        del environment[mark]
    return environment


def _findings(spec: ServiceSpec, doctor: DoctorSpec, ran: Ran) -> Iterator[Finding]:
    lines = ran.printed.split(b"\n")
    if ran.ending is None:
        lines.pop()  # it was ended in the middle of it
    said = [(line, parse_finding(spec.name, line)) for line in lines if line.strip()]
    yield from (finding for _, finding in said if finding is not None)
    rubbish = [line for line, finding in said if finding is None]
    hint = f"run it by itself to see more: doctor.command of {spec.name}, in {spec.cwd}"
    for why in _faults(doctor, ran, len(said), rubbish):
        yield Finding(spec.name, "doctor", "wrong", why, hint)


def _faults(doctor: DoctorSpec, ran: Ran, lines: int, rubbish: list[bytes]) -> Iterator[str]:
    """Yield in what the doctor itself has failed."""
    complaint = f": {said}" if (said := ran.complaint()) else ""
    if ran.is_too_much:
        yield f"it printed over {asking.MAX_OUTPUT // 1024} KiB, and was killed"
    elif ran.ending is None:
        yield f"it did not end within {doctor.timeout:g} s, and was killed{complaint}"
    elif not succeeded(ran.ending):
        yield f"it {describe_exit(ran.ending)}{complaint}"
    elif not lines:
        yield f"it had nothing to say{complaint}"
    if rubbish:
        first = line_of(rubbish[0][: 4 * _SHOWN].decode("utf-8", "replace"))[:_SHOWN]
        what = "a line that is" if len(rubbish) == 1 else f"{len(rubbish)} lines that are"
        yield f"it printed {what} no finding: {first}"
