"""The beginning of a file that is being fetched, and what is needed to go on with it.

`model.pth.part` holds the bytes that came; `model.pth.part.json` beside it says from which URL and
of which version of the file they are. One without the other is worth nothing and is begun anew.
"""

import contextlib
import json
import os
from dataclasses import asdict, dataclass

_MAX_STATE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Version:
    """Which file the bytes are of, by what the server said of it."""

    url: str
    etag: str | None
    """A strong one; a weak one does not promise the same bytes (RFC 9110 section 8.8.1)."""
    last_modified: str | None
    size: int | None
    """Bytes of the whole; None if the server does not say."""

    @property
    def validator(self) -> str | None:
        """Return what If-Range takes."""
        return self.etag or self.last_modified


class Part:
    """The part of one file."""

    def __init__(self, destination: str) -> None:
        self.path = f"{destination}.part"
        self._state = f"{destination}.part.json"

    def length(self) -> int:
        """Return the bytes that are there, 0 if nothing is."""
        try:
            return os.stat(self.path, follow_symlinks=False).st_size
        except OSError:
            return 0

    def version(self, url: str) -> Version | None:
        """Return what the bytes are of; None if they are not of this URL, or nothing says so."""
        try:
            with open(self._state, "rb") as file:
                found = Version(**json.loads(file.read(_MAX_STATE)))
        except (OSError, ValueError, TypeError):
            return None
        kinds = (str, str | None, str | None, int | None)
        values = (found.url, found.etag, found.last_modified, found.size)
        sound = all(isinstance(value, kind) for value, kind in zip(values, kinds, strict=True))
        return found if sound and found.url == url else None

    def begin(self, version: Version) -> int:
        """Return a descriptor of an empty part of this version."""
        self.discard()
        with open(self._state, "w", encoding="utf-8") as file:
            json.dump(asdict(version), file)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self.path, flags, 0o644)

    def go_on(self) -> int:
        """Return a descriptor at the end of what is there."""
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)

    def discard(self) -> None:
        """Remove it."""
        for path in (self._state, self.path):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def become(self, destination: str) -> None:
        """Put the whole file, which is on the disk, in its place."""
        os.replace(self.path, destination)
        sync_folder(os.path.dirname(destination))
        self.discard()


def sync_folder(folder: str) -> None:
    """Let a rename outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
