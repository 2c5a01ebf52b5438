"""What is asked of launchd and of systemd alike, and how their programs are asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from supervisor.install.item import LoginItem
from supervisor.install.place import Place

_SHOWN: Final = 300
"""Characters of what a program said."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program has ended."""

    code: int | None
    """None: it is not there, or was ended since it took too long."""
    text: str
    """What it said, complaints last."""

    @property
    def ok(self) -> bool:
        """Whether it did what was asked."""
        return self.code == 0

    def quoted(self) -> str:
        """Return its first words: what is wrong stands before where to read more."""
        words = " ".join(line.strip() for line in self.text.strip().splitlines()[:2])
        if words:
            return words[:_SHOWN]
        return "it is not there, or does not answer" if self.code is None else f"code {self.code}"


Run = Callable[[Sequence[str]], Outcome]
"""Runs a program of the system to its end, for a bounded time."""


class ManagerError(Exception):
    """The service manager did not do it; the message quotes it and says what to do."""


class Manager(Protocol):
    """What starts the supervisor at login."""

    @property
    def place(self) -> Place:
        """Where the item's file is."""

    def text(self, item: LoginItem) -> str:
        """Return what the file is to say."""

    def commands(self) -> list[str]:
        """Return what a person would type to have the file used, as `install` does."""

    def enable(self) -> None:
        """See that the file, which is there, is used at the next login. Raises ManagerError."""

    def remove(self) -> None:
        """Remove the file, and see that nothing is started by it. Raises PlaceError.

        What runs goes on, and is started again after a crash as before.
        """

    def obstacle(self) -> str | None:
        """Return why nothing can be started by the item at present, or None if it can."""

    def daemon(self) -> int | None:
        """Return the pid of the daemon that the item has started and that lives."""

    def start(self) -> None:
        """Start the daemon unless it runs. Returns before it answers. Raises ManagerError."""

    def cancel(self) -> None:
        """See that none is started before the next `start` or login. Raises ManagerError.

        A daemon that was killed would be, after a while. None may run: it would be ended.
        """
