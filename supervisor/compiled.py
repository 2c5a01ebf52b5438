"""What a configuration has come to, left in a file by one process for the one that goes on.

`up` compiles the YAML, and the daemon that it starts need not do that again (0.3 s). The trial
before an upgrade compiles it too: should somebody save half an edit between the trial and the new
code's start, the new code goes on by what was proven. Each file is read once, and gone then.
"""

import contextlib
import json
import os

from supervisor.config import codec
from supervisor.core.spec import FleetSpec
from supervisor.posix.state import UnsafePathError, check_own_file, write_whole


def path_of_ours(state_dir: str) -> str:
    """Return where a file of this process has its place."""
    return os.path.join(state_dir, f"compiled.{os.getpid()}")


def leave(spec: FleetSpec, path: str) -> bool:
    """Write it down for `take`; False if that cannot be."""
    try:
        write_whole(path, json.dumps(codec.encode(spec)).encode("ascii"))
    except OSError:
        return False
    return True


def take(path: str, config: str) -> FleetSpec | None:
    """Return what was left of this configuration at `path`, which is gone then, or None."""
    if not path:
        return None
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            check_own_file(os.fstat(fd), path)
            os.unlink(path)
            spec = codec.decode(FleetSpec, json.load(file))
    except (OSError, ValueError, UnsafePathError):
        # Gone after an upgrade, which starts us with the same arguments; or of another release.
        return None
    return spec if spec.source == os.path.abspath(config) else None


def discard(path: str) -> None:
    """Remove what nobody will take."""
    with contextlib.suppress(OSError):
        os.unlink(path)
