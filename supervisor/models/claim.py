"""One fetch at a time in a folder, by flock(2): the kernel frees it however the holder dies.

The file stays when the fetch has ended: between an unlink and the next open two fetches could each
hold a lock on a file of that name.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator

from supervisor.models.failures import ModelError

NAME = ".fetching"


@contextlib.contextmanager
def claim(directory: str) -> Iterator[None]:
    """Hold the folder, which is made if it is not there. Raises ModelError if another has it."""
    path = os.path.join(directory, NAME)
    try:
        os.makedirs(directory, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o644)
    except OSError as error:
        raise ModelError(
            f"{directory} cannot be written to: {error.strerror}",
            "mend that, or name another directory for the model in the YAML",
        ) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            who = f" (pid {pid})" if pid.isdecimal() else ""
            raise ModelError(
                f"another fetch{who} is at work in {directory}",
                "wait until it has ended; it is not in need of help",
            ) from None
        except OSError:
            pass  # a file system without locks: fetched all the same
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
