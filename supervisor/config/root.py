"""What relative paths are relative to, and where the state of a system is.

`atlasctl status` must answer in 0.15 s as a whole process, and compiling the YAML takes longer than
that. So `root:` is a line of its own with plain text on it and is found without a parser; the
compiler refuses a file in which this reading and the parser's differ, which makes it safe.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from supervisor.config.files import read_regular
from supervisor.config.problems import ConfigError, Problem

STATE_DIR = ".atlas"
_ROOT = re.compile(rb"^root:[ \t]+([^\s#][^\r\n]{0,4096})\r?$", re.MULTILINE)
_COMMENT = re.compile(rb"(?:[ \t]+#.*)?[ \t]*")
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
    line = found[1]
    if line[:1] in (b'"', b"'"):
        text, closing, after = line[1:].partition(line[:1])
        if not closing or b"\\" in text or not _COMMENT.fullmatch(after):
            return None
    else:
        text = re.split(rb"[ \t]#", line, maxsplit=1)[0].rstrip(b" \t")
    return text.decode("utf-8", "replace")


def state_dir(path: str | os.PathLike[str], environ: Mapping[str, str] | None = None) -> str:
    """Return the folder of the control socket for this YAML file, in a millisecond.

    The file need not be valid: what runs can be asked about while its YAML is being edited.
    Raises ConfigError if it cannot be read.
    """
    file = os.path.abspath(os.fspath(path))
    try:
        data = read_regular(file, _MAX_BYTES)
    except OSError as error:
        hint = "name the YAML file of the system"
        raise ConfigError(
            [Problem(file, None, None, "", f"cannot be read: {error.strerror}", hint)]
        ) from None
    home = (os.environ if environ is None else environ).get("HOME", "/")
    beside = Folders(os.path.dirname(file), home)
    return os.path.join(beside.absolute(read_root(data) or "."), STATE_DIR)
