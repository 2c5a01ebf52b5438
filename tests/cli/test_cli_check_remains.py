"""`doctor`: what starts by hand have left, and who has which port, with real processes."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervisor.cli.checks import ports, remains
from supervisor.cli.checks.ports import Ours
from supervisor.cli.checks.remains import Processes, pid_files
from supervisor.cli.findings import Finding
from supervisor.core.spec import ServiceSpec, SocketSpec
from supervisor.posix.environment import FLEET_MARK, fleet_mark
from supervisor.posix.ports import PortOwner

STATE = "/srv/atlas/.atlas"
NOBODY = 999_999_999
MIB = 1024**2


def ours(*pids: int, supervised: bool = False) -> Ours:
    return Ours(fleet_mark(STATE), STATE, frozenset(pids), supervised)


@contextmanager
def running(**env: str) -> Iterator[int]:
    """A process that ends with the block."""
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(command, env={**os.environ, **env}, stdin=subprocess.PIPE) as process:
        yield process.pid


# PID files -----------------------------------------------------------------------------------


def look(
    folder: Path,
    *known: int,
    owners: Mapping[int, PortOwner] | None = None,
    now: float | None = None,
) -> list[Finding]:
    """Look at the PID files of a folder; they were written just now."""
    around = Processes(ours(), known, owners or {}, {3001: "tts", 3002: "stt"})
    at = max(path.stat().st_mtime for path in folder.glob("*.pid")) if now is None else now
    return list(pid_files([str(folder), str(folder)], around, at))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no process number"),
        ("tts\n", "holds no process number"),
        ("-1\n", "holds no process number"),
        ("99999999999999999999\n", "holds no process number"),
        (f"{NOBODY}\n", f"names pid {NOBODY}, which has ended"),
        (f"{NOBODY} 12345\n", f"names pid {NOBODY}, which has ended"),
    ],
)
def test_files_that_name_nobody(
    text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tts.pid").write_text(text)
    (tmp_path / "no.pidfile").write_text("1")
    (tmp_path / "folder.pid").mkdir()
    (found,) = look(tmp_path)
    assert (found.check, found.level, found.hint) == ("PID file", "note", "rm tts.pid")
    assert found.text == f"tts.pid {words}"


def test_files_of_this_system_are_passed_over(tmp_path: Path) -> None:
    with running(**{FLEET_MARK: fleet_mark(STATE)}) as marked, running() as recorded:
        (tmp_path / "tts.pid").write_text(f"{marked}\n")
        (tmp_path / "stt.pid").write_text(f"{recorded}\n")
        assert look(tmp_path, recorded) == []
        assert len(look(tmp_path)) == 1, "without the ledger it is a stranger"


def test_a_number_that_another_program_has_now(tmp_path: Path) -> None:
    path = tmp_path / "tts.pid"
    with running() as pid:
        path.write_text(f"{pid}\n")
        os.utime(path, (1e9, 1e9))
        (found,) = look(tmp_path, now=2e9)
    assert found.hint is not None
    assert found.hint.startswith("rm ")
    assert "is younger than the file, and another program" in found.text


def test_a_server_that_was_started_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "tts.pid"
    with running() as pid:
        path.write_text(f"{pid}\n")
        (found,) = look(tmp_path)
        assert "it is not of this system" in found.text
        assert found.hint == f"end it if it is not needed: kill {pid}"
        (found,) = look(tmp_path, owners={3001: PortOwner(pid, "python")})
        assert "was started without atlasctl, and has port 3001 of tts" in found.text
        assert found.hint is not None
        assert f"kill {pid}, then atlasctl up" in found.hint
    assert path.exists(), "nothing is removed"


def test_a_server_that_its_shell_has_started(tmp_path: Path) -> None:
    # What restart scripts write down is often the shell around the server.
    script = f"exec 3<&0; {sys.executable} -c 'import sys; sys.stdin.read()' <&3 & echo $!; wait"
    with subprocess.Popen(
        ["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as shell:
        assert shell.stdout is not None
        server = int(shell.stdout.readline())
        (tmp_path / "tts.pid").write_text(f"{shell.pid}\n")
        (found,) = look(tmp_path, owners={3002: PortOwner(server, "python")})
    assert "has port 3002 of stt" in found.text


# Files ---------------------------------------------------------------------------------------


def test_nohup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(remains.nohup([str(tmp_path)], 0.0)) == []
    (tmp_path / "nohup.out").write_bytes(b"x" * 2048)
    written = (tmp_path / "nohup.out").stat().st_mtime
    (found,) = remains.nohup([str(tmp_path), str(tmp_path)], written + 7200)
    assert found.text == "nohup.out (2.0 KiB) was last written 2 h ago"
    assert (found.level, (found.hint or "").endswith("rm nohup.out")) == ("note", True)


def test_logs_of_no_service(tmp_path: Path) -> None:
    sizes = {"tts.log": 90, "tts.log.1": 90, "tts.log.2.gz": 90, "stt.log": 60, "stt.log.old": 30,
             "data.bin": 900}  # fmt: skip
    for name, size in sizes.items():
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, size * MIB)
    (tmp_path / "folder.log").mkdir()
    assert list(remains.strange_logs(str(tmp_path), ["tts", "stt"])) == []
    assert list(remains.strange_logs(str(tmp_path), ["tts"])) == []
    os.truncate(tmp_path / "stt.log", 80 * MIB)
    (found,) = remains.strange_logs(str(tmp_path), ["tts"])
    assert (found.check, found.level) == ("old logs", "note")
    assert found.text.startswith("110 MiB in 2 files of no service in ")
    assert found.text.endswith("the largest stt.log")
    assert list(remains.strange_logs(str(tmp_path / "gone"), ["tts"])) == []


# Ports ---------------------------------------------------------------------------------------


def findings(service: ServiceSpec, known: Ours) -> list[Finding]:
    tried = ports.tried([service])
    return list(ports.ports(service.name, tried[service.name], ports.owners(tried), known))


def test_who_has_a_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        service = ServiceSpec("tts", ("x",), "/", ports=(port,))
        pid = os.getpid()
        (found,) = findings(service, ours())
        assert (found.check, found.level) == (f"port {port}", "wrong")
        assert found.text.startswith(f"pid {pid} (")
        assert found.text.endswith(" ago, has it, and is not of this system")
        (found,) = findings(service, ours(pid, supervised=True))
        assert (found.level, found.hint) == ("ok", None)
        assert found.text.startswith(f"its own, pid {pid} (")
        (found,) = findings(service, ours(pid))
        assert (found.level, found.hint) == (
            "note",
            "atlasctl up takes it over, atlasctl down ends it",
        )
        assert found.text.endswith(" ago, and no supervisor watches it now")
    (found,) = findings(service, ours())
    assert (found.level, found.text) == ("ok", "free")


def test_a_port_that_cannot_be_had_at_all() -> None:
    absent = SocketSpec("http", (("192.0.2.1", 3001),))
    (found,) = findings(ServiceSpec("tts", ("x",), "/", sockets=(absent,)), ours())
    assert (found.level, found.text) == ("wrong", "this machine has no address 192.0.2.1")
    both = SocketSpec("http", (("127.0.0.1", 0), ("192.0.2.1", 0)))
    (found,) = findings(ServiceSpec("tts", ("x",), "/", sockets=(both,)), ours())
    assert (found.level, found.text) == ("ok", "free")


def test_ports_of_others() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        (found,) = ports.protected([port], ours())
        assert (found.check, found.level) == (f"protected port {port}", "ok")
        assert found.text.startswith(f"pid {os.getpid()} (")
        (found,) = ports.protected([port], ours(os.getpid()))
        assert (found.level, "has it, and is of this system" in found.text) == ("note", True)
    (found,) = ports.protected([port], ours())
    assert (found.level, found.text) == ("note", "nobody listens there")


def test_whose_a_process_is() -> None:
    assert ports.described(PortOwner(None, "another user's process")) == "another user's process"
    assert ports.described(PortOwner(NOBODY, "gone")) == f"pid {NOBODY} (gone)"


@pytest.mark.skipif(sys.platform != "linux", reason="macOS tells nothing of root's processes")
def test_a_process_of_another_user() -> None:
    whose = " of root" if os.geteuid() != 0 else ""
    assert ports.described(PortOwner(1, "init")).startswith(f"pid 1 (init){whose}, started ")
