"""A service's own doctor: its command, run here and now as the service itself would be run.

No daemon is needed, and none is asked. The command is bounded in time and in what it may print, and
nothing of its process group outlives it. One that fails, hangs or prints what is no finding is a
finding itself: a check that did not take place must not look like one that passed.
"""

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from supervisor.cli.findings import Finding, parse_finding
from supervisor.core.events import Exit
from supervisor.core.exits import describe_exit, succeeded
from supervisor.core.spec import DoctorSpec, ServiceSpec
from supervisor.posix.environment import FLEET_MARK, RUN_MARK, UNIT_MARK
from supervisor.posix.reaper import exit_of_status
from supervisor.posix.spawn import Command, SpawnError, spawn
from supervisor.probes.expectations import line_of
from supervisor.surroundings import surroundings

MAX_OUTPUT: Final = 1024 * 1024
"""Bytes of findings; details of every operator of a model are some 20 kB."""
_CHUNK: Final = 64 * 1024
_LOOK_EVERY: Final = 0.05
"""Seconds between two looks whether it has ended, where what it has started keeps its pipes."""
_PAUSE: Final = 0.01
_REAPED_WITHIN: Final = 5.0
"""Seconds that a killed command may take to be gone; longer, and the kernel holds it."""
_SHOWN: Final = 200
"""Characters of its last complaint, or of a line that is no finding."""


@dataclass(frozen=True, slots=True)
class _Ran:
    """What a command has printed, and how it ended; None: it was ended by us."""

    printed: bytes
    complaints: bytes
    """The last of its standard error."""
    ending: Exit | None

    @property
    def is_too_much(self) -> bool:
        return len(self.printed) > MAX_OUTPUT

    def complaint(self) -> str:
        """Return `: the last line of its standard error`, or nothing."""
        lines = self.complaints.decode("utf-8", "replace").strip().splitlines()
        text = line_of(lines[-1])[-_SHOWN:] if lines else ""
        return f": {text}" if text else ""


@dataclass(slots=True)
class _Child:
    """The command's first process, which leads a session of its own."""

    pid: int
    ending: Exit | None = None

    def has_ended(self) -> bool:
        if self.ending is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.ending = exit_of_status(status)
        return self.ending is not None

    def end(self) -> None:
        """Kill all that is left of its group. It is not said of it then how it ended."""
        # Where it has been reaped: no process gets its number while one of its group lives.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        deadline = time.monotonic() + _REAPED_WITHIN
        while self.ending is None and time.monotonic() < deadline:
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                return
            time.sleep(_PAUSE)


def examine(spec: ServiceSpec, doctor: DoctorSpec, environ: Mapping[str, str]) -> list[Finding]:
    """Return what the doctor of a service finds. Blocks for little longer than its timeout."""
    try:
        ran = _run(spec, doctor, environ)
    except SpawnError as error:
        why = f"it could not be started: {error.why}"
        return [Finding(spec.name, "doctor", "wrong", why)]
    return list(_findings(spec, doctor, ran))


def _findings(spec: ServiceSpec, doctor: DoctorSpec, ran: _Ran) -> Iterator[Finding]:
    lines = ran.printed.split(b"\n")
    if ran.ending is None:
        lines.pop()  # it was ended in the middle of it
    said = [(line, parse_finding(spec.name, line)) for line in lines if line.strip()]
    yield from (finding for _, finding in said if finding is not None)
    rubbish = [line for line, finding in said if finding is None]
    hint = f"run it by itself to see more: doctor.command of {spec.name}, in {spec.cwd}"
    for why in _faults(doctor, ran, len(said), rubbish):
        yield Finding(spec.name, "doctor", "wrong", why, hint)


def _faults(doctor: DoctorSpec, ran: _Ran, lines: int, rubbish: list[bytes]) -> Iterator[str]:
    """Yield in what the doctor itself has failed."""
    if ran.is_too_much:
        yield f"it printed over {MAX_OUTPUT // 1024} KiB, and was killed"
    elif ran.ending is None:
        yield f"it did not end within {doctor.timeout:g} s, and was killed{ran.complaint()}"
    elif not succeeded(ran.ending):
        yield f"it {describe_exit(ran.ending)}{ran.complaint()}"
    elif not lines:
        yield f"it had nothing to say{ran.complaint()}"
    if rubbish:
        first = line_of(rubbish[0][: 4 * _SHOWN].decode("utf-8", "replace"))[:_SHOWN]
        what = "a line that is" if len(rubbish) == 1 else f"{len(rubbish)} lines that are"
        yield f"it printed {what} no finding: {first}"


def _run(spec: ServiceSpec, doctor: DoctorSpec, environ: Mapping[str, str]) -> _Ran:
    """Run the command to its end, the end of its time, or of what it may print."""
    environment = surroundings(spec, environ, run=0, fleet="")
    for mark in (UNIT_MARK, RUN_MARK, FLEET_MARK):
        # It is of no run, and no daemon may take it for what a run has left.
        del environment[mark]
    deadline = time.monotonic() + doctor.timeout
    with _pipe() as (output, output_end), _pipe() as (errors, errors_end):
        command = Command(
            doctor.command,
            environment,
            spec.cwd,
            output_end,
            umask=spec.umask,
            user=spec.user,
            error_fd=errors_end,
        )
        child = None
        try:
            with _interrupted_later():
                try:
                    child = _Child(spawn(command))
                finally:
                    os.close(output_end)
                    os.close(errors_end)
            return _read(child, output, errors, deadline)
        finally:
            if child is not None:
                child.end()


@contextlib.contextmanager
def _interrupted_later() -> Iterator[None]:
    """Hold back a Ctrl-C that comes in the block until its end.

    What has been started and is not written down yet would be left behind. A blocked signal would
    not do: another thread might take it.
    """
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """Give a pipe. Its writing end is for the caller to close."""
    try:
        reading, writing = os.pipe()
    except OSError as error:
        raise SpawnError(f"there is no pipe for it: {error.strerror}", retry=True) from None
    try:
        yield reading, writing
    finally:
        os.close(reading)


def _read(child: _Child, output: int, errors: int, deadline: float) -> _Ran:
    printed, complaints = bytearray(), b""
    with selectors.DefaultSelector() as selector:
        for each in (output, errors):
            selector.register(each, selectors.EVENT_READ)
        while selector.get_map() and len(printed) <= MAX_OUTPUT:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            ready = selector.select(min(left, _LOOK_EVERY))
            for key, _ in ready:
                data = os.read(key.fd, _CHUNK)
                if not data:
                    selector.unregister(key.fd)
                elif key.fd == output:
                    printed += data
                else:
                    complaints = (complaints + data)[-4 * _SHOWN :]
            if not ready and child.has_ended():
                break  # what it has started keeps its pipes, and prints nothing
    while len(printed) <= MAX_OUTPUT and not child.has_ended() and time.monotonic() < deadline:
        time.sleep(_PAUSE)
    return _Ran(bytes(printed), complaints, child.ending)
