"""What runs between posix_spawn(3) and the program, where that call alone is not enough.

/bin/sh, which then executes the program in its place (0.5 ms), or `chainload.py` (10 ms) for what
a shell would lose or cannot do. Either waits until the daemon has set from outside what can be:
an error there has its exact reason, and the program has not run a single instruction.

The control group is entered by the process itself: that waits for an RCU grace period of the
kernel, 10 to 25 ms, which the daemon's loop should not.
"""

import os
import re
import sys
from dataclasses import dataclass
from typing import Final

from supervisor.posix import chainload
from supervisor.posix.account import Account
from supervisor.posix.command import Command, SpawnError

if sys.platform == "linux":
    from supervisor.posix import linux as system

_SHELL_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_MARK: Final = "atlas-start"
"""Name in the process table of what has not become its program yet; 15 bytes at most."""

_MARK_IT: Final = f"{{ printf {_MARK} >/proc/self/comm; }} 2>/dev/null"

# LISTEN_PID, since no environment of ours has it: `read` would change an exported variable.
_WAIT: Final = f"read -r LISTEN_PID || exit {chainload.NOT_STARTED}"

# `echo` is the shell's own, so 0 is the shell: the process that becomes the program.
_ENTER: Final = (
    '{ echo 0 >"$1"; } 2>/dev/null || {'
    ' echo "atlasctl: cannot enter the control group ${1%/*}; the program was not started" >&2;'
    f" exit {chainload.NOT_STARTED}; }}; shift"
)

# LISTEN_PID must be the child's own pid (sd_listen_fds(3)), which nobody knows before it is
# there. `exec` keeps the pid, so the program is this process.
_ANNOUNCE: Final = "LISTEN_PID=$$; export LISTEN_PID"

_OWN_VARIABLES: Final = ("PWD", "OLDPWD", "SHLVL")
"""What shells put into the environment of their own accord. macOS's bash sets SHLVL=0 again."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What posix_spawn(3) is to execute."""

    start: str
    argv: list[str]
    env: dict[str, str]
    waits: bool
    """It waits for a line on standard input, and then makes that /dev/null."""
    sets_limits: bool
    """It sets the resource limits itself, and the daemon need not."""


def plan(command: Command, file: str, account: Account | None) -> Launch:
    """Return how to start `file` as the command says, under `account` if that is given."""
    env = dict(command.env)
    if command.sockets:
        env["LISTEN_FDS"] = str(len(command.sockets))
        env["LISTEN_FDNAMES"] = ":".join(name for name, _ in command.sockets)
    if account is None and not command.sockets and not command.is_limited:
        return Launch(file, list(command.argv), env, waits=False, sets_limits=False)
    if account is not None or _beyond_shell(command):
        return _by_python(command, file, account, env)
    return _by_shell(command, file, env)


def settle(pid: int, command: Command, launch: Launch) -> None:
    """Set from outside what can be, on a process that waits. Raises SpawnError."""
    if command.nice:
        try:
            os.setpriority(os.PRIO_PROCESS, pid, command.nice)
        except PermissionError:
            own = os.getpriority(os.PRIO_PROCESS, 0)
            raise SpawnError(
                f"limits.nice is {command.nice} and only root may go below the supervisor's own "
                f"{own}: write {own} to 19",
                retry=False,
            ) from None
        _set_autogroup(pid, command.nice)
    if sys.platform == "linux" and not launch.sets_limits:
        import resource

        for key, name, number in _limits(command):
            try:
                resource.prlimit(pid, getattr(resource, name), (number, number))
            except (OSError, ValueError) as error:
                why = error.strerror if isinstance(error, OSError) else str(error)
                raise SpawnError(
                    f"the system refuses limits.{key}: {number} ({why}): make it smaller",
                    retry=False,
                ) from None


def check_limits(command: Command) -> None:
    """Refuse before anything is started what the system would refuse. Raises SpawnError."""
    import resource

    for key, name, number in _limits(command):
        _, hard = resource.getrlimit(getattr(resource, name))
        if hard != resource.RLIM_INFINITY and number > hard and os.geteuid() != 0:
            raise SpawnError(
                f"limits.{key} is {number} and the system allows the supervisor {hard}: write "
                f"{hard} at most, or raise the hard limit that it is started with",
                retry=False,
            )
    if command.cgroup is not None and not os.access(f"{command.cgroup}/cgroup.procs", os.W_OK):
        raise SpawnError(
            f"the control group {command.cgroup} is gone, or may not be entered", retry=True
        )


def never_started(pid: int) -> bool:
    """Tell of a dead child that is not reaped yet whether it ended before its program began.

    Then its exit code says nothing of the service, and the reason is in the service's log. Known
    on Linux, of starts that have limits, a user or a cgroup; False elsewhere.
    """
    if sys.platform == "linux":
        row = system.read_row(pid)
        return row is not None and row.name == _MARK
    return False


def _limits(command: Command) -> list[tuple[str, str, int]]:
    wanted = (
        ("open_files", "RLIMIT_NOFILE", command.open_files),
        ("processes", "RLIMIT_NPROC", command.processes),
    )
    return [(key, name, number) for key, name, number in wanted if number is not None]


def _beyond_shell(command: Command) -> bool:
    """Tell whether a shell would lose a variable, or a limit cannot be set from outside.

    A shell drops names that it cannot have, and macOS drops DYLD_* at each program of the system.
    """
    if not all(map(_SHELL_NAME.fullmatch, command.env)):
        return True
    if sys.platform == "linux":
        return False
    return bool(_limits(command)) or any(name.startswith("DYLD_") for name in command.env)


def _by_shell(command: Command, file: str, env: dict[str, str]) -> Launch:
    waits = command.is_limited
    steps: list[str] = []
    words: list[str] = []
    if waits:
        steps += [_MARK_IT, _WAIT] if sys.platform == "linux" else [_WAIT]
    if command.cgroup is not None:
        steps.append(_ENTER)
        words.append(f"{command.cgroup}/cgroup.procs")
    if command.sockets:
        steps.append(_ANNOUNCE)
    if added := [name for name in _OWN_VARIABLES if name not in env]:
        steps.append(f"unset {' '.join(added)}")
    steps.append('exec "$@" </dev/null' if waits else 'exec "$@"')
    argv = ["sh", "-c", "\n".join(steps), "atlasctl", *words, file, *command.argv[1:]]
    return Launch("/bin/sh", argv, env, waits=waits, sets_limits=False)


def _by_python(command: Command, file: str, account: Account | None, env: dict[str, str]) -> Launch:
    told = {name: str(number) for _, name, number in _limits(command)}
    if sys.platform == "linux":
        told["mark"] = _MARK
    if command.cgroup is not None:
        told["cgroup"] = command.cgroup
    if account is not None:
        told |= {"user": account.name, "uid": str(account.uid), "gid": str(account.gid)}
        told["cwd"] = command.cwd
    if "LC_CTYPE" not in env:
        told["coerced"] = "1"
    if command.sockets:
        told["listen"] = "1"
    words = [f"{name}={value}" for name, value in told.items()]
    script = os.path.abspath(chainload.__file__)
    argv = [sys.executable, "-I", "-S", script, *words, "--", file, *command.argv]
    return Launch(sys.executable, argv, env, waits=True, sets_limits=True)


def _set_autogroup(pid: int, nice: int) -> None:
    """Weigh the session as the process: where sessions share a CPU evenly, nice alone does little.

    sched(7), "The autogroup feature". Not everywhere there, and for others than root limited to
    one change in 0.1 s: what it gives is a preference, so a refusal is no error.
    """
    if sys.platform == "linux":
        try:
            with open(f"/proc/{pid}/autogroup", "w", encoding="ascii") as file:
                file.write(str(nice))
        except OSError:
            return
