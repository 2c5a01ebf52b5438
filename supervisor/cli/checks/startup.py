"""Command lines that something else starts by itself: which of them start this system. Pure.

But for one look: where a command names no file, the file that `atlasctl` would find is this one.
"""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from supervisor.config.discovery import find_config
from supervisor.config.problems import ConfigError

OLD_SCRIPT: Final = "restart_system.sh"
_STARTING: Final = frozenset({"run", "start", "up"})
_WITH_VALUE: Final = frozenset({"-c", "--config", "--color"})
_SHELLS: Final = frozenset({"bash", "dash", "fish", "ksh", "sh", "zsh"})
_SHELL_OPTIONS: Final = frozenset({"-c", "-lc", "-ic", "-cl"})


@dataclass(frozen=True, slots=True)
class Start:
    """A command that a login item, a unit or a crontab starts."""

    argv: tuple[str, ...]
    where: str
    """The file that says so, or `crontab`."""
    environ: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "/"

    def starts(self, config: str) -> bool:
        """Tell whether this brings up the system of this YAML file."""
        found = self.config()
        return found is not None and os.path.realpath(found) == os.path.realpath(config)

    def config(self) -> str | None:
        """Return the YAML file of the system that this brings up, or None if it does not."""
        words = self._after_atlasctl()
        if words is None:
            return None
        named, verb = _read(words)
        if verb not in _STARTING:
            return None
        if named is not None:
            return os.path.join(self.cwd, named)
        try:
            return os.fspath(find_config(self.cwd, dict(self.environ)))
        except ConfigError:
            return None

    def calls_old_script(self) -> bool:
        """Tell whether this starts the old script, or runs a shell that does."""
        return any(os.path.basename(word) == OLD_SCRIPT for word in self._words())

    def _words(self) -> list[str]:
        shell = os.path.basename(self.argv[0]) in _SHELLS if self.argv else False
        if shell and len(self.argv) > 2 and self.argv[1] in _SHELL_OPTIONS:
            return split(self.argv[2])
        return list(self.argv)

    def _after_atlasctl(self) -> list[str] | None:
        words = self._words()
        for at, word in enumerate(words):
            module = word == "-m" and words[at + 1 : at + 2] == ["supervisor.cli"]
            if module or os.path.basename(word) == "atlasctl":
                return words[at + 1 + module :]
        return None


def split(line: str) -> list[str]:
    """Return the words of a shell's line; by spaces alone where its quotes do not match."""
    try:
        return shlex.split(line.replace(";", " ; ").replace("&&", " && "))
    except ValueError:
        return line.split()


def _read(words: Sequence[str]) -> tuple[str | None, str | None]:
    """Return the file that is named by -c, and the command."""
    config = verb = None
    left = iter(words)
    for word in left:
        option, equals, value = word.partition("=")
        if option in _WITH_VALUE:
            value = value if equals else next(left, "")
            config = config if option == "--color" else value
        elif word.startswith("-c") and not word.startswith("--"):
            config = word[2:]
        elif not word.startswith("-") and verb is None:
            verb = word
    return config or None, verb


def gone(argv: Sequence[str]) -> str | None:
    """Return why the program of a command line cannot be started by what expands nothing."""
    program = argv[0] if argv else ""
    if not program.startswith("/"):
        return f"{program or 'nothing'} is no absolute path"
    if not os.path.exists(program):
        return f"{program} is gone"
    return None if os.access(program, os.X_OK) else f"{program} cannot be executed"
