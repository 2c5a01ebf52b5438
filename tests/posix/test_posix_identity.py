"""Identities, and the watch over processes that are not our children."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.events import Exit, ExitCode, ExitSignal, ExitUnknown
from supervisor.posix.identity import (
    ProcessIdentity,
    boot_id,
    identify,
    is_alive,
    started_monotonic,
)
from supervisor.posix.watch import watch_exit

if TYPE_CHECKING:
    from .conftest import Stage


def test_identity_is_exact_and_of_one_boot(canary: ProcessIdentity) -> None:
    assert identify(canary.pid) == canary
    assert canary.uid == os.geteuid()
    assert canary.boot == boot_id()
    assert re.fullmatch(r"[0-9a-fA-F-]{36}", canary.boot)
    assert is_alive(canary)
    assert not is_alive(replace(canary, started=canary.started + 1))
    assert not is_alive(replace(canary, boot="another"))


def test_zombie_is_identified_and_dead(stage: "Stage") -> None:
    identity = stage.spawn("sleep", "60")
    os.kill(identity.pid, signal.SIGKILL)
    stage.await_death(identity.pid)
    assert identify(identity.pid) == identity
    assert not is_alive(identity)
    stage.reap(identity.pid)
    assert identify(identity.pid) is None
    assert not is_alive(identity)
    assert started_monotonic(identity) is None


def test_start_is_told_on_the_monotonic_clock(stage: "Stage") -> None:
    before = time.monotonic()
    identity = stage.spawn("sleep", "60")
    after = time.monotonic()
    started = started_monotonic(identity)
    asking = time.monotonic() - after
    os.kill(identity.pid, signal.SIGKILL)
    stage.reap(identity.pid)
    assert started is not None
    # The kernel counts in ticks of 10 ms, and between two clocks we may have to wait for our turn.
    assert before - 0.02 - asking <= started <= after + 0.02


if sys.platform == "linux":
    from supervisor.posix.linux import (
        environment,
        is_executing,
        parse_environment,
        parse_stat,
    )

    @given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=15))
    def test_name_of_a_process_cannot_pass_for_its_numbers(name: str) -> None:
        tail = " S 1 2 3 0 -1 4194560 90 0 0 0 150 50 0 0 20 0 1 0 777 5730304 300 99 1 1 0"
        row = parse_stat(f"42 ({name}){tail}\n".encode(), whole=True)
        assert row is not None
        assert (row.pid, row.ppid, row.pgid, row.sid, row.state) == (42, 1, 2, 3, "S")
        assert (row.started, row.name) == (777, name)
        assert row.cpu == 200 / os.sysconf("SC_CLK_TCK")
        assert row.rss == 300 * os.sysconf("SC_PAGE_SIZE")

    @given(st.binary(max_size=80))
    def test_broken_stat_is_no_row_or_an_error_free_one(stat: bytes) -> None:
        if b"(" not in stat:
            assert parse_stat(stat, whole=True) is None

    def test_empty_environment_is_not_taken_for_one_that_is_not_there_yet(stage: "Stage") -> None:
        wiped = stage.spawn(
            "env", "-i", "sh", "-c", "echo ready; exec 0</dev/full; while read line; do :; done"
        )
        assert stage.line() == "ready"
        assert not is_executing(wiped.pid)
        assert environment(wiped.pid) == {}
        os.kill(wiped.pid, signal.SIGKILL)
        stage.reap(wiped.pid)
        assert environment(wiped.pid) is None

    def test_exec_that_ends_between_two_looks_does_not_wipe_an_environment(
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        from supervisor.posix import linux

        # What was seen once in a thousand on a real system: empty, then no exec under way.
        blocks = iter([b"", b"A=1\0"])
        monkeypatch.setattr(linux, "_read", lambda *_: next(blocks))
        monkeypatch.setattr(linux, "is_executing", lambda _: False)
        assert environment(1) == {"A": "1"}

    def test_environment_block_with_junk_in_it() -> None:
        assert parse_environment(b"A=1\0title\0B==x\0\0") == {"A": "1", "B": "=x"}


@contextmanager
def strangers_child(*argv: str) -> Iterator[tuple[ProcessIdentity, "subprocess.Popen[bytes]"]]:
    """A process whose parent is another one, which reaps it."""
    code = (
        "import subprocess, sys\n"
        "p = subprocess.Popen(sys.argv[1:])\n"
        "print(p.pid, flush=True)\n"
        "p.wait()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-S", "-c", code, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert parent.stdout is not None
        identity = identify(int(parent.stdout.readline()))
        assert identity is not None
        yield identity, parent
    finally:
        parent.kill()
        parent.wait()
        for pipe in (parent.stdin, parent.stdout):
            assert pipe is not None
            pipe.close()


async def first(endings: "asyncio.Queue[Exit]") -> Exit:
    async with asyncio.timeout(10):
        return await endings.get()


def knows_codes() -> bool:
    """Tell whether this kernel says how one that is reaped has ended: Linux 6.15 and later."""
    if sys.platform != "linux":
        return False
    version = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return version is not None and tuple(map(int, version.groups())) >= (6, 15)


@pytest.mark.parametrize("killed", [True, False])
def test_end_of_a_strangers_child_is_told(stage: "Stage", *, killed: bool) -> None:
    async def main() -> None:
        with strangers_child("sh", "-c", "read line; exit 7") as (identity, parent):
            endings: asyncio.Queue[Exit] = asyncio.Queue()
            watch = watch_exit(identity, endings.put_nowait, asyncio.get_running_loop())
            if killed:
                os.kill(identity.pid, signal.SIGKILL)
            else:
                assert parent.stdin is not None
                parent.stdin.write(b"end\n")
                parent.stdin.flush()
            told: Exit = ExitSignal(9) if killed else ExitCode(7)
            # Its parent reaps it at once, which an older kernel may have seen done before we ask.
            assert await first(endings) in ({told} if knows_codes() else {told, ExitUnknown()})
            assert endings.empty()
            watch.cancel()
            # It ends once it has reaped its child, which would come to us otherwise.
            parent.wait(10)

    asyncio.run(main())


def test_one_that_is_gone_or_another_is_reported_at_once(
    stage: "Stage", canary: ProcessIdentity
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        gone = stage.spawn("true")
        stage.reap(gone.pid)
        for identity in (gone, replace(canary, started=canary.started - 1)):
            endings: asyncio.Queue[Exit] = asyncio.Queue()
            watch_exit(identity, endings.put_nowait, loop)
            assert endings.empty()  # never from within the call
            assert await first(endings) == ExitUnknown()

    asyncio.run(main())


def test_cancelled_watch_says_nothing(stage: "Stage") -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with strangers_child("sleep", "60") as (identity, parent):
            silent: asyncio.Queue[Exit] = asyncio.Queue()
            heard: asyncio.Queue[Exit] = asyncio.Queue()
            cancelled = watch_exit(identity, silent.put_nowait, loop)
            watch_exit(identity, heard.put_nowait, loop)
            cancelled.cancel()
            cancelled.cancel()
            os.kill(identity.pid, signal.SIGKILL)
            await first(heard)
            assert silent.empty()
            parent.wait(10)

    asyncio.run(main())


ENDS: dict[str, Exit] = {
    "exit 7": ExitCode(7),
    "exit 0": ExitCode(0),
    "kill -KILL $$": ExitSignal(9),
}


@pytest.mark.parametrize("script", ENDS)
def test_end_of_one_that_its_parent_never_reaps_is_told_at_once(
    stage: "Stage", monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    """As process 1 of many a container is in no hurry."""
    # Longer than we wait here: who waits for the parent does not tell in time.
    monkeypatch.setattr("supervisor.posix.watch._REAPED_WITHIN", 60.0)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        identity = stage.spawn("sh", "-c", f"kill -STOP $$; {script}")
        stage.await_stop(identity.pid)
        endings: asyncio.Queue[Exit] = asyncio.Queue()
        watch_exit(identity, endings.put_nowait, loop)
        os.kill(identity.pid, signal.SIGCONT)
        stage.await_death(identity.pid)
        told = await first(endings)
        stage.reap(identity.pid)
        if knows_codes() or script != "exit 0":
            assert told == (ENDS[script] if sys.platform == "linux" else ExitUnknown())

    asyncio.run(main())


if sys.platform == "linux":
    from supervisor.posix.linux import zombie_status

    def test_status_of_a_zombie_is_told_of_that_very_one(stage: "Stage") -> None:
        identity = stage.spawn("sh", "-c", "read line </dev/null; exit 7")
        stage.await_death(identity.pid)
        assert zombie_status(identity.pid, identity.started) == 7 << 8
        assert zombie_status(identity.pid, identity.started + 1) is None
        stage.reap(identity.pid)
        assert zombie_status(identity.pid, identity.started) is None
        assert zombie_status(os.getpid(), must(os.getpid()).started) is None

    def must(pid: int) -> ProcessIdentity:
        identity = identify(pid)
        assert identity is not None
        return identity

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
    def test_status_that_may_not_be_known_is_not_taken_for_success(stage: "Stage") -> None:
        """The kernel says 0 to whom it does not tell."""
        nobody = 65534

        def dead(uid: int) -> ProcessIdentity:
            pid = os.fork()
            if pid == 0:
                if uid:
                    os.setresgid(uid, uid, uid)
                    os.setresuid(uid, uid, uid)
                    # Only then is it seen by its like: setuid has made it undumpable.
                    os.execv("/bin/sh", ["sh", "-c", "exit 7"])  # noqa: S606
                os._exit(7)
            stage.await_death(pid)
            return must(pid)

        def asked_by(uid: int, about: ProcessIdentity) -> int | None:
            reading, writing = os.pipe()
            pid = os.fork()
            if pid == 0:
                if uid:
                    os.setresgid(uid, uid, uid)
                    os.setresuid(uid, uid, uid)
                told = zombie_status(about.pid, about.started)
                os.write(writing, b"" if told is None else str(told).encode())
                os._exit(0)
            os.close(writing)
            answer = os.read(reading, 16)
            os.close(reading)
            stage.reap(pid)
            return int(answer) if answer else None

        of_root, of_nobody = dead(0), dead(nobody)
        assert asked_by(0, of_root) == 7 << 8
        assert asked_by(0, of_nobody) == 7 << 8
        assert asked_by(nobody, of_nobody) == 7 << 8
        assert asked_by(nobody, of_root) is None
        assert asked_by(nobody - 1, of_nobody) is None
        stage.reap(of_root.pid)
        stage.reap(of_nobody.pid)
