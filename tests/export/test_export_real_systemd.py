"""Exported units under a real systemd, where one can be run: what their text really means."""

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from supervisor.core.spec import (
    Backoff,
    Condition,
    Dependency,
    Limits,
    RestartSpec,
    ServiceSpec,
    SocketSpec,
    StopSpec,
)
from supervisor.export.systemd import render
from tests.e2e.conftest import eventually, free_port
from tests.export.specimens import PLAIN, request
from tests.install.real_systemd import RealSystemd

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")

REPORT = """\
import json, os, resource, socket, sys
mask = os.umask(0)
told = {
    "pid": os.getpid(),
    "argv": sys.argv[2:],
    "env": dict(os.environ),
    "cwd": os.getcwd(),
    "mask": mask,
    "files": resource.getrlimit(resource.RLIMIT_NOFILE),
    "nice": os.getpriority(os.PRIO_PROCESS, 0),
    "done": os.path.exists("done"),
}
with open(sys.argv[1] + ".new", "w") as file:
    json.dump(told, file)
os.rename(sys.argv[1] + ".new", sys.argv[1])
listening = socket.socket(fileno=3)
while True:
    client, _ = listening.accept()
    client.sendall(str(os.getpid()).encode())
    client.close()
"""
ODD = [
    *("", ";", "#", "%h %%", "$HOME", "${HOME}", "$$", 'a"b', "a'b", "a\\", "\\;", "\\x41"),
    *("a\nb", "\t", " x ", "-", "@", "=", "!", "тест 🙂", "a\\\nb", "~", "*", "{}"),
]


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[RealSystemd]:
    home = tmp_path / "home"
    home.mkdir()
    made = RealSystemd(tmp_path, home)
    try:
        yield made
    finally:
        made.close()


def install(systemd: RealSystemd, home: Path, *services: ServiceSpec) -> list[str]:
    """Put the units where a user's systemd looks for them, and return their names."""
    folder = home / ".config/systemd/user"
    folder.mkdir(parents=True, exist_ok=True)
    files = render(request(*services, inherited={"PATH": os.environ["PATH"]})).files
    for file in files:
        (folder / file.name).write_text(file.text, encoding="utf-8")
    assert systemd.run(["systemctl", "--user", "daemon-reload"]).returncode == 0
    return [file.name for file in files]


def answer(port: int) -> str:
    """Return what the service answers; nothing if it dies over that. A refusal is an error."""
    with socket.create_connection(("127.0.0.1", port), 30) as client:
        client.settimeout(30)
        try:
            return client.recv(20).decode()
        except ConnectionResetError:
            return ""


def test_a_service_is_what_the_yaml_says(systemd: RealSystemd, tmp_path: Path) -> None:
    cwd = tmp_path / "a 50% $folder"
    cwd.mkdir()
    (cwd / "report.py").write_text(REPORT)
    (cwd / "it's.env").write_text("FROM_FILE='two words'\n")
    port = free_port()
    report = cwd / "told.json"
    env = {f"V{at}": text for at, text in enumerate(ODD)}
    task = replace(
        PLAIN,
        name="first",
        cwd=str(cwd),
        command=("sh", "-c", "touch done"),
        restart=RestartSpec("never"),
    )
    service = replace(
        PLAIN,
        name="odd",
        cwd=str(cwd),
        command=(sys.executable, "report.py", str(report), *ODD),
        env=env,
        env_files=(str(cwd / "it's.env"),),
        sockets=(SocketSpec("http", (("127.0.0.1", port),)),),
        depends_on=(Dependency("first", Condition.COMPLETED),),
        restart=RestartSpec(backoff=Backoff(first=0.01)),
        stop=StopSpec(signal=signal.SIGINT, timeout=0.5),
        limits=Limits(open_files=321, nice=3),
        umask=0o027,
    )
    names = install(systemd, tmp_path / "home", task, service)
    assert systemd.run(["systemctl", "--user", "enable", "--now", *names]).returncode == 0
    eventually("it has told", report.exists)
    told: dict[str, Any] = json.loads(report.read_text())
    assert told["argv"] == ODD
    assert {name: told["env"].get(name) for name in env} == env
    assert told["env"]["FROM_FILE"] == "two words"
    assert told["env"]["LISTEN_FDNAMES"] == "http"
    assert (told["cwd"], told["mask"], told["nice"]) == (str(cwd), 0o027, 3)
    assert told["files"] == [321, 321]
    assert told["done"], "it was started before what must have completed"

    # A client of a restart waits, and is not refused. The dying may have taken one with it.
    os.kill(told["pid"], signal.SIGKILL)
    eventually("another answers", lambda: answer(port) not in ("", str(told["pid"])))
    another = int(systemd.show("atlas-odd.service", "MainPID"))
    assert answer(port) == str(another)
    assert systemd.show("atlas-odd.service", "NRestarts") == "1"
    assert systemd.run(["systemctl", "--user", "stop", *names]).returncode == 0
    assert systemd.show("atlas-odd.service", "ActiveState") in ("inactive", "failed")
    assert not Path(f"/proc/{another}").exists()
    said = systemd.log.read_text().splitlines()
    words = ("ignoring", "Unknown", "Invalid", "refus")
    complaints = [line for line in said if "atlas-" in line and any(word in line for word in words)]
    assert complaints == []
