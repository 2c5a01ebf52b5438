"""`atlasctl why`, asked for the page.

A process of its own answers: it is the command itself, so the page and the terminal can never tell
two stories, and what it takes to read the whole journal is given back when it ends.
"""

import os
import subprocess
import sys
import threading
from typing import Final

SECONDS: Final = 15.0
NARROWEST, WIDEST = 60, 120
"""Columns that the command lays a story out for."""
LONGEST: Final = 16 * 1024
"""Characters of one story, which has fewer than 20 lines."""
_CODE: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class StoryError(Exception):
    """There is no story now; the message says why."""


class Stories:
    """One story at a time, and the last one kept for as long as nothing happens."""

    def __init__(self, config: str) -> None:
        self._config = config
        self._telling = threading.Lock()
        self._last: tuple[tuple[str, int, int], str] | None = None

    def tell(self, name: str, columns: int, latest_event: int) -> str:
        """Return the story of a service, in lines of so many columns. Raises StoryError."""
        columns = max(NARROWEST, min(WIDEST, columns))
        asked = (name, columns, latest_event)
        if not self._telling.acquire(timeout=1.0):
            raise StoryError("another story is being told")
        try:
            if self._last is not None and self._last[0] == asked:
                return self._last[1]
            text = self._ask(name, columns)
            self._last = (asked, text)
            return text
        finally:
            self._telling.release()

    def _ask(self, name: str, columns: int) -> str:
        words = (sys.executable, "-m", "supervisor.cli", "-c", self._config, "why", "--", name)
        try:
            done = subprocess.run(
                words,
                cwd=_CODE,
                env={**os.environ, "COLUMNS": str(columns), "NO_COLOR": "1"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise StoryError(f"atlasctl why did not answer within {SECONDS:g} s") from None
        except OSError as error:
            raise StoryError(f"cannot run atlasctl why: {error.strerror}") from None
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip()
            raise StoryError(said[:LONGEST] or f"atlasctl why ended with code {done.returncode}")
        return done.stdout.decode("utf-8", "replace")[:LONGEST]
