"""What a command says is heard to its end, however the machine shares out its processors."""

import os
import time

import psutil
import pytest

from supervisor.cli import asking
from supervisor.cli.asking import run_bounded
from supervisor.core.events import ExitCode

BOUND = 30.0


def test_what_it_says_between_two_looks_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """It prints and ends after one look at its pipes that found nothing, and before the next.

    Seen with processes that stood still for some ms at any place: `atlasctl install` said that
    there was no systemd, since nothing had been printed, and ended with code 0.
    """
    has_ended = asking._Child.has_ended

    def has_ended_late(child: asking._Child) -> bool:
        deadline = time.monotonic() + BOUND
        while child.ending is None and psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
        return has_ended(child)

    monkeypatch.setattr(asking._Child, "has_ended", has_ended_late)
    script = f"sleep {2 * asking._LOOK_EVERY}; echo said; echo complained >&2"
    ran = run_bounded(("sh", "-c", script), os.environ, "/", BOUND)
    assert (ran.printed, ran.complaint(), ran.ending) == (b"said\n", "complained", ExitCode(0))


def test_what_it_has_started_keeps_nobody_waiting() -> None:
    ran = run_bounded(("sh", "-c", "sleep 1000 & echo said"), os.environ, "/", BOUND)
    assert (ran.printed, ran.ending) == (b"said\n", ExitCode(0))
