"""Which file system a folder is in, and whether it keeps what a supervisor relies on."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from supervisor.cli.connection import short_path
from supervisor.cli.findings import OURS, Finding
from supervisor.core.spec import FleetSpec

_NETWORK: Final = frozenset(
    {"9p", "afpfs", "afs", "ceph", "cifs", "davfs", "drvfs", "fuse.rclone", "fuse.sshfs"}
    | {"glusterfs", "macfuse", "nfs", "nfs4", "osxfuse", "prl_fs", "smb3", "smbfs", "vboxsf"}
    | {"vmhgfs", "webdav"}
)
"""Types whose locks and Unix sockets do not work, or not always, or only from one machine."""
_MEMORY: Final = frozenset({"ramfs", "tmpfs"})
_SYNCED: Final = {
    "Mobile Documents": "iCloud Drive",
    "CloudStorage": "a cloud's folder",
    "Dropbox": "Dropbox",
    "OneDrive": "OneDrive",
    "Google Drive": "Google Drive",
    "iCloudDrive": "iCloud Drive",
}
"""Names of folders whose files a program uploads, replaces and takes away to save space."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A file system and where it is."""

    point: str
    kind: str
    """As mount(8) names its type."""


def mounts() -> list[Mount]:
    """Return the file systems of this machine, in the order in which they were mounted."""
    import psutil

    return [Mount(each.mountpoint, each.fstype) for each in psutil.disk_partitions(all=True)]


def kind_of(path: str, known: Sequence[Mount]) -> str:
    """Return the type of the file system that an absolute path is in; empty if it is not known."""
    path = os.path.realpath(path)
    best = Mount("", "")
    for mount in known:
        inside = path == mount.point or path.startswith(mount.point.rstrip("/") + "/")
        if inside and len(mount.point) >= len(best.point):  # what came later covers the earlier
            best = mount
    return best.kind


def drawback(path: str, known: Sequence[Mount]) -> str | None:
    """Return why a folder is a bad place for locks, sockets and logs, or None."""
    for part in os.path.realpath(path).split(os.sep):
        if part in _SYNCED:
            return f"is in {_SYNCED[part]}, which may move or lock its files at any time"
    kind = kind_of(path, known)
    if kind in _NETWORK:
        return f"is on {kind}, where locks and sockets do not work as on a disk"
    if kind in _MEMORY:
        return f"is on {kind}, which a reboot empties"
    return None


def places(fleet: FleetSpec, known: Sequence[Mount]) -> Iterator[Finding]:
    """Yield where state or logs are in a folder that does not keep them as a disk would."""
    for what, folder in (("the state", fleet.state_dir), ("logs_dir", fleet.logs_dir)):
        if why := drawback(folder, known):
            hint = "keep the project in a folder of your own on a disk of this machine"
            yield Finding(OURS, "disk", "note", f"{what} ({short_path(folder)}) {why}", hint)
