"""One text on its way to the ear: one thread brings what comes, another takes what can be heard."""

import threading

from supervisor.cli.speech.recording import Recording


class Utterance:
    """What has come of it, and how far it was taken; for one thread at either end."""

    def __init__(self, folder: str) -> None:
        """Keep sound in this folder. Raises OSError, as the other methods do."""
        self._folder = folder
        self._changed = threading.Condition()
        self._recording = Recording(folder)
        self._before: Recording | None = None
        """What was heard of an attempt that broke off."""
        self._taken = 0
        self._whole = False
        self._failure: BaseException | None = None

    @property
    def is_begun(self) -> bool:
        """Whether some of it was taken already."""
        return self._taken > 0

    def close(self) -> None:
        """Give up what is kept."""
        self._recording.close()
        if self._before is not None:
            self._before.close()

    def restart(self) -> None:
        """Begin the next attempt, whose reply comes from the start again."""
        with self._changed:
            if self._taken and self._before is None:
                self._before = self._recording
            else:
                self._recording.close()
            self._recording = Recording(self._folder)

    def append(self, data: bytes) -> None:
        """Add what has come. Raises SpeechError when it is no WAV."""
        with self._changed:
            self._recording.append(data)
            self._changed.notify()

    def end(self) -> None:
        """Say that all has come. Raises SpeechError if there is nothing to hear."""
        with self._changed:
            self._recording.end()
            self._whole = True
            self._changed.notify()

    def fail(self, failure: BaseException) -> None:
        """Say that no more will come, and why."""
        with self._changed:
            self._failure = failure
            self._changed.notify()

    def take(self, path: str) -> float | None:
        """Wait for what can be heard next, write it to a file and return its seconds.

        That is all up to the last pause, or to the end if that is there. None: it was all taken.
        Raises what it failed with once nothing is left to hear. Who brings it bounds the wait.
        """
        with self._changed:
            while True:
                end = self._reach()
                start = self._taken
                if end > start:
                    self._taken = end
                    return self._recording.write(path, start, end)
                if self._whole:
                    return None
                if self._failure is not None:
                    raise self._failure
                self._changed.wait()

    def _reach(self) -> int:
        """Return how far it can be heard; a new attempt may put `_taken` back to its start."""
        recording = self._recording
        if self._before is not None:
            if recording.size < self._taken and not self._whole:
                return self._taken
            # Another engine sounds different: then it is heard from its start.
            if not recording.begins_as(self._before, self._taken):
                self._taken = 0
            self._before.close()
            self._before = None
        return recording.size if self._whole else recording.last_pause
