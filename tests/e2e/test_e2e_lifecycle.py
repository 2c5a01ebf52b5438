"""Up, down and between: what a user types, and what must be so afterwards."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil

from tests.e2e.conftest import CHECKOUT, DEADLINE, SLEEPER, System, eventually, free_port


def test_up_changes_nothing_when_all_is_up(system: System) -> None:
    system.write({"a": {"command": SLEEPER}, "b": {"command": SLEEPER}})
    first = system.ctl("up")
    assert "2 services up" in first.stdout
    pids = {s["name"]: s["pid"] for s in system.status()["services"]}
    second = system.ctl("up")
    assert "nothing changed" in second.stdout
    assert pids == {s["name"]: s["pid"] for s in system.status()["services"]}


def test_down_leaves_nothing_and_up_is_needed_again(system: System) -> None:
    system.write({"a": {"command": SLEEPER}})
    system.ctl("up")
    assert (system.root / "logs" / "a.pid").read_text() == f"{system.service('a')['pid']}\n"
    system.ctl("down")
    assert system.processes() == []
    assert not (system.root / "logs" / "a.pid").exists()
    assert f"start it: atlasctl -c {system.config} up" in system.ctl("status", check=3).stderr
    assert "nothing" in system.ctl("down").stdout


def test_dependencies_start_in_order_and_stop_in_reverse(system: System) -> None:
    system.write(
        {
            "web": {"command": SLEEPER, "depends_on": {"api": "started"}},
            "api": {"command": SLEEPER, "depends_on": {"db": "ready"}},
            "db": {
                "command": SLEEPER,
                "probes": {"readiness": {"exec": ["true"], "every": "100ms"}},
            },
        }
    )
    system.ctl("up")
    events = [json.loads(line) for line in system.ctl("events", "--json").stdout.splitlines()]
    assert [e["unit"] for e in events if e["topic"] == "started"] == ["db", "api", "web"]
    ready = next(e["seq"] for e in events if e["topic"] == "ready" and e["unit"] == "db")
    assert ready < next(e["seq"] for e in events if e["topic"] == "started" and e["unit"] == "api")
    system.ctl("down")
    journal = (system.state_dir / "journal.ndjson").read_text().splitlines()
    stopped = [e["unit"] for e in map(json.loads, journal) if e["topic"] == "stopped"]
    assert stopped == ["web", "api", "db"]


def test_one_service_can_be_stopped_started_and_restarted(system: System) -> None:
    system.write({"a": {"command": SLEEPER}, "b": {"command": SLEEPER}})
    system.ctl("up")
    b = system.service("b")["pid"]
    system.ctl("stop", "a")
    assert system.service("a")["state"] == "stopped"
    system.ctl("start", "a")
    before = system.service("a")["pid"]
    system.ctl("restart", "a")
    after = system.service("a")
    assert after["state"] == "running"
    assert after["pid"] != before
    assert after["restarts"] == 0, "an operator's restart is no crash"
    assert system.service("b")["pid"] == b


def test_an_unknown_service_is_met_with_a_suggestion(system: System) -> None:
    system.write({"tts": {"command": SLEEPER}})
    system.ctl("up")
    assert "did you mean tts" in system.ctl("restart", "tss", check=2).stderr
    assert "did you mean tts" in system.ctl("why", "tss", check=2).stderr


def test_two_at_once_make_one_supervisor(system: System) -> None:
    system.write({"a": {"command": SLEEPER}})
    answers: list[subprocess.CompletedProcess[str]] = []
    threads = [
        threading.Thread(target=lambda: answers.append(system.ctl("up", check=None)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(3 * DEADLINE)
    assert [answer.returncode for answer in answers] == [0, 0, 0], answers
    # Who came second is about to end, and what the daemon starts looks like it until its execve.
    eventually("one has stayed", lambda: len(system.running("run")) == 1)
    assert system.service("a")["run"] == 1


def test_a_configuration_with_errors_starts_nothing(system: System) -> None:
    system.config.write_text("version: 1\nservices:\n  a: {comand: [sleep, '1'], env: {A: on}}\n")
    told = system.ctl("up", check=2).stderr
    assert "services.yaml:3:" in told
    assert "did you mean" in told
    assert not (system.state_dir / "control.sock").exists()


def test_a_disabled_service_is_not_started(system: System) -> None:
    system.write({"a": {"command": SLEEPER}, "b": {"command": SLEEPER, "enabled": False}})
    system.ctl("up")
    assert system.service("b")["state"] == "stopped"
    assert system.ctl("status").returncode == 0


def test_a_job_that_completes_lets_its_dependent_start(system: System) -> None:
    system.write(
        {
            "migrate": {"command": ["true"], "restart": {"policy": "never"}},
            "app": {"command": SLEEPER, "depends_on": {"migrate": "completed"}},
        }
    )
    system.ctl("up")
    assert system.service("migrate")["state"] == "completed"
    assert system.service("app")["state"] == "running"
    assert system.ctl("status").returncode == 0


def test_a_failed_start_prints_the_reason_and_the_last_lines(system: System) -> None:
    script = "import sys; print('loading'); sys.exit('no model at models/tts.pth')"
    system.write({"a": {"command": [sys.executable, "-c", script], "restart": {"policy": "never"}}})
    done = system.ctl("up", check=1)
    assert "exited with code 1" in done.stdout + done.stderr
    assert "no model at models/tts.pth" in done.stdout + done.stderr


def test_a_missing_command_is_said_and_the_daemon_stays_up(system: System) -> None:
    system.write({"a": {"command": ["slepp", "1"]}, "b": {"command": SLEEPER}})
    done = system.ctl("up", check=1)
    assert "slepp" in done.stdout + done.stderr
    assert system.service("a")["state"] == "failed"
    assert system.service("b")["state"] == "running"


def test_a_taken_port_is_named_with_its_owner(system: System) -> None:
    port = free_port()
    script = f"import socket, time; s = socket.create_server(('127.0.0.1', {port})); time.sleep(99)"
    owner = subprocess.Popen([sys.executable, "-c", script])
    try:
        eventually("the port is taken", lambda: psutil.Process(owner.pid).net_connections() or None)
        system.write(
            {
                "held": {"command": SLEEPER, "sockets": {"http": f"127.0.0.1:{port}"}},
            }
        )
        system.ctl("up", "--timeout", "1s", check=1)
        reason = system.service("held")["reason"]
        assert str(port) in reason
        assert f"pid {owner.pid}" in reason
        assert owner.poll() is None, "a foreign owner is named and left alone"
    finally:
        owner.kill()
        owner.wait()
    system.ctl("start", "held")
    assert system.service("held")["state"] == "running"


def test_sigterm_stops_everything_in_order(system: System) -> None:
    system.write({"a": {"command": SLEEPER}})
    system.ctl("up")
    daemon = psutil.Process(system.daemon_pid())
    daemon.send_signal(signal.SIGTERM)
    eventually("the daemon is gone", lambda: not daemon.is_running())
    assert system.processes() == []


def test_ctrl_c_in_the_foreground_stops_everything(system: System) -> None:
    system.write({"a": {"command": SLEEPER}})
    foreground = subprocess.Popen(
        [sys.executable, "-m", "supervisor.cli", "-c", str(system.config), "run"],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert foreground.stdout is not None
    for line in foreground.stdout:
        if "a: started" in line:
            break
    foreground.send_signal(signal.SIGINT)
    rest = foreground.stdout.read()
    foreground.stdout.close()
    assert foreground.wait(DEADLINE) == 0
    assert "a: stopped" in rest
    assert system.processes() == []


def test_status_without_a_reader_is_quiet(system: System) -> None:
    system.write({"a": {"command": SLEEPER}})
    system.ctl("up")
    command = f"{sys.executable} -m supervisor.cli -c {system.config} status | true"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    assert done.stderr == ""


def test_a_second_daemon_is_refused(system: System) -> None:
    system.write({"a": {"command": SLEEPER}})
    system.ctl("up")
    told = system.ctl("run", check=1).stderr
    assert f"pid {system.daemon_pid()}" in told


def test_state_is_private_and_links_are_refused(system: System, tmp_path: Path) -> None:
    system.write({"a": {"command": SLEEPER}})
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".atlas").symlink_to(tmp_path / "elsewhere")
    assert "symbolic link" in system.ctl("up", check=1).stderr
    (tmp_path / ".atlas").unlink()
    system.ctl("up")
    assert os.stat(system.state_dir).st_mode & 0o777 == 0o700
    assert os.stat(system.state_dir / "control.sock").st_mode & 0o777 == 0o600
