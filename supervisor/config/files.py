"""Files that a person names are read whole, up to a bound, and only if they are regular files.

A FIFO would keep the reader waiting, and /dev/zero would never end.
"""

import os
import stat


def read_regular(path: str, most: int) -> bytes:
    """Return up to `most` + 1 bytes, so that the caller can tell a file that is too large.

    Raises OSError, with a `strerror` that can be shown as “cannot be read: …”.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except ValueError:
        raise OSError(22, "its name holds a NUL character") from None
    # The descriptor is looked at before os.fdopen, which refuses a directory and leaks it.
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(21, "it is a directory")
        if not stat.S_ISREG(mode):
            raise OSError(22, "it is not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            return stream.read(most + 1)
    finally:
        os.close(descriptor)
