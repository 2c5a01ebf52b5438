"""The file for a collector that reads files: written again and again, and dead when we are.

A file that stays after its writer looks alive; so at the end it says `atlas_up 0` and nothing else.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, cast

from supervisor.control.client import ControlClient, ControlError, DaemonNotRunning
from supervisor.core.notify import MetricsFile
from supervisor.notify.errand import Remembered
from supervisor.posix.state import write_whole

if TYPE_CHECKING:
    from supervisor.control.messages import Metrics

TIMEOUT: Final = 5.0
DOWN: Final = """\
# HELP atlas_up Whether the supervisor runs and answers.
# TYPE atlas_up gauge
atlas_up 0
"""


class Collector:
    """Asks the daemon and writes the file, in a thread, until `over` is set."""

    def __init__(
        self,
        state_dir: str,
        metrics: MetricsFile,
        figures: Callable[[], Mapping[str, Remembered]],
        say: Callable[[str], None],
        over: threading.Event,
    ) -> None:
        self._client = ControlClient(state_dir, TIMEOUT)
        self._metrics = metrics
        self._figures = figures
        self._say = say
        self._over = over
        self._complained = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def finish(self) -> None:
        """Write what is so now for the last time: the daemon may be gone."""
        self._thread.join(TIMEOUT)
        self._write()

    def _run(self) -> None:
        while not self._over.is_set():
            self._write()
            self._over.wait(self._metrics.every)

    def _write(self) -> None:
        try:
            write(self._metrics.file, self._text())
        except OSError as error:
            self._complain(f"cannot write {self._metrics.file}: {error.strerror}")
        except Exception as error:  # noqa: BLE001 - people are told all the same
            self._complain(f"no figures can be had: {type(error).__name__}: {error}")
        else:
            self._complained = False

    def _text(self) -> str:
        # Only here: who wants no figures does not pay for the library.
        from supervisor.exposition import exposition

        try:
            return exposition(cast("Metrics", self._client.get("/v1/metrics")), self._figures())
        except (DaemonNotRunning, ControlError):
            return DOWN

    def _complain(self, text: str) -> None:
        if not self._complained:
            self._complained = True
            self._say(text)


def write(path: str, text: str) -> None:
    """Put the text there in one step, readable for all: a collector is another user.

    Raises OSError.
    """
    write_whole(path, text.encode("utf-8"), mode=0o644)


def mark_down(path: str) -> None:
    """Let the file say that the supervisor is down, if it is there at all."""
    if os.path.lexists(path):
        with contextlib.suppress(OSError):
            write(path, DOWN)
