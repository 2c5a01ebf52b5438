"""How an exit reads, and which count as success."""

import signal

import pytest

from supervisor.core.events import Exit, ExitCode, ExitSignal, ExitUnknown
from supervisor.core.exits import SIGNAL_NAMES, describe_exit, signal_words, succeeded


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (ExitCode(0), "exited with code 0"),
        (ExitCode(1), "exited with code 1"),
        (ExitCode(126), "exited with code 126 (the shell could not execute the command)"),
        (ExitCode(127), "exited with code 127 (the shell did not find the command)"),
        (ExitCode(128), "exited with code 128"),
        (
            ExitCode(137),
            "exited with code 137 (a child of it was perhaps killed by signal 9 (SIGKILL))",
        ),
        (ExitCode(159), "exited with code 159 (a child of it was perhaps killed by signal 31)"),
        (ExitCode(160), "exited with code 160"),
        (ExitCode(255), "exited with code 255"),
        (ExitSignal(9), "was killed by signal 9 (SIGKILL)"),
        (ExitSignal(11, core_dumped=True), "was killed by signal 11 (SIGSEGV) and dumped core"),
        (ExitSignal(64), "was killed by signal 64"),
        (ExitUnknown(), "ended (how is not known: it was not this daemon's child)"),
    ],
)
def test_words(ending: Exit, words: str) -> None:
    assert describe_exit(ending) == words


@pytest.mark.parametrize(
    ("ending", "success"),
    [(ExitCode(0), True), (ExitCode(1), False), (ExitSignal(15), False), (ExitUnknown(), False)],
)
def test_success(ending: Exit, *, success: bool) -> None:
    assert succeeded(ending) is success


def test_names_are_those_of_this_machine() -> None:
    assert {n: signal.Signals(n).name for n in SIGNAL_NAMES} == SIGNAL_NAMES
    assert signal_words(10) == "signal 10", "10 is SIGUSR1 on Linux and SIGBUS on macOS"
