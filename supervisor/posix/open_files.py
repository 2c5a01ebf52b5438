"""Who has a file open: what somebody still writes must not be packed and removed under it."""

import os
from collections.abc import Collection


def openers(paths: Collection[str]) -> dict[str, int]:
    """Return which of these files another process has open, and the pid of one that has.

    Processes that may not be looked into (of other users) are passed over. One pass over all.
    """
    import psutil

    wanted = {os.path.realpath(path): path for path in paths}
    found: dict[str, int] = {}
    for process in psutil.process_iter() if wanted else ():
        if process.pid == os.getpid():
            continue
        try:
            opened = process.open_files()
        except (psutil.Error, OSError):
            continue
        for each in opened:
            if each.path in wanted:
                found.setdefault(wanted[each.path], process.pid)
    return found
