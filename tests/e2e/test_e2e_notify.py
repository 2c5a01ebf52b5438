"""Notifications and figures of a real system: told once, whoever is killed."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from supervisor.notify.errand import recall
from supervisor.notify.metrics_file import DOWN
from tests.e2e.conftest import CHECKOUT, SLEEPER, System, eventually, free_port
from tests.notify.hook_server import Answer, Hang, HookServer

GIVES_UP: dict[str, object] = {
    "command": ["sh", "-c", "exit 3"],
    "restart": {"backoff": {"first": "10ms", "max": "20ms"}, "give_up": {"after": 2}},
}
STAND_IN = str(Path(__file__).parent / "children" / "stand_in.py")


@pytest.fixture
def hooks() -> Iterator[HookServer]:
    """The other end of a webhook; the system is down before it is closed."""
    with HookServer() as server:
        yield server


@pytest.fixture
def system(hooks: HookServer, system: System) -> System:
    """The system of every test here, which ends before the webhook does."""
    return system


def phone(hooks: HookServer, **keys: object) -> dict[str, object]:
    return {"name": "phone", "webhook": f"{hooks.url}/hook", **keys}


def couriers(system: System) -> list[psutil.Process]:
    return system.running("supervisor.notify.courier")


def the_courier(system: System) -> psutil.Process:
    """Return the courier, once there is one and no other."""
    return eventually("there is one courier", lambda: _only(couriers(system)))


def _only(found: list[psutil.Process]) -> psutil.Process | None:
    return found[0] if len(found) == 1 else None


def told(system: System, count: int) -> None:
    """Wait until the courier knows that it has told so much: a kill after that doubles nothing."""

    def known() -> bool:
        memory = recall(str(system.state_dir))
        return memory is not None and memory.targets["phone"].delivered == count

    eventually(f"{count} are told", known)


def figures(text: str) -> dict[str, float]:
    """Return the samples without labels, by name."""
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.labels
    }


def test_a_service_that_gives_up_is_told_and_so_is_its_recovery(
    system: System, hooks: HookServer
) -> None:
    works = {
        "command": [sys.executable, STAND_IN],
        "sockets": {"http": f"127.0.0.1:{free_port()}"},
        "probes": {"readiness": {"http": {"path": "/health"}, "every": "50ms"}},
    }
    system.write({"a": {**works, **GIVES_UP}}, notify=[phone(hooks)])
    system.ctl("up", check=1)
    (got,) = hooks.wait("it failed", lambda got: len(got) == 1)
    assert got.json["event"] == "failed"
    assert got.json["service"] == "a"
    assert "exited with code 3" in got.json["summary"]
    system.write({"a": works}, notify=[phone(hooks)])
    system.ctl("reload")
    hooks.wait("it works again", lambda got: len(got) == 2)
    assert hooks.summaries()[1].startswith("a works again: readiness probe: ")
    system.ctl("down")
    assert len(hooks.got) == 2, "what somebody has asked for is no news"


def test_a_command_that_is_not_there_is_a_failure_as_well(
    system: System, hooks: HookServer
) -> None:
    system.write({"a": {"command": ["no-such-program"]}}, notify=[phone(hooks)])
    system.ctl("up", check=1)
    hooks.wait("it failed", lambda got: len(got) == 1)
    assert "could not be started: command not found: no-such-program" in hooks.summaries()[0]


def test_killed_couriers_and_daemons_lose_nothing_and_double_nothing(
    system: System, hooks: HookServer
) -> None:
    asked = {**GIVES_UP, "enabled": False}
    system.write({"a": {"command": SLEEPER}, **dict.fromkeys("bcde", asked)}, notify=[phone(hooks)])
    system.ctl("up")
    pid = system.service("a")["pid"]

    first = the_courier(system)
    system.ctl("start", "b", check=1)
    told(system, 1)
    first.kill()
    system.ctl("start", "c", check=1)
    told(system, 2)
    assert the_courier(system).pid != first.pid

    system.kill_daemon()
    eventually("a courier without a daemon ends", lambda: couriers(system) == [])
    system.ctl("up", check=None)
    system.ctl("start", "d", check=1)
    told(system, 3)

    the_courier(system).kill()
    system.kill_daemon()
    system.ctl("up", check=None)
    system.ctl("start", "e", check=1)
    told(system, 4)
    assert [got.json["service"] for got in hooks.got] == list("bcde")
    assert system.service("a")["pid"] == pid


def test_what_happened_while_nobody_could_be_told_is_told_later(
    system: System, hooks: HookServer
) -> None:
    """Whoever hangs when the system goes down is told when it is up again."""
    system.write({"a": GIVES_UP}, notify=[phone(hooks)])
    hooks.answers = [Hang()]
    system.ctl("up", check=1)
    hooks.wait("it is on its way", lambda got: len(got) == 1)
    system.ctl("down")
    system.write({"a": {"command": SLEEPER}}, notify=[phone(hooks)])
    system.ctl("up")
    _, again = hooks.wait("it is told again", lambda got: len(got) == 2)
    assert again.headers["Idempotency-Key"] == hooks.got[0].headers["Idempotency-Key"]


def test_a_storm_is_folded(system: System, hooks: HookServer) -> None:
    system.write({f"s{n}": GIVES_UP for n in range(25)}, notify=[phone(hooks)])
    system.ctl("up", check=1)
    hooks.wait("all are told", lambda got: sum(g.json["count"] for g in got) == 25)
    assert len(hooks.got) <= 11


def test_hostile_words_reach_the_screen_as_words(system: System, hooks: HookServer) -> None:
    record = system.root / "shown"
    name = "osascript" if sys.platform == "darwin" else "notify-send"
    shown = system.root / "bin" / name
    shown.parent.mkdir()
    shown.write_text(f'#!/bin/sh\nfor word; do printf "%s\\n" "$word"; done >>{record}\n')
    shown.chmod(0o755)
    hostile = "\"quoted\" 'so' $(touch pwned) `id` 🔥 <b>\nsecond line"
    service = {"command": [f"{system.root}/{hostile}"]}
    system.write({"a": service}, notify=[{"desktop": True}])
    system.ctl("up", check=1, env={"PATH": f"{shown.parent}:/usr/bin:/bin"})

    def whole() -> str | None:
        text = record.read_text()
        return text if "second line" in text else None

    text = eventually("it is shown", whole)
    # Twice, if `up` was in time to ask for it once more.
    assert text.splitlines()[5] in ("a failed", "a failed twice")
    assert "\"quoted\" 'so' $(touch " in text
    assert "🔥" in text
    assert list(system.root.rglob("pwned")) == []
    assert not (CHECKOUT / "pwned").exists()


def test_another_configuration_another_courier_or_none(system: System, hooks: HookServer) -> None:
    services = {"a": {"command": SLEEPER}}
    system.write(services)
    system.ctl("up")
    assert couriers(system) == []
    system.write(services, notify=[phone(hooks, when="daemon")])
    system.ctl("reload")
    first = the_courier(system)
    system.write(services, notify=[phone(hooks, when=["daemon", "stopped"])])
    system.ctl("reload")
    hooks.wait("the reload", lambda got: len(got) == 1)
    eventually("the first is gone", lambda: not first.is_running())
    second = the_courier(system)
    # Nothing that concerns it: it stays.
    described = {"a": {**services["a"], "description": "it sleeps"}}
    system.write(described, notify=[phone(hooks, when=["daemon", "stopped"])])
    system.ctl("reload")
    system.ctl("stop", "a")
    hooks.wait("a stopped", lambda got: any(g.json["event"] == "stopped" for g in got))
    assert the_courier(system) == second
    system.write(services)
    system.ctl("reload")
    eventually("no courier", lambda: couriers(system) == [])
    memory = system.state_dir / "courier.json"
    eventually("what it knew is forgotten", lambda: not memory.exists())


def test_an_upgrade_brings_a_new_courier_and_doubles_nothing(
    system: System, hooks: HookServer
) -> None:
    system.write(
        {"a": {"command": SLEEPER}, "b": GIVES_UP}, notify=[phone(hooks, when=["failed", "daemon"])]
    )
    system.ctl("up", check=1)
    hooks.wait("the start and the failure", lambda got: len(got) == 2)
    first = the_courier(system)
    system.ctl("upgrade")
    hooks.wait("the upgrade", lambda got: len(got) == 3)
    assert the_courier(system).pid != first.pid
    system.ctl("down")
    hooks.wait("the end", lambda got: len(got) == 4)
    words = [got.json["text"].split()[0] for got in hooks.got if got.json["event"] == "daemon"]
    assert words == ["daemon", "upgraded", "daemon"]


def test_nothing_secret_is_shown_and_trouble_is_told_once(
    system: System, hooks: HookServer
) -> None:
    (system.root / ".env").write_text(f"HOOK={hooks.url}/hunter2\nTOKEN=abcdefgh12345\n")
    webhook = {"url": "${HOOK}", "headers": {"Authorization": "Bearer ${TOKEN}"}}
    target = {"name": "phone", "webhook": webhook}
    hooks.answers = [Answer(404), Answer(404)]
    services = {"a": GIVES_UP, "b": {**GIVES_UP, "enabled": False}}
    system.write(services, notify=[target])
    system.ctl("up", check=1)
    trouble = system.event("trouble", "")
    assert "phone: gave up" in trouble["text"]
    assert "answered 404 Not Found" in trouble["text"]
    system.ctl("start", "b", check=1)
    hooks.wait("b", lambda got: len(got) == 2)
    assert hooks.got[0].headers["Authorization"] == "Bearer abcdefgh12345"
    shown = [
        system.ctl(*words, check=None).stdout
        for words in (["status", "--json"], ["events", "--json"], ["plan", "--json"], ["notify"],
                      ["notify", "--json"], ["doctor", "--json"], ["metrics"])
    ]  # fmt: skip
    shown += [" ".join(words) for _, words in system.commands()]
    shown += [
        p.read_text() for p in (system.state_dir).iterdir() if p.suffix in (".json", ".ndjson")
    ]
    for text in shown:
        assert "hunter2" not in text
        assert "abcdefgh12345" not in text
    written = [e for e in map(json.loads, shown[1].splitlines()) if e["topic"] == "trouble"]
    assert [e["text"] for e in written] == [trouble["text"]]


def test_the_daemon_opens_no_connection_for_any_of_it(system: System, hooks: HookServer) -> None:
    system.write({"a": GIVES_UP}, notify=[phone(hooks)], metrics={"file": "a.prom", "every": "1s"})
    system.ctl("up", check=1)
    hooks.wait("it failed", lambda got: len(got) == 1)
    eventually("figures are written", lambda: (system.root / "a.prom").exists())
    daemon = psutil.Process(system.daemon_pid())
    assert list(daemon.net_connections("inet")) == []
    if sys.platform == "linux":
        loaded = {Path(each.path).name for each in daemon.memory_maps()}
        assert not any(name.startswith(("libssl", "_ssl")) for name in loaded)


def test_the_file_is_alive_as_long_as_the_supervisor(system: System, hooks: HookServer) -> None:
    file = system.root / "metrics" / "atlas.prom"
    file.parent.mkdir()
    probes = {"readiness": {"exec": ["true"], "every": "50ms"}}
    system.write(
        {"a": {"command": SLEEPER, "probes": probes}, "b": GIVES_UP},
        metrics={"file": "metrics/atlas.prom", "every": "1s"},
    )
    system.ctl("up", check=1)

    def counted() -> str | None:
        text = file.read_text()
        some = re.search(r'probe="readiness",result="ok",service="a"} [1-9]', text)
        # It is written once a second, and may be of before b gave up.
        return text if some and 'state{service="b",state="failed"} 1.0' in text else None

    text = eventually("the probes are counted, and b has failed", counted)
    assert figures(text)["atlas_up"] == 1
    assert 'atlas_service_restarts_total{cause="exit",service="b"} 1.0' in text
    assert 'atlas_service_exits_total{kind="error",service="b"} 2.0' in text
    shown = system.ctl("metrics").stdout
    assert figures(shown).keys() == figures(text).keys()
    assert file.stat().st_mode & 0o777 == 0o644

    system.kill_daemon()
    eventually("it says that it is down", lambda: file.read_text() == DOWN)
    system.ctl("up", check=None)
    eventually("it is alive again", lambda: figures(file.read_text())["atlas_up"] == 1)
    system.ctl("down")
    assert file.read_text() == DOWN
    assert [path.name for path in file.parent.iterdir()] == ["atlas.prom"]
    assert system.ctl("metrics", check=3).stdout == ""


def test_a_test_says_what_came_back(system: System, hooks: HookServer) -> None:
    targets = [phone(hooks), {"name": "touch", "command": ["touch", "here"]}]
    system.write({"a": {"command": SLEEPER}}, notify=targets)
    done = system.ctl("notify", "--test")
    assert "phone: sent in" in done.stdout
    assert "127.0.0.1 answered 200 OK" in done.stdout
    assert (system.root / "here").exists()
    assert "if you can read this, it works" in hooks.summaries()[0]
    hooks.answers = [Answer(401)]
    done = system.ctl("notify", "--test", "phone", check=1)
    assert "phone: 127.0.0.1 answered 401 Unauthorized" in done.stderr
    found = json.loads(system.ctl("notify", "--test", "--json", "phone").stdout)
    assert found["ok"]
    assert found["tests"][0]["target"] == "phone"
    assert "did you mean phone?" in system.ctl("notify", "--test", "fone", check=2).stderr
    shown = system.ctl("notify").stdout
    assert "webhook 127.0.0.1 (json)" in shown
    system.write({"a": {"command": SLEEPER}})
    assert "names nobody" in system.ctl("notify").stdout
