"""Every run gets a control group, where the system has them: Linux, cgroup v2, writable.

A process cannot leave it by anything that it does to itself, so that a tree which double-forked,
changed its session and wiped its environment is found by a daemon that never saw it start. While
the daemon lives it needs no group for that (it is a subreaper); a successor does.

To enter a group waits 10 to 25 ms in the kernel. A run with limits that only a group can keep
enters before its first instruction. Any other is moved in some moments after its start, from a
thread, with what it has started by then, so that no restart is slower for it.
"""

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor

from supervisor.core.spec import Limits
from supervisor.posix.cgroup import CgroupError, Cgroups, Group
from supervisor.posix.identity import identify_row, is_alive
from supervisor.posix.tree import descendants
from supervisor.runs import LiveRun

DELAY = 0.03
"""Seconds after a start, so that it is out of the way of the next starts."""
PASSES = 4
"""Looks at the children of a run that is being moved: each may have forked meanwhile."""


class Enrolment:
    """Makes groups, moves runs into them, finds those of earlier daemons."""

    def __init__(self, fleet: str, complain: Callable[[str], None]) -> None:
        self._cgroups = Cgroups.find(fleet)
        self._complain = complain
        self._complained = False
        self._bounds = True
        """False once it is known that groups here can keep no limits: they have no controllers."""
        self._waiting: list[LiveRun] = []
        self._retired: list[Group] = []
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._thread: ThreadPoolExecutor | None = None

    def before_start(self, name: str, run: int, limits: Limits) -> Group | None:
        """Return the group that a run is to enter at once for its limits to be kept, if any."""
        asked = limits.memory is not None or limits.processes is not None
        if self._cgroups is None or not asked or not self._bounds:
            return None
        try:
            group = self._cgroups.make(name, run, limits)
        except CgroupError as error:
            self._say(str(error))
            return None
        if group.bounds_memory or group.bounds_processes:
            return group
        self._bounds = False
        group.remove()
        return None

    def after_start(self, live: LiveRun) -> None:
        """See that a run is in a group soon."""
        if self._cgroups is None or live.group is not None:
            return
        self._waiting.append(live)
        self._schedule()

    def retire(self, group: Group) -> None:
        """Remove the group of a dead run, soon: the kernel lets us wait while others move."""
        self._retired.append(group)
        self._schedule()

    def find(self, name: str, run: int) -> Group | None:
        """Return the group of a run that an earlier daemon started."""
        return None if self._cgroups is None else self._cgroups.group(name, run)

    def left(self, keep: Collection[tuple[str, int]]) -> dict[tuple[str, int], Group]:
        """Return the groups in which something lives and that are of no run that is known."""
        return {} if self._cgroups is None else self._cgroups.sweep(keep)

    def close(self, living: Collection[tuple[str, int]]) -> None:
        """Move nothing any more; groups of living runs stay."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
        if self._cgroups is not None:
            # What has only just ended may still have kept its group from being removed then.
            self._cgroups.sweep(living)
            self._cgroups.close()

    # Inside ----------------------------------------------------------------------------------

    def _schedule(self) -> None:
        if self._timer is None and self._task is None:
            self._timer = asyncio.get_running_loop().call_later(DELAY, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._task = asyncio.get_running_loop().create_task(self._enrol())
        self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._say(f"{type(error).__name__}: {error}")

    async def _enrol(self) -> None:
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "enrolment")
        while self._waiting or self._retired:
            while self._retired:
                await loop.run_in_executor(self._thread, self._retired.pop().remove)
            if not self._waiting:
                break
            live = self._waiting.pop(0)
            if live.gone:
                continue
            group = await loop.run_in_executor(self._thread, self._move, live)
            if group is None:
                continue
            if live.gone:
                # It ended meanwhile, and was cleared without its group.
                group.remove()
            else:
                live.group = group

    def _move(self, live: LiveRun) -> Group | None:
        """Make a run's group and move into it all that lives of it. In the thread."""
        assert self._cgroups is not None, "only then is anything waiting"  # noqa: S101
        try:
            group = self._cgroups.make(live.spec.name, live.run, Limits())
        except CgroupError as error:
            self._say(str(error))
            return None
        for _ in range(PASSES):
            below = map(identify_row, descendants(live.leader))
            tree = [live.leader, *(each for each in below if each is not None)]
            inside = group.pids()
            outside = [each for each in tree if each.pid not in inside and is_alive(each)]
            if live.gone or not outside:
                break
            for each in outside:
                self._cgroups.move(group, each)
        return group

    def _say(self, text: str) -> None:
        if not self._complained:
            self._complained = True
            self._complain(f"control groups: {text}")
