"""Children of ours that nobody claims: found below us, ended, and nobody else with them."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import pytest

from supervisor.posix.identity import ProcessIdentity, identify, is_alive
from supervisor.posix.orphans import end_orphans, orphans
from supervisor.posix.reaper import Reaper

if TYPE_CHECKING:
    from .conftest import Stage

Reaps = Callable[["Stage"], AbstractContextManager[Reaper]]

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="macOS gives orphans to launchd, and we hear nothing of them"
)

# The shell ends at once; what it leaves has another session, no environment and no output.
HIDE = "setsid env -i sh -c 'trap \"\" TERM; echo $$; exec sleep 99 >/dev/null 2>&1' &"


async def hidden(stage: "Stage") -> ProcessIdentity:
    shell = stage.spawn("sh", "-c", HIDE)
    pid = int(stage.line())
    await stage.exit_of(shell.pid)
    found = identify(pid)
    assert found is not None
    return found


async def test_what_nobody_claims_is_ended(
    stage: "Stage", canary: ProcessIdentity, reaps: Reaps
) -> None:
    with reaps(stage):
        claimed = stage.spawn("sleep", "99")
        left = await hidden(stage)
        known = frozenset({canary.pid, claimed.pid})
        assert left.pid in {row.pid for row in orphans(known)}
        words = await end_orphans(lambda: known, within=10)
        assert any(f"pid {left.pid} " in each for each in words)
        assert not is_alive(left), "it ignores SIGTERM"
        assert orphans(known) == ()
        assert is_alive(claimed)
        assert await end_orphans(lambda: known, within=10) == ()
        await end_orphans(lambda: frozenset({canary.pid}), within=10)
        await stage.exit_of(claimed.pid)
        await stage.until(lambda: left.pid in stage.exits)


async def test_it_gives_up_in_time(stage: "Stage", canary: ProcessIdentity, reaps: Reaps) -> None:
    with reaps(stage):
        left = await hidden(stage)
        known = frozenset({canary.pid})
        words = await end_orphans(lambda: known, within=0)
        assert words, "what there was is told all the same"
        await end_orphans(lambda: known, within=10)
        await stage.until(lambda: left.pid in stage.exits)


async def test_a_child_that_is_left_to_us_during_the_look_is_ended_too(
    stage: "Stage", canary: ProcessIdentity, reaps: Reaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    with reaps(stage):
        _, heirs = await stage.leave_an_heir(monkeypatch)
        words = await end_orphans(lambda: frozenset({canary.pid}), within=10)
        assert [word for word in words if f"pid {heirs[0].pid} " in word]
        await stage.exit_of(heirs[0].pid)
