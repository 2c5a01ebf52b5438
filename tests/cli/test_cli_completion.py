import shutil
import subprocess
from pathlib import Path

import pytest

from supervisor.cli.arguments import options_of
from supervisor.cli.commands import COMMANDS
from supervisor.cli.completion import script

SHOWN = [command for command in COMMANDS if not command.hidden]


@pytest.fixture
def complete(tmp_path: Path) -> "Completer":
    return Completer(tmp_path)


class Completer:
    """A real bash with our script, and an `atlasctl` that only knows names of services."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "completion.bash").write_text(script("bash"))
        fake = folder / "atlasctl"
        fake.write_text(
            f'#!/bin/sh\necho "$@" >{folder}/asked\n'
            'case "$*" in *_services) printf "tts\\nstt\\nозвучення\\n";; '
            '*_models) printf "voice\\n";; *) exit 2;; esac\n'
        )
        fake.chmod(0o755)

    def __call__(self, *words: str) -> list[str]:
        """Return what bash offers for the last of these words."""
        test = (
            'source "$1/completion.bash"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
            '_atlasctl; printf "%s\\n" "${COMPREPLY[@]}"'
        )
        done = subprocess.run(
            ["bash", "-c", test, "bash", self.folder, "atlasctl", *words],
            env={"PATH": f"{self.folder}:/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        assert done.stderr == ""
        return done.stdout.split()

    def asked(self) -> str:
        return (self.folder / "asked").read_text().strip()


def test_commands(complete: Completer) -> None:
    assert complete("") == [command.name for command in SHOWN]
    assert complete("sta") == ["start", "status"]
    assert complete("-c", "x.yaml", "wh") == ["why"]


@pytest.mark.parametrize("command", SHOWN, ids=lambda command: command.name)
def test_options_of_every_command(complete: Completer, command: object) -> None:
    assert isinstance(command, type(SHOWN[0]))
    assert complete(command.name, "-") == options_of(command)


def test_services(complete: Completer) -> None:
    assert complete("logs", "") == ["tts", "stt", "озвучення"]
    assert complete("logs", "-n", "3", "-f", "t") == ["tts"]
    assert complete("why", "оз") == ["озвучення"]
    assert complete.asked() == "_services"
    assert complete("-c", "my file.yaml", "why", "s") == ["stt"]
    assert complete.asked() == "-c my file.yaml _services"


def test_models(complete: Completer) -> None:
    assert complete("models", "") == ["fetch", "verify", "list", "voice"]
    assert complete("models", "fetch", "v") == ["verify", "voice"]
    assert complete.asked() == "_models"


def test_values_and_files(complete: Completer) -> None:
    assert complete("--color", "a") == ["auto", "always"]
    assert complete("completion", "") == ["bash", "zsh", "fish"]
    assert complete("logs", "-n", "") == []
    assert complete("down", "") == []
    (complete.folder / "some.yaml").touch()
    assert complete("-c", "so") == ["some.yaml"]
    assert complete("validate", "so") == ["some.yaml"]
    assert complete("say", "-o", "so") == ["some.yaml"]
    assert complete("say", "--voice", "s") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_can_read_their_script(shell: str, tmp_path: Path) -> None:
    text = script(shell)  # type: ignore[arg-type]
    assert all(command.name in text for command in SHOWN)
    assert "@" not in text.replace("$@", "")
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"no {shell} on this machine")
    path = tmp_path / "script"
    path.write_text(text)
    subprocess.run([found, "-n", path], check=True, timeout=20)
