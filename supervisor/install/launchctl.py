"""The launch agent in force: launchctl(1).

Two things make it awkward. `bootout` returns before the agent is gone, and `bootstrap` fails until
then, as it does now and then for no reason; so both are followed by looks at what is really loaded.
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from supervisor.install import launchd
from supervisor.install.item import LoginItem
from supervisor.install.manager import ManagerError, Outcome, Run
from supervisor.install.place import Place

PROGRAM: Final = "launchctl"
_PAUSES: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0)
"""Seconds between attempts, 11 in all."""
_FOR_NOW: Final = (5, 37)
"""EIO and EALREADY, by which `bootstrap` says that the agent is on its way in or out."""
_PID: Final = re.compile(r"^\s*pid = ([0-9]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Launchctl:
    """One launch agent of the user who is logged in at the screen."""

    place: Place
    uid: int
    run: Run
    pause: Callable[[float], None] = time.sleep

    @property
    def _domain(self) -> str:
        return f"gui/{self.uid}"

    @property
    def _target(self) -> str:
        return f"{self._domain}/{self.place.name}"

    def _ask(self, *words: str) -> Outcome:
        return self.run((PROGRAM, *words))

    def text(self, item: LoginItem) -> str:
        """Return the property list."""
        return launchd.render(item)

    def commands(self) -> list[str]:
        """Return what loads it, which starts it too."""
        return [
            f"{PROGRAM} enable {self._target}",
            f"{PROGRAM} bootstrap {self._domain} {self.place.path}",
        ]

    def enable(self) -> None:
        """Undo an earlier `launchctl disable`; who asks for a login item wants it on."""
        self._ask("enable", self._target)

    def remove(self) -> None:
        """Remove the file; unload what does not run: what runs would be ended with all services."""
        self.place.remove()
        if self._is_loaded() and self.daemon() is None:
            self.cancel()

    def obstacle(self) -> str | None:
        """Return why the agent cannot be loaded or started at present."""
        there = self._ask("print", self._domain)
        if there.code is None:
            return f"{PROGRAM}: {there.quoted()}"
        if not there.ok:
            return (
                f"nobody is logged in at the screen of this Mac as uid {self.uid} "
                f"({PROGRAM} print {self._domain}: {there.quoted()})"
            )
        if is_disabled(self._ask("print-disabled", self._domain), self.place.name):
            return (
                f"{self.place.name} is switched off: turn it on in System Settings, General, Login "
                f"Items, or: {PROGRAM} enable {self._target}"
            )
        return None

    def daemon(self) -> int | None:
        """Return the pid that launchd has for the agent."""
        told = self._ask("print", self._target)
        pid = _PID.search(told.text) if told.ok else None
        return int(pid[1]) if pid else None

    def start(self) -> None:
        """Load the agent, or start it where it is loaded and has ended."""
        if self._is_loaded() and self.daemon() is None:
            started = self._ask("kickstart", self._target)
            if not started.ok and self.daemon() is None:
                self.cancel()  # it is on its way out, or was loaded from another file
        if not self._is_loaded():
            self._load()

    def cancel(self) -> None:
        """Unload the agent, and wait until it is gone."""
        if not self._is_loaded():
            return
        said = self._ask("bootout", self._target)
        if not self._within(lambda: not self._is_loaded()):
            raise ManagerError(f"{PROGRAM} bootout {self._target}: {said.quoted() or 'no effect'}")

    def _is_loaded(self) -> bool:
        return self._ask("print", self._target).ok

    def _load(self) -> None:
        refusals: list[Outcome] = []

        def attempt() -> bool:
            said = self._ask("bootstrap", self._domain, self.place.path)
            if self._is_loaded():
                return True
            refusals.append(said)
            return not said.ok and said.code not in _FOR_NOW

        self._within(attempt)
        if refusals and not self._is_loaded():
            raise ManagerError(f"{PROGRAM} bootstrap {self._domain}: {refusals[-1].quoted()}")

    def _within(self, done: Callable[[], bool], pauses: Sequence[float] = _PAUSES) -> bool:
        """Return True once it is done, looking again after each pause; False if it never is."""
        for seconds in pauses:
            if done():
                return True
            self.pause(seconds)
        return done()


def is_disabled(told: Outcome, label: str) -> bool | None:
    """Return whether an agent is switched off, from what `print-disabled` told of its domain.

    None: nobody ever said, so its property list decides.
    """
    said = re.search(rf'"{re.escape(label)}" => (\w+)', told.text)
    return None if said is None else said[1] in ("disabled", "true")
