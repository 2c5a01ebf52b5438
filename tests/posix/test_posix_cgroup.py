"""Control groups: nobody gets out of one, and one write ends all that is in it."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING

import pytest

from supervisor.core.spec import Limits
from supervisor.posix import cgroup
from supervisor.posix.cgroup import CgroupError, Cgroups, Group
from supervisor.posix.identity import ProcessIdentity, identify
from supervisor.posix.spawn import spawn

from .test_posix_limits import as_nobody, as_root, reap_all

if TYPE_CHECKING:
    from .conftest import Stage

FLEET = f"test{os.getpid():x}"
_FOUND = Cgroups.find(FLEET)

pytestmark = pytest.mark.skipif(_FOUND is None, reason="needs a cgroup v2 that we may write to")
NONE = Limits()


@pytest.fixture
def cgroups() -> Iterator[Cgroups]:
    found = Cgroups.find(FLEET)
    assert found is not None
    yield found
    assert found.groups() == {}
    found.close()
    assert not os.path.exists(found._home)


def in_group(stage: "Stage", group: Group, *argv: str) -> int:
    return spawn(replace(stage.command(*argv), cgroup=group.path))


def until(holds: Callable[[], bool]) -> None:
    """Wait for what no event tells of: a killed process that is not our child leaves its group."""
    deadline = monotonic() + 10
    while not holds():
        assert monotonic() < deadline
        sleep(0.002)


def end(group: Group) -> None:
    """End all of a group by one write, and remove it."""
    assert group.kill()
    until(lambda: not group.pids())
    # Newer kernels count a process for some time yet that they list no more.
    until(group.remove)
    assert set(reap_all()) <= {-9, 0}


def test_program_is_in_its_group_from_the_beginning(stage: "Stage", cgroups: Cgroups) -> None:
    group = cgroups.make("svc", 1, NONE)
    pid = in_group(stage, group, "sh", "-c", "grep ^0: /proc/self/cgroup; cat")
    assert group.path.endswith(stage.line().removeprefix("0::"))
    assert stage.reap(pid) == 0
    assert group.remove()
    assert group.remove()  # of what is gone already
    assert group.pids() == frozenset()


def test_double_fork_with_a_wiped_environment_is_a_member(stage: "Stage", cgroups: Cgroups) -> None:
    group = cgroups.make("svc", 2, NONE)
    script = Path(__file__).parent / "children" / "escape.py"
    leader = in_group(stage, group, sys.executable, "-S", str(script), "wiped")
    pids = stage.words()
    assert stage.reap(leader) == 0
    assert pids["deep"] in group.pids()
    assert not group.remove()
    end(group)
    until(lambda: identify(pids["deep"]) is None)


def test_fork_bomb_ends_at_one_write(stage: "Stage", cgroups: Cgroups) -> None:
    """Wide and never quiet: more processes begin while a look at all of them is taken."""
    group = cgroups.make("svc", 3, NONE)
    loop = "spin() { while :; do (spin2) & wait; done; }; spin2() { sleep 0 & wait; }; "
    in_group(stage, group, "sh", "-c", loop + "spin & spin & spin & spin & echo lit; spin")
    assert stage.line() == "lit"
    until(lambda: len(group.pids()) >= 10)
    end(group)


@as_root
@pytest.mark.usefixtures("nobody_alone")
def test_fork_bomb_is_bounded_and_ended(stage: "Stage", cgroups: Cgroups) -> None:
    group = cgroups.make("svc", 4, Limits(processes=40))
    # Perl, since nobody may not read the folder of a developer's Python. It never gives up.
    bomb = "while (1) { defined(fork) or select undef, undef, undef, 0.005 }"
    command = replace(stage.command("perl", "-e", bomb, cwd="/"), cgroup=group.path, user="nobody")
    # Where the kernel counts the group, it need not count the user.
    spawn(command if group.bounds_processes else replace(command, processes=40))
    until(lambda: len(group.pids()) > 30)
    most = max(len(group.pids()) for _ in range(200))
    assert most <= 40
    end(group)


def test_successor_finds_groups_by_unit_and_run(stage: "Stage", cgroups: Cgroups) -> None:
    left = cgroups.make("tts", 7, NONE)
    empty = cgroups.make("tts", 6, NONE)
    in_group(stage, left, "sh", "-c", "echo in; exec sleep 60")
    assert stage.line() == "in"
    successor = Cgroups.find(FLEET)
    assert successor is not None
    assert successor.group("tts", 7) == left
    assert successor.group("tts", 8) is None
    assert successor.groups() == {("tts", 7): left, ("tts", 6): empty}
    assert successor.sweep({("tts", 6)}) == {("tts", 7): left}
    assert successor.group("tts", 6) == empty
    assert successor.sweep(()) == {("tts", 7): left}
    assert successor.groups() == {("tts", 7): left}
    end(left)


def test_successor_elsewhere_in_the_tree_finds_them_too(cgroups: Cgroups) -> None:
    base = os.path.dirname(cgroups._home)
    place = os.path.join(base, f"{FLEET}-terminal")
    os.mkdir(place)
    try:
        group = Cgroups(place, FLEET).make("tts", 1, NONE)
        other = Cgroups.find("other" + FLEET)
        successor = Cgroups.find(FLEET)
        assert successor is not None
        assert other is not None
        assert successor.group("tts", 1) == group
        assert other.groups() == {}
        assert successor.sweep(()) == {}
        successor.close()
    finally:
        os.rmdir(place)


def test_number_that_is_used_again(stage: "Stage", cgroups: Cgroups) -> None:
    group = cgroups.make("svc", 1, NONE)
    assert cgroups.make("svc", 1, NONE) == group
    in_group(stage, group, "sh", "-c", "echo in; exec sleep 60")
    assert stage.line() == "in"
    with pytest.raises(CgroupError, match="is in use already"):
        cgroups.make("svc", 1, NONE)
    end(group)


def test_groups_that_a_service_makes_belong_to_it(stage: "Stage", cgroups: Cgroups) -> None:
    group = cgroups.make("svc", 1, NONE)
    inner = f"mkdir -p {group.path}/a/b; echo $$ >{group.path}/a/b/cgroup.procs; echo in; sleep 60"
    pid = in_group(stage, group, "sh", "-c", inner)
    assert stage.line() == "in"
    assert pid in group.pids()
    assert not group.remove()
    end(group)


def test_nobody_kills_the_group_that_it_is_in(cgroups: Cgroups) -> None:
    group = cgroups.make("svc", 1, NONE)
    child = os.fork()
    if child == 0:
        with open(f"{group.path}/cgroup.procs", "w") as members:
            members.write("0")
        # A daemon that one of its own services started.
        own = Cgroups.find(FLEET)
        fine = own is not None and own._home == cgroups._home and not group.kill()
        os._exit(0 if fine else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert group.remove()
    assert not group.kill()


@as_root
def test_delegated_part_serves_one_who_is_not_root(stage: "Stage", cgroups: Cgroups) -> None:
    place = os.path.join(os.path.dirname(cgroups._home), f"{FLEET}-session")
    os.mkdir(place)
    try:
        command = stage.command("sh", "-c", "grep ^0: /proc/self/cgroup", cwd="/")

        def enter() -> None:
            with open(f"{place}/cgroup.procs", "w") as members:
                members.write("0")

        def attempt() -> str:
            found = Cgroups.find(FLEET)
            if found is None:
                return "none"
            group = found.make("svc", 1, NONE)
            pid = spawn(replace(command, cgroup=group.path))
            os.waitpid(pid, 0)
            gone = group.remove()
            found.close()
            return f"{group.path} {gone}"

        def inside(action: Callable[[], str]) -> str:
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                enter()
                os.write(writing, as_nobody(action).encode())
                os._exit(0)
            os.close(writing)
            with open(reading) as said:
                text = said.read()
            os.waitpid(child, 0)
            return text

        assert inside(attempt) == "none"
        os.chown(place, 65534, 65534)
        assert inside(attempt) == "none"
        os.chown(f"{place}/cgroup.procs", 65534, 65534)
        assert inside(attempt) == f"{place}/atlas-{FLEET}/svc.1 True"
        assert stage.line().endswith(f"/{FLEET}-session/atlas-{FLEET}/svc.1")
    finally:
        os.rmdir(place)


def test_limits_are_kept_by_the_kernel_where_it_has_the_controllers(
    stage: "Stage", cgroups: Cgroups
) -> None:
    group = cgroups.make("svc", 1, Limits(memory=64 * 1024**2, processes=5))
    if not group.bounds_processes or not group.bounds_memory:
        assert group.remove()
        pytest.skip("no memory and pids controllers here")
    loop = "i=0; while [ $i -lt 9 ]; do sleep 60 & i=$((i+1)); echo $i; done; echo all"
    in_group(stage, group, "sh", "-c", loop)
    assert [stage.line() for _ in range(4)] == ["1", "2", "3", "4"]
    assert "fork" in stage.line()
    assert group.kill()
    reap_all()
    hog = in_group(stage, group, sys.executable, "-c", "x = bytearray(1 << 30)")
    assert stage.reap(hog) == -9
    until(lambda: not group.pids())
    assert group.remove()


def test_limits_become_these_settings() -> None:
    assert dict(cgroup._settings(Limits(memory=1000, processes=7))) == {
        "pids.max": "7",
        "memory.max": "1100",
        "memory.oom.group": "1",
    }
    assert dict(cgroup._settings(NONE)) == {}


def test_without_a_hierarchy_there_are_no_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    real = cgroup._read
    for path in ("/proc/self/cgroup", "/proc/self/mountinfo"):
        monkeypatch.setattr(cgroup, "_read", lambda p, gone=path: "" if p == gone else real(p))
        assert Cgroups.find(FLEET) is None


def test_who_got_the_number_of_one_that_was_in_a_group_is_not_of_it(
    stage: "Stage", cgroups: Cgroups, canary: ProcessIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = cgroups.make("svc", 1, NONE)
    member = in_group(stage, group, "sleep", "1000")
    until(lambda: group.pids() == {member})
    assert group.oldest() == identify(member)

    def identify_late(pid: int) -> ProcessIdentity:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return replace(canary, pid=pid)

    monkeypatch.setattr(cgroup, "identify", identify_late)
    assert group.oldest() is None
    assert group.remove()
