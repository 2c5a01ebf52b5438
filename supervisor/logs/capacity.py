"""How many files a process may open, raised as far as the system lets us."""

from __future__ import annotations

import contextlib
import resource

MOST_FILES = 65_536
"""More than 2000 services can need; some systems' hard limit is a thousand million."""
SURE_FILES = 10_240
"""OPEN_MAX of macOS, which refuses more than this or kern.maxfilesperproc, and says "unlimited"."""


def raise_file_limit() -> int:
    """Raise the soft RLIMIT_NOFILE towards the hard one; return the limit that holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited:
        return MOST_FILES
    for wanted in (MOST_FILES, SURE_FILES):
        most = wanted if hard == unlimited else min(wanted, hard)
        if most > soft:
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
                return most
    return soft
