"""The program of this machine that lets a WAV be heard."""

import shutil
from collections.abc import Mapping
from typing import Final

from supervisor.cli.asking import run_bounded
from supervisor.cli.exits import CommandError, ExitStatus
from supervisor.cli.terminal import printable
from supervisor.core.events import Exit, ExitCode
from supervisor.core.exits import describe_exit
from supervisor.posix.spawn import SpawnError

# The first is of every Mac. Of the others a machine may have some that have no sound server to
# play to, hence several; each plays a file, which not all do with what comes through a pipe.
PLAYERS: Final = (
    ("afplay",),
    ("pw-play",),
    ("paplay",),
    ("aplay", "-q"),
    ("ffplay", "-nodisp", "-autoexit", "-loglevel", "error"),
)
_INSTEAD: Final = "keep the sound in a file instead: atlasctl say -o FILE"
_SPARE: Final = 30.0
"""Seconds beyond the length of a sound that playing it may take: Bluetooth must wake up first."""


class Player:
    """Plays one file after the other. Nothing of it outlives `play`, Ctrl-C included."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Look for players on the PATH. Raises CommandError if there is none."""
        self._environ = environ
        path = environ.get("PATH")
        self._players = [words for words in PLAYERS if shutil.which(words[0], path=path)]
        self._complaints: list[str] = []
        if not self._players:
            names = ", ".join(words[0] for words in PLAYERS)
            raise CommandError(
                ExitStatus.NOT_REACHED, f"no player is here: looked for {names}", _INSTEAD
            )

    def play(self, path: str, seconds: float) -> None:
        """Play a file that lasts so long, to its end.

        A player that cannot is not tried again, and the next one is. Raises CommandError with what
        all of them have said.
        """
        while self._players:
            words = self._players[0]
            try:
                ran = run_bounded((*words, path), self._environ, "/", seconds + _SPARE)
            except SpawnError as error:
                why = error.why
            else:
                if ran.ending == ExitCode(0):
                    return
                why = ran.complaint() or _how(ran.ending)
            self._complaints.append(f"{words[0]}: {printable(why)}")
            del self._players[0]
        raise CommandError(
            ExitStatus.NOT_REACHED,
            f"nothing here can play it ({'; '.join(self._complaints)})",
            _INSTEAD,
        )


def _how(ending: Exit | None) -> str:
    return "did not come to its end" if ending is None else describe_exit(ending)
