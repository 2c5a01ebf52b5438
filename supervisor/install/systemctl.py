"""The user unit in force: systemctl(1), loginctl(1).

A unit is enabled by a link, which `systemctl enable` would make too; without it a unit can be
installed over ssh and in a container as well, where no manager of the user answers.
"""

import contextlib
import os
import re
import shlex
from dataclasses import dataclass
from typing import Final

from supervisor.install import systemd
from supervisor.install.item import LoginItem
from supervisor.install.manager import ManagerError, Outcome, Run
from supervisor.install.place import Place
from supervisor.posix.account import account_name
from supervisor.posix.state import write_whole

PROGRAM: Final = "systemctl"
LINGER: Final = "/var/lib/systemd/linger"
"""One file for each user whose units run without a login (loginctl(1))."""


@dataclass(frozen=True, slots=True)
class Systemctl:
    """One unit of this user's own service manager."""

    place: Place
    run: Run
    session: str
    """The folder that lasts as long as this user's manager: XDG_RUNTIME_DIR."""

    def _ask(self, *words: str) -> Outcome:
        return self.run((PROGRAM, "--user", *words))

    @property
    def _link(self) -> str:
        folder = os.path.join(os.path.dirname(self.place.path), f"{systemd.TARGET}.wants")
        return os.path.join(folder, self.place.name)

    @property
    def _kept(self) -> str:
        return os.path.join(self.session, "systemd", "user", self.place.name)

    def text(self, item: LoginItem) -> str:
        """Return the unit, for the systemd that is here. Raises ManagerError if none is."""
        answer = self.run((PROGRAM, "--version"))
        said = re.match(r"\s*systemd ([0-9]+)", answer.text)
        if said is None:
            raise ManagerError(
                f"there is no systemd here ({PROGRAM}: {answer.quoted()}): have something else run "
                f"this when you log in, as @reboot in crontab does: {shlex.join(item.command)}"
            )
        return systemd.render(item, int(said[1]))

    def commands(self) -> list[str]:
        """Return what enables and starts it."""
        name = shlex.quote(self.place.name)
        return [f"{PROGRAM} --user daemon-reload", f"{PROGRAM} --user enable --now {name}"]

    def enable(self) -> None:
        """Link the unit to what is reached at login, and let the manager read it."""
        wanted = os.path.join("..", self.place.name)
        try:
            os.makedirs(os.path.dirname(self._link), exist_ok=True)
            if not (os.path.islink(self._link) and os.path.exists(self._link)):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._link)
                os.symlink(wanted, self._link)
        except OSError as error:
            raise ManagerError(f"cannot make the link {self._link}: {error.strerror}") from None
        with contextlib.suppress(OSError):
            os.unlink(self._kept)
        self._ask("daemon-reload")

    def remove(self) -> None:
        """Remove unit and link. While it runs, the unit stays for as long as this session lasts.

        systemd goes by its own defaults for a unit that is gone. One of them is to kill all
        services with a supervisor that dies.
        """
        text = self.place.text()
        try:
            if text is not None and self.daemon() is not None:
                os.makedirs(os.path.dirname(self._kept), exist_ok=True)
                write_whole(self._kept, text.encode("utf-8"), mode=0o644)
            else:
                with contextlib.suppress(ManagerError):
                    self.cancel()
        except OSError as error:
            raise ManagerError(f"cannot write {self._kept}: {error.strerror}") from None
        self.place.remove()
        with contextlib.suppress(OSError):
            os.unlink(self._link)
        self._ask("daemon-reload")

    def obstacle(self) -> str | None:
        """Return why the unit cannot be started at present."""
        there = self._ask("show", "--property=Version")
        if there.ok:
            return None
        return f"no systemd of yours answers here ({PROGRAM} --user: {there.quoted()})"

    def daemon(self) -> int | None:
        """Return the unit's main process."""
        told = self._ask("show", "--property=MainPID", self.place.name)
        pid = re.fullmatch(r"MainPID=([1-9][0-9]*)", told.text.strip())
        return int(pid[1]) if told.ok and pid else None

    def start(self) -> None:
        """Start the unit, and wait a while for it to be ready."""
        self._ask("reset-failed", self.place.name)
        started = self._ask("start", self.place.name)
        if started.code:
            raise ManagerError(f"{PROGRAM} --user start: {started.quoted()}")

    def cancel(self) -> None:
        """Stop the unit: also one that waits to be started again is told so."""
        stopped = self._ask("stop", self.place.name)
        if stopped.code and self.obstacle() is None:
            raise ManagerError(f"{PROGRAM} --user stop {self.place.name}: {stopped.quoted()}")


def lingers(uid: int, folder: str = LINGER) -> bool:
    """Tell whether this user's units are started at boot, and stay when the user logs out."""
    return os.path.exists(os.path.join(folder, account_name(uid)))


def linger(run: Run) -> None:
    """Make them so. Raises ManagerError."""
    said = run(("loginctl", "enable-linger"))
    if not said.ok:
        raise ManagerError(f"loginctl enable-linger: {said.quoted()}")
