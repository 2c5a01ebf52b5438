"""`atlasctl` as a process: signals, pipes, terminals, and what it leaves behind."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

import pytest

from tests.cli.fake_daemon import FakeDaemon
from tests.cli.fleets import change, down, journal, service

DEADLINE = 20.0
CHECKOUT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-P", "-m", "supervisor.cli"]
LOADING = service("tts", state="loading", ready=False, reason="waiting for the startup probe")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "services.yaml").write_text(
        "version: 1\nservices:\n"
        '  tts: {command: [sleep, "1000"]}\n  stt: {command: [sleep, "1000"]}\n'
    )
    # Older than the daemon that is said to have read it.
    os.utime(tmp_path / "services.yaml", (1000, 1000))
    (tmp_path / "logs").mkdir()
    return tmp_path


def environment(root: Path, **more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(root),
        "XDG_STATE_HOME": str(root),
        "PYTHONPATH": str(CHECKOUT),
        "LANG": "C.UTF-8",
        **more,
    }


Begin = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def begin(root: Path) -> Iterator[Begin]:
    """Start a command; at the end none is left."""
    begun: list[subprocess.Popen[bytes]] = []

    def start(*argv: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [*COMMAND, *argv],
            cwd=root,
            env=environment(root),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,  # select must see all that is not read yet
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        with process:
            if process.poll() is None:
                process.kill()


def line_of(stream: IO[bytes] | None) -> str:
    """Return the next line, which must come in time."""
    assert stream is not None
    assert select.select([stream], [], [], DEADLINE)[0], "no line in time"
    return stream.readline().decode().rstrip("\n")


def until(stream: IO[bytes] | None, wanted: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while wanted not in (line := line_of(stream)):
        assert time.monotonic() < deadline, f"no {wanted!r}; last: {line!r}"


# Pipes and signals ---------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [("status",), ("--help",), ("schema",)])
def test_a_reader_that_has_gone_is_no_trouble(root: Path, argv: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with FakeDaemon(root, [service("tts")]):
            done = subprocess.run(
                [*COMMAND, *argv],
                cwd=root,
                env=environment(root),
                stdout=writing,
                stderr=subprocess.PIPE,
                timeout=DEADLINE,
                check=False,
            )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_logs_are_followed_over_what_comes_and_ctrl_c_ends_it(root: Path, begin: Begin) -> None:
    log = root / "logs" / "tts.log"
    log.write_text("one\ntwo\nthree\n")
    process = begin("logs", "-f", "-n", "2", "tts")
    assert line_of(process.stdout) == "two"
    assert line_of(process.stdout) == "three"
    with log.open("a") as file:
        file.write("four\n")
    assert line_of(process.stdout) == "four"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130
    assert out == b""
    assert err == (b"atlasctl: interrupted: no longer following; the services go on as they are\n")


def test_ctrl_c_while_waiting_says_what_goes_on(root: Path, begin: Begin) -> None:
    with FakeDaemon(root, [LOADING, service("stt")]) as fake:
        process = begin("up", "tts")
        assert "loading" in line_of(process.stdout)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130
    assert err.decode() == (
        f"atlasctl: interrupted: the supervisor (pid {fake.pid}) and tts and stt go on; "
        "to stop all: atlasctl down\n"
    )


def test_ctrl_c_does_not_take_a_reload_back(root: Path, begin: Begin) -> None:
    with FakeDaemon(root, [LOADING, service("stt")]) as fake:
        fake.changes = [change("tts", "restart", "command: a → b"), change("stt")]
        process = begin("reload", "--rolling")
        until(process.stdout, "tts: loading")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=DEADLINE)
        assert len(fake.specs) == 1
    assert process.returncode == 130
    assert err == b"atlasctl: interrupted: the reload goes on; see: atlasctl status\n"


def test_watch_outlives_the_daemon_and_finds_the_next(root: Path, begin: Begin) -> None:
    process = begin("status", "--watch")
    until(process.stdout, "no supervisor runs for services.yaml; waiting for it")
    with FakeDaemon(root, [service("tts")]):
        until(process.stdout, "healthy")
    until(process.stdout, "no supervisor runs")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=DEADLINE)
    assert process.returncode == 130


# Terminals -----------------------------------------------------------------------------------


def on_terminal(root: Path, *argv: str, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run a command on a terminal of 60 by 10 cells; return its code and all it drew."""
    mine, its = pty.openpty()
    try:
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 60, 0, 0))
        process = subprocess.Popen(
            [*COMMAND, *argv],
            cwd=root,
            env=environment(root, TERM="xterm", **(env or {})),
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
        )
    finally:
        os.close(its)
    drawn = b""
    deadline = time.monotonic() + DEADLINE
    try:
        while time.monotonic() < deadline and select.select([mine], [], [], DEADLINE)[0]:
            try:
                block = os.read(mine, 65536)
            except OSError:  # Linux says EIO when the other end is closed
                break
            if not block:
                break
            drawn += block
    finally:
        os.close(mine)
    return process.wait(DEADLINE), drawn.decode().replace("\r\n", "\n")


def test_colours_are_for_terminals(root: Path) -> None:
    with FakeDaemon(root, [service("tts")]):
        assert "\x1b[32mhealthy\x1b[0m" in on_terminal(root, "status")[1]
        assert "\x1b" not in on_terminal(root, "status", env={"NO_COLOR": "1"})[1]
        assert "\x1b" not in on_terminal(root, "--color", "never", "status")[1]


def test_progress_on_a_terminal_is_drawn_over_and_then_taken_away(root: Path) -> None:
    many = [service(f"s{n}", state="loading", ready=False) for n in range(30)]
    up = [service(f"s{n}") for n in range(30)]
    with FakeDaemon(root, [down(s["name"]) for s in many]) as fake:
        fake.after = lambda: [many, many, up]
        code, drawn = on_terminal(root, "--color", "never", "start")
    assert code == 0
    pictures = drawn.split("\x1b[J")
    assert "start: waiting for 30 services" in pictures[0]
    # Ten lines high: the picture never scrolls away what stood above it.
    assert all(picture.count("\x1b[K\n") <= 9 for picture in pictures)
    assert "more lines" in pictures[0]
    last = pictures[-1].splitlines()
    assert drawn.count(": healthy after") == 30
    assert last == [] or "healthy after" in last[-1]


def test_json_on_a_terminal_is_nothing_but_json(root: Path) -> None:
    with FakeDaemon(root, [service("tts")]) as fake:
        fake.changes = [change("tts", "restart", "command: a → b")]
        fresh = service("tts", run=2, pid=5000)
        fake.after = lambda: [[LOADING], [LOADING], [fresh]]
        code, drawn = on_terminal(root, "reload", "--json")
        assert (code, json.loads(drawn)["reached"]) == (0, True)
        fake.after = list
        code, drawn = on_terminal(root, "upgrade", "--json")
        assert (code, json.loads(drawn)["upgrades"]) == (0, 1)


def test_a_plan_has_colours_on_a_terminal(root: Path) -> None:
    with FakeDaemon(root, [service("tts")]) as fake:
        fake.changes = [change("tts", "restart", "command: a → b")]
        assert "\x1b[33mrestart\x1b[0m" in on_terminal(root, "plan")[1]


def test_a_log_cannot_command_the_terminal_but_may_have_colours(root: Path) -> None:
    (root / "logs" / "tts.log").write_text("\x1b]0;owned\x07\tплин \x1b[31mred\n")
    _, drawn = on_terminal(root, "logs", "tts")
    assert drawn == "\\x1b]0;owned\\x07\tплин \x1b[31mred\x1b[0m\n"
    assert on_terminal(root, "--color=never", "logs", "tts")[1] == (
        "\\x1b]0;owned\\x07\tплин red\n"
    )


# The script ----------------------------------------------------------------------------------


def test_the_script_works_from_any_folder_and_through_a_link(root: Path) -> None:
    folder = root / "some where"
    (folder / "checkout").mkdir(parents=True)
    script = folder / "checkout" / "atlasctl"
    script.write_bytes((CHECKOUT / "atlasctl").read_bytes())
    script.chmod(0o755)
    link = root / "link"
    link.symlink_to(os.path.join("some where", "checkout", "atlasctl"))

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [link, "version"],
            cwd="/",
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )

    done = run()
    assert done.returncode == 2
    assert f"make it: make -C {folder}/checkout up" in done.stderr
    (folder / "checkout" / ".venv" / "bin").mkdir(parents=True)
    python = folder / "checkout" / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (folder / "checkout" / "supervisor").symlink_to(CHECKOUT / "supervisor")
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("atlasctl 0.1.0")


def test_events_reach_a_pipe_as_they_come(root: Path, begin: Begin) -> None:
    news = journal("tts", (1003.0, "ready", "200 OK", 2), first=6)
    with FakeDaemon(root, [service("tts")]) as fake:
        fake.events = [*news, *journal("", (1004.0, "daemon-stopped", "", None), first=7)]
        process = begin("events", "-f", "--json")
        assert '"seq":6' in line_of(process.stdout)
        process.communicate(timeout=DEADLINE)
    assert process.returncode == 3


def test_status_loads_nothing_that_it_does_not_need(root: Path) -> None:
    """It is asked again and again, and is to feel instant: the specs alone would be 20 ms."""
    heavy = ("yaml", "pydantic", "requests", "asyncio", "ssl", "psutil", "supervisor.core.spec")
    script = (
        "import sys; from supervisor.cli.__main__ import main; code = main(['status']);"
        f"print('loaded:', [m for m in {heavy} if m in sys.modules]); sys.exit(code)"
    )
    with FakeDaemon(root, [service("tts"), service("stt")]):
        done = subprocess.run(
            [sys.executable, "-P", "-c", script],
            cwd=root,
            env=environment(root),
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=True,
        )
    assert done.stdout.splitlines()[-1] == "loaded: []"
