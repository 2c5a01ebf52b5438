"""A configuration is edited and applied while all runs; or it is bad, and nothing changes."""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from supervisor.config.codec import encode
from supervisor.config.loader import load
from supervisor.control.client import ControlError
from tests.e2e.conftest import DEADLINE, SLEEPER, System, eventually, free_port
from tests.e2e.instances import Watch
from tests.e2e.lines import assert_lines_are_whole, writer
from tests.e2e.load import Ending, echo, open_loop

FAST = {"backoff": {"first": "10ms", "factor": 1, "jitter": 0}, "give_up": False}
STAND_IN = str(Path(__file__).parent / "children" / "stand_in.py")


def runs(system: System) -> dict[str, tuple[int, int | None, str]]:
    return {s["name"]: (s["run"], s["pid"], s["state"]) for s in system.status()["services"]}


def planned(system: System) -> dict[str, str]:
    """Return what `plan` says will become of each service."""
    told = json.loads(system.ctl("plan", "--json").stdout)
    return {change["service"]: change["kind"] for change in told["changes"]}


def sleeper(seconds: int, **more: object) -> dict[str, object]:
    return {"command": ["sleep", str(seconds)], "restart": FAST, **more}


def sleeping(system: System) -> list[str]:
    """Return for how long each sleeper of the system sleeps."""
    found = [words[1] for _, words in system.commands() if words[:1] == ["sleep"]]
    return sorted(seconds for seconds in found if seconds.startswith("10"))


def test_each_service_gets_what_plan_says(system: System) -> None:
    base = {
        "same": sleeper(1001),
        "live": sleeper(1002),
        "anew": sleeper(1003),
        "gone": sleeper(1004),
        "halted": sleeper(1005),
    }
    system.write(base)
    system.ctl("up")
    system.ctl("stop", "halted")
    before = runs(system)
    assert "othing to do" in system.ctl("plan").stdout
    system.write(
        {
            "same": base["same"],
            "live": sleeper(1002, stop={"timeout": "3s"}, description="other words"),
            "anew": sleeper(1013),
            "halted": sleeper(1015),
            "new": sleeper(1006),
            "off": sleeper(1007, enabled=False),
        }
    )
    assert planned(system) == {
        "same": "none",
        "live": "live",
        "anew": "restart",
        "halted": "live",
        "new": "add",
        "off": "add",
        "gone": "remove",
    }
    assert runs(system) == before, "a plan changes nothing"
    system.ctl("reload")
    after = runs(system)
    assert set(after) == {"same", "live", "anew", "halted", "new", "off"}
    assert (after["same"], after["live"]) == (before["same"], before["live"])
    assert after["anew"][0] == before["anew"][0] + 1
    assert (after["halted"][2], after["off"][2]) == ("stopped", "stopped")
    assert after["new"][2] == "running"
    assert sleeping(system) == ["1001", "1002", "1006", "1013"]
    assert not (system.root / "logs" / "gone.pid").exists()
    assert "othing to do" in system.ctl("plan").stdout
    assert "othing to do" in system.ctl("reload").stdout
    assert runs(system) == after
    system.ctl("start", "halted")
    assert "1015" in sleeping(system)


def test_a_live_change_holds_at_once(system: System) -> None:
    """A probe, the delay of restarts and the time to stop, without another process."""
    probe = {"exec": ["true"], "every": "50ms"}
    system.write({"a": sleeper(1001, probes={"readiness": probe})})
    system.ctl("up")
    before = runs(system)["a"]
    seq = system.seq()
    system.write({"a": sleeper(1001, probes={"readiness": {**probe, "exec": ["false"]}})})
    assert planned(system) == {"a": "live"}
    system.ctl("reload", "--timeout", "500ms", check=None)
    system.event("unready", "a", after=seq)
    system.write({"a": sleeper(1001)})
    system.ctl("reload")
    after = runs(system)["a"]
    assert after == (before[0], before[1], "running")
    deaf = "import signal,time; signal.signal(15, signal.SIG_IGN); print('deaf'); time.sleep(999)"
    command = [sys.executable, "-u", "-S", "-c", deaf]
    system.write({"a": {"command": command, "stop": {"timeout": "10m"}}})
    system.ctl("reload")
    log = system.root / "logs" / "a.log"
    eventually("it is deaf", lambda: "deaf" in log.read_text())
    system.write({"a": {"command": command, "stop": {"timeout": "200ms"}}})
    system.ctl("reload")
    system.ctl("stop", "a")


def test_an_edited_env_file_and_only_that_restarts(system: System) -> None:
    (system.root / "a.env").write_text("MODEL=small\nAPI_KEY=first-secret-value\n")
    system.write({"a": sleeper(1001, env_file="a.env"), "b": sleeper(1002)})
    system.ctl("up")
    before = runs(system)
    (system.root / "a.env").write_text("MODEL=large\nAPI_KEY=second-secret-value\n")
    told = system.ctl("plan").stdout + system.ctl("plan", "--json").stdout
    assert "small" in told
    assert "large" in told
    assert planned(system) == {"a": "restart", "b": "none"}
    told += system.ctl("reload").stdout
    told += system.ctl("events", "--json").stdout + system.ctl("why", "a").stdout
    assert "secret-value" not in told, "a secret is shown"
    assert "API_KEY" in told
    after = runs(system)
    assert after["a"][0] == before["a"][0] + 1
    assert after["b"] == before["b"]
    assert psutil.Process(after["a"][1]).environ()["MODEL"] == "large"
    assert planned(system) == {"a": "none", "b": "none"}


GOOD = "version: 1\nservices: {a: {command: [sleep, '1001']}}\n"
LAUGHS = "".join(f"  x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]\n" for n in range(1, 9))
HOSTILE: dict[str, str | bytes] = {
    "empty": "",
    "only a comment": "# nothing\n",
    "no services": "version: 1\n",
    "a list": "- 1\n",
    "a typo": GOOD.replace("command", "comand"),
    "twice": GOOD + "services: {}\n",
    "an unclosed bracket": GOOD[:-3],
    "tabs": "version: 1\nservices:\n\ta: {command: [x]}\n",
    "a NUL": GOOD.encode() + b"\0",
    "no UTF-8": GOOD.encode() + b"# \xff\xfe\n",
    "a control character": GOOD + "# \x1b[2J\x07\n",
    "an alias bomb": f"version: 1\nservices:\n  x0: &x0 [lol]\n{LAUGHS}  a: *x8\n",
    "an endless alias": "version: 1\nservices: &s {a: *s}\n",
    "a Python object": "version: 1\nservices: !!python/object/apply:os.system ['touch pwned']\n",
    "a merge": "version: 1\nb: &b {command: [sleep]}\nservices: {a: {<<: *b}}\n",
    "deep": "version: 1\nservices: " + "[" * 10_000 + "\n",
    "a cycle": "version: 1\nservices: {a: {command: [x], depends_on: {b: ready}}, "
    "b: {command: [x], depends_on: {a: ready}}}\n",
    "a missing dependency": GOOD.replace("]}", "], depends_on: {nobody: ready}}"),
    "two on one port": "version: 1\nservices: {a: {command: [x], ports: [5000]}, "
    "b: {command: [x], ports: [5000]}}\n",
    "a name that is a path": GOOD.replace("a:", "../../etc/a:"),
    "a huge number": GOOD.replace("version: 1", "version: " + "9" * 5000),
    "an infinite time": GOOD.replace("]}", "], stop: {timeout: .inf}}"),
    "another version": GOOD.replace("1\n", "2\n", 1),
    "two documents": GOOD + "---\n" + GOOD,
    "a missing env file's variable": GOOD.replace("1001", "${NO_SUCH_VARIABLE:?say it}"),
}


def test_a_bad_file_changes_nothing(system: System) -> None:
    system.config.write_text(GOOD)
    system.ctl("up")
    before, daemon = runs(system), system.status()["daemon"]
    for number, (what, text) in enumerate(HOSTILE.items()):
        system.config.write_bytes(text if isinstance(text, bytes) else text.encode())
        # Both compile it in the same way; a plan now and then is enough.
        command = "plan" if number % 5 == 0 else "reload"
        done = system.ctl(command, check=None)
        assert done.returncode == 2, f"{command}, {what}: {done.returncode} {done.stderr}"
        assert "services.yaml" in done.stderr, f"{what}: {done.stderr}"
        assert "Traceback" not in done.stderr, what
        assert len(done.stderr) < 20_000, f"{what}: {len(done.stderr)} characters"
        assert "\x1b" not in done.stderr, what
    system.config.unlink()
    assert system.ctl("reload", check=2).stderr
    system.config.mkdir()
    assert system.ctl("reload", check=2).stderr
    system.config.rmdir()
    system.config.write_text(GOOD)
    assert runs(system) == before
    after = system.status()["daemon"]
    assert (after["pid"], after["journal_seq"]) == (daemon["pid"], daemon["journal_seq"])
    assert not list(system.root.rglob("pwned"))
    assert planned(system) == {"a": "none"}


HOSTILE_SPECS: list[Any] = [
    None,
    [],
    {},
    {"services": []},
    {"services": None, "root": 1},
    "x" * 1000,
    [[]] * 1000,
]


def test_a_client_that_sends_nonsense_changes_nothing(system: System) -> None:
    """Whoever reaches the socket may send anything: half a specification, another's."""
    system.config.write_text(GOOD)
    system.ctl("up")
    before = runs(system)
    good = encode(load(str(system.config)))
    assert isinstance(good, dict)
    bad: list[Any] = [*HOSTILE_SPECS, *({**good, name: "?"} for name in good if name != "source")]
    bad += [{name: value for name, value in good.items() if name != left} for left in ("root",)]
    for spec in bad:
        for path in ("/v1/plan", "/v1/reload"):
            with pytest.raises(ControlError) as refused:
                system.client().post(path, {"spec": spec})
            assert refused.value.status in (400, 409), f"{spec!r}: {refused.value}"
    assert runs(system) == before


def test_a_root_that_moved_is_refused_with_what_to_do(system: System) -> None:
    system.config.write_text(GOOD)
    system.ctl("up")
    before = runs(system)
    (system.root / "elsewhere").mkdir()
    system.config.write_text(GOOD.replace("services:", "root: elsewhere\nservices:", 1))
    # The state is found by the root: there is no daemon of that other root.
    done = system.ctl("reload", check=None)
    assert done.returncode in (1, 3)
    assert "atlasctl" in done.stderr
    system.config.write_text(GOOD)
    assert runs(system) == before


def test_a_port_may_go_from_one_service_to_another(system: System) -> None:
    """What is removed lets go before what is added takes hold."""
    port = free_port()
    script = (
        "import socket,sys,time; s=socket.create_server(('127.0.0.1', int(sys.argv[1])));"
        "time.sleep(999)"
    )
    binder = {
        "command": [sys.executable, "-S", "-c", script, str(port)],
        "ports": [port],
        "restart": FAST,
        "probes": {"readiness": {"tcp": {"port": port}, "every": "50ms"}},
    }
    held = {"command": SLEEPER, "sockets": {"http": f"127.0.0.1:{port}"}, "restart": FAST}
    for services in ({"old": binder}, {"new": binder}, {"new": held}, {"other": held}):
        system.write(services)
        if services == {"old": binder}:
            system.ctl("up")
        else:
            system.ctl("reload")
        name = next(iter(services))
        assert system.service(name)["state"] in ("healthy", "running")
        assert list(runs(system)) == [name]


def test_a_socket_that_moves_is_refused_at_the_old_place(system: System) -> None:
    first, second = free_port(), free_port()

    def write(port: int) -> None:
        system.write(
            {
                "web": {
                    "command": [sys.executable, "-I", "-S", STAND_IN],
                    "sockets": {"http": f"127.0.0.1:{port}"},
                    "restart": FAST,
                }
            }
        )

    write(first)
    system.ctl("up")
    write(second)
    system.ctl("reload")
    endings = []
    for port in (first, second):
        with open_loop(port, [echo(0)], 1.0) as clients:
            clients.wait()
        endings.append(clients.outcomes[0].ending)
    assert endings == [Ending.REFUSED, Ending.RIGHT]


@pytest.mark.skipif(sys.platform != "linux", reason="the watch reads /proc")
def test_many_reloads_at_once_end_as_one_of_them(system: System) -> None:
    """Two configurations, sent again and again from both sides: never half of each at rest."""
    a = {"both": sleeper(1001), "x": sleeper(1002), "env": sleeper(1003, env={"SIDE": "a"})}
    b = {"both": sleeper(1001), "y": sleeper(1004), "env": sleeper(1003, env={"SIDE": "b"})}
    system.write(a)
    system.ctl("up")
    pid = system.service("both")["pid"]
    specs = []
    for services in (a, b):
        system.write(services)
        specs.append(encode(load(str(system.config))))
    failures: list[str] = []

    def send(spec: object) -> None:
        for _ in range(20):
            try:
                system.client().post("/v1/reload", {"spec": spec})
            except ControlError as error:
                failures.append(str(error))

    with Watch(system.state_dir) as watch:
        threads = [threading.Thread(target=send, args=(spec,)) for spec in specs for _ in "12"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(3 * DEADLINE)
            assert not thread.is_alive()
        for services, sleep in ((a, "1002"), (b, "1004"), (a, "1002")):
            system.write(services)
            system.ctl("reload")
            assert set(runs(system)) == set(services)
            assert sleeping(system) == sorted(["1001", sleep, "1003"])
    assert failures == []
    assert watch.crowds == []
    assert system.service("both")["pid"] == pid
    assert planned(system) == dict.fromkeys(a, "none")


def test_two_reload_commands_at_once_both_succeed(system: System) -> None:
    system.write({"a": sleeper(1001), "b": sleeper(1002)})
    system.ctl("up")
    system.write({"a": sleeper(1011), "c": sleeper(1003)})
    done: list[int] = []
    threads = [
        threading.Thread(target=lambda: done.append(system.ctl("reload", check=None).returncode))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(3 * DEADLINE)
    assert done == [0, 0, 0]
    assert sleeping(system) == ["1003", "1011"]
    assert runs(system)["a"][0] == 2, "it was restarted once"


@pytest.mark.skipif(sys.platform != "linux", reason="the watch reads /proc")
@pytest.mark.parametrize("how", [(), ("--rolling",)], ids=["plain", "rolling"])
def test_reloads_under_load_lose_no_request_and_no_line(
    system: System, how: tuple[str, ...]
) -> None:
    port = free_port()

    def write(number: int) -> None:
        web = {
            "command": [sys.executable, "-I", "-S", STAND_IN],
            "env": {"NUMBER": str(number)},
            "sockets": {"http": f"127.0.0.1:{port}"},
            "probes": {"readiness": {"http": {"path": "/health"}, "every": "50ms"}},
            "restart": FAST,
        }
        system.write({"web": web, "writer": {**writer(system), "description": str(number)}})

    write(0)
    system.ctl("up")
    pid = system.service("writer")["pid"]
    with (
        Watch(system.state_dir, allowed=2 if how else 1) as watch,
        open_loop(port, [echo(n) for n in range(300)], 50) as clients,
    ):
        for number in range(1, 5):
            write(number)
            system.ctl("reload", *how)
        clients.wait()
    print(clients.counts(), f"slowest {clients.slowest():.2f} s", watch.most)
    assert [f"{o.ending}: {o.detail}" for o in clients.not_right()] == []
    assert watch.crowds == []
    assert system.service("web")["run"] >= 5
    assert system.service("writer")["pid"] == pid
    assert_lines_are_whole(system)


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.1])
def test_killed_in_the_middle_of_a_reload_the_next_daemon_goes_by_the_file(
    system: System, delay: float
) -> None:
    """Nothing that the file does not name is left, and nothing runs twice."""
    system.write({"same": sleeper(1001), "anew": sleeper(1002), "gone": sleeper(1003)})
    system.ctl("up")
    same = system.service("same")["pid"]
    daemon = system.daemon_pid()
    system.write({"same": sleeper(1001), "anew": sleeper(1012), "new": sleeper(1004)})
    system.client().post("/v1/reload", {"spec": encode(load(str(system.config)))})
    threading.Event().wait(delay)
    os.kill(daemon, signal.SIGKILL)
    eventually("it is gone", lambda: not psutil.pid_exists(daemon) or _is_zombie(daemon))
    system.ctl("up")
    eventually("as in the file", lambda: sleeping(system) == ["1001", "1004", "1012"])
    assert set(runs(system)) == {"same", "anew", "new"}
    assert system.service("same")["pid"] == same


def _is_zombie(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_what_was_edited_while_no_daemon_was_there_is_planned(system: System) -> None:
    """The next daemon adopts the old run; that it differs from the file is not forgotten."""
    system.write({"a": sleeper(1001), "gone": sleeper(1002)})
    system.ctl("up")
    pid = system.service("a")["pid"]
    system.kill_daemon()
    system.write({"a": sleeper(1011)})
    system.ctl("up")
    assert system.service("a")["pid"] == pid
    assert sleeping(system) == ["1001"]
    assert planned(system) == {"a": "restart"}
    system.ctl("reload")
    assert sleeping(system) == ["1011"]


def test_reload_without_a_daemon_says_what_to_do(system: System) -> None:
    system.write({"a": sleeper(1001)})
    for command in ("plan", "reload"):
        said = system.ctl(command, check=3).stderr
        assert f"start it: atlasctl -c {system.config} up" in said
