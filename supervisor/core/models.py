"""What a model is made of: files below one URL, and the folder that they belong in.

Nothing of this is a service's: `plan` shows nothing of it and the daemon ignores it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file. What is None here is recorded by the first fetch, in the lock file."""

    name: str
    size: int | None = None
    """Bytes."""
    sha256: str | None = None
    """64 lower-case hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model of the YAML; paths are absolute."""

    name: str
    url: str
    """Each file is at this URL, a slash, and its name. No slash at the end."""
    files: tuple[ModelFile, ...]
    directory: str
    look_in: tuple[str, ...] = ()
    """Folders, or patterns of folders, where an older installation may have left the files."""
