"""What is to be started, and the error of a start that did not come about."""

from collections.abc import Mapping
from dataclasses import dataclass


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
    by LISTEN_FDS, LISTEN_FDNAMES and LISTEN_PID. All descriptors stay open here. What follows
    them is in force before the first instruction of the program.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    output_fd: int
    sockets: tuple[tuple[str, int], ...] = ()
    umask: int | None = None
    """None: as ours, which is the user's own where the daemon or a probe is started."""
    open_files: int | None = None
    """RLIMIT_NOFILE, soft and hard."""
    processes: int | None = None
    """RLIMIT_NPROC, soft and hard. The kernel counts what the *user* has, threads included on
    Linux, whichever run it is of, and holds root to nothing: pids.max of a cgroup is better."""
    nice: int = 0
    """-20 to 19, not added to the daemon's own; 0 leaves it at the daemon's own."""
    user: str | None = None
    """Account to run as; None: the daemon's own. Not reflected in `env`."""
    cgroup: str | None = None
    """Directory of the control group that it runs in, Linux only."""
    error_fd: int | None = None
    """Where standard error goes; None: where the output goes."""

    @property
    def is_limited(self) -> bool:
        """Whether something must be set that posix_spawn(3) cannot set."""
        return (
            self.open_files is not None
            or self.processes is not None
            or self.nice != 0
            or self.cgroup is not None
        )
