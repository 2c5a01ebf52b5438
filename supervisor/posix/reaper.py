"""The end of every child, reported once and before its pid can be used again.

Nobody else in the daemon waits for children: no subprocess, no asyncio child watcher. SIGCHLD
comes through the event loop, coalesced, so each notice is answered by a sweep until nothing is
left. `waitid(WNOWAIT)` looks first and the callback runs while the dead process still holds its
pid and its group's number: what it signals can only be the right group.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

from supervisor.core.events import Exit, ExitCode, ExitSignal, ExitUnknown

if sys.platform == "linux":
    from supervisor.posix import linux as system
else:
    from supervisor.posix import darwin as system

PER_PASS: Final = 100
"""Children reaped before other events get their turn (a fork bomb's orphans all come to us)."""


class Reaper:
    """Reports every child's end to `on_exit(pid, exit)`, orphans that came to us included.

    `on_exit` runs before the pid is free and must not raise; if it does, the child is reaped all
    the same and the error goes to the loop's exception handler.
    """

    def __init__(self, on_exit: Callable[[int, Exit], None]) -> None:
        self._on_exit = on_exit
        self._loop: asyncio.AbstractEventLoop | None = None
        self._again: asyncio.Handle | None = None

    def start(self) -> None:
        """Begin to listen on the running loop, and sweep once: a child may be dead already.

        To be called after all other add_signal_handler() calls.
        """
        self._loop = asyncio.get_running_loop()
        self._loop.add_signal_handler(signal.SIGCHLD, self._signalled)
        # In a storm the loop's pipe of signals fills, which Python reports on stderr each time:
        # 30 000 lines for one fork bomb. It means nothing, a sweep is due as it is. The next
        # add_signal_handler() would undo this, so the daemon's other signals come first.
        signal.set_wakeup_fd(signal.set_wakeup_fd(-1), warn_on_full_buffer=False)
        # As posix_spawn(3) and a daemon that executed itself anew may have left it blocked.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        self._again = self._loop.call_soon(self._sweep)

    def close(self) -> None:
        """Stop listening. Children that die from now on stay unreaped."""
        if self._loop is not None:
            self._loop.remove_signal_handler(signal.SIGCHLD)
            self._loop = None
        if self._again is not None:
            self._again.cancel()
            self._again = None

    def _signalled(self) -> None:
        # The loop calls this once for each signal that is queued; one sweep a pass is enough, or
        # PER_PASS would be no bound. The second sweep finds what died during the first.
        if self._again is None and self._loop is not None:
            self._sweep()
            if self._again is None and self._loop is not None:
                self._again = self._loop.call_soon(self._sweep)

    def _sweep(self) -> None:
        loop = self._loop
        if loop is None:
            return
        if self._again is not None:
            self._again.cancel()
            self._again = None
        for _ in range(PER_PASS):
            ended = system.dead_child()
            if ended is None:
                return
            try:
                self._on_exit(ended.pid, exit_of(ended.code, ended.status))
            except Exception as error:  # noqa: BLE001 - an unreaped child would come again for ever
                loop.call_exception_handler(
                    {"message": f"on_exit failed for pid {ended.pid}", "exception": error}
                )
            finally:
                os.waitpid(ended.pid, 0)
        self._again = loop.call_soon(self._sweep)


def exit_of(code: int, status: int) -> Exit:
    """Translate `si_code` and `si_status` of waitid(2)."""
    if code == os.CLD_EXITED:
        return ExitCode(status)
    if code in (os.CLD_KILLED, os.CLD_DUMPED):
        return ExitSignal(status, core_dumped=code == os.CLD_DUMPED)
    return ExitUnknown()


def exit_of_status(status: int) -> Exit:
    """Translate a status word of wait(2), which is also what the kernel tells of a pidfd."""
    if os.WIFEXITED(status):
        return ExitCode(os.WEXITSTATUS(status))
    if os.WIFSIGNALED(status):
        return ExitSignal(os.WTERMSIG(status), core_dumped=os.WCOREDUMP(status))
    return ExitUnknown()
