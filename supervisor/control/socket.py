"""Where the control socket is, and who may speak through it."""

import os
import socket
import struct
import sys
import zlib
from collections.abc import Mapping

NAME = "control.sock"
LONGEST = 103
"""Bytes of a Unix socket's path: sun_path is 104 on macOS and 108 on Linux, with the final NUL."""


class SocketPathError(Exception):
    """No usable place for the socket."""


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
