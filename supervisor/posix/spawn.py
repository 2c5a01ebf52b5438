"""Starting a process with exactly what it was given: no signal, descriptor or terminal of ours.

posix_spawn(3) everywhere: no Python runs between fork and exec, so nothing here can deadlock or
meet the Objective-C fork crash, and the exec's own error comes back as an exception.

It changes the working directory of the whole daemon for the time of one call (posix_spawn has
no portable chdir, and a shell in between costs half a millisecond): the daemon is one thread.
"""

import contextlib
import errno
import os
import re
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

from supervisor.posix.executable import (
    ExecutableError,
    bad_interpreter,
    explain,
    find_executable,
)

FIRST_SOCKET: Final = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3)."""

_LIFTED: Final = 64
"""Where source descriptors go that lie among the targets."""

# LISTEN_PID must be the child's own pid (sd_listen_fds(3)), which nobody knows before it is
# there. `exec` keeps the pid, so the service is this process. Two losses on the way: sh drops
# variables whose names it cannot have, and macOS drops DYLD_* for every program of the system.
_ANNOUNCE: Final = 'LISTEN_PID=$$; export LISTEN_PID; exec "$@"'

_SHELL_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# A Python built for a macOS older than 10.15 has no setsid in posix_spawn.
_SETSID: Final = "import os,sys; os.setsid(); os.execv(sys.argv[1], sys.argv[2:])"


class SpawnError(Exception):
    """There is no process. `why` is for people; `retry` says whether trying again may help."""

    def __init__(self, why: str, *, retry: bool) -> None:
        super().__init__(why)
        self.why = why
        self.retry = retry


@dataclass(frozen=True, slots=True)
class Command:
    """What to start. `env` is the whole environment; stdin is /dev/null.

    `sockets` are (name, descriptor) pairs that the child finds at 3, 4, … in this order, named
    by LISTEN_FDS, LISTEN_FDNAMES and LISTEN_PID. All descriptors stay open here.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    output_fd: int
    sockets: tuple[tuple[str, int], ...] = ()


def seal_descriptors() -> None:
    """Mark every descriptor from 3 up close-on-exec, once, when the daemon starts.

    Python's own are (PEP 446); those that a careless parent left open in the daemon are not, and
    would otherwise be held by every service for as long as it lives.
    """
    for name in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError):
            if int(name) > 2:
                os.set_inheritable(int(name), False)


def spawn(command: Command, *, has_setsid: bool = True) -> int:
    """Start the command in a session of its own and return its pid.

    `has_setsid` is False where this Python's posix_spawn cannot start a session (it says so once,
    by NotImplementedError). Raises SpawnError. Takes about as long as fork and exec do.
    """
    _check(command)
    with _working_directory(command.cwd):
        try:
            file = find_executable(
                command.argv[0], path=command.env.get("PATH", ""), cwd=command.cwd
            )
        except ExecutableError as error:
            raise SpawnError(str(error), retry=False) from None
        argv, env, start = list(command.argv), dict(command.env), file
        if command.sockets:
            # After the shell has started, its exec's failure would be a mere exit code 126.
            why = bad_interpreter(file)
            if why is not None:
                raise SpawnError(why, retry=False)
            env["LISTEN_FDS"] = str(len(command.sockets))
            env["LISTEN_FDNAMES"] = ":".join(name for name, _ in command.sockets)
            argv = ["sh", "-c", _ANNOUNCE, "sh", file, *argv[1:]]
            start = "/bin/sh"
        if not has_setsid:
            argv = [sys.executable, "-I", "-S", "-c", _SETSID, start, *argv]
            start = sys.executable
        with _placed(command) as actions:
            try:
                return os.posix_spawn(
                    start,
                    argv,
                    env,
                    file_actions=actions,
                    setsid=has_setsid,
                    setsigmask=(),
                    # "Ignored" would survive the exec, and Python ignores SIGPIPE.
                    setsigdef=signal.valid_signals(),
                )
            except NotImplementedError:
                if not has_setsid:
                    raise
            except OSError as error:
                _refused(error, file)
    return spawn(command, has_setsid=False)


def _check(command: Command) -> None:
    if not command.argv:
        raise SpawnError("the command is empty: write the program's name", retry=False)
    for text in (*command.argv, *command.env.keys(), *command.env.values()):
        if "\0" in text:
            raise SpawnError(
                f"the command or its environment has a NUL byte in {text!r}: take it out",
                retry=False,
            )
    for name in command.env:
        if command.sockets and not _SHELL_NAME.fullmatch(name):
            raise SpawnError(
                f"a service with handed-over sockets is started through /bin/sh, which would lose "
                f"the variable {name!r}: use letters, digits and _ in its name",
                retry=False,
            )
        if not name or "=" in name:
            raise SpawnError(f"{name!r} cannot be the name of a variable", retry=False)


def _refused(error: OSError, file: str) -> NoReturn:
    transient = error.errno in (
        errno.EAGAIN,
        errno.ENOMEM,
        errno.EMFILE,
        errno.ENFILE,
        errno.EINTR,
        errno.EIO,
        errno.ETXTBSY,
    )
    raise SpawnError(explain(error, file=file), retry=transient) from error


@contextlib.contextmanager
def _working_directory(cwd: str) -> Iterator[None]:
    # A descriptor, not a name: the daemon's own directory may have been renamed or removed.
    flags = os.O_DIRECTORY | os.O_CLOEXEC
    if sys.platform == "linux":
        flags |= os.O_PATH  # works without permission to read it
    try:
        back = os.open(".", flags)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise SpawnError("no file descriptor is left for a start", retry=True) from error
        back = os.open("/", flags)
    try:
        try:
            os.chdir(cwd)
        except FileNotFoundError:
            raise SpawnError(
                f"the working directory does not exist: {cwd}; create it or correct cwd",
                retry=False,
            ) from None
        except NotADirectoryError:
            raise SpawnError(
                f"the working directory is not a directory: {cwd}", retry=False
            ) from None
        except OSError as error:
            raise SpawnError(
                f"cannot enter the working directory {cwd}: {error.strerror}", retry=False
            ) from error
        yield
    finally:
        os.fchdir(back)
        os.close(back)


@contextlib.contextmanager
def _placed(
    command: Command,
) -> Iterator[list[tuple[int, int, int] | tuple[int, int, str, int, int]]]:
    """Give the file actions that put each descriptor in its place, whatever numbers they have."""
    import fcntl

    lifted: list[int] = []
    last = FIRST_SOCKET + len(command.sockets)

    def source(fd: int) -> int:
        # A source below `last` could be overwritten by an earlier dup2; one that already has its
        # number would keep its close-on-exec flag in some C libraries.
        if fd >= last:
            return fd
        lifted.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LIFTED))
        return lifted[-1]

    try:
        try:
            output = source(command.output_fd)
            placed = [source(fd) for _, fd in command.sockets]
        except OSError as error:
            raise SpawnError(
                f"cannot hand over a descriptor: {error.strerror}",
                retry=error.errno in (errno.EMFILE, errno.ENFILE),
            ) from error
        yield [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, output, 2),
            *((os.POSIX_SPAWN_DUP2, fd, FIRST_SOCKET + at) for at, fd in enumerate(placed)),
        ]
    finally:
        for fd in lifted:
            os.close(fd)
