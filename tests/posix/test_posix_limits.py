"""Limits, umask, user: in force before the program's first instruction, or there is no program."""

import os
import resource
import select
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from supervisor.posix import trampoline
from supervisor.posix.account import environment_for, find_account
from supervisor.posix.spawn import Command, SpawnError, keep_file_limit, spawn
from supervisor.posix.trampoline import never_started

if TYPE_CHECKING:
    from .conftest import Stage

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="the mark is in /proc")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes others")

# Run by /usr/bin/env python or by ours: nobody may not read the folder of a developer's Python.
SHOW = """
umask; ulimit -n; ps -o nice= -p $$; id -un; id -gn; id -Gn
echo $(ps -o sid= -p $$) $$ $LISTEN_PID $LISTEN_FDS
for word in "$@"; do printf '%s|' "$word"; done; echo
"""

ODD_WORDS = ("two words", "it's", '"$(id)"', "", "`x` \\", "*", "-n", "ж")

OF_THE_SHELL = {"SHLVL": "0"} if sys.platform == "darwin" else {}
"""What bash, which is macOS's sh, adds at `exec`, whatever was unset before."""

ROUTES: dict[str, dict[str, Any]] = {
    "plain": {},
    "shell": {"nice": 3},
    "python": {"nice": 3, "env": {"odd.name": "1"}},
}


def spawn_with(stage: "Stage", *argv: str, env: dict[str, str] | None = None, **what: Any) -> int:
    return spawn(replace(stage.command(*argv, env=env), **what))


@pytest.mark.parametrize("route", ROUTES)
def test_a_raised_file_limit_is_the_daemon_s_alone(stage: "Stage", route: str) -> None:
    """A program that uses select(2) breaks when its descriptors may pass 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ours = min(hard, 5000) if hard != resource.RLIM_INFINITY else 5000
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        keep_file_limit()
        resource.setrlimit(resource.RLIMIT_NOFILE, (ours, hard))
        pid = spawn_with(stage, "sh", "-c", "ulimit -S -n", **ROUTES[route])
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == ours
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        keep_file_limit()
    assert stage.line() == "1024"
    assert stage.reap(pid) == 0


def as_nobody(action: Callable[[], str]) -> str:
    """Return what `action` says in a process of our own that is not root's any more."""
    "".encode("ascii")  # loaded now: nobody may not read where root's Python keeps its codecs
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setregid(65534, 65534)
            os.setreuid(65534, 65534)
            os.write(writing, action().encode())
        except BaseException as error:  # noqa: BLE001 - the test shows it
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as said:
        text = said.read()
    os.waitpid(child, 0)
    return text


def reap_all() -> list[int]:
    """Reap our children, orphans included if a test before this has made us a subreaper."""
    ends: list[int] = []
    while True:
        try:
            ends.append(os.waitstatus_to_exitcode(os.waitpid(-1, 0)[1]))
        except ChildProcessError:
            return ends


def told(stage: "Stage", pid: int) -> list[str]:
    lines = [stage.line() for _ in range(8)]
    assert stage.reap(pid) == 0
    return lines


@pytest.mark.parametrize("route", ROUTES)
def test_words_environment_and_descriptors_survive_every_route(stage: "Stage", route: str) -> None:
    code = (
        "import os, sys\n"
        "fds = []\n"
        "for fd in range(64):\n"
        "    try: fds.append((fd, os.fstat(fd).st_rdev * (not fd)))\n"
        "    except OSError: pass\n"
        "print(sys.argv[1:], sorted(os.environ.items()), fds)\n"
    )
    pid = spawn_with(stage, sys.executable, "-S", "-c", code, *ODD_WORDS, **ROUTES[route])
    env = stage.command("x", env=ROUTES[route].get("env")).env
    # Of the child's own Python, whatever the route: PEP 538.
    added = {"LC_CTYPE": "C.UTF-8"} | (OF_THE_SHELL if route == "shell" else {})
    expected = sorted({**added, **env}.items())
    null = os.stat("/dev/null").st_rdev
    assert stage.line() == f"{list(ODD_WORDS)} {expected} {[(0, null), (1, 0), (2, 0)]}"
    assert stage.reap(pid) == 0


@pytest.mark.parametrize("route", ROUTES)
def test_nothing_is_added_to_the_environment(stage: "Stage", route: str) -> None:
    pid = spawn_with(stage, "env", **ROUTES[route])
    expected = dict(stage.command("x", env=ROUTES[route].get("env")).env)
    expected |= OF_THE_SHELL if route == "shell" else {}
    lines = sorted(stage.line() for _ in expected)
    assert stage.reap(pid) == 0
    assert lines == sorted(f"{name}={value}" for name, value in expected.items())
    assert select.select([stage.reading], [], [], 0)[0] == [], "more than was given"


@pytest.mark.parametrize("route", ROUTES)
def test_no_signal_is_ignored_whatever_the_route(stage: "Stage", route: str) -> None:
    # Our own Python ignores SIGPIPE, and so does the one on the way.
    pid = spawn_with(stage, "sh", "-c", "kill -s PIPE $$", **ROUTES[route])
    assert stage.reap(pid) == -13


@pytest.mark.parametrize("route", ROUTES)
def test_umask_is_the_child_s_alone(stage: "Stage", route: str) -> None:
    before = os.umask(0o077)
    try:
        pid = spawn_with(stage, "sh", "-c", "umask; : >made", umask=0o027, **ROUTES[route])
        assert os.umask(0o077) == 0o077
        plain = spawn_with(stage, "sh", "-c", "umask >own", **ROUTES[route])
    finally:
        os.umask(before)
    assert stage.line() == "0027"
    assert stage.reap(pid) == 0
    assert stage.reap(plain) == 0
    assert (stage.tmp_path / "own").read_text() == "0077\n"
    assert stat.S_IMODE((stage.tmp_path / "made").stat().st_mode) == 0o640


@pytest.mark.parametrize("has_setsid", [True, False])
@pytest.mark.parametrize("user", [None, pytest.param("nobody", marks=as_root)])
def test_everything_at_once(stage: "Stage", user: str | None, *, has_setsid: bool) -> None:
    stage.tmp_path.chmod(0o755)
    account = find_account(user or subprocess.check_output(["id", "-un"], text=True).strip())
    with socket.create_server(("127.0.0.1", 0)) as held:
        command = replace(
            stage.command("sh", "-c", SHOW, "sh", *ODD_WORDS, cwd="/"),
            sockets=(("http", held.fileno()),),
            umask=0o002,
            open_files=77,
            processes=500,
            nice=7,
            user=user,
        )
        pid = spawn(command, has_setsid=has_setsid)
        lines = told(stage, pid)
    assert lines[:3] == ["0002", "77", "7"]
    assert lines[3] == account.name
    assert lines[6].split() == [str(pid), str(pid), str(pid), "1"]
    assert lines[7] == "".join(f"{word}|" for word in ODD_WORDS)
    if user is not None:
        groups = subprocess.check_output(["id", "-Gn", user], text=True).strip()
        assert lines[5] == groups


@linux_only
@as_root
def test_root_can_not_be_taken_back(stage: "Stage") -> None:
    show = "grep -E '^(Uid|Gid|Groups|CapPrm|CapEff)' /proc/self/status"
    before = os.getgroups()
    os.setgroups([0, 1, 2])
    try:
        pid = spawn_with(stage, "sh", "-c", show, cwd="/", user="nobody")
    finally:
        os.setgroups(before)
    lines = [stage.line().split()[1:] for _ in range(5)]
    account = find_account("nobody")
    assert lines[0] == [str(account.uid)] * 4
    assert lines[1] == [str(account.gid)] * 4
    assert set(map(int, lines[2])) == set(os.getgrouplist("nobody", account.gid))
    assert [int(caps, 16) for (caps,) in lines[3:]] == [0, 0]
    assert stage.reap(pid) == 0


@linux_only
def test_session_is_weighed_as_its_process(stage: "Stage") -> None:
    if not Path("/proc/self/autogroup").exists():
        pytest.skip("this kernel shares the processor between processes, not sessions")
    pid = spawn_with(stage, "sh", "-c", "cat /proc/self/autogroup", nice=7)
    assert stage.line().endswith("nice 7")
    assert stage.reap(pid) == 0


def test_limits_are_both_soft_and_hard(stage: "Stage") -> None:
    pid = spawn_with(stage, "sh", "-c", "ulimit -Sn; ulimit -Hn", open_files=99)
    assert (stage.line(), stage.line()) == ("99", "99")
    assert stage.reap(pid) == 0


def test_our_own_account_needs_no_change(stage: "Stage") -> None:
    own = subprocess.check_output(["id", "-un"], text=True).strip()
    assert trampoline.plan(stage.command("true"), "/bin/true", None).start == "/bin/true"
    assert stage.reap(spawn_with(stage, "true", user=own)) == 0


def refusal(stage: "Stage", **what: Any) -> SpawnError:
    with pytest.raises(SpawnError) as caught:
        spawn_with(stage, "true", **what)
    return caught.value


def test_unknown_account_is_refused(stage: "Stage") -> None:
    error = refusal(stage, user="nobodee")
    assert error.why == ("this machine has no account 'nobodee': correct user, or make the account")
    assert not error.retry


def spawn_words(command: Command) -> Callable[[], str]:
    def attempt() -> str:
        try:
            pid = spawn(command)
        except SpawnError as error:
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                return f"{error.why} (retry {error.retry})"
            return "a child is left"
        os.waitpid(pid, 0)
        return "started"

    return attempt


@as_root
def test_what_only_root_may_is_refused_to_others(stage: "Stage") -> None:
    command = stage.command("true", cwd="/")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for what, words in (
        ({"user": "root"}, "only root may start a service as user root, and the supervisor runs"),
        ({"nice": -1}, "limits.nice is -1 and only root may go below the supervisor's own 0: "),
        ({"open_files": hard + 1}, f"limits.open_files is {hard + 1} and the system allows"),
    ):
        said = as_nobody(spawn_words(replace(command, **what)))
        assert said.startswith(words), said
        assert said.endswith("(retry False)")
    for what in ({"nice": 1}, {"open_files": hard}, {"user": "nobody"}):
        assert as_nobody(spawn_words(replace(command, **what))) == "started"


@linux_only
def test_limit_that_the_kernel_refuses_leaves_no_process(stage: "Stage") -> None:
    error = refusal(stage, open_files=2**40)
    assert error.why.startswith("limits.open_files is" if os.geteuid() else "the system refuses")
    assert not error.retry


def test_missing_cgroup_is_refused(stage: "Stage") -> None:
    error = refusal(stage, cgroup=str(stage.tmp_path / "gone"))
    assert error.why.endswith("is gone, or may not be entered")
    assert error.retry


def ended(stage: "Stage", pid: int) -> tuple[bool, int]:
    stage.await_death(pid)
    return never_started(pid), stage.reap(pid)


@linux_only
@pytest.mark.parametrize("route", ["shell", "python"])
def test_cgroup_that_vanishes_on_the_way_is_no_exit_of_the_program(
    stage: "Stage", route: str
) -> None:
    # Writable to all appearance, and the write fails.
    (stage.tmp_path / "cgroup.procs").symlink_to("/dev/full")
    pid = spawn_with(stage, "echo", "never", cgroup=str(stage.tmp_path), **ROUTES[route])
    assert ended(stage, pid) == (True, 125)
    said = stage.line()
    assert said.startswith(f"atlasctl: cannot enter the control group {stage.tmp_path}")
    assert said.endswith("; the program was not started")


@linux_only
@as_root
def test_program_that_only_root_may_execute_says_so(stage: "Stage") -> None:
    private = stage.tmp_path / "private"
    private.write_text("#!/bin/sh\necho never\n")
    private.chmod(0o700)
    pid = spawn_with(stage, str(private), user="nobody", cwd="/")
    assert ended(stage, pid) == (True, 125)
    assert stage.line() == (
        f"atlasctl: cannot execute {private} as user nobody: Permission denied; "
        "the program was not started"
    )
    stage.tmp_path.chmod(0o700)
    pid = spawn_with(stage, "true", user="nobody")
    assert ended(stage, pid) == (True, 125)
    assert "user nobody cannot enter the working directory" in stage.line()


@linux_only
@pytest.mark.parametrize("route", ROUTES)
def test_program_s_own_125_is_its_own(stage: "Stage", route: str) -> None:
    assert ended(stage, spawn_with(stage, "sh", "-c", "exit 125", **ROUTES[route])) == (False, 125)


@pytest.mark.parametrize("route", ["shell", "python"])
def test_daemon_that_dies_at_the_gate_starts_nothing(stage: "Stage", route: str) -> None:
    env = ROUTES[route].get("env")
    launch = trampoline.plan(replace(stage.command("echo", env=env), nice=3), "/bin/echo", None)
    assert launch.waits
    done = subprocess.run(
        launch.argv, executable=launch.start, env=launch.env, stdin=subprocess.DEVNULL,
        capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (125, b"", b"")


def test_no_limit_means_no_process_in_between(stage: "Stage") -> None:
    command = stage.command("true")
    launch = trampoline.plan(replace(command, umask=0o077), "/bin/true", None)
    assert (launch.start, launch.argv) == ("/bin/true", ["true"])


@as_root
def test_environment_is_that_of_the_account() -> None:
    account = find_account("nobody")
    own = {"HOME": "/root", "USER": "root", "TMPDIR": "/t", "XDG_RUNTIME_DIR": "/r", "LANG": "C"}
    assert environment_for("nobody", own, keep=["TMPDIR"]) == {
        "HOME": account.home,
        "USER": "nobody",
        "LOGNAME": "nobody",
        "SHELL": account.shell,
        "TMPDIR": "/t",
        "LANG": "C",
    }
    assert environment_for(None, own) is own
    assert environment_for("root", own) is own


@linux_only
@as_root
@pytest.mark.usefixtures("nobody_alone")
def test_number_of_processes_is_bounded_for_others_than_root(stage: "Stage") -> None:
    loop = "i=0; while [ $i -lt 99 ]; do sleep 60 & i=$((i+1)); echo $!; done; echo all"
    # The kernel counts all that this user has, what a test before this left to init included.
    uid = find_account("nobody").uid
    others = sum(process.uids().real == uid for process in psutil.process_iter())
    most = others + 12
    pid = spawn_with(stage, "sh", "-c", loop, user="nobody", cwd="/", processes=most)
    assert os.getpgid(pid) == pid
    lines = []
    while (line := stage.line()).isdecimal():
        lines.append(int(line))
    os.killpg(pid, 9)
    assert "fork" in line
    assert len(lines) < most
    reap_all()
    words = "i=0; while [ $i -lt 9 ]; do sleep 60 & i=$((i+1)); done; echo begun; wait"
    first = spawn_with(stage, "sh", "-c", words, user="nobody", cwd="/")
    assert stage.line() == "begun"
    second = spawn_with(stage, "true", user="nobody", cwd="/", processes=5)
    assert ended(stage, second) == (True, 125)
    assert stage.line() == (
        f"atlasctl: cannot execute {shutil.which('true')} as user nobody: nobody has more than "
        "5 processes; the program was not started"
    )
    os.killpg(first, 9)
    reap_all()


def test_log_pipe_of_root_serves_another_account(stage: "Stage") -> None:
    path = stage.tmp_path / "fifo"
    os.mkfifo(path, 0o600)
    fd = os.open(path, os.O_RDWR)
    try:
        user = "nobody" if os.geteuid() == 0 else None
        pid = spawn_with(stage, "sh", "-c", "echo out; echo err >&2", output_fd=fd, user=user,
                         cwd="/")  # fmt: skip
        assert stage.reap(pid) == 0
        assert os.read(fd, 99) == b"out\nerr\n"
    finally:
        os.close(fd)
    assert Path(path).is_fifo()
