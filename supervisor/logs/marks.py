"""The lines of our own in a log: where a run begins and ends, and what was lost."""

from __future__ import annotations

import time

PREFIX = "--- atlasctl "
"""What they begin with, followed by local ISO 8601 time with its offset."""
LONGEST_MARK = 1000


def mark_line(text: str, now: float) -> bytes:
    """Return a line of our own; control characters become spaces and long text is cut."""
    local = time.localtime(now)
    zone = time.strftime("%z", local)
    stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{int(now % 1 * 1000):03d}"
    clean = "".join(character if character.isprintable() else " " for character in text)
    line = f"{PREFIX}{stamp}{zone[:3]}:{zone[3:5]} {clean[:LONGEST_MARK]}\n"
    return line.encode("utf-8", "replace")
