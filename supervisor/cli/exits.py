"""What the exit code of every command means, and the errors that end a command with one."""

from enum import IntEnum


class ExitStatus(IntEnum):
    """The same meaning for every command; each `--help` repeats it."""

    AS_ASKED = 0
    NOT_REACHED = 1
    USAGE = 2
    NO_DAEMON = 3
    INTERRUPTED = 130
    """128 + SIGINT, as shells report a command that Ctrl-C ended."""
    BROKEN_PIPE = 141
    """128 + SIGPIPE: whoever read our output has gone (`status | head`)."""


LEGEND = """\
exit codes:
  0  all is as asked
  1  the state that was asked for was not reached
  2  usage or configuration is wrong
  3  no supervisor runs
"""


class CommandError(Exception):
    """A command that ends here: its exit code, what is wrong, and what to do about it."""

    def __init__(self, status: ExitStatus, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.hint = hint


class Interrupted(Exception):  # noqa: N818 - it is what the person wanted, not an error
    """Ctrl-C ended a command; the message says what goes on running."""
