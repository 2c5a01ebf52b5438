"""`down` where no daemon runs: what a killed one has left is taken over, and ended.

A daemon is started for nothing but that. It alone can tell what is ours, ends each tree as its
service is to be ended, and lets the sink write what is still to be read.
"""

import os
import subprocess
import time

from supervisor.cli import wording
from supervisor.cli.connection import System, short_path
from supervisor.cli.daemon_log import LOG_NAME, open_log, what_it_said
from supervisor.cli.exits import CommandError, ExitStatus
from supervisor.cli.launch import daemon_command, environment
from supervisor.cli.survivors import survivors
from supervisor.posix.lock import EXIT_SECOND, is_locked


def is_needed(state_dir: str) -> bool:
    """Tell whether a killed daemon has left a service, its log sink or its holder behind."""
    return (
        bool(survivors(state_dir))
        or is_locked(os.path.join(state_dir, "sink.lock"))
        or os.path.exists(os.path.join(state_dir, "holder"))
    )


def take_down(system: System, timeout: float) -> int | None:
    """End all that is left, and wait for it. Raises CommandError.

    None: another daemon has come before the one that was to do it.
    """
    began = time.monotonic()
    left = survivors(system.state_dir)
    log = os.path.join(system.state_dir, LOG_NAME)
    with open(open_log(system.state_dir, log), "wb") as output:
        said_before = os.fstat(output.fileno()).st_size
        try:
            # In a session of its own: Ctrl-C here must not end it in the middle.
            done = subprocess.run(
                [*daemon_command(system), "--take-down"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                timeout=timeout,
                check=False,
                env=environment(),
            )
        except OSError as error:
            raise CommandError(
                ExitStatus.NOT_REACHED, f"cannot start the supervisor: {error}"
            ) from None
        except subprocess.TimeoutExpired:
            raise CommandError(
                ExitStatus.NOT_REACHED,
                f"what a killed supervisor has left is not ended after {timeout:g} s",
                f"see {short_path(log)} and: atlasctl status",
            ) from None
    if done.returncode == EXIT_SECOND:
        return None
    if done.returncode != 0 or (still := survivors(system.state_dir)):
        names = wording.listing([each.service for each in still]) if done.returncode == 0 else ""
        raise CommandError(
            ExitStatus.NOT_REACHED,
            f"what a killed supervisor has left could not be ended{names and ': '}{names}",
            what_it_said(log, said_before),
        )
    took = wording.duration(time.monotonic() - began)
    ran = wording.count(len(left), "service")
    print(f"stopped {ran} that a killed supervisor had left, after {took}")
    return ExitStatus.AS_ASKED
