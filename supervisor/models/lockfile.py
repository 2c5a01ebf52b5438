"""`models.lock`: what each file was when it was first fetched. Made to be committed.

JSON, sorted, a line a value, so that a change of a model shows as a change of a few lines.
"""

import contextlib
import fcntl
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from supervisor.models.failures import ModelError

MAX_BYTES = 4 * 1024 * 1024
_WAIT = 5.0
"""Seconds for another `models fetch` to write its entry, which takes it a millisecond."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Recorded:
    """One file as it was fetched: from where, bytes, and 64 hexadecimal digits."""

    url: str
    size: int
    sha256: str


Lock = Mapping[str, Mapping[str, Recorded]]
"""By model, then by file."""


def read_lock(path: str) -> Lock:
    """Return what is recorded; nothing where there is no file. Raises ModelError if damaged."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} cannot be read: {error}", "mend it, or remove it") from None
    try:
        return _models(text)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(
            f"{path} is damaged: {error}",
            "restore it (git checkout), or remove it: the next fetch records everything anew",
        ) from None


def _models(text: str) -> Lock:
    if len(text) > MAX_BYTES:
        raise ValueError("it is larger than 4 MiB")
    whole = json.loads(text)
    if whole["version"] != 1:
        raise ValueError(f"version {whole['version']} is not one that this atlasctl reads")
    return {
        model: {name: _recorded(name, **fields) for name, fields in files.items()}
        for model, files in whole["models"].items()
    }


def _recorded(name: str, *, url: str, size: int, sha256: str) -> Recorded:
    if type(size) is not int or size <= 0 or not _SHA256.fullmatch(sha256):
        raise ValueError(f"{name} has no proper size and sha256")
    return Recorded(str(url), size, sha256)


def record(path: str, model: str, name: str, found: Recorded) -> None:
    """Write one entry, atomically; the others are kept. Raises ModelError."""
    folder = os.path.dirname(path)
    try:
        with _alone(folder):
            models = {known: dict(files) for known, files in read_lock(path).items()}
            if models.get(model, {}).get(name) == found:
                return
            models.setdefault(model, {})[name] = found
            _write(path, models)
    except OSError as error:
        raise ModelError(
            f"{path} cannot be written: {error.strerror}",
            "without it no later fetch could tell whether a file has changed",
        ) from None


def _write(path: str, models: Lock) -> None:
    plain = {
        model: {name: asdict(found) for name, found in files.items()}
        for model, files in models.items()
    }
    text = json.dumps({"version": 1, "models": plain}, indent=2, sort_keys=True, ensure_ascii=False)
    handle, temporary = tempfile.mkstemp(prefix=".models.lock.", dir=os.path.dirname(path))
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
            # mkstemp makes it private; this file is committed and read by everybody.
            os.fchmod(file.fileno(), 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def _alone(folder: str) -> Iterator[None]:
    """Hold the folder's own lock, so that two fetches lose no entry of each other's.

    A file system without locks (some NFS) does without: then the worst is an entry that the next
    fetch records again.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + _WAIT
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            except OSError:
                break
            else:
                break
        yield
    finally:
        os.close(descriptor)
