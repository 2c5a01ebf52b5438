"""A Unix socket in a folder of any depth, though a socket's name has 103 bytes at most."""

import contextlib
import os
from collections.abc import Iterator
from typing import Final

_LONGEST: Final = 103
"""sun_path is 104 on macOS and 108 on Linux, with the final NUL."""


@contextlib.contextmanager
def short_name(path: str) -> Iterator[str]:
    """Give a name of the socket at `path` that bind and connect take, good within. Raises OSError.

    Where the path is too long that is its last part, and the folder is the working directory of the
    whole process meanwhile: nothing may be awaited, and no other thread depend on it.
    """
    if len(os.fsencode(path)) <= _LONGEST:
        yield path
        return
    folder, name = os.path.split(path)
    back = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chdir(folder)
        yield name
    finally:
        os.fchdir(back)
        os.close(back)
