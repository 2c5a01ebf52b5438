"""docs/extending.md is followed: its files, changes and commands, as they stand there."""

import json
import os
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.docs.pages import CHECKOUT, Block, blocks
from tests.e2e.conftest import DEADLINE, System, free_port

DICE_PORT = "8100"


def of_page(language: str) -> list[Block]:
    """Return the blocks of a language that the page has."""
    return [block for block in blocks(language) if block.page.name == "extending.md"]


def program(name: str) -> str:
    """Return the text of the one file of this name."""
    (found,) = (block for block in of_page("python") if block.file.endswith(name))
    return found.text


# A service -----------------------------------------------------------------------------------


class Newcomer(System):
    """A checkout that runs nothing of its own yet, and somebody in it who follows the page."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.port = str(free_port())
        self.config = root / "config" / "services.yaml"
        self.config.parent.mkdir(parents=True)
        self.config.write_text("version: 1\nroot: ..\nservices: {}\n")
        (root / ".venv" / "bin").mkdir(parents=True)
        (root / ".venv" / "bin" / "python").symlink_to(sys.executable)
        command = root / "atlasctl"
        command.write_text(
            f'#!/bin/sh\nPYTHONPATH={CHECKOUT} {sys.executable} -m supervisor.cli "$@"'
        )
        command.chmod(0o755)

    def follow(self, commands: str) -> str:
        """Type these commands, one after the other; each must end with 0. Returns their output."""
        done = subprocess.run(
            ["bash", "-e", "-c", commands.replace(DICE_PORT, self.port)],
            cwd=self.root,
            env=os.environ | {"DICE_PORT": self.port},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=6 * DEADLINE,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    made = Newcomer(tmp_path / "atlasctl")
    made.follow("./atlasctl up")
    yield made
    made.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page asks with curl")
def test_the_service(newcomer: Newcomer) -> None:
    dice = newcomer.root.parent / "dice"
    dice.mkdir()
    (dice / "server.py").write_text(program("dice/server.py"))
    lines, _ = of_page("yaml")
    newcomer.config.write_text(f"version: 1\nroot: ..\n{lines.text}")
    into_the_system, breaking, failing = of_page("sh")[:3]

    said = newcomer.follow(into_the_system.text)
    answer, _ = json.JSONDecoder().raw_decode(said[said.index('{"rolled"') :])
    assert answer["rolled"] in range(1, 7)
    assert re.search(r"^dice +healthy", said, re.MULTILINE)
    assert "there is no rules.json" in said, "the service's own finding"

    said = newcomer.follow(breaking.text)
    assert "SIGKILL" in said
    assert newcomer.service("dice")["run"] == 3, "killed once, replaced once"
    assert "run 2 exited with code 0" in said, "it ends by itself on SIGTERM"

    said = newcomer.follow(failing.text)
    assert "mv exited with code 0" in said
    assert "corrupt rules: applied once" in said
    assert newcomer.service("dice")["state"] == "healthy"
    assert (dice / "corrupt.json").exists()

    (dice / "rules.json").write_text('{"most": 20}')
    assert "at most 20 sides" in newcomer.follow("./atlasctl doctor dice")


# A voice -------------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The speech server's code, with what the page adds and changes."""
    shutil.copytree(
        CHECKOUT / "services", tmp_path / "services", ignore=shutil.ignore_patterns("__pycache__")
    )
    for block in of_page("python"):
        if not block.file.startswith(".."):
            file = tmp_path / block.file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text)
    for block in of_page("diff"):
        file = tmp_path / block.file
        lines = block.text.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] in " -")
        new = "".join(line[1:] for line in lines if line[0] in " +")
        text = file.read_text()
        assert text.count(old) == 1, f"{block}: not what is in {block.file}"
        file.write_text(text.replace(old, new))
    return tmp_path


@contextmanager
def speaking(checkout: Path) -> Iterator[str]:
    """The address of a server that speaks with the new engine."""
    command = [sys.executable, "-m", "services.tts", "--engine", "tones", "--port", "0"]
    with subprocess.Popen(
        command, cwd=checkout, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        said = b""
        try:
            while not (found := re.search(rb"listening on (http://127\.0\.0\.1:\d+)", said)):
                assert select.select([process.stdout], [], [], DEADLINE)[0], said
                more = os.read(process.stdout.fileno(), 65536)
                assert more, said
                said += more
            yield found[1].decode()
        finally:
            process.terminate()
            assert process.wait(DEADLINE) == 0


def test_the_voice(checkout: Path) -> None:
    with speaking(checkout) as address:
        spoken = requests.post(
            f"{address}/tts",
            json={"text": "привіт", "return_audio": True},
            headers={"Prefer": "wait=20"},
            timeout=DEADLINE,
        )
        assert spoken.status_code == 200
        assert spoken.headers["X-TTS-Engine"] == "tones"
        assert spoken.content[:4] == b"RIFF"
        health = requests.get(f"{address}/health", timeout=DEADLINE).json()
        assert health["engine"] == "tones"


def test_the_test_of_the_voice(checkout: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/tts"],
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=4 * DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d+ passed", done.stdout)
