"""s6, runit and daemontools: a folder for each service, a process for each folder."""

import os
import shlex
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.layout import LOG_FILE_SIZE, LOG_FILES, STOP_TIMEOUT, Job, Layout, Service
from benchmarks.peers.versions import package

_SLOW = (
    "it delays the restart of a service that ran for less than a second, which cannot be "
    "configured: where restarts are measured every service is older"
)
_PAUSE = "it waits a second before every restart, which cannot be configured"
_LOGGER = "a logger process for each service only where logs are measured, else /dev/null"


def _scan_folder(job: Job, logger: str) -> str:
    """Write the folders; `logger` is the shell command that writes the folder `$LOG`."""
    scan = f"{job.root}/scan"
    for service in job.services:
        folder = Path(scan, service.name)
        folder.mkdir(parents=True)
        _script(folder / "run", _command(service, job))
        if job.logged:
            (folder / "log").mkdir()
            (folder / "log" / "main").mkdir()
            _script(folder / "log" / "run", f"exec {logger}")
            folder.chmod(0o1755)  # how daemontools is told of a logger
        # s6 only: milliseconds after which SIGKILL follows.
        (folder / "timeout-kill").write_text(f"{STOP_TIMEOUT * 1000}\n")
    return scan


def _command(service: Service, job: Job) -> str:
    output = "2>&1" if job.logged else ">/dev/null 2>&1"
    return f"exec {shlex.join(service.argv)} {output}"


def _script(path: Path, command: str) -> None:
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(0o755)


def _stamped_files(folder: str) -> Sequence[str]:
    """Return the files of a logger, oldest first: TAI64N stamps sort by time."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    old = sorted(name for name in names if name.startswith("@"))
    return [f"{folder}/{name}" for name in [*old, *(["current"] if "current" in names else [])]]


def _absent(*programs: str) -> bool:
    return any(shutil.which(program) is None for program in programs)


@dataclass(frozen=True, slots=True)
class S6:
    """s6-svscan and s6-supervise."""

    name: str = "s6"

    @property
    def caveats(self) -> tuple[str, ...]:
        """Return what its configuration cannot do."""
        return (_PAUSE, _LOGGER, "status of n services is n runs of s6-svstat from one shell loop")

    def missing(self) -> str | None:
        """Return how to install it."""
        return "apt-get install s6" if _absent("s6-svscan", "s6-svc", "s6-log") else None

    def version(self) -> str:
        """Return the version of its package."""
        return package("s6")

    def lay_out(self, job: Job) -> Layout:
        """Write the scan folder."""
        scan = _scan_folder(job, f"s6-log n{LOG_FILES} s{LOG_FILE_SIZE} ./main")
        wait = str((STOP_TIMEOUT + 7) * 1000)
        return Layout(
            start=[shutil.which("s6-svscan") or "", "-c", "2000", scan],
            status=["/bin/sh", "-c", f'for d in {scan}/*; do s6-svstat "$d"; done'],
            stop=lambda name: ["s6-svc", "-wD", "-T", wait, "-d", f"{scan}/{name}"],
            logs=lambda name: _stamped_files(f"{scan}/{name}/log/main"),
        )


@dataclass(frozen=True, slots=True)
class Runit:
    """runsvdir and runsv."""

    name: str = "runit"

    @property
    def caveats(self) -> tuple[str, ...]:
        """Return what its configuration cannot do."""
        return (_SLOW, _LOGGER, "stop is `sv force-stop`, which ends in SIGKILL")

    def missing(self) -> str | None:
        """Return how to install it."""
        return "apt-get install runit" if _absent("runsvdir", "sv", "svlogd") else None

    def version(self) -> str:
        """Return the version of its package."""
        return package("runit")

    def lay_out(self, job: Job) -> Layout:
        """Write the scan folder."""
        scan = _scan_folder(job, "svlogd -b 65536 ./main")
        for service in job.services if job.logged else ():
            config = Path(scan, service.name, "log", "main", "config")
            config.write_text(f"s{LOG_FILE_SIZE}\nn{LOG_FILES}\n")
        return Layout(
            start=[shutil.which("runsvdir") or "", "-P", scan],
            status=["/bin/sh", "-c", f"sv status {scan}/*"],
            stop=lambda name: ["sv", "-w", str(STOP_TIMEOUT), "force-stop", f"{scan}/{name}"],
            down_signal=signal.SIGHUP,
            logs=lambda name: _stamped_files(f"{scan}/{name}/log/main"),
        )


@dataclass(frozen=True, slots=True)
class Daemontools:
    """svscan and supervise."""

    name: str = "daemontools"

    @property
    def caveats(self) -> tuple[str, ...]:
        """Return what its configuration cannot do."""
        return (_SLOW, _LOGGER, "stop is `svc -d`, then a poll of svstat: it never uses SIGKILL")

    def missing(self) -> str | None:
        """Return how to install it."""
        absent = _absent("svscan", "supervise", "svc", "svstat", "multilog")
        return "apt-get install daemontools" if absent else None

    def version(self) -> str:
        """Return the version of its package."""
        return package("daemontools")

    def lay_out(self, job: Job) -> Layout:
        """Write the scan folder."""
        scan = _scan_folder(job, f"multilog n{LOG_FILES} s{LOG_FILE_SIZE} ./main")
        return Layout(
            start=[shutil.which("svscan") or "", scan],
            status=["/bin/sh", "-c", f"svstat {scan}/*"],
            stop=lambda name: [
                "/bin/sh",
                "-c",
                f"svc -d {scan}/{name}; until svstat {scan}/{name} | grep -q ': down'; "
                "do sleep 0.02; done",
            ],
            # svscan first, which would start the others anew.
            down=[
                "/bin/sh",
                "-c",
                f'kill "$(cat {job.root}/first.pid)"; svc -dx {scan}/*; '
                f"for l in {scan}/*/log; do if [ -d $l ]; then svc -dx $l; fi; done",
            ],
            logs=lambda name: _stamped_files(f"{scan}/{name}/log/main"),
        )
