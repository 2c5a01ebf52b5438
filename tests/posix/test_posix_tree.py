"""Trees: what a run leaves is found and ended, and nobody else is touched."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.events import ExitCode, ExitSignal
from supervisor.posix.environment import Marker
from supervisor.posix.identity import ProcessIdentity, identify, is_alive
from supervisor.posix.reaper import Reaper
from supervisor.posix.rows import Row, with_descendants
from supervisor.posix.tree import (
    Tree,
    clear,
    descendants,
    describe,
    kill_round,
    members,
    signal_group,
    signal_members,
    survivors,
)

if sys.platform == "linux":
    from supervisor.posix.linux import children, read_row
else:
    from supervisor.posix.darwin import children, read_row

if TYPE_CHECKING:
    from .conftest import Stage

Reaps = Callable[["Stage"], AbstractContextManager[Reaper]]
MakeTree = Callable[..., Tree]


orphans_come_to_us = pytest.mark.skipif(
    sys.platform != "linux", reason="macOS gives orphans to launchd, and we hear nothing of them"
)


def nobody(canary: ProcessIdentity) -> frozenset[int]:
    return frozenset({canary.pid})


def must(pid: int) -> ProcessIdentity:
    identity = identify(pid)
    assert identity is not None
    return identity


@orphans_come_to_us
@pytest.mark.parametrize("form", ["", "wiped", "stay"])
def test_double_fork_and_setsid_are_found_and_ended(
    stage: "Stage", reaps: Reaps, make_tree: MakeTree, canary: ProcessIdentity, form: str
) -> None:
    async def main() -> None:
        with reaps(stage):
            leader = stage.script("escape.py", form)
            pids = stage.words()
            deep = must(pids["deep"])
            deep_row = read_row(deep.pid)
            assert deep_row is not None
            # A wiped environment leaves only what was seen while the leader lived, which ends at
            # once here; the daemon takes that picture when it is asked to stop a service.
            seen = (deep_row,) if form == "wiped" else ()
            assert await stage.exit_of(leader.pid) == ExitCode(0)
            tree = make_tree(leader)
            found = survivors(tree, known=nobody(canary), seen=seen)
            expected = {pids["deep"]} | ({pids["middle"]} if form == "stay" else set())
            assert {row.pid for row in found} == expected
            left = await clear(tree, known=lambda: nobody(canary), seen=seen, within=10)
            assert left == ()
            assert not is_alive(deep)
            await stage.until(lambda: pids["deep"] in stage.exits)
            await stage.until(lambda: form != "stay" or pids["middle"] in stage.exits)

    asyncio.run(main())


def test_empty_tree_is_known_without_a_look_at_the_process_table(
    stage: "Stage", reaps: Reaps, make_tree: MakeTree, canary: ProcessIdentity,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from supervisor.posix import tree as module

    async def main() -> None:
        with reaps(stage):
            leader = stage.spawn("true")
            await stage.exit_of(leader.pid)
            monkeypatch.setattr(module, "members", None)
            assert survivors(make_tree(leader), known=nobody(canary)) == ()

    asyncio.run(main())


@orphans_come_to_us
def test_term_ignored_by_all_is_answered_by_kill(
    stage: "Stage", reaps: Reaps, make_tree: MakeTree, canary: ProcessIdentity
) -> None:
    async def main() -> None:
        with reaps(stage):
            leader = stage.spawn(
                "sh", "-c", "trap '' TERM; sleep 60 & echo ready; while :; do wait; done"
            )
            assert stage.line() == "ready"
            below = descendants(leader.pid)
            assert len(below) == 1
            assert signal_group(leader, signal.SIGTERM, with_cont=True)
            assert is_alive(leader)
            left = await clear(make_tree(leader), known=lambda: nobody(canary), within=10)
            assert left == ()
            assert await stage.exit_of(leader.pid) == ExitSignal(9)
            await stage.until(lambda: below[0].pid in stage.exits)

    asyncio.run(main())


def test_stopped_process_takes_its_term(stage: "Stage", reaps: Reaps) -> None:
    async def main() -> None:
        with reaps(stage):
            leader = stage.spawn("sleep", "60")
            os.kill(leader.pid, signal.SIGSTOP)
            stage.await_stop(leader.pid)
            assert signal_group(leader, signal.SIGTERM, with_cont=True)
            assert await stage.exit_of(leader.pid) == ExitSignal(15)
            assert not signal_group(leader, signal.SIGTERM, with_cont=True)

    asyncio.run(main())


@orphans_come_to_us
def test_fifty_children_in_one_call(
    stage: "Stage", reaps: Reaps, make_tree: MakeTree, canary: ProcessIdentity
) -> None:
    async def main() -> None:
        with reaps(stage):
            leader = stage.spawn(
                "sh", "-c",
                "i=0; while [ $i -lt 50 ]; do setsid sleep 60 & i=$((i+1)); done; echo ok; exit 0",
            )  # fmt: skip
            assert stage.line() == "ok"
            await stage.exit_of(leader.pid)
            tree = make_tree(leader)
            assert len(survivors(tree, known=nobody(canary))) == 50
            assert await clear(tree, known=lambda: nobody(canary), within=10) == ()
            # Killed orphans are the Reaper's like any other child.
            await stage.until(lambda: len(stage.exits) == 51)

    asyncio.run(main())


@orphans_come_to_us
def test_fork_bomb_is_ended(
    stage: "Stage", reaps: Reaps, make_tree: MakeTree, canary: ProcessIdentity
) -> None:
    async def main() -> None:
        with reaps(stage):
            leader = stage.script("bomb.py", "12", "3000")
            assert stage.line() == "lit"
            tree = make_tree(leader)
            assert await clear(tree, known=lambda: nobody(canary), within=10) == ()
            assert await stage.exit_of(leader.pid) == ExitSignal(9)
            await stage.until(lambda: children() == nobody(canary))
            assert survivors(tree, known=nobody(canary)) == ()

    asyncio.run(main())


def test_recycled_pid_is_never_signalled(
    stage: "Stage", make_tree: MakeTree, canary: ProcessIdentity
) -> None:
    former = replace(canary, started=canary.started - 1)
    earlier_boot = replace(canary, boot="00000000-0000-0000-0000-000000000000")
    for dead in (former, earlier_boot):
        assert not is_alive(dead)
        assert not signal_group(dead, signal.SIGKILL, with_cont=True)
        for ours in (True, False):
            tree = make_tree(dead, ours=ours)
            assert survivors(tree, known=frozenset()) == ()
            assert kill_round(partial(survivors, tree, known=frozenset()), freeze=True) == 0
    row = next(row for row in descendants(os.getpid()) if row.pid == canary.pid)
    assert signal_members([row._replace(started=row.started - 1)], signal.SIGKILL) == 0
    assert is_alive(canary)


@orphans_come_to_us
def test_another_runs_process_is_not_this_runs(
    stage: "Stage", reaps: Reaps, make_tree: MakeTree, canary: ProcessIdentity
) -> None:
    async def main() -> None:
        with reaps(stage):
            leader = stage.script("escape.py")
            deep = must(stage.words()["deep"])
            await stage.exit_of(leader.pid)
            tree = make_tree(leader)
            for marker in (
                replace(tree.marker, run=2),
                replace(tree.marker, unit="other"),
                replace(tree.marker, fleet="ffffffff"),
            ):
                assert survivors(replace(tree, marker=marker), known=nobody(canary)) == ()
            assert is_alive(deep)
            # Without a daemon that watched, the marks alone are proof enough.
            unwatched = replace(tree, ours=False)
            assert [row.pid for row in survivors(unwatched, known=nobody(canary))] == [deep.pid]
            assert await clear(unwatched, known=lambda: nobody(canary), within=10) == ()
            await stage.exit_of(deep.pid)

    asyncio.run(main())


def test_what_cannot_be_ended_in_time_is_named(
    stage: "Stage", reaps: Reaps, make_tree: MakeTree, canary: ProcessIdentity,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from supervisor.posix import tree as module

    async def main() -> None:
        with reaps(stage):
            leader = stage.spawn("sleep", "60")
            # Stands for a process in an uninterruptible wait, which nothing can show on request.
            monkeypatch.setattr(module, "signal_members", lambda *_: 0)
            left = await clear(make_tree(leader), known=lambda: nobody(canary), within=0.01)
            assert left == (f"pid {leader.pid} sleep 60 (state S)",)
            os.kill(leader.pid, signal.SIGKILL)
            await stage.exit_of(leader.pid)

    asyncio.run(main())


def test_long_list_of_leftovers_is_cut() -> None:
    rows = [row(2**22 + n, 1) for n in range(30)]
    words = describe(rows)
    assert len(words) == 21
    assert words[0] == f"pid {2**22} name (state S)"
    assert words[-1] == "and 10 more processes"


# The decision by itself, on tables that no machine shows on request --------------------------

ME = 100
LEADER = ProcessIdentity(200, 5000, "boot", 1000)
MINE = Marker("f", "svc", 1)


def row(pid: int, ppid: int, sid: int = 0, started: int = 6000, state: str = "S") -> Row:
    return Row(pid, ppid, sid, sid, state, started, 0.0, 0, "name")


def found(
    rows: list[Row],
    marks: Mapping[int, Marker],
    *,
    ours: bool = True,
    orphans_are_ours: bool = True,
    known: frozenset[int] = frozenset(),
    seen: tuple[Row, ...] = (),
) -> list[int]:
    table = {each.pid: each for each in (row(1, 0), row(ME, 1, started=1), *rows)}
    result = members(
        table, Tree(MINE, LEADER, ours), me=ME, known=known, seen=seen,
        orphans_are_ours=orphans_are_ours,
        environment=lambda pid: marks[pid].variables() if pid in marks else None,
    )  # fmt: skip
    return [each.pid for each in result]


def test_session_proves_while_watched_and_not_otherwise() -> None:
    rows = [row(300, ME, sid=200)]
    assert found(rows, {}) == [300]
    assert found(rows, {}, ours=False, orphans_are_ours=False) == []
    assert found(rows, {300: MINE}, ours=False, orphans_are_ours=False) == [300]
    zombie = row(200, 1, sid=200, started=5000, state="Z")
    assert found([zombie, *rows], {}, ours=False, orphans_are_ours=False) == [300]


def test_seen_below_the_leader_is_proof_for_that_very_process() -> None:
    rows = [row(300, ME, sid=300), row(301, 300, sid=301)]
    assert found(rows, {}) == []
    assert found(rows, {}, seen=(row(300, 200),)) == [300, 301]
    assert found(rows, {}, seen=(row(300, 200, started=5999),)) == []


def test_session_number_used_again_proves_nothing() -> None:
    new_owner = row(200, ME, sid=200, started=9000)
    assert found([new_owner, row(300, 200, sid=200, started=9001)], {}) == []


def test_other_marks_outweigh_the_session() -> None:
    assert found([row(300, ME, sid=200)], {300: Marker("f", "svc", 2)}) == []


def test_a_process_older_than_the_leader_is_not_of_its_run() -> None:
    assert found([row(300, ME, started=4999)], {300: MINE}) == []


def test_daemon_started_from_a_service_spares_itself_and_its_own() -> None:
    # It carries the marks of the service it was started from, and so does its sink.
    rows = [row(400, ME), row(401, 400)]
    marks = {ME: MINE, 400: MINE, 401: MINE}
    assert found(rows, marks, known=frozenset({400})) == []
    assert found(rows, marks) == [400, 401]


def test_next_daemon_started_from_a_service_it_adopts_spares_itself() -> None:
    me = row(ME, 1, started=9000)
    marks = {ME: MINE, 300: MINE}
    rows = [me, row(300, 1), row(400, ME, started=9001)]
    assert found(rows, marks, ours=False, orphans_are_ours=False) == [300]


def test_zombies_are_no_survivors_but_their_children_are() -> None:
    rows = [
        Row(200, ME, 200, 200, "Z", 5000, 0.0, 0, "name"),
        row(300, 200),
        row(301, ME, state="Z"),
    ]
    assert found(rows, {301: MINE}) == [300]


@given(
    st.dictionaries(st.integers(2, 60), st.integers(0, 60), max_size=40),
    st.sets(st.integers(2, 60)),
)
def test_descendants_are_exactly_what_a_walk_upwards_meets(
    parents: dict[int, int], roots: set[int]
) -> None:
    table = {pid: row(pid, ppid) for pid, ppid in parents.items()}
    result = with_descendants(table, roots)

    def below(pid: int) -> bool:
        met = set()
        while pid in table and pid not in met:
            if pid in roots:
                return True
            met.add(pid)
            pid = table[pid].ppid
        return False

    assert result == {pid for pid in table if below(pid)}


@orphans_come_to_us
def test_descendants_of_a_process(stage: "Stage", reaps: Reaps, make_tree: MakeTree) -> None:
    async def main() -> None:
        with reaps(stage):
            code = (
                "import os, signal\n"
                "pid = os.fork()\n"
                "if pid: print(f'child={pid}', flush=True)\n"
                "signal.pause()"
            )
            leader = stage.spawn(sys.executable, "-S", "-c", code)
            child = stage.words()["child"]
            assert [each.pid for each in descendants(leader.pid)] == [child]
            assert signal_group(leader, signal.SIGKILL, with_cont=False)
            await stage.exit_of(leader.pid)
            await stage.until(lambda: child in stage.exits)

    asyncio.run(main())
