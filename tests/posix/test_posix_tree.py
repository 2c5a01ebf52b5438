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

from supervisor.core.events import ExitCode, ExitSignal, RunId
from supervisor.core.spec import ServiceSpec
from supervisor.posix.environment import RUN_MARK, Marker
from supervisor.posix.identity import ProcessIdentity, identify, is_alive
from supervisor.posix.proofs import members
from supervisor.posix.reaper import Reaper
from supervisor.posix.rows import Row, with_descendants
from supervisor.posix.tree import (
    Tree,
    clear,
    descendants,
    describe,
    find_leader,
    find_marked,
    is_empty,
    kill_round,
    signal_group,
    signal_members,
    survivors,
)
from supervisor.runs import LiveRun, Runs

from .conftest import MARKER

if sys.platform == "linux":
    from supervisor.posix import linux as system
    from supervisor.posix.linux import children, read_row
else:
    from supervisor.posix import darwin as system
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


@orphans_come_to_us
@pytest.mark.parametrize("adopted", [False, True])
def test_one_that_hid_from_all_else_is_found_by_what_it_prints_into(
    stage: "Stage", reaps: Reaps, make_tree: MakeTree, canary: ProcessIdentity, *, adopted: bool
) -> None:
    fifo, other = stage.tmp_path / "svc", stage.tmp_path / "other" / "svc"
    other.parent.mkdir()
    os.mkfifo(fifo)
    os.mkfifo(other)
    ends = os.open(fifo, os.O_RDWR)

    async def main() -> None:
        with reaps(stage):
            unit = replace(stage, reading=ends, writing=ends)
            leader = unit.script("escape.py", "wiped")
            deep = must(unit.words()["deep"])
            assert await stage.exit_of(leader.pid) == ExitCode(0)
            tree = replace(make_tree(leader, ours=not adopted), fifo=str(fifo))
            for unproven in ("", str(other), str(fifo.parent / "none")):
                assert survivors(replace(tree, fifo=unproven), known=nobody(canary)) == ()
            known = nobody(canary) | {deep.pid}
            assert survivors(tree, known=known) == (), "sink and holder never count"
            assert [row.pid for row in survivors(tree, known=nobody(canary))] == [deep.pid]
            assert await clear(tree, known=lambda: nobody(canary), within=10) == ()
            assert not is_alive(deep)
            await stage.until(lambda: deep.pid in stage.exits)

    try:
        asyncio.run(main())
    finally:
        os.close(ends)


@orphans_come_to_us
@pytest.mark.parametrize("wiped", [False, True])
def test_of_two_runs_that_print_into_one_fifo_either_may_have_started_what_is_younger(
    stage: "Stage", reaps: Reaps, make_tree: MakeTree, canary: ProcessIdentity, *, wiped: bool
) -> None:
    fifo = stage.tmp_path / "svc"
    os.mkfifo(fifo)
    ends = os.open(fifo, os.O_RDWR)
    unit = replace(stage, reading=ends, writing=ends)

    def rival(run: int) -> ProcessIdentity:
        says = ("sh", "-c", "echo there; kill -STOP $$")
        started = unit.spawn(*(("env", "-i") if wiped else ()), *says, env={RUN_MARK: str(run)})
        assert unit.line() == "there"
        return started

    async def main() -> None:
        with reaps(stage):
            older = rival(1)
            leader = unit.script("escape.py", "wiped")
            deep = must(unit.words()["deep"])
            await stage.exit_of(leader.pid)
            tree = make_tree(leader)
            tree = replace(tree, marker=replace(tree.marker, run=2), fifo=str(fifo))
            assert survivors(tree, known=nobody(canary) | {older.pid}) == ()
            os.kill(older.pid, signal.SIGKILL)
            await stage.exit_of(older.pid)
            while (newer := rival(3)).started == deep.started:
                os.kill(newer.pid, signal.SIGKILL)
                await stage.exit_of(newer.pid)
            known = nobody(canary) | {newer.pid}
            assert [row.pid for row in survivors(tree, known=known)] == [deep.pid]
            assert await clear(tree, known=lambda: known, within=10) == ()
            await stage.until(lambda: deep.pid in stage.exits)
            os.kill(newer.pid, signal.SIGKILL)
            await stage.exit_of(newer.pid)

    try:
        asyncio.run(main())
    finally:
        os.close(ends)


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
            below = descendants(leader)
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
def test_children_are_all_told_however_many(stage: "Stage") -> None:
    """The kernel tells some 680 at a time."""
    code = (
        "import os, signal\n"
        "from supervisor.posix.linux import children\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "reading, writing = os.pipe()\n"
        "started = set()\n"
        "for _ in range(1000):\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        os.close(writing)\n"
        "        os.read(reading, 1)\n"
        "        os._exit(0)\n"
        "    started.add(pid)\n"
        "print(f'started={len(started)} missed={len(started - children())}', flush=True)\n"
        "os.close(writing)\n"
        "try: os.waitpid(-1, 0)\n"
        "except ChildProcessError: pass\n"
    )
    leader = stage.spawn(sys.executable, "-c", code, env={"PYTHONPATH": os.getcwd()})
    assert stage.words() == {"started": 1000, "missed": 0}
    assert stage.reap(leader.pid) == 0


@orphans_come_to_us
def test_a_child_that_is_left_to_us_during_the_look_is_not_overlooked(
    stage: "Stage", reaps: Reaps, make_tree: MakeTree, canary: ProcessIdentity,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The one orphan forks and ends after our children were listed, before its row is read."""

    async def main() -> None:
        with reaps(stage):
            leader, heirs = await stage.leave_an_heir(monkeypatch)
            tree = make_tree(leader)
            assert not is_empty(tree, known=nobody(canary))
            assert is_alive(heirs[0])
            assert await clear(tree, known=lambda: nobody(canary), within=10) == ()
            assert not is_alive(heirs[0])
            await stage.exit_of(heirs[0].pid)
            assert is_empty(tree, known=nobody(canary))

    asyncio.run(main())


@orphans_come_to_us
def test_a_run_is_over_whatever_orphans_another_leaves(
    stage: "Stage", reaps: Reaps, make_tree: MakeTree, canary: ProcessIdentity
) -> None:
    """One that is dead and not reaped proves nothing, but it is in the other's session."""
    code = (
        "import os, signal\n"
        "here, there = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    orphan = os.fork()\n"
        "    if orphan: os.write(there, b'orphan=%d\\n' % orphan)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "os.write(1, os.read(here, 100))\n"
        "signal.pause()"
    )

    async def main() -> None:
        with reaps(stage):
            leader = stage.spawn("true")
            await stage.exit_of(leader.pid)
            other = stage.spawn(sys.executable, "-S", "-c", code, env={RUN_MARK: "2"})
            orphan = stage.words()["orphan"]
            stage.await_death(orphan)
            tree = make_tree(leader)
            assert is_empty(tree, known=nobody(canary) | {other.pid})
            assert not is_empty(tree, known=nobody(canary)), "for all that is known it is ours"
            os.kill(other.pid, signal.SIGKILL)
            await stage.exit_of(other.pid)
            await stage.exit_of(orphan)

    asyncio.run(main())


@orphans_come_to_us
def test_a_process_whose_first_thread_has_ended_lives(
    stage: "Stage", reaps: Reaps, make_tree: MakeTree, canary: ProcessIdentity
) -> None:
    async def main() -> None:
        with reaps(stage):
            leader = stage.script("threads.py")
            assert stage.words() == {"pid": leader.pid}
            assert is_alive(leader)
            assert not system.is_ending(leader.pid)
            assert find_leader(MARKER) == leader
            tree = make_tree(leader)
            assert [row.pid for row in survivors(tree, known=nobody(canary))] == [leader.pid]
            assert await clear(tree, known=lambda: nobody(canary), within=10) == ()
            assert await stage.exit_of(leader.pid) == ExitSignal(9)
            assert not is_alive(leader)

    asyncio.run(main())


@orphans_come_to_us
def test_a_number_that_a_dead_run_had_is_not_looked_away_from(
    stage: "Stage", reaps: Reaps, make_tree: MakeTree, canary: ProcessIdentity
) -> None:
    async def main() -> None:
        with reaps(stage):
            leader = stage.script("escape.py")
            deep = must(stage.words()["deep"])
            await stage.exit_of(leader.pid)
            runs = Runs(str(stage.tmp_path), lambda: nobody(canary), lambda _: None)
            live = LiveRun(ServiceSpec("svc", (), "/"), RunId(1), make_tree(leader))
            # Of this one something is left over, and its number went to a process of the first.
            former = make_tree(replace(deep, started=deep.started - 1))
            other = LiveRun(ServiceSpec("other", (), "/"), RunId(1), former)
            runs.add(live)
            runs.add(other)
            assert runs.ended(deep.pid) is other
            assert not runs.is_over(live)
            assert [row.pid for row in runs.members(live)] == [deep.pid]
            assert deep.pid not in runs.all_known()
            assert kill_round(lambda: runs.members(live), freeze=False) == 1
            await stage.exit_of(deep.pid)
            assert runs.is_over(live)

    asyncio.run(main())


def test_who_got_the_number_of_a_marked_process_meanwhile_is_not_taken_for_it(
    stage: "Stage", monkeypatch: pytest.MonkeyPatch
) -> None:
    now = stage.spawn("sleep", "1000")
    assert find_leader(MARKER) == now
    look = system.read_table

    def read_before(*, usage: bool) -> dict[int, Row]:
        row = look(usage=usage)[now.pid]
        return {now.pid: row._replace(started=row.started - 1)}

    monkeypatch.setattr(system, "read_table", read_before)
    assert find_leader(MARKER) is None
    assert find_marked(MARKER.fleet) == {}
    os.kill(now.pid, signal.SIGKILL)
    assert stage.reap(now.pid) == -signal.SIGKILL


@orphans_come_to_us
def test_fork_bomb_is_ended(
    stage: "Stage", reaps: Reaps, make_tree: MakeTree, canary: ProcessIdentity
) -> None:
    async def main() -> None:
        with reaps(stage):
            # On a busy machine the bomb has most of the processor, and each of the dead is reaped.
            leader = stage.script("bomb.py", "12", "1000")
            assert stage.line() == "lit"
            tree = make_tree(leader)
            assert await clear(tree, known=lambda: nobody(canary), within=30) == ()
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
    row = next(row for row in descendants(must(os.getpid())) if row.pid == canary.pid)
    assert signal_members([row._replace(started=row.started - 1)], signal.SIGKILL) == 0
    assert descendants(replace(must(os.getpid()), started=0)) == ()
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
            leader = stage.spawn("sh", "-c", "kill -STOP $$")
            stage.await_stop(leader.pid)
            # Stands for a process in an uninterruptible wait, which nothing can show on request.
            monkeypatch.setattr(module, "signal_members", lambda *_: 0)
            left = await clear(make_tree(leader), known=lambda: nobody(canary), within=0.01)
            assert left == (f"pid {leader.pid} sh -c kill -STOP $$ (state T)",)
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
    printing: frozenset[int] = frozenset(),
    rivals: tuple[int, ...] = (),
) -> list[int]:
    table = {each.pid: each for each in (row(1, 0), row(ME, 1, started=1), *rows)}
    result = members(
        table, Tree(MINE, LEADER, ours), me=ME, known=known, seen=seen,
        orphans_are_ours=orphans_are_ours,
        environment=lambda pid: marks[pid].variables() if pid in marks else None,
        prints=printing.__contains__, rivals=lambda: rivals,
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


HIDDEN = row(300, ME, sid=300)
"""An orphan that left its session and carries no marks."""


def test_who_prints_into_the_units_fifo_is_of_the_unit() -> None:
    below = row(301, 300, sid=301)
    rows = [HIDDEN, below, row(302, 301)]
    assert found(rows, {}, printing=frozenset({300})) == [300, 301, 302]
    # Below an orphan that does not print is as good: it is ours, and of no other run.
    assert found(rows, {}, printing=frozenset({301})) == [301, 302]
    assert found(rows, {}) == []
    elsewhere = [row(300, 1, sid=300)]
    assert found(elsewhere, {}, printing=frozenset({300})) == []
    found_by_heir = found(
        elsewhere, {}, ours=False, orphans_are_ours=False, printing=frozenset({300})
    )
    assert found_by_heir == [300]


def test_what_printing_does_not_prove() -> None:
    printing = frozenset({300, 301})
    assert found([HIDDEN._replace(started=4999)], {}, printing=printing) == []
    assert found([HIDDEN], {300: Marker("f", "svc", 2)}, printing=printing) == []
    assert found([HIDDEN], {300: Marker("g", "svc", 1)}, printing=printing) == []
    assert found([HIDDEN._replace(state="Z")], {}, printing=printing) == []
    # Sink, holder, and other runs' leaders, with all that is below those.
    leader = [HIDDEN, row(301, 300, sid=301)]
    for ours in (True, False):
        told = found(
            leader, {}, ours=ours, orphans_are_ours=ours, printing=printing, known=frozenset({300})
        )
        assert told == []
    # The daemon itself, where a service has started it.
    assert found([], {}, ours=False, orphans_are_ours=False, printing=frozenset({ME, 1})) == []


def test_of_two_runs_the_one_that_was_there_first_has_what_is_older_than_the_other() -> None:
    printing = frozenset({300})
    assert found([HIDDEN], {}, printing=printing, rivals=(6001, 9000)) == [300]
    assert found([HIDDEN], {}, printing=printing, rivals=(6000,)) == []
    assert found([HIDDEN], {}, printing=printing, rivals=(4000, 9000)) == []


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
            assert [each.pid for each in descendants(leader)] == [child]
            assert signal_group(leader, signal.SIGKILL, with_cont=False)
            await stage.exit_of(leader.pid)
            await stage.until(lambda: child in stage.exits)

    asyncio.run(main())
