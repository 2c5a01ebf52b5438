"""Moving a log, with all that was rotated of it, into another folder of the same file system.

Kept true: the caller is the log's only writer (the sink, or who holds the sink's lock while there
is none), so a name that was found stays that file's. Files go one by one, oldest first, by
rename(2): each is whole in one of the two places, and what an interruption leaves behind is newer
than what has gone. Nothing is written over.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from supervisor.logs.rotation import TIMES_FOLDER, family, times_name


def relocate(log: str, folder: str) -> None:
    """Move the files of the log at path `log` into `folder`, under the same names.

    A current file that is empty stays. Raises OSError at the first that cannot be moved.
    """
    home, base = os.path.split(log)
    for name in [*(rotated.name(base) for rotated in family(os.listdir(home), base)), base]:
        try:
            found = os.lstat(os.path.join(home, name))
        except FileNotFoundError:
            continue
        if stat.S_ISREG(found.st_mode) and (found.st_size or name != base):
            move(home, name, folder)
            _move_times(home, times_name(name), folder)


def move(home: str, name: str, folder: str) -> None:
    """Move one file from `home` to `folder`; OSError, also if one of this name is there."""
    target = os.path.join(folder, name)
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
    os.rename(os.path.join(home, name), target)


def _move_times(home: str, index: str, folder: str) -> None:
    """Without its times a log is only less handy, so no failure here is one of the move."""
    path = os.path.join(home, index)
    with contextlib.suppress(OSError):
        os.mkdir(os.path.join(folder, TIMES_FOLDER), 0o700)
    try:
        os.rename(path, os.path.join(folder, index))
    except OSError:
        # Better no times than those of another file.
        with contextlib.suppress(OSError):
            os.unlink(path)
