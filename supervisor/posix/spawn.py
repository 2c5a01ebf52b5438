"""Starting a process with exactly what it was given: no signal, descriptor or terminal of ours.

posix_spawn(3) everywhere: no Python runs between fork and exec, so nothing here can deadlock or
meet the Objective-C fork crash, and the exec's own error comes back as an exception.

It changes the working directory and the umask of the whole daemon for the time of one call
(posix_spawn has no portable chdir, and a shell in between costs half a millisecond): no other
thread of the daemon may depend on either.
"""

import contextlib
import errno
import os
import resource
import signal
import sys
from collections.abc import Iterator
from typing import Final, NoReturn

from supervisor.posix import trampoline
from supervisor.posix.account import AccountError, account_to_become
from supervisor.posix.command import Command, SpawnError
from supervisor.posix.executable import (
    ExecutableError,
    bad_interpreter,
    explain,
    find_executable,
)

__all__ = ["Command", "SpawnError", "seal_descriptors", "spawn"]

FIRST_SOCKET: Final = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3)."""

_LIFTED: Final = 64
"""Where source descriptors go that lie among the targets."""

# A Python built for a macOS older than 10.15 has no setsid in posix_spawn. Python ignores two
# signals, and "ignored" would survive the exec.
_SETSID: Final = (
    "import os,sys,_signal as s; os.setsid(); s.signal(s.SIGPIPE,s.SIG_DFL); "
    "s.signal(s.SIGXFSZ,s.SIG_DFL); os.execv(sys.argv[1], sys.argv[2:])"
)


def seal_descriptors() -> None:
    """Mark every descriptor from 3 up close-on-exec, once, when the daemon starts.

    Python's own are (PEP 446); those that a careless parent left open in the daemon are not, and
    would otherwise be held by every service for as long as it lives.
    """
    for name in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError):
            if int(name) > 2:
                os.set_inheritable(int(name), False)


def keep_file_limit() -> None:
    """Give every child the soft RLIMIT_NOFILE that holds now, whatever becomes of our own.

    To be called before the daemon raises its own: a program that uses select(2) breaks when its
    descriptors may pass 1024, and so does one that closes all that there might be.
    """
    global _children_files
    _children_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]


_children_files: int | None = None


@contextlib.contextmanager
def _file_limit_of_children() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _children_files is None or _children_files == soft:
        yield
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (_children_files, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def spawn(command: Command, *, has_setsid: bool = True) -> int:
    """Start the command in a session of its own and return its pid.

    `has_setsid` is False where this Python's posix_spawn cannot start a session (it says so once,
    by NotImplementedError). Raises SpawnError. Takes about as long as fork and exec do.
    """
    _check(command)
    try:
        account = account_to_become(command.user)
    except AccountError as error:
        raise SpawnError(str(error), retry=False) from None
    with _working_directory(command.cwd):
        try:
            file = find_executable(
                command.argv[0], path=command.env.get("PATH", ""), cwd=command.cwd
            )
        except ExecutableError as error:
            raise SpawnError(str(error), retry=False) from None
        launch = trampoline.plan(command, file, account)
        if launch.start != file:
            # After the trampoline has started, its exec's failure would be a mere exit code.
            why = bad_interpreter(file)
            if why is not None:
                raise SpawnError(why, retry=False)
        try:
            return _start(command, launch, file, has_setsid=has_setsid)
        except NotImplementedError:
            if not has_setsid:
                raise
    return spawn(command, has_setsid=False)


def _start(command: Command, launch: trampoline.Launch, file: str, *, has_setsid: bool) -> int:
    start, argv = launch.start, launch.argv
    if not has_setsid:
        argv = [sys.executable, "-I", "-S", "-c", _SETSID, start, *argv]
        start = sys.executable
    with _gate(launch) as (entrance, bolt), _placed(command, entrance) as actions:
        try:
            with _umask(command.umask), _file_limit_of_children():
                pid = os.posix_spawn(
                    start,
                    argv,
                    launch.env,
                    file_actions=actions,
                    setsid=has_setsid,
                    setsigmask=(),
                    # "Ignored" would survive the exec, and Python ignores SIGPIPE.
                    setsigdef=signal.valid_signals(),
                )
        except OSError as error:
            _refused(error, file)
        if bolt is not None:
            try:
                trampoline.settle(pid, command, launch)
            except SpawnError:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise
            # One that was killed meanwhile is reported by the reaper, like any other.
            with contextlib.suppress(BrokenPipeError):
                os.write(bolt, b"\n")
    return pid


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
        if not name or "=" in name:
            raise SpawnError(f"{name!r} cannot be the name of a variable", retry=False)
    if command.is_limited:
        trampoline.check_limits(command)


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
def _umask(mask: int | None) -> Iterator[None]:
    """Have a umask for the time of one call, as `_working_directory` has a directory."""
    if mask is None:
        yield
        return
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextlib.contextmanager
def _gate(launch: trampoline.Launch) -> Iterator[tuple[int | None, int | None]]:
    """Give both ends of what the trampoline waits at: its standard input, and ours."""
    if not launch.waits:
        yield None, None
        return
    try:
        entrance, bolt = os.pipe()
    except OSError as error:
        raise SpawnError(f"cannot make a pipe for a start: {error.strerror}", retry=True) from error
    try:
        yield entrance, bolt
    finally:
        os.close(entrance)
        os.close(bolt)


@contextlib.contextmanager
def _placed(
    command: Command, entrance: int | None
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
            complaints = output if command.error_fd is None else source(command.error_fd)
            placed = [source(fd) for _, fd in command.sockets]
            gate = None if entrance is None else source(entrance)
        except OSError as error:
            raise SpawnError(
                f"cannot hand over a descriptor: {error.strerror}",
                retry=error.errno in (errno.EMFILE, errno.ENFILE),
            ) from error
        yield [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)
            if gate is None
            else (os.POSIX_SPAWN_DUP2, gate, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, complaints, 2),
            *((os.POSIX_SPAWN_DUP2, fd, FIRST_SOCKET + at) for at, fd in enumerate(placed)),
        ]
    finally:
        for fd in lifted:
            os.close(fd)
