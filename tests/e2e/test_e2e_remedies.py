"""A known failure meets its known remedy: seconds later all is well, and nobody has touched it."""

import json
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.conftest import System, eventually, free_port

AILING = str(Path(__file__).parent / "children" / "ailing.py")
MPS = {
    "name": "mps-operator",
    "when": {"output": "not currently implemented for the MPS device"},
    "do": {"set_env": {"PYTORCH_ENABLE_MPS_FALLBACK": "1"}, "restart": True},
}
# Longer than any test waits: what comes up sooner was not brought up by restart policy.
PATIENT = {"backoff": {"first": "1h", "max": "2h"}, "give_up": {"after": 9, "within": "1h"}}


@pytest.fixture
def port() -> int:
    return free_port()


def voice(port: int, *remedies: object, stubborn: bool = False, **more: object) -> dict[str, Any]:
    """Return a service that fails as in the incident."""
    http = {"method": "POST", "path": "/tts", "body": {"text": "тест"}, "body_prefix": "RIFF"}
    return {
        "command": [sys.executable, AILING, str(port), *(["stubborn"] if stubborn else [])],
        "ports": [port],
        "probes": {"startup": {"http": http, "every": "50ms", "for": "10m"}},
        "restart": PATIENT,
        "remedies": list(remedies),
        **more,
    }


def rules(system: System, *options: str) -> list[dict[str, Any]]:
    """Return what `remedies` says of the one service."""
    told = json.loads(system.ctl("remedies", "--json", *options).stdout)
    found: list[dict[str, Any]] = told["rules" if options else "services"]
    return found if options else found[0]["rules"]


def environment(system: System) -> dict[str, str]:
    """Return the environment of the service as it runs."""
    pid = system.service("tts")["pid"]
    return dict(psutil.Process(pid).environ())


def test_the_incident_heals_by_itself_and_is_told(system: System, port: int) -> None:
    system.write({"tts": voice(port, MPS)})
    system.ctl("up")
    service = system.service("tts")
    assert (service["state"], service["run"], service["restarts"]) == ("healthy", 2, 1)
    assert service["remedies"] == ["mps-operator"]
    assert environment(system)["PYTORCH_ENABLE_MPS_FALLBACK"] == "1"
    why = system.ctl("why", "tts").stdout
    flat = " ".join(why.split())
    assert "aten::_weight_norm_interface" in flat
    assert "set PYTORCH_ENABLE_MPS_FALLBACK=1, restart it" in flat
    assert len(why.splitlines()) < 20
    assert "Nothing to do" in system.ctl("plan").stdout
    (rule,) = rules(system)
    assert (rule["uses"], rule["in_force"], rule["used_up"]) == (1, True, False)
    assert "in force; applied once" in system.ctl("remedies", "tts").stdout


def test_it_holds_whatever_becomes_of_the_supervisor(system: System, port: int) -> None:
    system.write({"tts": voice(port, MPS)})
    system.ctl("up")
    pid = system.service("tts")["pid"]
    system.kill_daemon()
    (rule,) = rules(system)
    assert (rule["uses"], rule["in_force"]) == (1, True), "it is written down"
    system.ctl("up")
    assert system.service("tts")["pid"] == pid
    assert "Nothing to do" in system.ctl("plan").stdout
    system.ctl("restart", "tts")
    assert environment(system)["PYTORCH_ENABLE_MPS_FALLBACK"] == "1"
    assert rules(system)[0]["uses"] == 1, "it was not needed again"
    system.ctl("upgrade")
    assert system.service("tts")["remedies"] == ["mps-operator"]
    system.ctl("down")
    system.ctl("up")
    assert system.service("tts")["state"] == "healthy"
    (rule,) = rules(system)
    assert rule["in_force"]


def test_a_supervisor_that_is_killed_in_the_middle_loses_nothing(system: System, port: int) -> None:
    # It is in the middle for as long as the test may take to kill; then it need not wait so long.
    system.write({"tts": voice(port, MPS, stubborn=True, stop={"timeout": "1m"})})
    system.ctl("up", "--no-wait")
    system.event("remedy", "tts")
    assert system.service("tts")["state"] == "stopping"
    system.kill_daemon()
    system.write({"tts": voice(port, MPS, stubborn=True, stop={"timeout": "0.5s"})})
    system.ctl("up")
    assert environment(system)["PYTORCH_ENABLE_MPS_FALLBACK"] == "1"
    assert len(system.running(AILING)) == 1
    assert rules(system)[0]["uses"] <= 2


def test_an_edit_of_what_it_rests_on_forgets_it(system: System, port: int) -> None:
    system.write({"tts": voice(port, MPS)})
    system.ctl("up")
    seq = system.seq()
    system.write({"tts": voice(port, MPS, description="as it was")})
    system.ctl("reload")
    assert system.service("tts")["remedies"] == ["mps-operator"]
    assert system.service("tts")["run"] == 2
    fixed = voice(port, MPS, env={"PYTORCH_ENABLE_MPS_FALLBACK": "1", "A": "1"})
    system.write({"tts": fixed})
    system.ctl("reload")
    assert "in force no more" in system.event("remedy", "tts", after=seq)["text"]
    service = system.service("tts")
    assert (service["remedies"], service["state"], service["run"]) == ([], "healthy", 3)


def test_an_edit_while_no_supervisor_runs_forgets_it_as_well(system: System, port: int) -> None:
    system.write({"tts": voice(port, MPS)})
    system.ctl("up")
    system.kill_daemon()
    system.write({"tts": voice(port, env={"PYTORCH_ENABLE_MPS_FALLBACK": "1"})})
    system.ctl("up")
    assert system.service("tts")["remedies"] == []
    assert "Nothing to do" in system.ctl("plan").stdout, "it is what it would be anyway"


def test_somebody_may_forget_it(system: System, port: int) -> None:
    system.write({"tts": voice(port, MPS)})
    system.ctl("up")
    said = system.ctl("remedies", "--forget", "tts").stdout
    assert "mps-operator no longer in force from its next start on" in said
    assert "Nothing to do" in system.ctl("plan").stdout, "the run goes on as it was started"
    assert system.service("tts")["remedies"] == []
    seq = system.seq()
    system.ctl("restart", "tts")
    assert "set PYTORCH" in system.event("remedy", "tts", after=seq)["text"], "it needed it again"
    assert rules(system)[0]["uses"] == 1, "and the limit began anew"


def test_what_does_not_help_is_applied_so_often_and_no_more(system: System, port: int) -> None:
    vain = {**MPS, "do": {"restart": True}, "limit": {"times": 2, "within": "1h"}}
    system.write({"tts": voice(port, vain)})
    system.ctl("up", "--no-wait")
    skipped = system.event("remedy-skipped", "tts")
    assert "was applied 2 times within 1 h and did not help" in skipped["text"]
    service = system.service("tts")
    assert (service["run"], service["state"]) == (3, "loading")
    assert rules(system)[0]["used_up"]


def test_a_dry_run_is_told_and_does_nothing(system: System, port: int) -> None:
    system.write({"tts": voice(port, {**MPS, "dry_run": True})})
    system.ctl("up", "--no-wait")
    told = system.event("remedy-skipped", "tts")["text"]
    assert "mps-operator would be applied (dry_run)" in told
    assert told.endswith("set PYTORCH_ENABLE_MPS_FALLBACK=1, restart it")
    assert system.service("tts")["run"] == 1
    assert "PYTORCH_ENABLE_MPS_FALLBACK" not in environment(system)


def test_a_rule_is_tried_on_what_has_happened(system: System, port: int) -> None:
    system.write({"tts": voice(port)})
    system.ctl("up", "--no-wait")
    log = Path(system.service("tts")["log"])
    eventually("the incident is in the log", lambda: "aten::" in log.read_text())
    never = {"name": "never", "when": {"exit": [78]}, "do": {"restart": True}}
    killed = {"name": "killed", "when": {"exit": ["SIGKILL"]}, "do": {"restart": True}}
    psutil.Process(system.service("tts")["pid"]).kill()
    system.event("exited", "tts")
    system.write({"tts": voice(port, MPS, never, killed)})
    for _ in range(2):
        found = {rule["rule"]: rule for rule in rules(system, "--dry-run")}
        assert found["mps-operator"]["count"] > 0
        assert "aten::_weight_norm_interface" in found["mps-operator"]["seen"]
        assert (found["never"]["count"], found["killed"]["count"]) == (0, 1)
        system.ctl("down")
    assert "Nothing was done" in system.ctl("remedies", "--dry-run").stdout


def test_steps_are_taken_before_it_starts_again(system: System) -> None:
    mend = {
        "when": {"exit": [3]},
        "do": {
            "run": {"command": "touch repaired"},
            "wait_for": {"file": "repaired"},
            "restart": True,
        },
    }
    needs_it = ["sh", "-c", "test -e repaired || exit 3; exec sleep 1000"]
    system.write({"tts": {"command": needs_it, "restart": PATIENT, "remedies": [mend]}})
    system.ctl("up")
    service = system.service("tts")
    assert (service["run"], service["restarts"]) == (2, 1)
    why = " ".join(system.ctl("why", "tts").stdout.split())
    assert "touch exited with code 0" in why


def test_what_only_a_person_can_mend_is_given_up_with_words(system: System) -> None:
    hopeless = {"when": {"exit": [78]}, "do": {"give_up": "it is misconfigured; see config.toml"}}
    system.write({"tts": {"command": ["sh", "-c", "exit 78"], "remedies": [hopeless]}})
    up = system.ctl("up", check=1)
    assert "it is misconfigured; see config.toml" in up.stderr + up.stdout
    service = system.service("tts")
    assert (service["state"], service["run"]) == ("failed", 1)


def test_a_stop_ends_a_remedy_that_is_under_way(system: System) -> None:
    endless = {
        "when": {"exit": [3]},
        "do": {"run": {"command": ["sleep", "1001"], "timeout": "1h"}, "restart": True},
    }
    system.write({"tts": {"command": ["sh", "-c", "exit 3"], "remedies": [endless]}})
    system.ctl("up", "--no-wait")
    eventually("it heals", lambda: system.service("tts")["state"] == "healing")
    system.ctl("stop", "tts")
    assert system.service("tts")["state"] == "stopped"
    eventually(
        "the remedy has ended",
        lambda: not system.running("1001"),
    )


def test_the_last_words_of_a_run_are_heard_before_it_is_decided_on(system: System) -> None:
    last_words = {
        "when": {"output": "cache is corrupt"},
        "do": {"run": {"command": "touch repaired"}, "restart": True},
    }
    dies = ["sh", "-c", "test -e repaired && exec sleep 1000; echo the cache is corrupt; exit 1"]
    # Given up at the first failure: a rule that came too late would find it failed.
    strict = {"give_up": {"after": 1, "within": "1h"}}
    system.write({"job": {"command": dies, "restart": strict, "remedies": [last_words]}})
    system.ctl("up")
    lines = system.ctl("events", "--json", "job").stdout.splitlines()
    topics = [json.loads(line)["topic"] for line in lines]
    assert "gave-up" not in topics
    assert topics.count("remedy") == 2, "what was applied, and that its command succeeded"


def test_a_probe_that_keeps_failing_in_known_words_is_enough(system: System, port: int) -> None:
    by_probe = {**MPS, "when": {"probe": "startup", "failed": 3, "says": "500*"}}
    refused = {**MPS, "name": "other", "when": {"probe": "startup", "says": "403"}}
    system.write({"tts": voice(port, refused, by_probe)})
    system.ctl("up")
    service = system.service("tts")
    assert (service["run"], service["remedies"]) == (2, ["mps-operator"])
    told = system.event("remedy", "tts")["text"]
    assert "its startup probe failed" in told
    assert "times in a row: 500 " in told


def test_what_an_older_run_has_said_is_no_reason_to_treat_the_present_one(system: System) -> None:
    """A sink that comes to a line late says whose it is."""
    says_and_dies = "trap 'echo the cache is corrupt; exit 1' USR1; touch up; sleep 1000 & wait"
    system.write(
        {
            "job": {
                "command": ["sh", "-c", says_and_dies],
                # At once after the first death; after the second there is time to hear of it.
                "restart": {"backoff": {"first": "50ms", "factor": 100, "jitter": 0}},
                "remedies": [
                    {
                        "when": {"output": "cache is corrupt"},
                        "do": {"set_env": {"REBUILD": "1"}, "restart": True},
                    }
                ],
            }
        }
    )

    def has_begun(run: int) -> dict[str, Any] | None:
        service = system.service("job")
        there = (system.root / "up").exists()
        return (
            service if (service["run"], service["state"], there) == (run, "running", True) else None
        )

    def die(run: int) -> None:
        leader = psutil.Process(eventually("it has begun", lambda: has_begun(run))["pid"])
        (system.root / "up").unlink()
        leader.send_signal(signal.SIGUSR1)

    system.ctl("up")
    sink = psutil.Process(system.status()["daemon"]["sink_pid"])
    sink.suspend()
    try:
        die(1)
        eventually("the next run is there", lambda: has_begun(2))
    finally:
        sink.resume()
    # The sink tells in order: when this is known, so is what came before it.
    die(2)
    told = system.event("remedy", "job")
    assert told["run"] == 2, told
    assert eventually("it is healed", lambda: has_begun(3))["remedies"]
    assert [rule["uses"] for rule in rules(system)] == [1]
