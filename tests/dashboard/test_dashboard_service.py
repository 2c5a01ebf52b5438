"""The dashboard as it is meant to run: a service of a real system, on the supervisor's socket."""

import os
import signal
from typing import Any

from supervisor.dashboard import token_file
from tests.dashboard.systems import Running, dashboard
from tests.e2e.conftest import System, eventually, free_port


def test_a_service_is_killed_and_the_page_is_told(running: Running) -> None:
    pid = running.until("tts runs", "tts", lambda s: s["state"] == "running")["pid"]
    last = running.state()["events"][-1]["seq"]
    os.kill(pid, signal.SIGKILL)
    told = running.until("it is in backoff", "tts", lambda s: s["state"] == "backoff")
    assert "was killed by signal 9 (SIGKILL)" in told["reason"]
    assert told["last_exit"] == "was killed by signal 9 (SIGKILL)"
    back = running.until("it runs again", "tts", lambda s: s["state"] == "running")
    assert back["pid"] not in (None, pid)
    epoch = running.state()["epoch"]
    topics = [
        e["topic"]
        for e in running.state(f"epoch={epoch}&event={last}")["events"]
        if e["unit"] == "tts"
    ]
    assert topics == ["exited", "restarting", "started"]


def test_commands_reach_the_supervisor(running: Running) -> None:
    pid = running.service("tts")["pid"]
    assert running.ask("/api/restart", "POST", b'{"services": ["tts"]}').status == 202
    running.until("another run", "tts", lambda s: s["pid"] not in (None, pid))
    assert running.ask("/api/stop", "POST", b'{"services": ["web"]}').status == 202
    running.until("it is stopped", "web", lambda s: s["state"] == "stopped")
    assert running.ask("/api/start", "POST", b'{"services": ["web"]}').status == 202
    running.until("it runs", "web", lambda s: s["state"] == "running")
    reply = running.ask("/api/stop", "POST", b'{"services": ["tss"]}')
    assert (reply.status, reply.json["hint"]) == (404, "did you mean tts?")


def test_story_log_and_figures_are_served(running: Running) -> None:
    story = running.ask("/api/why?service=tts&columns=80")
    assert story.status == 200
    assert story.json["text"].startswith("tts is running since ")
    assert running.ask("/api/why?service=nobody").status == 404
    log = running.state("service=tts&line=0")["log"]
    assert "<b>hello</b>" in [line["text"] for line in log["lines"]]
    figures = running.ask("/metrics")
    assert figures.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b'atlas_service_ready{service="tts"} 1.0' in figures.body


def test_it_is_found_by_the_command_and_knows_itself(running: Running) -> None:
    system = running.system
    token = token_file.read(str(system.state_dir))
    shown = system.ctl("dashboard", "--print").stdout
    assert shown == f"http://127.0.0.1:{running.port}/#token={token}\n"
    own = {s["name"]: s["serves_this"] for s in running.state()["services"]}
    assert own == {"tts": False, "web": False, "page": True}
    assert token not in (system.root / "logs" / "page.log").read_text()
    system.ctl("stop", "page")
    told = system.ctl("dashboard", check=1)
    assert "start it: atlasctl start page" in told.stderr


def test_a_restart_of_it_refuses_nobody_and_keeps_its_token(running: Running) -> None:
    first = running.state()
    reply = running.ask("/api/restart", "POST", b'{"services": ["page"]}')
    assert reply.status == 202  # it is answered although it is on its way out
    refused: list[OSError] = []

    def another() -> Any:
        try:
            state = running.state()
        except OSError as error:
            refused.append(error)  # which `eventually` would pass over
            raise
        return state["epoch"] != first["epoch"] and state

    # Whoever comes meanwhile waits, and is let in by the same token.
    second = eventually("another run answers", another)
    assert refused == []
    assert [s["name"] for s in second["services"]] == ["tts", "web", "page"]


def test_it_outlives_the_supervisor_and_says_that_it_is_gone(running: Running) -> None:
    assert running.state()["supervisor"]["answers"]
    running.system.kill_daemon()
    state = eventually(
        "the page is told", lambda: (s := running.state())["supervisor"]["answers"] is False and s
    )
    assert "no supervisor runs" in state["supervisor"]["trouble"]
    assert [s["name"] for s in state["services"]] == ["tts", "web", "page"]
    refused = running.ask("/api/restart", "POST", b'{"services": ["tts"]}')
    assert (refused.status, refused.json["hint"]) == (503, "start it: atlasctl up")
    running.system.ctl("up")
    eventually("it is seen again", lambda: running.state()["supervisor"]["answers"])


def test_a_socket_that_others_can_reach_is_refused(system: System) -> None:
    port = free_port()
    spec = dashboard(port)
    spec["sockets"] = {"http": f"0.0.0.0:{port}"}
    spec["restart"] = {"policy": "never"}
    system.write({"page": spec})
    system.ctl("up", check=1)
    log = (system.root / "logs" / "page.log").read_text()
    assert "0.0.0.0 is not loopback" in log
