"""The archives of logs: folders beside the logs, one for each `clean`, named by when it was.

Kept true: a file is in one place at any instant, whole, raw or gzipped. So an archive whose making
was interrupted is one with raw files in it, and the next `clean` packs those; an older archive is
removed only when that has succeeded. What is not named as an archive is never touched.
"""

import contextlib
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator

from supervisor.logs.compression import pack
from supervisor.logs.rotation import PACKED

FOLDER = "archive"
LOCK = ".lock"
_NAME = re.compile(r"(\d{4}-\d{2}-\d{2}_\d{6})(?:-(\d{1,6}))?")
_UNFINISHED = f"{PACKED}.tmp"


class Archives:
    """All archives of one folder of logs. Changed only by who holds the lock in it."""

    def __init__(self, logs_dir: str) -> None:
        self.path = os.path.join(logs_dir, FOLDER)

    @property
    def lock(self) -> str:
        """The file that is locked by who changes something here."""
        return os.path.join(self.path, LOCK)

    def make_folder(self) -> None:
        """Make the folder of archives, for this user alone: services print secrets. OSError."""
        os.makedirs(self.path, 0o700, exist_ok=True)

    def folders(self) -> list[str]:
        """Return the archives, oldest first; links and what has another name are none."""
        found: list[tuple[str, int, str]] = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self.path) as entries:
            for entry in entries:
                named = _NAME.fullmatch(entry.name)
                if named is not None and entry.is_dir(follow_symlinks=False):
                    found.append((named[1], int(named[2] or 0), entry.path))
        return [path for _, _, path in sorted(found)]

    def begin(self, now: float) -> str:
        """Make a new archive, of the Unix time `now`, and return its folder. Raises OSError."""
        name = time.strftime("%Y-%m-%d_%H%M%S", time.localtime(now))
        taken = 0
        while True:
            folder = os.path.join(self.path, f"{name}-{taken}" if taken else name)
            try:
                os.mkdir(folder, 0o700)
            except FileExistsError:
                taken += 1
            else:
                return folder

    def drop_empty(self) -> None:
        """Remove archives in which an interrupted `clean` had put nothing yet."""
        for folder in self.folders():
            with contextlib.suppress(OSError):
                os.rmdir(folder)

    def unpacked(self) -> list[str]:
        """Return the raw files in all archives, smallest first: a full disk takes some of them."""
        raw = [
            (size, path)
            for folder in self.folders()
            for name, size in files_in(folder)
            if not name.endswith(PACKED)
            for path in (os.path.join(folder, name),)
        ]
        return [path for _, path in sorted(raw)]

    def superfluous(self, keep: int, newest: str | None) -> list[str]:
        """Return the archives that are more than `keep`, oldest first.

        `newest` is never among them, whatever a clock that was set back makes of its name.
        """
        others = [folder for folder in self.folders() if folder != newest]
        most = keep - (newest is not None)
        return others[: max(0, len(others) - most)]


def files_in(folder: str) -> list[tuple[str, int]]:
    """Return the regular files of a folder and their sizes, hidden ones left out."""
    with os.scandir(folder) as entries:
        return sorted(
            (entry.name, entry.stat(follow_symlinks=False).st_size)
            for entry in entries
            if not entry.name.startswith(".")
            and not entry.name.endswith(_UNFINISHED)
            and entry.is_file(follow_symlinks=False)
        )


def gzip_in_place(path: str) -> None:
    """Put a gzip in the place of a raw file; OSError, and then the raw file is as it was."""
    with _opened(path) as source:
        pack(source, path + _UNFINISHED)
    os.rename(path + _UNFINISHED, path + PACKED)
    os.unlink(path)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)


def remove(folder: str) -> None:
    """Remove an archive with all that is in it. Raises OSError."""
    shutil.rmtree(folder)
