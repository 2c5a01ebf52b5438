"""Trees that will not go, and strangers who must not be touched."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from supervisor.posix.cgroup import Cgroups
from supervisor.posix.environment import FLEET_MARK, RUN_MARK, UNIT_MARK, fleet_mark
from tests.e2e.children.hostile import CHILDREN
from tests.e2e.conftest import DEADLINE, SLEEPER, System, eventually, free_port

TIMEOUT = 1.0
"""Seconds that the service may take to stop."""
EXTRA = 1.0
"""Seconds beyond that within which nothing may be left."""
FAST = {"backoff": {"first": "20ms", "factor": 1, "jitter": 0}, "give_up": False}

HOSTILE = str(Path(__file__).parent / "children" / "hostile.py")
ENVIRONMENTS = ["kept", "late", "wiped"]
OF_THE_TREE = 1 + 1 + CHILDREN + 1
"""The leader, its deaf sibling, its children, and the one that hides."""


def tree(system: System) -> list[psutil.Process]:
    """All that lives of the service, however well it hides: found by its command lines."""
    found = []
    for process in system.processes():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if str(system.root) in words and "-c" not in words[:3]:
                found.append(process)
    return found


def write_hostile(system: System, port: int, environment: str) -> None:
    if environment != "kept" and sys.platform != "linux":
        pytest.skip("here only its environment proves of an orphan whose it is")
    if environment == "late" and Cgroups.find(fleet_mark(str(system.state_dir))) is None:
        pytest.skip("no control group of ours: a tree that hides all else is not found")
    command = [sys.executable, "-I", "-S", HOSTILE, port, str(system.root), environment]
    system.write(
        {
            "a": {
                "command": list(map(str, command)),
                "ports": [port],
                "stop": {"timeout": f"{TIMEOUT:g}s"},
                "restart": FAST,
            }
        }
    )


def complete(system: System, times: int = 1) -> list[psutil.Process]:
    """Wait until the whole tree of the latest run is there and return it."""
    log = system.root / "logs" / "a.log"
    eventually("it is complete", lambda: log.read_text().count("complete") == times or None)
    found = tree(system)
    assert len(found) == OF_THE_TREE
    return found


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def assert_stopped_in_time(system: System, port: int, *, after: int) -> None:
    system.ctl("stop", "a")
    asked = system.event("stopping", "a", after=after)
    done = system.event("stopped", "a", after=after)
    assert [p.cmdline() for p in tree(system)] == []
    assert is_free(port)
    # As the supervisor saw it: how long the command takes is up to the machine.
    assert done["at"] - asked["at"] < TIMEOUT + EXTRA
    assert system.service("a")["state"] == "stopped"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_stop_ends_all_of_a_hostile_tree(system: System, environment: str) -> None:
    port = free_port()
    write_hostile(system, port, environment)
    system.ctl("up")
    complete(system)
    assert not is_free(port)
    assert_stopped_in_time(system, port, after=system.seq())


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_so_does_a_stop_by_the_daemon_that_adopted_it(system: System, environment: str) -> None:
    port = free_port()
    write_hostile(system, port, environment)
    system.ctl("up")
    pids = {p.pid for p in complete(system)}
    system.kill_daemon()
    system.ctl("up")
    assert system.service("a")["run"] == 1
    assert {p.pid for p in tree(system)} == pids
    assert_stopped_in_time(system, port, after=system.seq())


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_and_one_by_the_third_daemon(system: System, environment: str) -> None:
    """What was learnt by looking is forgotten twice; what is proven by marks is not."""
    port = free_port()
    write_hostile(system, port, environment)
    system.ctl("up")
    complete(system)
    for _ in range(2):
        system.kill_daemon()
        system.ctl("up")
    assert_stopped_in_time(system, port, after=system.seq())


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_down_ends_it_too(system: System, environment: str) -> None:
    port = free_port()
    write_hostile(system, port, environment)
    system.ctl("up")
    complete(system)
    system.ctl("down")
    assert system.processes() == []
    assert is_free(port)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_when_its_leader_dies_the_rest_is_ended_and_it_begins_anew(
    system: System, environment: str
) -> None:
    port = free_port()
    write_hostile(system, port, environment)
    system.ctl("up")
    old = complete(system)
    seq = system.seq()
    os.kill(system.service("a")["pid"], signal.SIGKILL)
    system.event("started", "a", after=seq)
    assert [p.pid for p in old if lives(p)] == []
    complete(system, times=2)
    assert system.service("a")["run"] == 2


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_when_its_leader_dies_unwatched_the_next_daemon_ends_the_rest(
    system: System, environment: str
) -> None:
    port = free_port()
    write_hostile(system, port, environment)
    system.ctl("up")
    old = complete(system)
    leader = psutil.Process(system.service("a")["pid"])
    system.kill_daemon()
    leader.kill()
    eventually("it is gone", lambda: not lives(leader))
    system.ctl("up")
    assert [p.pid for p in old if lives(p)] == []
    complete(system, times=2)
    assert system.service("a")["run"] == 2


def test_one_that_gave_up_even_its_output_is_named_by_stop_and_ended_by_down(
    system: System,
) -> None:
    """It hid before its run had a control group, wiped its environment, prints elsewhere.

    Nothing proves of which run it is. As our own child it is at least known to be none of
    strangers', which is enough for the end of everything.
    """
    port = free_port()
    write_hostile(system, port, "silent")
    system.ctl("up")
    complete(system)
    done = system.ctl("stop", "a", check=None)
    left = tree(system)
    assert [p.pid for p in left if lives(p)] == [p.pid for p in left]
    assert len(left) <= 1
    # On a slow machine its run has a control group before it hides, and then the stop is proven.
    assert (done.returncode == 0) == (left == [])
    told = done.stdout + done.stderr + system.service("a")["reason"]
    for hidden in left:
        assert f"port {port} is held by pid {hidden.pid} (" in told
    system.ctl("down", check=None)
    assert not any(map(lives, left))
    assert is_free(port)


# Strangers -----------------------------------------------------------------------------------

HOLDS = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1])))"


@contextlib.contextmanager
def stranger(
    *argv: str, port: int | None = None, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process of somebody else; it must be alive at the end."""
    process = subprocess.Popen(argv, env=env)
    try:
        if port is not None:
            eventually("it holds the port", lambda: not is_free(port))
        yield process
        assert process.poll() is None, "a stranger was ended"
    finally:
        process.kill()
        process.wait(DEADLINE)


def holding(port: int, *words: str) -> list[str]:
    script = f"{HOLDS}; time.sleep(999)"
    return [sys.executable, "-S", "-c", script, str(port), *words]


def test_a_stranger_on_its_port_is_named_and_left_alone(system: System) -> None:
    port = free_port()
    system.write({"a": {"command": SLEEPER, "ports": [port], "restart": FAST}})
    with stranger(*holding(port, "my-notebook"), port=port) as owner:
        system.ctl("up", "--timeout", "1s", check=1)
        told = system.service("a")["reason"]
        assert f"port {port}" in told
        assert f"pid {owner.pid}" in told
        assert "create_server" in told, "its command line is named"
        system.ctl("stop", "a")
        system.ctl("down")


def test_a_stranger_with_the_very_same_command_is_left_alone(system: System) -> None:
    """Never by name: the same argv, the same folder, another parent."""
    port = free_port()
    command = [*SLEEPER[:-1], "1001"]
    system.write({"a": {"command": command, "ports": [port], "restart": FAST}})
    with stranger(*command):
        system.ctl("up")
        seq = system.seq()
        os.kill(system.service("a")["pid"], signal.SIGKILL)
        system.event("started", "a", after=seq)
        system.ctl("stop", "a")
        system.ctl("down")


def test_a_stranger_who_took_the_port_meanwhile_is_named_at_the_stop(system: System) -> None:
    """The service never bound its port, somebody else did: a stop says so and ends nobody."""
    port = free_port()
    system.write({"a": {"command": SLEEPER, "ports": [port], "restart": FAST}})
    system.ctl("up")
    with stranger(*holding(port), port=port) as owner:
        done = system.ctl("stop", "a", check=None)
        told = done.stdout + done.stderr + system.service("a")["reason"]
        assert f"pid {owner.pid}" in told
        assert f"port {port}" in told
        assert system.service("a")["pid"] is None


@pytest.mark.parametrize("fleet", ["", "00000000"])
def test_a_process_of_another_fleet_is_left_alone(system: System, fleet: str) -> None:
    """Same unit, same run, as two checkouts of one project have them."""
    system.write({"a": {"command": SLEEPER, "restart": FAST}})
    system.ctl("up")
    marks = {FLEET_MARK: fleet, UNIT_MARK: "a", RUN_MARK: "1"}
    with stranger("sleep", "1002", env={**os.environ, **marks}):
        seq = system.seq()
        os.kill(system.service("a")["pid"], signal.SIGKILL)
        system.event("started", "a", after=seq)
        system.ctl("stop", "a")
        system.kill_daemon()
        system.ctl("up")
        system.ctl("down")
