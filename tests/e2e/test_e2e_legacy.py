"""The whole of config/atlas.yaml by restart_system.sh, as somebody with the old habits uses it.

The speech server is the real one. What is not in this repository is played by stand-ins, which are
named in .env as a user would name the real ones.
"""

import http.client
import json
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.config.loader import load
from tests.e2e.conftest import CHECKOUT, DEADLINE, System, free_port

OLD_PART = Path(__file__).parent / "children" / "old_part.py"
PARTS = ("whisper", "recovery", "orchestrator", "frontend")
PORTS = ("TTS", *(name.upper() for name in PARTS), "FALLBACK_LLM", "LLM", "DASHBOARD")


class OldSystem(System):
    """A checkout of its own beside the folders of the parts; its environment is already made."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "atlasctl")
        self.config = self.root / "config" / "atlas.yaml"
        (self.root / "scripts").mkdir(parents=True)
        shutil.copytree(CHECKOUT / "config", self.root / "config")
        for name in ("atlasctl", "restart_system.sh", "scripts/part.sh"):
            shutil.copy(CHECKOUT / name, self.root / name)
        for name in ("supervisor", "services"):
            (self.root / name).symlink_to(CHECKOUT / name)
        (self.root / ".venv").symlink_to(sys.prefix)
        # The real one would look whether the environment of this test run is still right.
        environment = self.root / "scripts" / "environment.sh"
        environment.write_text('#!/bin/sh\necho "$@" >>"$(dirname "$0")/asked"\n')
        environment.chmod(0o755)
        self.script = folder / "restart_system.sh"
        self.script.symlink_to(self.root / "restart_system.sh")
        self.ports = {name: free_port() for name in PORTS}
        self.variables = {f"{name}_PORT": str(port) for name, port in self.ports.items()}
        for name in (*PARTS, "fallback-llm"):
            (folder / name).mkdir()
            variable = f"{name.upper().replace('-', '_')}_COMMAND"
            self.variables[variable] = f"{sys.executable} -S {OLD_PART} {name} 'two words'"

    def run(self, *arguments: str, check: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run the old script, with .env as it is to be; `check` is the exit code that must come."""
        lines = (f"{name}={value}\n" for name, value in self.variables.items())
        (self.root / ".env").write_text("".join(lines))
        done = subprocess.run(
            [str(self.script), *arguments],
            cwd="/",
            capture_output=True,
            text=True,
            timeout=3 * DEADLINE,
            check=False,
        )
        if check is not None:
            told = f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
            assert done.returncode == check, told
        return done

    def pids(self) -> dict[str, int | None]:
        return {service["name"]: service["pid"] for service in self.status()["services"]}

    def get(self, name: str, path: str) -> str:
        url = f"http://127.0.0.1:{self.ports[name]}{path}"
        with urllib.request.urlopen(url, timeout=DEADLINE) as reply:
            return str(reply.read().decode())


@pytest.fixture
def old(tmp_path: Path) -> Iterator[OldSystem]:
    made = OldSystem(tmp_path)
    yield made
    made.close()


def test_a_day_with_the_old_verbs(old: OldSystem) -> None:
    # Who has the LLM's port is somebody else, from the first to the last line.
    with socket.create_server(("127.0.0.1", old.ports["LLM"])) as llm:
        assert "nothing runs" in old.run("stop").stdout
        assert "no supervisor runs" in old.run("status", check=3).stderr

        assert "6 services up" in old.run("start").stdout
        assert (old.root / "scripts" / "asked").read_text() == "tts\n"
        states = {each["name"]: each["state"] for each in old.status()["services"]}
        healthy = dict.fromkeys(("tts", *PARTS, "dashboard"), "healthy")
        assert states == {**healthy, "fallback-llm": "stopped"}
        assert_started_by_health(old)
        assert "orchestrator" in old.run("status").stdout

        found = json.loads(old.get("ORCHESTRATOR", "/health"))
        assert found["ATLAS_TTS_URL"] == f"http://localhost:{old.ports['TTS']}"
        assert found["ATLAS_WHISPER_URL"] == f"http://127.0.0.1:{old.ports['WHISPER']}"
        assert found["ATLAS_RECOVERY_URL"] == f"http://127.0.0.1:{old.ports['RECOVERY']}"
        assert found["ATLAS_LLM_URL"] == f"http://localhost:{old.ports['LLM']}"
        assert "PART_COMMAND" not in found

        seq, before = old.seq(), old.pids()
        with pytest.raises(http.client.RemoteDisconnected):
            old.get("WHISPER", "/crash")
        old.event("ready", "whisper", after=seq)
        assert {name for name, pid in old.pids().items() if pid != before[name]} == {"whisper"}
        assert old.service("whisper")["last_exit"] == "exited with code 3"

        folder = old.root.parent / "whisper"
        printed = old.run("logs", "whisper").stdout
        assert f"serving whisper two words in {folder}\n" in printed
        assert "crashing, as asked\n" in printed
        assert "archived " in old.run("clean").stdout
        assert "serving" not in old.run("logs", "whisper").stdout
        assert list((old.root / "logs" / "archive").glob("*/whisper.log.gz"))

        told = old.run("diagnose", "--json", check=None)
        findings = json.loads(told.stdout)["findings"]
        assert told.returncode == any(each["level"] == "wrong" for each in findings)
        commands = {f["subject"]: f["level"] for f in findings if f["check"] == "command"}
        assert {name: commands.get(name) for name in PARTS} == dict.fromkeys(PARTS, "ok")

        before = old.pids()
        old.run("restart")
        after = old.pids()
        assert all(after[name] not in (None, before[name]) for name in ("tts", *PARTS))
        assert after["fallback-llm"] is None

        old.run("stop", "frontend")
        assert old.pids() == {**after, "frontend": None}
        assert "stopped 5 services" in old.run("stop").stdout
        assert old.processes() == []
        with socket.create_connection(llm.getsockname(), timeout=DEADLINE):
            pass


def assert_started_by_health(old: OldSystem) -> None:
    """Each was started after what it needs had answered as it should."""
    seqs: dict[tuple[str, str], int] = {}
    for event in old.client().stream("/v1/events", after="0"):
        assert isinstance(event, dict)
        seqs.setdefault((event["unit"], event["topic"]), event["seq"])
    for name, needed in (
        ("orchestrator", ("tts", "whisper", "recovery")),
        ("frontend", ("orchestrator",)),
    ):
        for other in needed:
            assert seqs[other, "ready"] < seqs[name, "started"], (other, name)


def test_what_the_settings_say_at_a_restart_holds(old: OldSystem) -> None:
    assert "6 services up" in old.run("restart").stdout  # nothing ran
    before = old.pids()
    old.run("restart", "whisper")
    assert {name for name, pid in old.pids().items() if pid != before[name]} == {"whisper"}

    old.ports["WHISPER"] = free_port()
    old.variables |= {"WHISPER_PORT": str(old.ports["WHISPER"]), "FALLBACK_LLM": "true"}
    old.run("restart")
    assert old.service("whisper")["ports"] == [old.ports["WHISPER"]]
    assert json.loads(old.get("ORCHESTRATOR", "/health"))["ATLAS_WHISPER_URL"].endswith(
        f":{old.ports['WHISPER']}"
    )
    assert old.service("fallback-llm")["state"] == "healthy"
    assert old.get("FALLBACK_LLM", "/") == "<html></html>"

    before = old.pids()
    old.variables["FALLBACK_LLM"] = "perhaps"
    assert "'perhaps' is not true or false" in old.run("restart", check=2).stderr
    assert old.pids() == before


def test_what_is_missing_is_said_with_the_variable_that_mends_it(old: OldSystem) -> None:
    (old.root.parent / "recovery").rmdir()
    old.variables["WHISPER_COMMAND"] = "no-such-program --model small"
    told = old.run("start", check=1)
    words = told.stdout + told.stderr
    assert "recovery is not there: set RECOVERY_DIR in .env, or ATLAS_HOME" in words
    assert "there is no program no-such-program" in words
    assert "set WHISPER_COMMAND in .env" in words
    assert old.service("orchestrator")["state"] == "blocked"
    assert old.service("tts")["state"] == "healthy"

    found = {
        each["subject"]: each
        for each in json.loads(old.run("diagnose", "--json", check=1).stdout)["findings"]
        if each["check"] == "command"
    }
    assert found["recovery"]["level"] == found["whisper"]["level"] == "wrong"
    assert found["recovery"]["hint"].startswith("set RECOVERY_DIR in .env")
    assert found["frontend"]["level"] == "ok"

    # Mended, as it was said.
    del old.variables["WHISPER_COMMAND"]
    (old.root.parent / "elsewhere").mkdir()
    old.variables |= {
        "WHISPER_COMMAND": f"A=1 {sys.executable} -S {OLD_PART}",
        "RECOVERY_DIR": str(old.root.parent / "elsewhere"),
    }
    old.run("restart")
    old.run("status")


def test_it_is_valid_before_any_folder_is_there_and_speaks_as_the_default_system_does() -> None:
    atlas = load(CHECKOUT / "config" / "atlas.yaml", {"HOME": "/nonexistent"})
    default = load(CHECKOUT / "config" / "services.yaml", {"HOME": "/nonexistent"})
    assert atlas.service("tts") == default.service("tts"), "what was changed in one is for both"
    assert atlas.models == default.models
    assert {each.name: each.all_ports() for each in atlas.services} == {
        "tts": (3001,),
        "whisper": (3002,),
        "recovery": (5102,),
        "orchestrator": (5101,),
        "frontend": (5001,),
        "fallback-llm": (3010,),
        "dashboard": (3900,),
    }
    assert atlas.protected_ports == (4000,)
    assert [each.name for each in atlas.services if not each.enabled] == ["fallback-llm"]


def test_every_variable_is_described() -> None:
    used = re.findall(r"\$\{(\w+)", (CHECKOUT / "config" / "atlas.yaml").read_text())
    told = (CHECKOUT / "docs" / "from-restart-system.md").read_text()
    assert set(used) == set(
        re.findall(r"`(\w+_(?:DIR|COMMAND|PORT|URL|DEVICE|HOME|LLM))[`=]", told)
    ) - {
        "ATLAS_TTS_URL",
        "ATLAS_WHISPER_URL",
        "ATLAS_RECOVERY_URL",
        "ATLAS_LLM_URL",
        "ATLAS_ORCHESTRATOR_URL",
    }


# The verbs -----------------------------------------------------------------------------------


@pytest.fixture
def echo(tmp_path: Path) -> Path:
    """The old script beside an atlasctl that only says how it was called."""
    home = tmp_path / "a checkout"
    (home / "scripts").mkdir(parents=True)
    shutil.copy(CHECKOUT / "restart_system.sh", home)
    for name, text in {
        "atlasctl": 'case $1 in status) exit "${STATUS:-0}";; esac\n'
        'echo "$ATLAS_CONFIG" "$@" >>"$SAID"; [ "$1" != "${FAILS:-}" ] || exit 2',
        "scripts/environment.sh": 'echo environment "$@" >>"$SAID"',
    }.items():
        (home / name).write_text(f"#!/bin/sh\n{text}\n")
        (home / name).chmod(0o755)
    return home / "restart_system.sh"


def ran(script: Path, *arguments: str, **env: str) -> tuple[int, list[str], str]:
    """Return the exit code, what was called, and what was printed for a person."""
    said = script.parent / "said"
    said.write_text("")
    done = subprocess.run(
        [str(script), *arguments],
        env={"PATH": "/usr/bin:/bin", "SAID": str(said), **env},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    config = f"{script.parent}/config/atlas.yaml "
    calls = [line.removeprefix(config) for line in said.read_text().splitlines()]
    return done.returncode, calls, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "calls"),
    [
        ("start", ["environment tts", "up"]),
        ("start tts --timeout 5m", ["environment tts", "up tts --timeout 5m"]),
        ("stop", ["down"]),
        ("stop --timeout 5m", ["down --timeout 5m"]),
        ("stop tts whisper", ["stop tts whisper"]),
        ("restart", ["reload --no-wait", "restart"]),
        ("restart --rolling", ["reload --rolling --no-wait", "restart --rolling"]),
        ("restart tts", ["restart tts"]),
        ("logs", ["logs"]),
        ("logs tts -f", ["logs tts -f"]),
        ("clean --keep 2", ["clean --keep 2"]),
        ("diagnose --json", ["doctor --json"]),
        ("help", []),
        ("--help", []),
    ],
)
def test_each_verb_is_a_command(echo: Path, arguments: str, calls: list[str]) -> None:
    assert ran(echo, *arguments.split())[:2] == (0, calls)


def test_help_names_every_verb(echo: Path) -> None:
    told = ran(echo, "help")[2]
    for verb in ("start", "stop", "restart", "status", "logs", "clean", "diagnose", "help"):
        assert f"\n  {verb} " in told
    assert f"{echo.parent}/config/atlas.yaml" in told


def test_an_unknown_verb_or_none_is_met_with_the_usage(echo: Path) -> None:
    code, calls, told = ran(echo, "strat")
    assert (code, calls) == (2, [])
    assert "there is no verb strat\nusage: restart_system.sh VERB" in told
    code, calls, told = ran(echo)
    assert (code, calls) == (2, [])
    assert told.startswith("usage: restart_system.sh VERB")


def test_exit_codes_are_those_of_atlasctl(echo: Path) -> None:
    assert ran(echo, "status", STATUS="1")[0] == 1
    assert ran(echo, "status", STATUS="3")[0] == 3
    assert ran(echo, "clean", FAILS="clean")[0] == 2
    assert ran(echo, "restart", FAILS="reload")[:2] == (2, ["reload --no-wait"])
    assert ran(echo, "restart", "tts", STATUS="3")[:2] == (0, ["environment tts", "up tts"])


def test_another_system_can_be_named(echo: Path) -> None:
    assert ran(echo, "stop", ATLAS_CONFIG="/srv/my.yaml")[1] == ["/srv/my.yaml down"]


# A part of the old system --------------------------------------------------------------------


def part(
    folder: Path, command: str, *options: str, directory: str | None = None
) -> subprocess.CompletedProcess[str]:
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "PART_DIR": str(folder) if directory is None else directory,
        "PART_COMMAND": command,
    }
    return subprocess.run(
        [CHECKOUT / "scripts" / "part.sh", *options, "WHISPER"],
        env=env,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "printed"),
    [
        ("echo two 'words  here' *", "two words  here only.txt\n"),
        ("A=1 sh -c 'echo $A'", "1\n"),
        (". ./only.txt && echo $FROM", "file\n"),
        ('cd .. && basename "$OLDPWD"', "a folder\n"),
        ('echo "${PART_DIR-unset}"', "unset\n"),
        ("true && echo both", "both\n"),
        ("echo a | cat", "a\n"),
    ],
)
def test_a_command_is_read_as_a_shell_reads_it(tmp_path: Path, command: str, printed: str) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "only.txt").write_text("FROM=file\n")
    done = part(folder, command)
    assert (done.returncode, done.stdout, done.stderr) == (0, printed, "")


@pytest.mark.parametrize("directory", ["~/speech", "speech", "./speech"])
def test_a_folder_may_be_of_the_home_or_of_the_root(tmp_path: Path, directory: str) -> None:
    (tmp_path / "speech").mkdir()
    done = part(tmp_path, "pwd -P", directory=directory)
    assert done.stdout == f"{(tmp_path / 'speech').resolve()}\n"


def test_the_command_takes_the_place_of_the_shell(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [CHECKOUT / "scripts" / "part.sh", "WHISPER"],
        env={"PATH": "/usr/bin:/bin", "PART_DIR": str(tmp_path), "PART_COMMAND": "sh -c 'echo $$'"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.communicate(timeout=DEADLINE)[0] == f"{process.pid}\n"


@pytest.mark.parametrize(
    ("command", "directory", "text", "variable"),
    [
        ("true", "missing", "its folder {0}/a/missing is not there", "WHISPER_DIR"),
        ("true", "../b/missing", "its folder {0}/b/missing is not there", "WHISPER_DIR"),
        ("true", "../" * 99 + "missing", "its folder /missing is not there", "WHISPER_DIR"),
        ("true", "../" * 98 + "missing", "its folder /missing is not there", "WHISPER_DIR"),
        ("no-such-program 1", None, "there is no program no-such-program", "WHISPER_COMMAND"),
        ("./app.py", None, "there is no program ./app.py", "WHISPER_COMMAND"),
    ],
)
def test_what_a_part_lacks_is_told_at_its_start_and_to_doctor(
    tmp_path: Path, command: str, directory: str | None, text: str, variable: str
) -> None:
    text, folder = text.format(tmp_path), tmp_path / "a"
    folder.mkdir()
    done = part(folder, command, directory=directory)
    assert (done.returncode, done.stdout) == (78, "")
    assert text in done.stderr
    assert f"set {variable} in .env" in done.stderr
    told = part(folder, command, "--doctor", directory=directory)
    assert (told.returncode, told.stderr) == (0, "")
    finding = json.loads(told.stdout)
    assert (finding["check"], finding["level"]) == ("command", "wrong")
    assert text in finding["text"]
    assert f"set {variable} in .env" in finding["hint"]


def test_doctor_hears_of_a_part_that_can_be_started(tmp_path: Path) -> None:
    folder = tmp_path / 'a "quoted" \\ folder'
    folder.mkdir()
    command = "echo \"tab\there\" '\\'"
    told = json.loads(part(folder, command, "--doctor").stdout)
    assert told["level"] == "ok"
    assert told["text"] == f"{command.replace(chr(9), '')}, in {folder}"
