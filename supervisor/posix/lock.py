"""One daemon per fleet, by flock(2): the kernel frees it however the holder dies.

The file is never unlinked: between an unlink and the next open two daemons could each hold a
lock on a file of that name.
"""

import errno
import fcntl
import os

from supervisor.posix.identity import ProcessIdentity, identify, is_alive
from supervisor.posix.state import UnsafePathError, check_own_file

EXIT_SECOND = 75
"""Code of a daemon that another was there before, for the command that has started it: that other
may be gone when the command comes to look. EX_TEMPFAIL of sysexits(3)."""

_LONGEST = 256
_ATTEMPTS = 5
"""Times that the file may vanish under us (somebody tidies up by hand) before we say so."""


def lock_path(state_dir: str) -> str:
    """Return where the daemon of the system with this state directory has its lock."""
    return os.path.join(state_dir, "lock")


class LockHeldError(Exception):
    """Another daemon holds the lock; `pid` is who, or None if it has not said yet."""

    def __init__(self, path: str, pid: int | None) -> None:
        who = "a process that has not written its pid yet" if pid is None else f"pid {pid}"
        super().__init__(f"another daemon runs already: {who} holds {path}")
        self.path = path
        self.pid = pid


class DaemonLock:
    """The held lock. It lasts until `release` or the end of the process; children lack it."""

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd: int | None = fd

    @classmethod
    def acquire(cls, path: str, inherited: int | None = None) -> "DaemonLock":
        """Take the lock without waiting. Raises LockHeldError or UnsafePathError.

        `inherited` is a descriptor that holds it already: a daemon that executes itself anew
        hands it on, and there is no moment at which another could have the lock.
        """
        for _ in range(_ATTEMPTS):
            fd, inherited = (_open(path) if inherited is None else inherited), None
            try:
                check_own_file(os.fstat(fd), path)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise LockHeldError(path, _holder(fd)) from None
                if _still_there(fd, path):
                    me = identify(os.getpid())
                    text = f"{os.getpid()} {me.started} {me.boot} {me.uid}\n" if me else ""
                    os.ftruncate(fd, 0)
                    os.pwrite(fd, text.encode(), 0)
                    lock, fd = cls(path, fd), -1
                    return lock
            finally:
                if fd >= 0:
                    os.close(fd)
        raise UnsafePathError(f"{path} is removed again and again while it is being locked")

    def fileno(self) -> int:
        """Return the descriptor that holds the lock."""
        assert self._fd is not None, "the lock was released"  # noqa: S101
        return self._fd

    def release(self) -> None:
        """Give the lock up. The file stays, and says nothing any more."""
        if self._fd is not None:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None


def is_locked(path: str) -> bool:
    """Tell whether a living process holds a lock on this file; False where there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def lock_holder(path: str) -> int | None:
    """Return the pid of the daemon that a lock file names and that lives, without locking."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _holder(fd)
    finally:
        os.close(fd)


def _open(path: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnsafePathError(f"{path} is a symbolic link: remove it") from None
        raise UnsafePathError(f"cannot open the lock {path}: {error.strerror}") from error


def _still_there(fd: int, path: str) -> bool:
    mine = os.fstat(fd)
    try:
        named = os.lstat(path)
    except FileNotFoundError:
        return False
    return (mine.st_dev, mine.st_ino) == (named.st_dev, named.st_ino)


def _holder(fd: int) -> int | None:
    words = os.pread(fd, _LONGEST, 0).decode("ascii", "replace").split()
    if len(words) != 4 or not all(words[at].isdecimal() for at in (0, 1, 3)):
        return None
    holder = ProcessIdentity(int(words[0]), int(words[1]), words[2], int(words[3]))
    return holder.pid if is_alive(holder) else None
