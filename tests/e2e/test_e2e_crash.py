"""What happens when things die, hang, or will not go."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from supervisor.journal import read
from tests.e2e.conftest import SLEEPER, System, eventually, free_port

FAST = {"backoff": {"first": "20ms", "factor": 2, "max": "100ms", "jitter": 0}}

ACCEPTS = """
import socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    connection, _ = server.accept()
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
    connection.close()
"""


def python(script: str, *arguments: object) -> list[str]:
    return [sys.executable, "-S", "-c", script, *map(str, arguments)]


def test_a_killed_service_is_back_and_why_tells(system: System) -> None:
    system.write({"a": {"command": SLEEPER, "restart": FAST}})
    system.ctl("up")
    seq, pid = system.seq(), system.service("a")["pid"]
    os.kill(pid, signal.SIGKILL)
    system.event("started", "a", after=seq)
    again = system.service("a")
    assert again["pid"] != pid
    assert again["restarts"] == 1
    assert again["last_exit"] == "was killed by signal 9 (SIGKILL)"
    assert (system.root / "logs" / "a.pid").read_text() == f"{again['pid']}\n"
    told = system.ctl("why", "a").stdout
    assert "was killed from outside by SIGKILL" in told
    assert len(told.splitlines()) < 20


def test_killed_again_and_again_it_gives_up_and_start_brings_it_back(system: System) -> None:
    system.write({"a": {"command": SLEEPER, "restart": FAST}})
    system.ctl("up")
    before = seq = system.seq()
    for _ in range(10):
        pid = system.service("a")["pid"]
        if pid is None:
            break
        os.kill(pid, signal.SIGKILL)
        seen = system.event("exited", "a", after=before)["seq"]
        eventually(
            "it is back or given up",
            lambda: system.service("a")["state"] in ("running", "failed") or None,
        )
        before = max(seen, system.seq())
    assert system.service("a")["state"] == "failed"
    journal = [json.loads(line) for line in system.ctl("events", "--json").stdout.splitlines()]
    delays = [e["text"] for e in journal if e["topic"] == "restarting" and e["seq"] > seq]
    assert [text.split("restart ")[1].split(" (")[0] for text in delays] == [
        "1 in 0.02 s",
        "2 in 0.04 s",
        "3 in 0.08 s",
        "4 in 0.1 s",
    ]
    assert "failed 5 times" in system.service("a")["reason"]
    assert system.ctl("status", check=1).stdout.count("SIGKILL") >= 1
    system.ctl("start", "a")
    assert system.service("a")["state"] == "running"
    assert system.service("a")["restarts"] == 0


def test_a_service_that_hangs_is_killed_and_replaced(system: System) -> None:
    port = free_port()
    probe = {"http": {"path": "/"}, "every": "100ms", "timeout": "1s"}
    system.write(
        {
            "a": {
                "command": python(ACCEPTS, port),
                "ports": [port],
                "restart": FAST,
                "stop": {"timeout": "300ms"},
                "probes": {"readiness": probe, "liveness": {**probe, "failures": 2}},
            }
        }
    )
    system.ctl("up")
    seq, pid = system.seq(), system.service("a")["pid"]
    os.kill(pid, signal.SIGSTOP)
    stopping = system.event("stopping", "a", after=seq)
    assert "liveness probe" in stopping["text"]
    system.event("ready", "a", after=stopping["seq"])
    assert system.service("a")["pid"] != pid
    assert not psutil.pid_exists(pid)


def test_a_service_that_ignores_sigterm_is_killed_at_its_deadline(system: System) -> None:
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('deaf', flush=True); time.sleep(999)"
    )
    system.write({"a": {"command": python(script), "stop": {"timeout": "200ms"}}})
    system.ctl("up")
    log = system.root / "logs" / "a.log"
    eventually("it is deaf", lambda: "deaf" in log.read_text() or None)
    system.ctl("stop", "a")
    assert "SIGKILL" in system.ctl("events", "a").stdout
    assert system.service("a")["state"] == "stopped"


def test_a_grandchild_that_holds_stdout_delays_nothing_and_is_ended(system: System) -> None:
    system.write(
        {
            "a": {
                "command": ["sh", "-c", "(setsid sleep 1000 &) ; (sleep 1000 &) ; exit 3"],
                "restart": {"policy": "never"},
                "stop": {"timeout": "200ms"},
            }
        }
    )
    system.ctl("up", check=1)
    exited = system.event("exited", "a")
    assert "code 3" in exited["text"]
    assert system.service("a")["state"] == "failed"
    assert system.running("1000") == []


def test_a_tree_that_hides_is_found_at_the_stop(system: System) -> None:
    hide = (
        "import os, sys, time\n"
        "for _ in range(20):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        if os.fork(): os._exit(0)\n"
        "        time.sleep(999)\n"
        "print('hidden', flush=True)\n"
        "time.sleep(999)\n"
    )
    system.write({"a": {"command": python(hide), "stop": {"timeout": "300ms"}}})
    system.ctl("up")
    log = system.root / "logs" / "a.log"
    eventually("they hide", lambda: "hidden" in log.read_text() or None)
    system.ctl("stop", "a")
    assert system.running(hide) == []


def test_services_outlive_the_daemon_and_the_next_one_adopts_them(system: System) -> None:
    system.write({"a": {"command": SLEEPER, "restart": FAST}, "b": {"command": SLEEPER}})
    system.ctl("up")
    system.ctl("stop", "b")
    pid = system.service("a")["pid"]
    system.kill_daemon()
    assert psutil.pid_exists(pid)
    told = system.ctl("status", check=3)
    assert str(pid) in told.stderr + told.stdout
    foreground_up = system.ctl("up", "a")
    assert foreground_up.returncode == 0
    after = system.service("a")
    assert (after["pid"], after["run"]) == (pid, 1)
    assert system.service("b")["state"] == "stopped", "what was stopped stays stopped"
    seq = system.seq()
    os.kill(pid, signal.SIGKILL)
    exited = system.event("exited", "a", after=seq)
    assert "signal 9" in exited["text"] or "not known" in exited["text"]
    system.event("started", "a", after=seq)


def test_a_service_that_died_unwatched_is_noticed(system: System) -> None:
    system.write({"a": {"command": ["sh", "-c", "sleep 1000 & sleep 1000"], "restart": FAST}})
    system.ctl("up")
    leader = psutil.Process(system.service("a")["pid"])
    children = leader.children(recursive=True)
    system.kill_daemon()
    leader.kill()
    eventually("it is gone", lambda: not lives(leader))
    system.ctl("up")
    assert system.service("a")["run"] == 2
    assert not any(map(lives, children)), "its orphans were ended"


def lives(process: psutil.Process) -> bool:
    """A zombie is dead: whoever adopted it has only not looked yet."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.parametrize("killed", ["daemon", "daemon and sink", "all but the services"])
def test_down_ends_what_a_killed_daemon_has_left(system: System, killed: str) -> None:
    tree = ["sh", "-c", "sleep 1000 & trap '' TERM; sleep 1000"]
    system.write({"a": {"command": tree, "stop": {"timeout": "0.5s"}}, "b": {"command": SLEEPER}})
    system.ctl("up")
    services = [system.service(name)["pid"] for name in "ab"]
    daemon = system.daemon_pid()
    others = [p for p in system.processes() if p.pid not in services and p.ppid() == daemon]
    sink = system.status()["daemon"]["sink_pid"]
    system.kill_daemon()
    for process in others:
        if killed == "all but the services" or (killed != "daemon" and process.pid == sink):
            with contextlib.suppress(psutil.NoSuchProcess):  # a holder that had an heir just now
                process.kill()
    told = system.ctl("down").stdout
    assert "stopped 2 services that a killed supervisor had left" in told
    assert [p for p in system.processes() if lives(p)] == []
    assert system.ctl("down").stdout == "nothing runs, nothing changed\n"
    system.ctl("up")
    assert system.service("a")["run"] == 2


def test_the_sink_is_replaced_and_no_line_is_lost(system: System) -> None:
    count = 20_000
    script = f"for n in range({count}): print(n)\nimport time; time.sleep(999)"
    system.write({"a": {"command": python(script), "logs": {"max_size": "64KiB", "keep": 50}}})
    system.ctl("up")
    sink = system.status()["daemon"]["sink_pid"]
    with contextlib.suppress(ProcessLookupError):
        os.kill(sink, signal.SIGKILL)
    wanted = [str(n) for n in range(count)]
    eventually(
        "every line is there once and in order",
        lambda: lines_of(system) == wanted or None,
    )


def lines_of(system: System) -> list[str]:
    text = system.ctl("logs", "--all", "a", check=None).stdout
    lines = (line.removeprefix("a | ") for line in text.splitlines())
    return [line for line in lines if not line.startswith("--- ")]


def test_last_words_of_what_nobody_wants_any_more_are_read(system: System) -> None:
    """Daemon, sink and holder were killed, and the next daemon is to end what they have left."""
    script = "trap 'echo last words; exit' TERM; echo ready; while :; do sleep 0.01; done"
    services = {"a": {"command": SLEEPER}, "b": {"command": ["sh", "-c", script]}}
    system.write(services)
    system.ctl("up")
    log, fifo = system.root / "logs" / "b.log", system.state_dir / "fifo" / "b"
    eventually("it is ready", lambda: "ready" in log.read_text() or None)
    running = [system.service(name)["pid"] for name in "ab"]
    daemon = system.daemon_pid()
    others = [p for p in system.processes() if p.pid not in running and p.ppid() == daemon]
    system.kill_daemon()
    for process in others:
        process.kill()
    system.write({"a": services["a"]})
    system.ctl("up")
    eventually("they are in the log", lambda: "\nlast words\n" in log.read_text() or None)
    eventually("nobody is to print there", lambda: not fifo.exists() or None)


def test_an_unwritable_log_folder_is_said_and_the_service_runs(
    system: System, tmp_path: Path
) -> None:
    (tmp_path / "logs").write_text("in the way")
    system.write({"a": {"command": SLEEPER}})
    system.ctl("up")
    assert system.service("a")["state"] == "running"
    assert "logs" in system.ctl("events").stdout


def test_a_finished_job_is_not_run_again_by_the_next_daemon(system: System, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    once = {"policy": "never"}
    system.write(
        {
            "done": {"command": ["sh", "-c", "echo x >> done.txt"], "restart": once},
            "unseen": {"command": ["sh", "-c", "echo x >> unseen.txt; cat gate"], "restart": once},
            "crashed": {"command": ["false"], "restart": {"give_up": {"after": 1}}},
            "stopped": {"command": SLEEPER},
        }
    )
    system.ctl("up", check=None)
    system.ctl("stop", "stopped")
    eventually("the job has ended", lambda: system.service("done")["state"] == "completed")
    unseen = psutil.Process(system.service("unseen")["pid"])
    crashes = system.service("crashed")["run"]
    system.kill_daemon()
    with gate.open("w"):
        pass
    eventually("it ends", lambda: not lives(unseen))
    system.ctl("up", "stopped")
    assert system.service("done")["state"] == "completed"
    assert (tmp_path / "done.txt").read_text() == "x\n"
    assert system.service("unseen")["state"] == "failed"
    assert "atlasctl start unseen" in system.service("unseen")["reason"]
    assert (tmp_path / "unseen.txt").read_text() == "x\n"
    assert system.service("crashed")["state"] == "failed"
    assert system.service("crashed")["run"] == crashes


def test_what_was_stopped_says_so_to_the_next_daemon(system: System) -> None:
    system.write({"a": {"command": SLEEPER}, "b": {"command": SLEEPER}})
    system.ctl("up")
    system.ctl("stop", "a")
    system.kill_daemon()
    system.ctl("up", "b")
    assert system.service("a")["state"] == "stopped"
    assert "stop asked" in system.service("a")["reason"]


def test_down_after_a_crash_in_the_middle_of_an_edit(system: System) -> None:
    system.write({"a": {"command": SLEEPER}})
    system.ctl("up")
    pid = system.service("a")["pid"]
    system.kill_daemon()
    system.config.write_text("version: 1\nservices: {a: {comand: [sleep]}}\n")
    assert "stopped 1 service" in system.ctl("down").stdout
    assert not psutil.pid_exists(pid) or not lives(psutil.Process(pid))
    assert system.processes() == []


def test_down_tells_what_could_not_be_ended(system: System) -> None:
    """Somebody else takes the port of a service in the moment in which that ends."""
    port = free_port()
    shared = "import socket, time; s = socket.socket(); "
    shared += "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1); "
    shared += f"s.bind(('127.0.0.1', {port})); s.listen(); print('ready', flush=True); "
    shared += "time.sleep(1000)"
    system.write({"a": {"command": python(shared), "ports": [port]}})
    system.ctl("up")
    log = system.root / "logs" / "a.log"
    eventually("it listens", lambda: "ready" in log.read_text() or None)
    with subprocess.Popen(python(shared), stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == b"ready\n"
            told = system.ctl("down", check=1).stderr
        finally:
            other.kill()
    assert f"not wholly stopped: a: could not be ended: port {port} is held by pid" in told
    ended = [e for e in read(str(system.state_dir)) if e.topic == "daemon-stopped"]
    assert [e.text for e in ended] == ["daemon stopped; not wholly stopped: a"]
