"""The one secret of the dashboard, in a file that only this user can read.

It is made once and kept, so that a restart of the dashboard shuts out no open page. Whoever wants
another removes the file and restarts the dashboard.
"""

import contextlib
import os
import re
import secrets
from typing import Final

from supervisor.posix.state import UnsafePathError, check_own_file

NAME: Final = "dashboard.token"
_BYTES: Final = 32
_FORM: Final = re.compile(r"[A-Za-z0-9_-]{43}\n?")
_LONGEST: Final = 256
"""Bytes that are read of it."""


class TokenError(Exception):
    """There is no token to trust; the message says why and what to do."""


def obtain(state_dir: str) -> str:
    """Return the token, made just now if there was none. Raises TokenError."""
    path = os.path.join(state_dir, NAME)
    if not os.path.lexists(path):
        _make(path)
    return read(state_dir)


def read(state_dir: str) -> str:
    """Return the token that the dashboard has made. Raises TokenError."""
    path = os.path.join(state_dir, NAME)
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            found = os.fstat(file.fileno())
            check_own_file(found, path)
            text = file.read(_LONGEST).decode("ascii", "replace")
    except UnsafePathError as error:
        raise TokenError(str(error)) from None
    except OSError as error:
        raise TokenError(f"cannot read {path}: {error.strerror}") from None
    if found.st_mode & 0o077:
        raise TokenError(
            f"others could have read {path} (mode {found.st_mode & 0o777:04o}): remove it, and "
            "restart the dashboard, which makes another"
        )
    if not _FORM.fullmatch(text):
        raise TokenError(f"{path} holds no token: remove it, and restart the dashboard")
    return text.rstrip("\n")


def _make(path: str) -> None:
    # Written beside it and linked: the file is whole from its first moment, and of two dashboards
    # that begin at once, as in a rolling restart, one makes it and the other reads it.
    beside = f"{path}.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)  # one with our number was killed here
        with open(os.open(beside, flags, 0o600), "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(secrets.token_urlsafe(_BYTES) + "\n")
        try:
            os.link(beside, path)
        except FileExistsError:
            pass
        finally:
            os.unlink(beside)
    except OSError as error:
        raise TokenError(f"cannot make {path}: {error.strerror}") from None
