"""What a container can write to, and the models that it can read. Pure."""

import os.path
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from supervisor.core.spec import ServiceSpec
from supervisor.export import kubernetes_names, kubernetes_probes
from supervisor.export.exported import Note, Request
from supervisor.export.kubernetes_place import Place
from supervisor.export.yaml_text import Tree

if TYPE_CHECKING:
    from supervisor.export.kubernetes_pod import Cluster

_TEMPORARY: Final = "/tmp"  # noqa: S108 - in the container
_SCRATCH: Final = "1Gi"
_CACHE: Final = re.compile("CACHE", re.IGNORECASE)
_FOLDER: Final = re.compile("(?:DIR|PATH|HOME|FOLDER)$", re.IGNORECASE)


def build(
    request: Request,
    cluster: "Cluster",
    service: ServiceSpec,
    place: Place,
    settings: Mapping[str, str],
    notes: list[Note],
) -> tuple[list[Tree], list[Tree]]:
    """Return the volumes of a pod, and where its container has them."""
    volumes: list[Tree] = [{"name": "tmp", "emptyDir": {"sizeLimit": _SCRATCH}}]
    mounts: list[Tree] = [{"name": "tmp", "mountPath": _TEMPORARY}]
    models = _models(request, cluster, place)
    folder = place.inside(service.cwd) or cluster.folder
    kept = (folder, cluster.folder, kubernetes_probes.FOLDER, *models)
    names: dict[str, str] = {}
    for variable, path in _caches(folder, settings):
        if any(_is_below(each, path) for each in kept):
            text = f"{path} cannot be written to: an empty folder there would hide what is in it"
            notes.append(Note(service.name, variable, text))
            continue
        text = f"{path} is empty when a pod begins, and has {_SCRATCH} at most"
        notes.append(Note(service.name, variable, text))
        if _is_below(path, _TEMPORARY) or path in names.values():
            continue
        name = kubernetes_names.unused("cache", names)
        names[name] = path
        volumes.append({"name": name, "emptyDir": {"sizeLimit": _SCRATCH}})
        mounts.append({"name": name, "mountPath": path})
    if models and cluster.models is not None:
        source: dict[str, Tree] = (
            {"hostPath": {"path": cluster.models, "type": "Directory"}}
            if cluster.models.startswith("/")
            else {"persistentVolumeClaim": {"claimName": cluster.models, "readOnly": True}}
        )
        volumes.append({"name": "models", **source})
        mounts += (
            {"name": "models", "mountPath": path, **part, "readOnly": True}
            for path, part in models.items()
        )
    return volumes, mounts


def _caches(folder: str, settings: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Return each variable that names a folder for a cache, and the folder."""
    for name, value in settings.items():
        if not value or not _CACHE.search(name) or not ("/" in value or _FOLDER.search(name)):
            continue
        path = os.path.normpath(os.path.join(folder, value))
        # With a colon it is an address, and no path that can be mounted.
        if ":" not in path:
            yield name, path


def _models(request: Request, cluster: "Cluster", place: Place) -> dict[str, dict[str, Tree]]:
    """Return by path what of the volume of models is to be there."""
    made: dict[str, dict[str, Tree]] = {}
    for model in request.fleet.models:
        path = place.inside(model.directory) or model.directory
        parent = os.path.dirname(path)
        if _is_below(cluster.folder, parent):
            # The whole volume there would hide the program.
            made[path] = {"subPath": os.path.basename(path)}
        else:
            made[parent] = {}
    return made


def _is_below(path: str, folder: str) -> bool:
    """Tell whether a path is in a folder, or the folder itself."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")
