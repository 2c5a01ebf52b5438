"""Private directories, and files in them that nobody could have put a trap under."""

import contextlib
import os
import stat


class UnsafePathError(Exception):
    """A path is not what the daemon may trust; the message says why and what to do."""


def private_directory(path: str) -> None:
    """Make `path` a directory that only this user can enter, or prove that it is one.

    Missing parents are made with the umask's mode. Raises UnsafePathError: what exists is never
    repaired, since a mistyped path may be a directory that others share on purpose.
    """
    parent = os.path.dirname(os.path.abspath(path))
    try:
        os.makedirs(parent, exist_ok=True)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
        else:
            os.chmod(path, 0o700, follow_symlinks=os.chmod not in os.supports_follow_symlinks)
        found = os.lstat(path)
    except OSError as error:
        raise UnsafePathError(f"cannot make the directory {path}: {error.strerror}") from error
    if stat.S_ISLNK(found.st_mode):
        raise UnsafePathError(f"{path} is a symbolic link: name the directory it points to instead")
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafePathError(f"{path} is not a directory: move it away or name another one")
    if found.st_uid != os.geteuid():
        raise UnsafePathError(
            f"{path} belongs to uid {found.st_uid}, not to you (uid {os.geteuid()}): "
            "name a directory of your own"
        )
    if found.st_mode & 0o077:
        raise UnsafePathError(
            f"{path} can be entered by others (mode {stat.S_IMODE(found.st_mode):04o}): "
            f"run chmod 700 {path}, or name another directory"
        )


def write_whole(path: str, data: bytes, *, mode: int = 0o600, synced: bool = False) -> None:
    """Put a file of this mode there, in place of an older one: whoever opens it finds one of them.

    `synced`: also after a power cut. Raises OSError, and leaves everything as it was.
    """
    folder, name = os.path.split(path)
    beside = os.path.join(folder, f".{name}.{os.getpid()}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    # One with our pid, long dead, may have been killed right here. Unlinking removes a link
    # itself, and O_EXCL refuses whatever is put there in between.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)
    try:
        with open(os.open(beside, flags, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            if synced:
                file.flush()
                os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise


def check_own_file(found: os.stat_result, path: str) -> None:
    """Raise UnsafePathError unless `found`, of `path` itself, is a regular file of this user."""
    if stat.S_ISLNK(found.st_mode):
        raise UnsafePathError(f"{path} is a symbolic link: remove it")
    if not stat.S_ISREG(found.st_mode):
        raise UnsafePathError(f"{path} is not a regular file: move it away")
    if found.st_uid != os.geteuid():
        raise UnsafePathError(
            f"{path} belongs to uid {found.st_uid}, not to you (uid {os.geteuid()}): remove it"
        )
