"""What relative paths are relative to, and where the state of a system is.

`atlasctl status` must answer in 0.15 s as a whole process, and compiling the YAML takes longer than
that. So `root:` is a line of its own with plain text on it and is found without a parser; the
compiler refuses a file in which this reading and the parser's differ, which makes it safe.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from supervisor.config.problems import ConfigError, Problem

STATE_DIR = ".atlas"
_ROOT = re.compile(
    rb"""^root:[ \t]+ (?: "([^"\\\r\n]*)" | '([^'\r\n]*)' | ([^"'\s#](?:[^#\r\n]*[^#\s])?) )
         [ \t]*(?:[ \t]\#.*)?\r?$""",
    re.MULTILINE | re.VERBOSE,
)
_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Folders:
    """What relative paths are relative to, and where `~` is; both absolute."""

    root: str
    home: str

    def absolute(self, path: str) -> str:
        """Return the path without `~`, `.` and `..`, taken from the root. Links are kept."""
        if path == "~" or path.startswith("~/"):
            path = self.home + path[1:]
        return os.path.normpath(os.path.join(self.root, path))


def read_root(data: bytes) -> str | None:
    """Return the text of the line `root: …`, or None if there is none."""
    found = _ROOT.search(data.removeprefix(b"\xef\xbb\xbf"))
    if found is None:
        return None
    return next(part for part in found.groups() if part is not None).decode("utf-8", "replace")


def state_dir(path: str | os.PathLike[str], environ: Mapping[str, str] | None = None) -> str:
    """Return the folder of the control socket for this YAML file, in a millisecond.

    The file need not be valid: what runs can be asked about while its YAML is being edited.
    Raises ConfigError if it cannot be read.
    """
    file = os.path.abspath(os.fspath(path))
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as stream:
            data = stream.read(_MAX_BYTES)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        hint = "name the YAML file of the system"
        raise ConfigError(
            [Problem(file, None, None, "", f"cannot be read: {reason}", hint)]
        ) from None
    home = (os.environ if environ is None else environ).get("HOME", "/")
    beside = Folders(os.path.dirname(file), home)
    return os.path.join(beside.absolute(read_root(data) or "."), STATE_DIR)
