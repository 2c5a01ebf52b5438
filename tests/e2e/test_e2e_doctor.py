"""`doctor` beside a real supervisor: what is ours is told from what is a stranger's."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.conftest import DEADLINE, System, free_port

STAND_IN = str(Path(__file__).parent / "children" / "stand_in.py")
LOOK = "import json; print(json.dumps({'check': 'a', 'level': 'ok', 'text': 'looked'}))"


def told(system: System, code: int = 0) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the findings by subject and check; `code` is what doctor must exit with."""
    out = system.ctl("doctor", "--json", check=code).stdout
    return {(f["subject"], f["check"]): f for f in json.loads(out)["findings"]}


def test_the_life_of_a_system_as_doctor_sees_it(system: System) -> None:
    port = free_port()
    name = f"port {port}"
    service = {
        "command": [sys.executable, STAND_IN],
        "sockets": {"http": f"localhost:{port}"},
        "probes": {"readiness": {"http": {"path": "/health"}, "every": "100ms"}},
        "doctor": {"command": [sys.executable, "-c", LOOK]},
    }
    system.write({"tts": service})
    found = told(system)
    assert (found["tts", name]["text"], found["tts", "a"]["text"]) == ("free", "looked")
    assert found["atlasctl", "supervisor"]["level"] == "note"

    system.ctl("up")
    found = told(system)
    assert found["atlasctl", "supervisor"]["level"] == "ok"
    assert found["tts", "state"]["text"] == "healthy"
    pid = system.service("tts")["pid"]
    assert found["tts", name]["text"].startswith(f"its own, pid {pid} (")

    # The supervisor killed: what it has left is still ours, and said to be there.
    system.kill_daemon()
    found = told(system)
    assert f"tts (pid {pid})" in found["atlasctl", "supervisor"]["text"]
    assert found["tts", name]["text"].startswith("its own, pid ")
    assert found["tts", name]["hint"] == "atlasctl up takes it over, atlasctl down ends it"
    assert ("atlasctl", "PID file") not in found, "logs/tts.pid is of a run of ours"

    system.ctl("down")
    assert told(system)["tts", name]["text"] == "free"
    with socket.create_server(("127.0.0.1", port)):
        assert told(system, code=1)["tts", name]["level"] == "wrong"
        system.ctl("up", "--no-wait", check=None)
        assert told(system, code=1)["tts", name]["level"] == "wrong"


def test_a_system_that_is_broken_in_many_ways(system: System) -> None:
    """Each is found, beside all others, and nothing of them is touched."""
    port = free_port()
    environment = system.root / "venv" / "bin"
    environment.mkdir(parents=True)
    (environment / "python").symlink_to("/gone/python3.11")
    (system.root / "secrets.env").write_text("API_TOKEN=abcdefgh\n")
    (system.root / "secrets.env").chmod(0o644)
    system.write(
        {
            "gone": {"command": ["no-such-program"]},
            "nowhere": {"command": ["sleep", "1"], "cwd": "no/such"},
            "moved": {"command": ["python", "-V"], "venv": "venv"},
            "unset": {"command": ["sleep", "1"], "env_file": "missing.env"},
            "taken": {"command": ["sleep", "1"], "ports": [port], "env_file": "secrets.env"},
            "proxied": {"command": ["sleep", "1"], "env": {"HTTP_PROXY": "http://proxy:1"}},
            "fine": {"command": ["sleep", "1"]},
        },
        protected_ports=[free_port()],
    )
    (system.root / "nohup.out").write_text("Traceback\n")
    before = sorted(system.root.rglob("*"))
    code = f"import socket; s = socket.create_server(('127.0.0.1', {port})); print('up'); input()"
    with subprocess.Popen(
        [sys.executable, "-u", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as by_hand:
        assert by_hand.stdout is not None
        assert by_hand.stdout.readline() == b"up\n"
        (system.root / "server.pid").write_text(f"{by_hand.pid}\n")
        found = told(system, code=1)
        assert by_hand.poll() is None
        by_hand.communicate(b"\n", DEADLINE)
    wrong = {key for key, each in found.items() if each["level"] == "wrong"}
    assert wrong == {
        ("gone", "command"),
        ("nowhere", "cwd"),
        ("moved", "venv"),
        ("unset", "environment"),
        ("taken", f"port {port}"),
    }
    assert all(found[key]["hint"] or key == ("unset", "environment") for key in wrong)
    notes = {("proxied", "proxy"), ("atlasctl", "env_file"), ("atlasctl", "nohup.out"),
             ("atlasctl", "PID file")}  # fmt: skip
    assert {found[key]["level"] for key in notes} == {"note"}
    assert f"has port {port} of taken" in found["atlasctl", "PID file"]["text"]
    assert not [key for key in found if key[0] == "fine"], "nothing is said of what is well"
    after = [path for path in sorted(system.root.rglob("*")) if path.name != "server.pid"]
    assert after == before, "nothing was made and nothing removed"
