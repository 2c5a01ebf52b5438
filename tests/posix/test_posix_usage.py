"""Usage by tree, from a table and from the running system."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from supervisor.posix.reaper import Reaper
from supervisor.posix.rows import Row
from supervisor.posix.tree import signal_group
from supervisor.posix.usage import Usage, tree_usage, usage_of

if TYPE_CHECKING:
    from .conftest import Stage

Reaps = Callable[["Stage"], AbstractContextManager[Reaper]]


def row(pid: int, ppid: int, sid: int = 0, state: str = "S") -> Row:
    return Row(pid, ppid, sid, sid, state, 1, cpu=0.5, rss=10, name="x")


def test_each_process_counts_once_for_the_nearest_root() -> None:
    rows = [
        row(10, 1), row(11, 10), row(12, 11), row(20, 12), row(21, 20),
        row(30, 1, sid=10), row(31, 30), row(40, 1, sid=99), row(13, 10, state="Z"),
    ]  # fmt: skip
    table = {each.pid: each for each in rows}
    assert usage_of(table, [10, 20, 77]) == {
        10: Usage(2.5, 50, 5),  # 10 11 12, and 30 by its session with 31 below it
        20: Usage(1.0, 20, 2),
        77: Usage(),
    }


@given(
    st.dictionaries(
        st.integers(1, 30), st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=30
    ),
    st.sets(st.integers(1, 30), max_size=5),
)
def test_any_table_is_counted_once_at_most(
    processes: dict[int, tuple[int, int]], roots: set[int]
) -> None:
    table = {pid: row(pid, ppid, sid) for pid, (ppid, sid) in processes.items()}
    usage = usage_of(table, roots)
    assert usage.keys() == roots
    assert sum(each.processes for each in usage.values()) <= len(table)
    assert all(usage[root].processes >= 1 for root in roots if root in table)


def test_usage_of_a_running_tree(stage: "Stage", reaps: Reaps) -> None:
    async def main() -> None:
        with reaps(stage):
            leader = stage.spawn("sh", "-c", "sleep 60 & echo $!; wait")
            child = int(stage.line())
            usage = tree_usage([leader.pid, os.getpid()])
            assert usage[leader.pid].processes == 2
            assert usage[leader.pid].rss > 100_000
            assert usage[os.getpid()].cpu_seconds > 0
            assert signal_group(leader, signal.SIGKILL, with_cont=False)
            await stage.exit_of(leader.pid)
            await stage.until(lambda: child in stage.exits)
            assert tree_usage([leader.pid]) == {leader.pid: Usage()}

    asyncio.run(main())
