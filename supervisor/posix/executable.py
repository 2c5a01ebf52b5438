"""Which file a command means, and why it cannot be run, in words that say what to do.

Read-only: nothing here starts anything. The search is done by us over the child's own PATH,
because posix_spawnp(3) would use the daemon's.
"""

import errno
import os
import stat
from collections.abc import Sequence
from itertools import islice

_LISTED = 4000
"""Names looked at for a did-you-mean, over the whole PATH: it must not delay the loop."""


class ExecutableError(Exception):
    """The command names nothing that could be run; the message says why."""


def find_executable(command: str, *, path: str, cwd: str) -> str:
    """Return the file to execute for `command`.

    With a slash it is a path, relative to `cwd`; without one it is looked for in the directories
    of `path`, in order. Raises ExecutableError.
    """
    if not command:
        raise ExecutableError("the command is empty: write the program's name")
    if "/" in command:
        candidate = os.path.join(cwd, command)
        why = _unusable(candidate)
        if why is not None:
            raise ExecutableError(why)
        return candidate
    refusal: str | None = None
    directories = [os.path.join(cwd, entry) if entry else cwd for entry in path.split(":")]
    for directory in directories:
        candidate = os.path.join(directory, command)
        try:
            mode = os.stat(candidate).st_mode
        except OSError:
            continue
        if stat.S_ISREG(mode) and os.access(candidate, os.X_OK):
            return candidate
        # As execvp(3): a file that may not be executed does not end the search, but is the
        # better explanation if nothing else turns up.
        refusal = refusal or _unusable(candidate)
    if refusal is not None:
        raise ExecutableError(refusal)
    looked = ", ".join(dict.fromkeys(directories))
    raise ExecutableError(
        f"command not found: {command} (looked in {looked}){_suggestion(command, directories)}"
    )


def bad_interpreter(file: str) -> str | None:
    """Return why the `#!` line of `file` cannot work, or None if it can or there is none."""
    try:
        with open(file, "rb") as script:
            first = script.read(512).split(b"\n", 1)[0]
    except OSError:
        return None
    if not first.startswith(b"#!"):
        return None
    words = first[2:].split()
    if not words:
        return f"bad interpreter: the first line of {file} is '#!' and no program"
    if first.endswith(b"\r"):
        return (
            f"bad interpreter: the first line of {file} ends in a carriage return; "
            "save the file with Unix line ends"
        )
    interpreter = os.fsdecode(words[0])
    why = _unusable(interpreter)
    if why is None:
        return None
    return (
        f"bad interpreter: {file} begins with #!{interpreter}: {why}; "
        "was its virtual environment moved or removed?"
    )


def explain(error: OSError, *, file: str) -> str:
    """Return why the kernel refused to execute `file`, which find_executable had accepted."""
    match error.errno:
        case errno.E2BIG:
            return (
                f"cannot start {file}: command line and environment together are too long "
                "for the system; shorten them"
            )
        case errno.EAGAIN:
            return (
                f"cannot start {file}: the system refuses another process now "
                "(limit of processes: ulimit -u)"
            )
        case errno.ENOMEM:
            return f"cannot start {file}: not enough memory for another process now"
        case errno.ENOEXEC:
            return (
                f"cannot start {file}: not a program for this machine, and a script needs a "
                "first line like #!/bin/sh"
            )
        case errno.ENOENT | errno.EACCES | errno.ELOOP:
            return bad_interpreter(file) or f"cannot start {file}: {error.strerror}"
        case _:
            return f"cannot start {file}: {error.strerror}"


def _unusable(file: str) -> str | None:
    try:
        mode = os.stat(file).st_mode
    except FileNotFoundError:
        return f"no such file: {file}"
    except OSError as error:
        return f"cannot look at {file}: {error.strerror}"
    if stat.S_ISDIR(mode):
        return f"{file} is a directory, not a program"
    if not stat.S_ISREG(mode):
        return f"{file} is not a regular file"
    if not os.access(file, os.X_OK):
        return f"{file} is not executable (chmod +x would make it so)"
    return None


def _suggestion(command: str, directories: Sequence[str]) -> str:
    import difflib  # rare, and the daemon is small without it

    names: set[str] = set()
    for directory in directories:
        try:
            with os.scandir(directory) as entries:
                names.update(e.name for e in islice(entries, max(0, _LISTED - len(names))))
        except OSError:
            continue
    close = difflib.get_close_matches(command, names, n=3, cutoff=0.75)
    return f"; did you mean {' or '.join(sorted(close))}?" if close else ""
