"""spawn(): what a child finds, and what people read when there is none."""

import os
import resource
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from supervisor.posix.spawn import Command, SpawnError, spawn

if TYPE_CHECKING:
    from .conftest import Stage

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

LIST_FDS = """
import os
fds = {}
for fd in os.listdir('/proc/self/fd'):
    try: fds[int(fd)] = os.readlink('/proc/self/fd/' + fd)
    except OSError: pass
print(sorted(fds), fds[0], flush=True)
"""


def ended_well(pid: int) -> None:
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@linux_only
def test_child_has_only_its_own_descriptors(stage: "Stage") -> None:
    pid = spawn(stage.command(sys.executable, "-S", "-c", LIST_FDS))
    assert stage.line() == "[0, 1, 2] /dev/null"
    ended_well(pid)


@linux_only
def test_sealed_descriptors_do_not_reach_a_child(stage: "Stage") -> None:
    # Sealing is for the whole process, so it is done in a process of its own.
    code = (
        "import os\n"
        "from supervisor.posix.spawn import Command, seal_descriptors, spawn\n"
        "leak = os.open('/dev/null', os.O_RDONLY); os.set_inheritable(leak, True)\n"
        "seal_descriptors()\n"
        f"c = Command(({sys.executable!r}, '-S', '-c', {LIST_FDS!r}), {{}}, '/', 1)\n"
        "os.waitpid(spawn(c), 0)\n"
    )
    root = str(Path(__file__).parents[2])
    pid = spawn(stage.command(sys.executable, "-c", code, env={"PYTHONPATH": root}))
    assert stage.line() == "[0, 1, 2] /dev/null"
    ended_well(pid)


def test_child_leads_a_session_with_plain_signals_in_its_directory(stage: "Stage") -> None:
    code = (
        "import os, signal\n"
        "odd = [s for s in signal.valid_signals() if s not in (9, 19)\n"
        "       and signal.getsignal(s) == signal.SIG_IGN and s not in (13, 25)]\n"
        "blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])\n"
        "print(os.getsid(0) == os.getpid() == os.getpgid(0), odd, len(blocked), os.getcwd())\n"
    )
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    here = os.getcwd()
    try:
        pid = spawn(stage.command(sys.executable, "-S", "-c", code))
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        signal.signal(signal.SIGUSR1, before)
    assert stage.line() == f"True [] 0 {stage.tmp_path}"
    assert os.getcwd() == here
    ended_well(pid)


@linux_only
def test_broken_pipe_kills_a_child_as_it_would_in_a_shell(stage: "Stage") -> None:
    # Python ignores SIGPIPE, and "ignored" is inherited through exec unless it is undone.
    pid = spawn(stage.command("sh", "-c", "grep SigIgn /proc/self/status"))
    ignored = int(stage.line().split()[1], 16)
    # The C library keeps 32 and 33 for itself and lets nobody reset them.
    assert [n for n in signal.valid_signals() if ignored >> (n - 1) & 1] == []
    ended_well(pid)


@pytest.mark.parametrize("has_setsid", [True, False])
def test_sockets_are_handed_over_as_systemd_does(stage: "Stage", *, has_setsid: bool) -> None:
    code = (
        "import os, socket\n"
        "e = os.environ\n"
        "socks = [socket.socket(fileno=fd) for fd in (3, 4)]\n"
        "print(int(e['LISTEN_PID']) == os.getpid() == os.getsid(0), e['LISTEN_FDS'],\n"
        "      e['LISTEN_FDNAMES'], *[s.getsockname()[1] for s in socks],\n"
        "      sorted(map(int, os.listdir('/dev/fd')))[:-1], flush=True)\n"
    )
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as two,
    ):
        ports = [s.getsockname()[1] for s in (one, two)]
        sockets = (("http", one.fileno()), ("http", two.fileno()))
        command = stage.command(sys.executable, "-S", "-c", code, sockets=sockets)
        pid = spawn(command, has_setsid=has_setsid)
        assert stage.line() == f"True 2 http:http {ports[0]} {ports[1]} [0, 1, 2, 3, 4]"
        ended_well(pid)


def test_sources_among_the_targets_do_not_overwrite_each_other(stage: "Stage") -> None:
    # In a process of its own, which can put its sockets at exactly 4 and 3, its output at 5.
    code = (
        "import os, socket, sys\n"
        "from supervisor.posix.spawn import Command, spawn\n"
        "a, b = (socket.create_server(('127.0.0.1', 0)) for _ in range(2))\n"
        "os.dup2(a.fileno(), 104); os.dup2(b.fileno(), 103); os.dup2(1, 105)\n"
        "os.dup2(104, 4, False); os.dup2(103, 3, False); os.dup2(105, 5, False)\n"
        "port = 'socket.socket(fileno=os.dup(f)).getsockname()[1]'\n"
        "want = [eval(port) for f in (4, 3)]\n"
        "show = f'import os, socket; print([{port} for f in (3, 4)])'\n"
        "c = Command((sys.executable, '-S', '-c', show), {}, '/', 5, (('a', 4), ('b', 3)))\n"
        "print(want, flush=True)\n"
        "pid = spawn(c); os.waitpid(pid, 0); os._exit(0)\n"
    )
    root = str(Path(__file__).parents[2])
    pid = spawn(stage.command(sys.executable, "-c", code, env={"PYTHONPATH": root}))
    assert stage.line() == stage.line()
    ended_well(pid)


def test_relative_command_is_relative_to_cwd(stage: "Stage") -> None:
    script = stage.tmp_path / "run.sh"
    script.write_text("#!/bin/sh\necho here $0\n")
    script.chmod(0o755)
    ended_well(spawn(stage.command("./run.sh")))
    assert stage.line().startswith("here ")


def refused(
    stage: "Stage", *argv: str, env: dict[str, str] | None = None, cwd: str | None = None
) -> SpawnError:
    with pytest.raises(SpawnError) as caught:
        spawn(stage.command(*argv, env=env, cwd=cwd))
    assert os.getcwd() != cwd
    return caught.value


def test_missing_command_says_where_it_was_looked_for(stage: "Stage") -> None:
    (stage.tmp_path / "uvicorn").write_text("#!/bin/sh\n")
    (stage.tmp_path / "uvicorn").chmod(0o755)
    error = refused(stage, "uvicron", env={"PATH": f"{stage.tmp_path}:/nowhere"})
    assert error.why == (
        f"command not found: uvicron (looked in {stage.tmp_path}, /nowhere); did you mean uvicorn?"
    )
    assert not error.retry


def test_each_refusal_says_what_to_do(stage: "Stage") -> None:
    folder = stage.tmp_path
    plain = folder / "plain"
    plain.write_text("text")
    moved = folder / "moved"
    moved.write_text("#!/gone/venv/bin/python\n")
    moved.chmod(0o755)
    dos = folder / "dos"
    dos.write_bytes(b"#!/bin/sh\r\n")
    dos.chmod(0o755)
    nonsense = folder / "nonsense"
    nonsense.write_bytes(b"\x00\x01\x02")
    nonsense.chmod(0o755)
    for argv, cwd, words in (
        (("./plain",), None, "plain is not executable (chmod +x"),
        (("plain",), None, "plain is not executable (chmod +x"),
        (("./",), None, "is a directory, not a program"),
        (("./none",), None, "no such file: "),
        (("./moved",), None, "moved begins with #!/gone/venv/bin/python: no such file: "),
        (("./dos",), None, "dos ends in a carriage return"),
        (("./nonsense",), None, "not a program for this machine"),
        (("true",), str(folder / "absent"), "working directory does not exist: "),
        (("true",), str(plain), "working directory is not a directory: "),
        ((), None, "command is empty"),
        (("",), None, "command is empty"),
        (("true", "a\0b"), None, "NUL byte"),
        (("true", "x" * 5_000_000), None, "too long"),
    ):
        error = refused(stage, *argv, env={"PATH": f"{folder}:{os.environ['PATH']}"}, cwd=cwd)
        assert words in error.why
        assert not error.retry, error.why


def test_moved_interpreter_is_found_out_with_sockets_as_well(stage: "Stage") -> None:
    moved = stage.tmp_path / "moved"
    moved.write_text("#!/gone/venv/bin/python\n")
    moved.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as held:
        command = stage.command("./moved", sockets=(("http", held.fileno()),))
        with pytest.raises(SpawnError, match="bad interpreter"):
            spawn(command)


def test_variable_that_a_shell_would_lose_arrives_with_sockets_as_well(stage: "Stage") -> None:
    show = "import os; e = os.environ; print(e['my.setting'], int(e['LISTEN_PID']) == os.getpid())"
    with socket.create_server(("127.0.0.1", 0)) as held:
        sockets = (("http", held.fileno()),)
        odd = {"my.setting": "1"}
        ended_well(spawn(stage.command(sys.executable, "-S", "-c", show, env=odd, sockets=sockets)))
        assert stage.line() == "1 True"


@pytest.mark.parametrize("has_setsid", [True, False])
def test_standard_error_may_go_elsewhere(stage: "Stage", *, has_setsid: bool) -> None:
    command = stage.command("sh", "-c", "echo printed; echo complained >&2")
    elsewhere, end = os.pipe()
    try:
        pid = spawn(replace(command, error_fd=end), has_setsid=has_setsid)
        assert stage.line() == "printed"
        ended_well(pid)
        assert os.read(elsewhere, 100) == b"complained\n"
    finally:
        os.close(elsewhere)
        os.close(end)


def test_full_descriptor_table_is_worth_another_try(stage: "Stage") -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    command = Command(("true",), {"PATH": os.environ["PATH"]}, "/", stage.writing)
    taken = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, limits[1]))
    try:
        while True:
            try:
                taken.append(os.dup(stage.writing))
            except OSError:
                break
        with pytest.raises(SpawnError) as caught:
            spawn(command)
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert caught.value.retry


def test_fallback_without_setsid_ends_in_the_same_process(stage: "Stage") -> None:
    command = stage.command("sh", "-c", "echo $$ $(ps -o sid= -p $$) $1", "sh", "word")
    pid = spawn(command, has_setsid=False)
    assert stage.line().split() == [str(pid), str(pid), "word"]
    ended_well(pid)
