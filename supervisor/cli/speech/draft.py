"""A file that appears when it is whole, or not at all."""

import contextlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

from supervisor.cli.connection import short_path
from supervisor.cli.exits import CommandError, ExitStatus


@contextlib.contextmanager
def draft(path: str) -> Iterator[BinaryIO]:
    """Give a file to write, and read, and put it in its place at the end of the block.

    `-` is standard output. What is no regular file (a pipe, a device) is written to, once the block
    has come to its end. Raises CommandError where it cannot be written; OSError comes out as it is.
    """
    target = os.path.realpath(path)
    if path == "-" or _is_special(target):
        with tempfile.TemporaryFile() as file:
            yield file
            file.seek(0)
            if path == "-":
                shutil.copyfileobj(file, sys.stdout.buffer)
                return
            with open(target, "wb") as special:
                shutil.copyfileobj(file, special)
        return
    fresh = f"{target}.{os.getpid()}.new"
    try:
        with _created(fresh, path) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, target)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(fresh)


def _created(fresh: str, path: str) -> BinaryIO:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)
        return open(os.open(fresh, flags, 0o666), "w+b")
    except OSError as error:
        raise unwritable(path, error) from None


def unwritable(path: str, error: OSError) -> CommandError:
    """Return the error for a file that cannot be written."""
    return CommandError(
        ExitStatus.NOT_REACHED, f"cannot write {short_path(path)}: {error.strerror or error}"
    )


def _is_special(target: str) -> bool:
    try:
        mode = os.stat(target).st_mode
    except OSError:
        return False
    if stat.S_ISDIR(mode):
        raise CommandError(
            ExitStatus.USAGE, f"{short_path(target)} is a folder", "name a file in it"
        )
    return not stat.S_ISREG(mode)
