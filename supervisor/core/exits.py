"""How a process ended, in words."""

from typing import assert_never

from supervisor.core.events import Exit, ExitCode, ExitSignal, ExitUnknown

# Only the signals whose numbers agree on Linux and macOS; the pure core may not import `signal`,
# whose table is that of the machine it runs on.
SIGNAL_NAMES = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    4: "SIGILL",
    5: "SIGTRAP",
    6: "SIGABRT",
    8: "SIGFPE",
    9: "SIGKILL",
    11: "SIGSEGV",
    13: "SIGPIPE",
    14: "SIGALRM",
    15: "SIGTERM",
    24: "SIGXCPU",
    25: "SIGXFSZ",
}

# Conventions of shells and interpreters that save a person a search.
CODE_HINTS = {
    126: "the shell could not execute the command",
    127: "the shell did not find the command",
}


def signal_words(number: int) -> str:
    """Return `signal 9 (SIGKILL)`."""
    name = SIGNAL_NAMES.get(number)
    return f"signal {number} ({name})" if name else f"signal {number}"


def describe_exit(ending: Exit) -> str:
    """Return what happened as the rest of a sentence: `was killed by signal 9 (SIGKILL)`."""
    match ending:
        case ExitCode(code=0):
            return "exited with code 0"
        case ExitCode(code=code):
            hint = CODE_HINTS.get(code)
            if hint is None and 128 < code < 160:
                # `sh` reports a child killed by signal N as 128 + N.
                hint = f"a child of it was perhaps killed by {signal_words(code - 128)}"
            return f"exited with code {code}" + (f" ({hint})" if hint else "")
        case ExitSignal(signal=number, core_dumped=core):
            return f"was killed by {signal_words(number)}" + (" and dumped core" if core else "")
        case ExitUnknown():
            return "ended (how is not known: it was not this daemon's child)"
        case _:
            assert_never(ending)


def succeeded(ending: Exit) -> bool:
    """Tell whether the process ended as one that has done its work does."""
    return isinstance(ending, ExitCode) and ending.code == 0
