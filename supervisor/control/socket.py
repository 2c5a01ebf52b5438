"""Where the control socket is, and who may speak through it."""

import contextlib
import os
import socket
import stat
import struct
import sys
import zlib
from collections.abc import Mapping

NAME = "control.sock"
LONGEST = 103
"""Bytes of a Unix socket's path: sun_path is 104 on macOS and 108 on Linux, with the final NUL."""


class SocketPathError(Exception):
    """No usable place for the socket."""


class BindError(Exception):
    """The control socket cannot be bound; the message says why and what to do."""


def socket_path(state_dir: str, environ: Mapping[str, str] | None = None) -> str:
    """Return the path of the control socket of the system with this state directory.

    That is the state directory itself unless its name is too long for a socket; then it is a
    folder under the user's state home whose name is made from the state directory's. Daemon and
    clients come to the same answer. Raises SocketPathError.
    """
    path = os.path.join(state_dir, NAME)
    if len(os.fsencode(path)) <= LONGEST:
        return path
    mark = f"{zlib.crc32(os.fsencode(os.path.realpath(state_dir))):08x}"
    path = os.path.join(_state_home(os.environ if environ is None else environ), mark, NAME)
    if len(os.fsencode(path)) > LONGEST:
        raise SocketPathError(
            f"{path} is too long for a Unix socket ({LONGEST} bytes): "
            "move the project, or set XDG_STATE_HOME to a short path"
        )
    return path


def _state_home(environ: Mapping[str, str]) -> str:
    if named := environ.get("XDG_STATE_HOME"):
        return os.path.join(named, "atlasctl")
    home = environ.get("HOME") or os.path.expanduser("~")
    if sys.platform == "darwin":
        return os.path.join(home, "Library", "Application Support", "atlasctl")
    return os.path.join(home, ".local", "state", "atlasctl")


def peer_uid(connection: socket.socket) -> int:
    """Return the user at the other end of a Unix socket, as the kernel knows it.

    unix(7) SO_PEERCRED: pid, uid, gid. macOS, sys/ucred.h: struct xucred of LOCAL_PEERCRED.
    """
    if sys.platform == "linux":
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int(struct.unpack("=iII", credentials)[1])
    sol_local, local_peercred = 0, 1
    credentials = connection.getsockopt(sol_local, local_peercred, 76)
    version, uid = struct.unpack_from("=II", credentials)
    if version != 0:
        raise OSError(f"unknown version {version} of struct xucred")
    return int(uid)


def bind(path: str, backlog: int) -> socket.socket:
    """Bind at a temporary name with the right mode, then move it into place.

    So there is no moment at which the socket is there and others may connect, and a stale one is
    replaced. Anything else at the place is left alone. Raises BindError. The caller holds the
    daemon's lock: no living daemon has the name.
    """
    folder = os.path.dirname(path)
    # As long as the name itself: it may be of the greatest length that a socket can have.
    temporary = f"{path[:-1]}~"
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        found = os.stat(folder)
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise BindError(f"{folder} must be yours alone: chmod 700 {folder}")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        before = os.umask(0o177)
        try:
            listening.bind(temporary)
        finally:
            os.umask(before)
        listening.listen(backlog)
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                os.unlink(temporary)
                raise BindError(f"{path} is in the way and no socket: move it away")
        os.rename(temporary, path)
    except OSError as error:
        listening.close()
        raise BindError(f"cannot listen at {path}: {error.strerror or error}") from error
    except BindError:
        listening.close()
        raise
    return listening
