"""Turns into a service's program after what /bin/sh cannot do on every system: `user`, limits.

Run by its path, `python -I -S chainload.py NAME=VALUE… -- FILE ARGV…`, and never imported. It
waits for one byte on standard input: before that the daemon is not done with this process. What
goes wrong is printed to the service's log, and exit code 125 follows.

Only modules that are there without a look at the disk, or this would take twice its 10 ms.
"""

import _signal  # type: ignore[import-not-found]  # `signal` takes another 2 ms for its enums
import contextlib
import errno
import os
import sys
from typing import NoReturn

NOT_STARTED = 125


def fail(what: str, error: OSError | ValueError) -> NoReturn:
    """Say why there will be no program, and end."""
    why = error.strerror if isinstance(error, OSError) else str(error)
    os.write(2, f"atlasctl: {what}: {why}; the program was not started\n".encode())
    os._exit(NOT_STARTED)


def limit(name: str, number: int) -> None:
    """Set one resource limit, soft and hard."""
    import resource

    try:
        resource.setrlimit(getattr(resource, name), (number, number))
    except (OSError, ValueError) as error:
        fail(f"cannot set {name} to {number}", error)


def enter(cgroup: str) -> None:
    """Move this process into a control group."""
    try:
        with open(f"{cgroup}/cgroup.procs", "wb", buffering=0) as members:
            members.write(b"0")
    except OSError as error:
        fail(f"cannot enter the control group {cgroup}", error)


def become(user: str, uid: int, gid: int) -> None:
    """Give up root for an account, its groups included."""
    try:
        # Not setgroups(): macOS has more groups for some accounts than that call can take.
        os.initgroups(user, gid)
        os.setgid(gid)
        os.setuid(uid)
    except OSError as error:
        fail(f"cannot become user {user}", error)


def main(words: list[str]) -> NoReturn:
    """Do as told, then execute the program."""
    end = words.index("--")
    told = dict(word.split("=", 1) for word in words[:end])
    file, argv = words[end + 1], words[end + 2 :]
    if "mark" in told:
        # Seen in the process table until the program is there: see trampoline.never_started.
        with contextlib.suppress(OSError), open("/proc/self/comm", "w") as comm:
            comm.write(told["mark"])
    if not os.read(0, 1):
        os._exit(NOT_STARTED)  # the daemon died meanwhile
    for name in ("RLIMIT_NOFILE", "RLIMIT_NPROC"):
        if name in told:
            limit(name, int(told[name]))
    if "cgroup" in told:
        enter(told["cgroup"])
    if "user" in told:
        become(told["user"], int(told["uid"]), int(told["gid"]))
        try:
            # The daemon came here as root, and this account may not be allowed to.
            os.chdir(told["cwd"])
        except OSError as error:
            fail(f"user {told['user']} cannot enter the working directory {told['cwd']}", error)
    environment = dict(os.environ)
    if "coerced" in told:
        environment.pop("LC_CTYPE", None)  # PEP 538: Python itself has set it
    if "listen" in told:
        environment["LISTEN_PID"] = str(os.getpid())
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    # Python ignores these, and "ignored" would survive the exec.
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(number, _signal.SIG_DFL)
    try:
        os.execve(file, argv, environment)  # noqa: S606
    except OSError as error:
        who = f" as user {told['user']}" if "user" in told else ""
        if error.errno == errno.EAGAIN and "RLIMIT_NPROC" in told:
            # execve(2): how Linux says that setuid(2) went over the limit.
            most = told["RLIMIT_NPROC"]
            error.strerror = f"{told.get('user', 'this user')} has more than {most} processes"
        fail(f"cannot execute {file}{who}", error)


if __name__ == "__main__":
    main(sys.argv[1:])
