"""What each file must be: the YAML's own word first, then what the first fetch recorded."""

from dataclasses import dataclass
from os.path import join

from supervisor.core.models import ModelFile, ModelSpec
from supervisor.models.lockfile import Lock


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file: where from, where to, and what is known of it."""

    model: str
    name: str
    url: str
    path: str
    size: int | None
    """Bytes."""
    sha256: str | None
    source: str
    """Which file says so, for messages: `services.yaml`, `models.lock`, or empty."""
    moved: bool
    """It was recorded from another URL. What lies there is of that one, and says nothing."""
    recorded: bool
    """The lock file has this entry, as it is here."""


def wanted_files(
    spec: ModelSpec, lock: Lock, yaml_name: str, lock_name: str, *, forget: bool = False
) -> tuple[Wanted, ...]:
    """Return the files of a model; `forget` leaves out what was recorded of it."""
    return tuple(_wanted(spec, file, lock, yaml_name, lock_name, forget) for file in spec.files)


def _wanted(
    spec: ModelSpec, file: ModelFile, lock: Lock, yaml_name: str, lock_name: str, forget: bool
) -> Wanted:
    url = f"{spec.url}/{file.name}"
    entry = lock.get(spec.name, {}).get(file.name)
    known = None if entry is None or entry.url != url or forget else entry
    size, sha256 = file.size, file.sha256
    source = yaml_name if size is not None or sha256 is not None else ""
    recorded = known is not None
    if known is not None and sha256 is None:
        # The YAML may give the size alone; then what was recorded must not contradict it.
        recorded = size in (None, known.size)
        if recorded:
            size, sha256, source = known.size, known.sha256, source or lock_name
    elif known is not None:
        recorded = known.sha256 == sha256 and size in (None, known.size)
    return Wanted(
        model=spec.name,
        name=file.name,
        url=url,
        path=join(spec.directory, file.name),
        size=size,
        sha256=sha256,
        source=source,
        moved=entry is not None and entry.url != url and sha256 is None,
        recorded=recorded,
    )
