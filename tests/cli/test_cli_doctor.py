"""`doctor`: what it looks at by itself, and doctors of services good and bad, as real processes."""

import contextlib
import hashlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from supervisor.cli import asking
from supervisor.cli.checks.ports import Ours
from supervisor.cli.checks.supervision import state
from supervisor.cli.examination import examine
from supervisor.cli.findings import Finding
from supervisor.core.spec import DoctorSpec, ServiceSpec
from supervisor.posix.spawn import Command, spawn
from tests.cli.fake_daemon import FakeDaemon
from tests.cli.fleets import Ctl, down, service

YAML = """\
version: 1
services:
  tts: {command: [sleep, "1000"]}
  stt: {command: [sleep, "1000"]}
  extra: {command: [sleep, "1000"], enabled: false}
"""
DEADLINE = 20.0
FINE = "import json; print(json.dumps({'check': 'voice', 'level': 'ok', 'text': 'speaks'}))\n"
SPEAKS = Finding("tts", "voice", "ok", "speaks")


def spec(code: str, timeout: float = DEADLINE, **more: Any) -> ServiceSpec:
    doctor = DoctorSpec((sys.executable, "-c", code), timeout)
    return ServiceSpec("tts", ("x",), "/", doctor=doctor, **more)


def findings_of(one: ServiceSpec) -> list[Finding]:
    assert one.doctor is not None
    descriptors, children = _descriptors(), _children()
    found = examine(one, one.doctor, os.environ)
    # Fewer than before: something of an earlier test was collected meanwhile.
    assert _descriptors() <= descriptors
    assert _children() <= children
    return found


def _descriptors() -> int:
    return len(os.listdir("/dev/fd"))


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


# Doctors of services -------------------------------------------------------------------------


def test_what_a_doctor_finds() -> None:
    two = "print(json.dumps({'check': 'gpu', 'level': 'wrong', 'text': 'none', 'hint': 'buy'}))"
    assert findings_of(spec(FINE + two)) == [SPEAKS, Finding("tts", "gpu", "wrong", "none", "buy")]


@pytest.mark.parametrize(
    ("code", "kept", "why"),
    [
        (FINE + "raise SystemExit('no torch')", [SPEAKS], "it exited with code 1: no torch"),
        (FINE + "1 / 0", [SPEAKS], "it exited with code 1: ZeroDivisionError: division by zero"),
        (FINE + "import os; os.kill(0, 9)", [SPEAKS], "it was killed by signal 9 (SIGKILL)"),
        ("", [], "it had nothing to say"),
        ("import sys; print('a warning', file=sys.stderr)", [], "it had nothing to say: a warning"),
        (
            FINE + "print('Loading…\\x1b[2J')",
            [SPEAKS],
            "it printed a line that is no finding: Loading… [2J",
        ),
        (FINE + "print('a\\nb\\nc')", [SPEAKS], "it printed 3 lines that are no finding: a"),
        (FINE + "import sys; sys.stdout.buffer.write(b'\\xff\\xfe\\n')", [SPEAKS],
         "it printed a line that is no finding: \ufffd\ufffd"),
        (FINE + "print('{\"check\":', end='')", [SPEAKS],
         'it printed a line that is no finding: {"check":'),
    ],
    ids=["code", "exception", "signal", "silent", "only complains", "chatter", "much chatter",
         "no text", "half a line"],
)  # fmt: skip
def test_a_doctor_that_fails_is_a_finding(code: str, kept: list[Finding], why: str) -> None:
    *others, fault = findings_of(spec(code))
    assert others == kept
    assert (fault.check, fault.level, fault.text) == ("doctor", "wrong", why)
    assert fault.hint == "run it by itself to see more: doctor.command of tts, in /"


def test_warnings_of_its_libraries_harm_no_finding() -> None:
    code = "import sys\n" + FINE + "print('deprecated\\n' * 100_000, file=sys.stderr)\n" + FINE
    assert findings_of(spec(code)) == [SPEAKS, SPEAKS]


@dataclass
class Clock:
    """Stands still until a file is there and was seen twice: what was printed before is read."""

    file: Path
    looks: int = 0

    def monotonic(self) -> float:
        self.looks += self.file.exists()
        return 1e6 if self.looks > 2 else 0.0

    sleep = staticmethod(time.sleep)


@pytest.mark.parametrize(
    "code",
    [
        FINE + "print('half of', end='', flush=True)",
        FINE + "import os; os.close(1); os.close(2)",
    ],
    ids=["in the middle of a line", "its output closed"],
)
def test_a_doctor_that_hangs_is_ended_and_what_it_found_is_kept(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(tmp_path / "hangs")
    monkeypatch.setattr(asking, "time", clock)
    code = f"{code}\nimport os, time; os.mkdir({str(clock.file)!r}); time.sleep(1000)"
    kept, fault = findings_of(spec(code, timeout=300.0))
    assert kept == SPEAKS
    assert fault.text == "it did not end within 300 s, and was killed"


def test_a_doctor_that_prints_without_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "MAX_OUTPUT", 128 * 1024)
    *findings, fault = findings_of(spec(FINE + "while True: print('y' * 1000)"))
    assert findings[0] == SPEAKS
    assert "it printed over 128 KiB, and was killed" in {f.text for f in (*findings, fault)}


@pytest.mark.parametrize("streams", ["", ", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL"])
def test_nothing_that_it_has_started_outlives_it(streams: str) -> None:
    code = (
        "import json, subprocess\n"
        f"child = subprocess.Popen(['sleep', '1000']{streams})\n"
        "print(json.dumps({'check': 'a', 'level': 'ok', 'text': 'b', 'details': child.pid}))"
    )
    (found,) = findings_of(spec(code))
    assert isinstance(found.details, int)
    deadline = time.monotonic() + DEADLINE
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(found.details)
        # Whoever inherits it here may be slow to reap, or may do so between any two looks.
        while process.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline


def test_a_doctor_is_run_as_the_service_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_THE_SHELL", "1")
    monkeypatch.setenv("WANTED", "2")
    binaries = tmp_path / "venv" / "bin"
    binaries.mkdir(parents=True)
    look = binaries / "look"
    look.write_text(
        f"#!{sys.executable}\nimport json, os\n"
        "told = {'cwd': os.getcwd(), 'umask': os.umask(0), 'env': dict(os.environ)}\n"
        "print(json.dumps({'check': 'a', 'level': 'ok', 'text': 'b', 'details': told}))\n"
    )
    look.chmod(0o755)
    (tmp_path / "more.env").write_text("OF_FILE=3\n")
    one = ServiceSpec(
        "tts",
        ("x",),
        str(tmp_path),
        env={"OWN": "4"},
        env_files=(str(tmp_path / "more.env"),),
        inherit_env=("WANTED",),
        venv=str(tmp_path / "venv"),
        umask=0o027,
        doctor=DoctorSpec(("look",)),
    )
    (found,) = findings_of(one)
    assert isinstance(found.details, dict)
    environment = found.details["env"]
    assert (found.details["cwd"], found.details["umask"]) == (str(tmp_path), 0o027)
    assert [environment.get(n) for n in ("WANTED", "OF_FILE", "OWN")] == ["2", "3", "4"]
    assert environment["VIRTUAL_ENV"] == str(tmp_path / "venv")
    assert "FROM_THE_SHELL" not in environment
    assert not [name for name in environment if name.startswith("ATLAS_")], "it is of no run"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"doctor": DoctorSpec(("no-such-doctor",))}, "command not found: no-such-doctor"),
        ({"cwd": "/no/such/folder"}, "the working directory does not exist: /no/such/folder"),
        ({"env_files": ("/no/such.env",)}, "/no/such.env: the environment file does not exist"),
        ({"user": "no-such-account"}, "has no account 'no-such-account'"),
    ],
)
def test_a_doctor_that_cannot_be_started_is_a_finding(changes: dict[str, Any], words: str) -> None:
    one = ServiceSpec(**{"name": "tts", "command": ("x",), "cwd": "/", **spec_of(changes)})
    (fault,) = findings_of(one)
    assert (fault.check, fault.level) == ("doctor", "wrong")
    assert fault.text.startswith("it could not be started: ")
    assert words in fault.text


def spec_of(changes: dict[str, Any]) -> dict[str, Any]:
    return {"doctor": DoctorSpec(("true",)), **changes}


# The command ---------------------------------------------------------------------------------


def write(root: Path, doctor: str = FINE, **services: str) -> None:
    """Write a YAML in which tts has this doctor."""
    (root / "look.py").write_text(doctor)
    command = json.dumps([sys.executable, str(root / "look.py")])
    lines = [f"  tts: {{command: [sleep, '1000'], doctor: {{command: {command}}}}}"]
    lines += [f"  {name}: {text}" for name, text in services.items()]
    (root / "services.yaml").write_text("\n".join(["version: 1", "services:", *lines, ""]))


def told(
    ctl: Ctl, *argv: str, verb: str = "doctor"
) -> tuple[int, dict[tuple[str, str], dict[str, Any]]]:
    """Return the exit code and the findings by subject and check."""
    code, out, _ = ctl(verb, "--json", *argv)
    document = json.loads(out)
    assert document["ok"] is (code == 0)
    return code, {(f["subject"], f["check"]): f for f in document["findings"]}


def test_all_is_well_without_a_daemon(root: Path, ctl: Ctl) -> None:
    off = "{command: [sleep, '1000'], enabled: false, ports: [1]}"
    write(root, stt="{command: [sleep, '1000']}", off=off)
    code, out, err = ctl("doctor")
    assert (code, err) == (0, "")
    assert out.startswith(
        "atlasctl\n"
        "  ok     configuration: services.yaml is valid, 3 services\n"
        "  note   supervisor: no supervisor runs for services.yaml\n"
        "         → start it: atlasctl up\n"
    )
    assert "\ntts\n  ok     voice: speaks\n\nNothing is wrong; " in out
    assert set(told(ctl, verb="diagnose")[1]) == set(told(ctl)[1])
    assert ("tts", "voice") not in told(ctl, "stt")[1]
    assert ("off", "port 1") in told(ctl, "off")[1], "what is named is looked at, disabled or not"


def test_what_is_wrong_is_in_the_exit_code(root: Path, ctl: Ctl) -> None:
    write(root, FINE.replace("'ok'", "'wrong'"))
    assert told(ctl)[0] == 1


def test_an_unknown_service_is_met_with_a_suggestion(root: Path, ctl: Ctl) -> None:
    write(root)
    code, out, err = ctl("doctor", "tss")
    assert (code, out) == (2, "")
    assert "did you mean tts?" in err


def test_errors_of_the_configuration_are_findings(root: Path, ctl: Ctl) -> None:
    (root / "services.yaml").write_text("version: 1\nservices: {a: {comand: [x]}, b: {}}\n")
    code, out, err = ctl("doctor")
    assert (code, err) == (1, "")
    assert "wrong  configuration: services.yaml:2:12 services.a.command: is required" in out
    assert "→ add command:" in out
    assert "note   services: not looked at" in out
    assert "supervisor: no supervisor runs" in out


def test_a_foreign_listener_is_named(root: Path, ctl: Ctl) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        write(root, a=f"{{command: [sleep, '1000'], ports: [{port}]}}")
        code, findings = told(ctl)
        assert code == 1
        found = findings["a", f"port {port}"]
        assert found["level"] == "wrong"
        assert f"pid {os.getpid()} (" in found["text"]
        assert found["hint"] == "end that process, or give a another port"
    code, findings = told(ctl)
    assert (code, findings["a", f"port {port}"]["text"]) == (0, "free")


def test_files_of_models(root: Path, ctl: Ctl) -> None:
    content = b"x" * 10
    digest = hashlib.sha256(content).hexdigest()
    write(root)
    with (root / "services.yaml").open("a") as yaml:
        yaml.write(
            "models:\n  voice:\n    url: http://127.0.0.1:1/v\n    directory: voice\n"
            f"    files:\n      - {{name: a.bin, size: 10, sha256: {digest}}}\n      - b.bin\n"
        )
    code, findings = told(ctl)
    found = findings["atlasctl", "models"]
    assert (code, found["level"]) == (0, "note")
    assert found["text"] == "voice: a.bin and b.bin are not there"
    assert found["hint"] == "atlasctl models fetch voice"
    (root / "voice").mkdir()
    for name in ("a.bin", "b.bin"):
        (root / "voice" / name).write_bytes(content)
    assert told(ctl)[1]["atlasctl", "models"]["text"] == "voice: 2 files, all there"
    (root / "voice" / "a.bin").write_bytes(content[1:])
    code, findings = told(ctl)
    assert (code, findings["atlasctl", "models"]["level"]) == (1, "wrong")
    assert "voice: a.bin has 9 bytes" in findings["atlasctl", "models"]["text"]


def test_what_the_supervisor_says(root: Path, ctl: Ctl) -> None:
    write(root, stt="{command: [sleep, '1000']}", new="{command: [sleep, '1000']}")
    limping = service("tts", notice="on the CPU: no GPU was found")
    failed = down("stt", state="failed", goal="up", reason="exited with code 1")
    with FakeDaemon(root, [limping, failed]) as fake:
        code, findings = told(ctl)
        assert findings["atlasctl", "supervisor"]["text"].startswith(f"runs, pid {fake.pid}, ")
        assert code == 1
        texts = {name: (findings[name, "state"]["level"], findings[name, "state"]["text"])
                 for name in ("tts", "stt", "new")}  # fmt: skip
        assert texts == {
            "tts": ("note", "healthy, but not as asked: on the CPU: no GPU was found"),
            "stt": ("wrong", "failed: exited with code 1"),
            "new": ("note", "it is in the configuration, and the supervisor that runs does not "
                    "know it"),
        }  # fmt: skip
        fake.version = "0.0.1"
        assert findings["atlasctl", "supervisor"]["level"] == "ok"
        assert told(ctl)[1]["atlasctl", "supervisor"]["hint"] == "atlasctl upgrade"
        fake.config = "/elsewhere.yaml"
        assert told(ctl)[1]["atlasctl", "supervisor"]["level"] == "wrong"


@pytest.mark.parametrize(
    ("name", "level"),
    [("healthy", "ok"), ("running", "ok"), ("completed", "ok"), ("loading", "note"),
     ("stopped", "note"), ("blocked", "note"), ("unready", "wrong"), ("backoff", "wrong"),
     ("busy", "ok"), ("hung", "wrong"), ("broken", "wrong"), ("unreachable", "wrong"),
     ("failed", "wrong")],
)  # fmt: skip
def test_states(name: str, level: str) -> None:
    (found,) = state("tts", service("tts", state=name))
    assert found.level == level


def test_our_own_processes_are_no_strangers() -> None:
    from supervisor.posix.environment import FLEET_MARK, fleet_mark
    from supervisor.posix.ports import PortOwner

    ours = Ours.of("/srv/atlas/.atlas", None)
    env = {**os.environ, FLEET_MARK: fleet_mark("/srv/atlas/.atlas")}
    with subprocess.Popen(["sleep", "1000"], env=env) as marked:
        try:
            assert ours.has(PortOwner(marked.pid, "sleep"))
        finally:
            marked.kill()
    assert not ours.has(PortOwner(os.getpid(), "python"))
    assert not ours.has(PortOwner(None, "another user's process"))
    assert ours.has(PortOwner(os.getpid(), "python -m supervisor.logs.sink /srv/atlas/.atlas"))


def test_ctrl_c_ends_the_doctor_too(root: Path) -> None:
    ready = root / "ready"
    code = f"import os, time\nprint(os.getpid(), file=open({str(ready)!r}, 'w'), flush=True)\n"
    os.mkfifo(ready)
    reading = os.open(ready, os.O_RDONLY | os.O_NONBLOCK)
    write(root, code + "time.sleep(1000)")
    command = [sys.executable, "-m", "supervisor.cli", "doctor"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        command, cwd=root, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert select.select([reading], [], [], DEADLINE)[0]
        asked = psutil.Process(int(os.read(reading, 100)))
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=DEADLINE)
    os.close(reading)
    assert process.returncode == 130
    assert "interrupted: nothing was changed" in said
    gone, _ = psutil.wait_procs([asked], timeout=DEADLINE)
    assert gone == [asked]


def test_ctrl_c_while_the_doctor_is_started_ends_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[psutil.Process] = []

    def interrupted(command: Command) -> int:
        pid = spawn(command)
        started.append(psutil.Process(pid))
        os.kill(os.getpid(), signal.SIGINT)
        return pid

    monkeypatch.setattr(asking, "spawn", interrupted)
    with pytest.raises(KeyboardInterrupt):
        findings_of(spec("import time; time.sleep(1000)"))
    assert not started[0].is_running()
