"""The folders that the supervisor writes to."""

import os
from collections.abc import Iterator

from supervisor.cli.connection import short_path
from supervisor.cli.findings import OURS, Finding
from supervisor.core.spec import FleetSpec
from supervisor.posix.state import UnsafePathError, private_directory


def folders(fleet: FleetSpec) -> Iterator[Finding]:
    """Yield what keeps logs and state from being written, if anything does."""
    for check, path in (("logs_dir", fleet.logs_dir), ("state folder", fleet.state_dir)):
        if why := _unwritable(path):
            hint = "let it be yours (chown, chmod u+rwx), or name another folder"
            yield Finding(OURS, check, "wrong", f"{short_path(path)}: {why}", hint)
        elif check == "state folder" and os.path.lexists(path):
            try:
                private_directory(path)  # it is there, so this only looks
            except UnsafePathError as error:
                yield Finding(OURS, check, "wrong", f"the supervisor would not start: {error}")


def _unwritable(path: str) -> str | None:
    """Return why a folder cannot be written to, or made, or None if it can."""
    there = nearest(path)
    if not os.path.isdir(there):
        return f"{short_path(there)} is in the way, which is no directory"
    if os.access(there, os.W_OK | os.X_OK):
        return None
    made = "" if there == path else ", where it would have to be made"
    return f"you may not write to {short_path(there)}{made}"


def nearest(path: str) -> str:
    """Return the path itself if there is anything of that name, or what is nearest above it."""
    while not os.path.lexists(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path
