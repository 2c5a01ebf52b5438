"""`doctor`: a supervisor that cannot be reached, stands still, or loses what it is to write."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervisor.cli.checks.ports import Ours
from supervisor.cli.checks.supervision import journal, state, supervisor
from supervisor.cli.connection import System
from supervisor.cli.doctor import looked
from supervisor.cli.findings import Finding
from supervisor.control.socket import bind, socket_path
from supervisor.journal import Entry
from tests.cli.fake_daemon import FakeDaemon
from tests.cli.fleets import journal as entries
from tests.cli.fleets import service

YAML = "version: 1\nservices:\n  tts: {command: [sleep, '1000']}\n"
HOLD = """\
import sys
from supervisor.posix.lock import DaemonLock
lock = DaemonLock.acquire(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def system(root: Path) -> System:
    """A system whose state folder is there."""
    (root / ".atlas").mkdir(mode=0o700)
    return System(str(root / "services.yaml"), str(root / ".atlas"))


@contextmanager
def holding_the_lock(system: System) -> Iterator[int]:
    """A process that holds the lock and does nothing else."""
    command = [sys.executable, "-c", HOLD, f"{system.state_dir}/lock"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield process.pid
        finally:
            process.send_signal(signal.SIGCONT)


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    assert os.waitpid(pid, os.WUNTRACED)[0] == pid


def only(system: System) -> Finding:
    status, (found,) = supervisor(system)
    assert status is None
    assert (found.subject, found.check) == ("atlasctl", "supervisor")
    return found


# Not to be reached ---------------------------------------------------------------------------


def test_none_runs(system: System) -> None:
    found = only(system)
    assert (found.level, found.text) == ("note", "no supervisor runs for services.yaml")


def test_one_that_was_killed_has_left_its_socket(system: System) -> None:
    bind(socket_path(system.state_dir), 1).close()
    found = only(system)
    assert found.level == "note"
    assert found.text == "no supervisor runs for services.yaml; the last one was killed"


def test_one_that_lives_without_its_socket(system: System) -> None:
    with holding_the_lock(system) as pid:
        found = only(system)
        assert found.level == "wrong"
        assert found.text == (f"pid {pid} holds its lock, but nobody listens at the control socket")
        assert f"kill -9 {pid}, then atlasctl up" in str(found.hint)
    assert only(system).level == "note", "a lock that nobody holds says nothing"


def test_something_else_in_the_place_of_the_socket(system: System) -> None:
    path = Path(socket_path(system.state_dir))
    path.parent.mkdir(exist_ok=True)
    path.write_text("not a socket")
    found = only(system)
    assert (found.level, found.hint) == ("wrong", "move it away")
    assert found.text.endswith("is in the way of the control socket, and is none")


def test_one_that_does_not_answer(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    short = system.client(timeout=0.1)
    monkeypatch.setattr(System, "client", lambda _self: short)
    with bind(socket_path(system.state_dir), 1), holding_the_lock(system):
        found = only(system)
    assert (found.level, found.text) == (
        "wrong",
        "it does not answer: the supervisor did not answer within 0.1 s",
    )


def test_one_that_was_stopped_is_not_asked(system: System) -> None:
    with holding_the_lock(system) as pid:
        stop(pid)
        found = only(system)
        assert (found.level, found.hint) == ("wrong", f"kill -CONT {pid}")
        assert f"pid {pid} stands still" in found.text


def test_a_supervisor_that_cannot_be_reached_is_one_all_the_same(system: System) -> None:
    with holding_the_lock(system):
        assert Ours.of(system.state_dir, None).supervised
    assert not Ours.of(system.state_dir, None).supervised


def test_a_path_too_long_for_a_socket(
    system: System, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = root / ("d" * 100)
    monkeypatch.setenv("XDG_STATE_HOME", str(deep))
    found = only(System(system.config, str(deep / ".atlas")))
    assert found.level == "wrong"
    assert "is too long for a Unix socket" in found.text


# What it says --------------------------------------------------------------------------------


def test_the_log_sink(root: Path) -> None:
    with FakeDaemon(root, [service("tts")]) as fake:
        there = System(fake.config, str(fake.state_dir))

        def told() -> list[tuple[str, str]]:
            return [(each.check, each.level) for each in supervisor(there)[1]]

        with holding_the_lock(System("", str(root))) as pid:
            fake.sink_pid = pid
            assert told() == [("supervisor", "ok")]
            stop(pid)
            assert told() == [("supervisor", "ok"), ("log sink", "wrong")]
        fake.sink_pid = None
        assert told() == [("supervisor", "ok"), ("log sink", "wrong")]


def test_output_that_was_lost() -> None:
    (fine,) = state("tts", service("tts"))
    assert (fine.check, fine.level) == ("state", "ok")
    _, lost = state("tts", service("tts", log_lost=2048))
    assert (lost.check, lost.level, lost.text) == (
        "output",
        "note",
        "2.0 KiB of it could not be written",
    )


def test_gaps_in_the_journal() -> None:
    line = (1.0, "state", "healthy", 1)
    assert list(journal([])) == list(journal(entries("tts", line))) == []
    whole = entries("tts", *[line] * 5, first=7)
    assert list(journal(whole)) == []
    (found,) = journal([*whole[:1], *whole[2:3], whole[4]])
    assert (found.check, found.level) == ("journal", "note")
    assert found.text.startswith("2 entries are missing")
    # A journal that was removed begins anew; that is not a gap.
    assert list(journal([*whole, Entry(1, 2.0, "tts", "state", "healthy")])) == []


# Each for itself -----------------------------------------------------------------------------


def test_a_check_that_raises_is_a_finding_and_keeps_what_it_had_found() -> None:
    first = Finding("tts", "disk", "ok", "fine")

    def look() -> Iterator[Finding]:
        yield first
        raise OSError(5, "Input/output error", "/srv")

    kept, fault = looked("tts", "disk", look)
    assert kept == first
    assert (fault.subject, fault.check, fault.level) == ("tts", "disk", "wrong")
    assert fault.text == "could not be looked at: OSError: [Errno 5] Input/output error: '/srv'"
    assert looked("tts", "disk", lambda: [first]) == [first]
