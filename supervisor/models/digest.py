"""SHA-256 of a file, a piece at a time."""

import hashlib


def sha256_of(path: str) -> str:
    """Return 64 lower-case hexadecimal digits. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
