"""Whether the files of the models are there, and how much is still to come."""

import os
from collections.abc import Iterator

from supervisor.cli.findings import OURS, Finding
from supervisor.cli.models import LOCK_NAME
from supervisor.cli.wording import count, listing
from supervisor.core.models import ModelSpec
from supervisor.core.spec import FleetSpec
from supervisor.models.condition import Present, Wrong, look
from supervisor.models.failures import ModelError
from supervisor.models.lockfile import Lock, read_lock
from supervisor.models.manifest import wanted_files


def models(fleet: FleetSpec) -> Iterator[Finding]:
    """Yield how the files of each model are, so far as can be told without reading all of them."""
    if not fleet.models:
        return
    try:
        lock = _lock_of(fleet)
    except ModelError as error:
        yield Finding(OURS, "models", "wrong", error.message, error.hint or None)
        return
    for model in fleet.models:
        yield _model(model, lock, os.path.basename(fleet.source))


def missing_bytes(fleet: FleetSpec) -> dict[str, int]:
    """Return by folder how much `models fetch` would bring, where the sizes are known.

    A lock file that cannot be read knows none: `models` tells of it.
    """
    try:
        lock = _lock_of(fleet)
    except ModelError:
        lock = {}
    wanted: dict[str, int] = {}
    for model in fleet.models:
        for file in wanted_files(model, lock, "", ""):
            here = not isinstance(look(file, thorough=False), Present)
            wanted[model.directory] = wanted.get(model.directory, 0) + here * (file.size or 0)
    return wanted


def _lock_of(fleet: FleetSpec) -> Lock:
    return read_lock(os.path.join(os.path.dirname(fleet.source), LOCK_NAME))


def _model(model: ModelSpec, lock: Lock, yaml_name: str) -> Finding:
    wanted = wanted_files(model, lock, yaml_name, LOCK_NAME)
    looked = [(file.name, look(file, thorough=False)) for file in wanted]
    fetch = f"atlasctl models fetch {model.name}"
    wrong = [f"{name} {found.why}" for name, found in looked if isinstance(found, Wrong)]
    if wrong:
        return Finding(OURS, "models", "wrong", f"{model.name}: {'; '.join(wrong)}", fetch)
    missing = [name for name, found in looked if not isinstance(found, Present)]
    if missing:
        # Whether a service can do without them, it knows itself.
        are = "is" if len(missing) == 1 else "are"
        text = f"{model.name}: {listing(missing)} {are} not there"
        return Finding(OURS, "models", "note", text, fetch)
    return Finding(OURS, "models", "ok", f"{model.name}: {count(len(wanted), 'file')}, all there")
