"""Where a login item's file is, and whether what is there is ours. Nothing is asked or started."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from supervisor.config.files import read_regular
from supervisor.install import names
from supervisor.posix.state import write_whole

_MOST: Final = 1024 * 1024
"""Bytes; a file that is larger is none of ours."""


class PlaceError(Exception):
    """The file cannot be written or removed; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the login item of one system belongs."""

    name: str
    """The label or the unit's name, by which the service manager knows it."""
    path: str

    def text(self) -> str | None:
        """Return what is in our file, or None if there is none. Raises PlaceError.

        A file of that name that is not ours is an error: somebody made it on purpose.
        """
        try:
            if os.path.islink(self.path):
                raise PlaceError(f"{self.path} is a symbolic link: remove it, then try again")
            text = read_regular(self.path, _MOST).decode("utf-8", "replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PlaceError(f"{self.path} cannot be read: {error.strerror}") from None
        if names.MARK not in text:
            raise PlaceError(
                f"{self.path} was not written by atlasctl, and stays as it is: move it away, then "
                "try again"
            )
        return text

    def is_for(self, config: str) -> bool:
        """Tell whether our file is there, and starts the system of this YAML."""
        try:
            text = self.text()
        except PlaceError:
            return False
        named = None if text is None else names.config_in(text)
        return named is not None and os.path.realpath(named) == os.path.realpath(config)

    def text_for(self, config: str) -> str | None:
        """Return what is in our file, which is to be for this YAML. Raises PlaceError.

        Two YAML files of one folder have one state, one supervisor, and one login item.
        """
        text = self.text()
        other = None if text is None else names.config_in(text)
        if other is not None and os.path.exists(other) and not self.is_for(config):
            raise PlaceError(
                f"{self.path} starts {other}, which shares its state with {config}: only "
                f"one of them can run; to remove it: atlasctl -c {shlex.quote(other)} uninstall"
            )
        return text

    def write(self, text: str) -> None:
        """Put the file there, whole or not at all. Raises PlaceError."""
        folder = os.path.dirname(self.path)
        try:
            os.makedirs(folder, exist_ok=True)
            owner = os.stat(folder).st_uid
            if owner != os.geteuid() == 0:
                raise PlaceError(f"{folder} is of uid {owner}: run this as that user, without sudo")
            # launchd takes no file that others may write to.
            write_whole(self.path, text.encode("utf-8"), mode=0o644, synced=True)
        except OSError as error:
            raise PlaceError(f"cannot write {self.path}: {error.strerror}") from None

    def remove(self) -> None:
        """Remove the file. Raises PlaceError."""
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise PlaceError(f"cannot remove {self.path}: {error.strerror}") from None


def place_of(state_dir: str, environ: Mapping[str, str], platform: str) -> Place:
    """Return where the item of the system with this state folder belongs.

    `platform` is as sys.platform has it.
    """
    home, name = environ.get("HOME") or os.path.expanduser("~"), names.system_name(state_dir)
    if platform == "darwin":
        label = names.label(name)
        return Place(label, os.path.join(home, "Library", "LaunchAgents", f"{label}.plist"))
    config = environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    unit = names.unit_name(name)
    return Place(unit, os.path.join(config, "systemd", "user", unit))
