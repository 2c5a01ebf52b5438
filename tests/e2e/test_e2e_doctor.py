"""`doctor` beside a real supervisor: what is ours is told from what is a stranger's."""

import json
import socket
import sys
from pathlib import Path
from typing import Any

from tests.e2e.conftest import System, free_port

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

    system.ctl("down")
    assert told(system)["tts", name]["text"] == "free"
    with socket.create_server(("127.0.0.1", port)):
        assert told(system, code=1)["tts", name]["level"] == "wrong"
        system.ctl("up", "--no-wait", check=None)
        assert told(system, code=1)["tts", name]["level"] == "wrong"
