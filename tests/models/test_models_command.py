"""`atlasctl models` as a process: codes, words, Ctrl-C, a full disk, two at once."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.models.file_server import Cut, FileServer, Stall
from tests.models.specimens import NAMES, torch_zip, voice

CHECKOUT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-P", "-m", "supervisor.cli"]
DEADLINE = 60.0
MIB = 1024**2
VOICE = voice(size=MIB)


@dataclass(slots=True)
class System:
    """A folder with a YAML, and commands that are run in it."""

    root: Path
    url: str
    running: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.root / "models" / "voice"

    def write(self, models: str) -> None:
        (self.root / "services.yaml").write_text(f"version: 1\nservices: {{}}\n{models}")

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root / "home"),
            "PYTHONPATH": str(CHECKOUT),
            "LANG": "C.UTF-8",
        }

    def run(self, *argv: str, before: tuple[str, ...] = ()) -> tuple[int, str, str]:
        done = subprocess.run(
            [*before, *COMMAND, "models", *argv],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
        return done.returncode, done.stdout, done.stderr

    def begin(self, *argv: str, stdout: int = subprocess.PIPE) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [*COMMAND, "models", *argv],
            cwd=self.root,
            env=self.environment,
            stdout=stdout,
            stderr=subprocess.PIPE,
        )
        self.running.append(process)
        return process


@pytest.fixture
def system(server: FileServer, tmp_path: Path) -> Iterator[System]:
    server.serve(VOICE)
    root = tmp_path / "system"  # copies are looked for in its neighbours too
    root.mkdir()
    made = System(root, server.url)
    made.write(f"models:\n  voice: {{url: {server.url}/v1, files: [{', '.join(NAMES)}]}}\n")
    yield made
    for process in made.running:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=DEADLINE)


def test_fetch_verify_and_list(server: FileServer, system: System) -> None:
    code, out, err = system.run("list")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].split() == ["MODEL", "FILE", "STATE", "SIZE", "WHERE"]
    assert out.splitlines()[1].split() == [
        "voice", "model.pth", "missing", "-", "models/voice/model.pth",
    ]  # fmt: skip
    assert out.splitlines()[5:] == ["To bring here what is missing: atlasctl models fetch"]
    code, out, err = system.run("verify")
    assert (code, out) == (1, "")
    assert err.splitlines()[0] == (
        "atlasctl: voice, model.pth: models/voice/model.pth is missing; atlasctl models fetch voice"
    )

    code, out, err = system.run("fetch")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert re.fullmatch(
        r"model.pth: fetched, 1.0 MiB, recorded as SHA-256 [0-9a-f]{12}…", lines[0]
    ), lines[0]
    assert lines[-1] == "voice: all there, 4 files in models/voice"
    assert len(lines) == 5

    code, out, err = system.run("verify")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"model.pth: right, 1.0 MiB, SHA-256 [0-9a-f]{12}…", out.splitlines()[0])
    server.requests.clear()
    code, out, _ = system.run("fetch", "voice")
    assert out.splitlines()[0] == "model.pth: already there, 1.0 MiB"
    assert (code, server.requests) == (0, [])


def test_what_is_wrong_is_told_with_what_to_do(system: System) -> None:
    system.run("fetch")
    model = system.folder / "model.pth"
    model.write_bytes(model.read_bytes()[:-1])
    code, out, err = system.run("verify")
    assert code == 1
    assert "models/voice/model.pth is cut off" in err
    assert "to fetch it anew: atlasctl models fetch voice" in err
    assert len(out.splitlines()) == 3
    _, out, _ = system.run("list")
    assert out.splitlines()[1].split()[2] == "wrong"
    assert out.splitlines()[5].startswith("why: model.pth: models/voice/model.pth is cut off")
    code, out, _ = system.run("fetch")
    assert code == 0
    assert "model.pth: models/voice/model.pth is cut off" in out.splitlines()[0]
    assert system.run("verify")[0] == 0


def test_another_content_of_the_same_size_is_seen_by_verify(system: System) -> None:
    system.run("fetch")
    (system.folder / "model.pth").write_bytes(torch_zip(MIB, seed=7))
    assert system.run("list")[1].splitlines()[1].split()[2] == "present"
    code, _, err = system.run("verify")
    assert code == 1
    assert "has another content" in err


def test_for_scripts(server: FileServer, system: System) -> None:
    code, out, _ = system.run("list", "--json")
    found = json.loads(out)
    assert (code, found["ok"]) == (0, False)
    assert [file["state"] for file in found["files"]] == ["missing"] * 4
    assert found["files"][0]["url"] == f"{server.url}/v1/model.pth"
    server.tricks = [Cut(MIB // 2)]
    code, out, err = system.run("fetch", "--json")
    assert (code, err) == (0, "")
    events = [json.loads(line) for line in out.splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds.count("fetched") == 4
    assert kinds[0] == "progress"
    assert "retrying" in kinds
    code, out, _ = system.run("verify", "--json")
    found = json.loads(out)
    assert (code, found["ok"]) == (0, True)
    assert {file["sha256"] is None for file in found["files"]} == {False}


def test_a_failure_for_scripts(server: FileServer, system: System) -> None:
    del server.files["/v1/config.yaml"]
    code, out, err = system.run("fetch", "--json")
    assert (code, err) == (1, "")
    failed = [e for e in map(json.loads, out.splitlines()) if e["event"] == "failed"]
    assert [event["name"] for event in failed] == ["config.yaml"]


def test_ctrl_c_and_then_the_rest(server: FileServer, system: System) -> None:
    server.tricks = [Stall(MIB // 2)]
    process = system.begin("fetch")
    assert server.reached.wait(DEADLINE)
    part = system.folder / "model.pth.part"
    await_size(part, MIB // 2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130
    assert err.decode() == (
        "atlasctl: interrupted: what has come is kept; the same command goes on from there\n"
    )
    assert system.run("list")[1].splitlines()[1].split()[2:7] == [
        "part", "512", "KiB", "of", "1.0",
    ]  # fmt: skip
    assert "is fetched in part only (512 KiB)" in system.run("verify")[2]
    server.requests.clear()
    code, out_text, _ = system.run("fetch")
    assert code == 0
    assert server.asked("model.pth")[0].range == f"bytes={MIB // 2}-"
    assert out_text.splitlines()[0].startswith("model.pth: 512 KiB of 1.0 MiB (49 %)")
    assert system.run("verify")[0] == 0
    assert not part.exists()


def test_a_fetch_that_is_killed_is_gone_on_with(server: FileServer, system: System) -> None:
    server.tricks = [Stall(MIB // 2)]
    process = system.begin("fetch")
    assert server.reached.wait(DEADLINE)
    await_size(system.folder / "model.pth.part", MIB // 2)
    process.kill()
    process.communicate(timeout=DEADLINE)
    server.requests.clear()
    assert system.run("fetch")[0] == 0
    assert server.asked("model.pth")[0].range == f"bytes={MIB // 2}-"


def await_size(path: Path, size: int) -> None:
    deadline = time.monotonic() + DEADLINE
    while not path.exists() or path.stat().st_size < size:
        assert time.monotonic() < deadline, path
        time.sleep(0.01)


def test_two_at_once(server: FileServer, system: System) -> None:
    server.tricks = [Stall(1000)]
    first = system.begin("fetch")
    assert server.reached.wait(DEADLINE)
    code, _, err = system.run("fetch")
    assert code == 1
    assert f"voice: another fetch (pid {first.pid}) is at work in" in err
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=DEADLINE)
    assert system.run("fetch")[0] == 0


def test_a_full_disk(server: FileServer, system: System) -> None:
    # A limit on the size of files stands for the full disk, which only root could make.
    limit = (
        sys.executable,
        "-c",
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000));"
        " os.execvp(sys.argv[1], sys.argv[1:])",
    )
    code, out, err = system.run("fetch", before=limit)
    assert code == 1
    assert "models/voice takes no more: File too large" in err
    assert "make room, then fetch again: it goes on from here" in err
    assert (system.folder / "model.pth.part").stat().st_size == 500_000
    assert "config.yaml: fetched" in out
    server.requests.clear()
    assert system.run("fetch")[0] == 0
    assert server.asked("model.pth")[0].range == "bytes=500000-"


def test_a_changed_file_is_accepted_by_name(server: FileServer, system: System) -> None:
    system.run("fetch")
    (system.folder / "model.pth").unlink()
    server.change("/v1/model.pth", body=torch_zip(MIB, seed=5), etag='"two"')
    code, _, err = system.run("fetch")
    assert code == 1
    assert "is not the file that models.lock says" in err
    assert "atlasctl models fetch --accept-changed voice" in err
    code, _, err = system.run("verify", "--accept-changed", "voice")
    assert (code, err) == (
        2,
        "atlasctl: verify accepts nothing; atlasctl models fetch --accept-changed voice\n",
    )
    assert system.run("fetch", "--accept-changed", "voise")[0] == 2
    assert system.run("fetch", "--accept-changed")[0] == 2
    assert system.run("fetch", "--accept-changed", "voice")[0] == 0
    assert system.run("verify")[0] == 0


def test_a_terminal_shows_how_far_it_is(server: FileServer, system: System) -> None:
    server.tricks = [Stall(MIB // 2)]
    ours, theirs = pty.openpty()
    process = system.begin("fetch", stdout=theirs)
    os.close(theirs)
    shown = b""
    deadline = time.monotonic() + DEADLINE
    try:
        while b"model.pth: 0 B of 1.0 MiB (0 %)" not in shown:
            assert time.monotonic() < deadline, shown
            if select.select([ours], [], [], 0.5)[0]:
                shown += os.read(ours, 65536)
        assert server.reached.wait(DEADLINE)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=DEADLINE)
        while select.select([ours], [], [], 0)[0]:
            try:
                more = os.read(ours, 65536)
            except OSError:  # EIO: nobody has the other end
                break
            shown += more
    finally:
        os.close(ours)
    assert shown.endswith(b"\x1b[J"), "the picture is taken away"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("fetch", "voise"), "no model is called 'voise'; did you mean voice?"),
        (("list", "x"), "no model is called 'x'; there are: voice"),
        (("get",), "invalid choice: 'get'"),
        ((), "the following arguments are required: action"),
    ],
)
def test_what_was_typed_wrong(system: System, argv: tuple[str, ...], words: str) -> None:
    code, _, err = system.run(*argv)
    assert code == 2
    assert words in err


def test_a_system_without_models(system: System) -> None:
    system.write("")
    assert system.run("fetch") == (0, "services.yaml names no models (models:)\n", "")
    code, out, _ = system.run("verify", "--json")
    assert (code, json.loads(out)) == (0, {"ok": True, "files": []})


def test_a_damaged_lock(system: System) -> None:
    (system.root / "models.lock").write_text("<<<<<<< HEAD\n")
    code, _, err = system.run("list")
    assert code == 1
    assert "models.lock is damaged" in err
    assert "git checkout" in err


def test_names_for_completion(system: System) -> None:
    done = subprocess.run(
        [*COMMAND, "_models"],
        cwd=system.root,
        env=system.environment,
        capture_output=True,
        timeout=DEADLINE,
    )
    assert done.stdout == b"voice\n"


def test_only_a_fetch_loads_requests(system: System) -> None:
    script = (
        "import sys; from supervisor.cli.__main__ import main; main(['models', sys.argv[1]]);"
        " sys.exit(int(any(name in sys.modules for name in ('requests', 'pydantic'))))"
    )
    for action, loads in (("list", 0), ("verify", 0), ("fetch", 1)):
        done = subprocess.run(
            [sys.executable, "-P", "-c", script, action],
            cwd=system.root,
            env=system.environment,
            capture_output=True,
            timeout=DEADLINE,
        )
        assert done.returncode == loads, (action, done.stderr)
