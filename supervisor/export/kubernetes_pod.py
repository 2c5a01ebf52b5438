"""The pod of a service: one container, what it may do, and what it finds there. Pure."""

import math
import os.path
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from supervisor.core.spec import ProbeKind, ServiceSpec
from supervisor.export import kubernetes_names, kubernetes_probes
from supervisor.export.exported import Note, Request
from supervisor.export.variables import for_pod, shown_command
from supervisor.export.yaml_text import Tree

USER: Final = 10001
"""As in services/tts/Containerfile: any number but 0 that no account of the node has."""
LEAVE: Final = 5
"""Seconds between "no new connections, please", which takes a while to get about, and SIGTERM."""

_TEMPORARY: Final = "/tmp"  # noqa: S108 - in the container
_SCRATCH: Final = "1Gi"
_CACHE: Final = re.compile("CACHE", re.IGNORECASE)
_LISTENING: Final = re.compile(r"--?(?:[a-z]+-)*(?:host|bind|listen|address|addr|ip)")
_LOCAL: Final = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\]|::1)(?=:[0-9]+$|$)")
_PEER: Final = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\]):([0-9]{1,5})(?![0-9])")


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the YAML does not say, since one machine does not need it."""

    images: Mapping[str, str] = field(default_factory=dict)
    """By service; "" is for those that are not named."""
    namespace: str | None = None
    least: int = 1
    most: int = 3
    cpu: str = "500m"
    """Cores that each copy is sure of, as Kubernetes writes them."""
    models: str | None = None
    """A claim, or an absolute path on the nodes, with what the folders of models hold."""
    folder: str = "/app"
    """Where the image has what `root` has here."""

    def image(self, service: str) -> str:
        """Return the image of a service."""
        return self.images.get(service) or self.images.get("") or f"atlas-{service}:latest"


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod, and the data that it names."""

    spec: dict[str, Tree]
    ports: tuple[tuple[str, int], ...]
    settings: dict[str, str]
    secrets: dict[str, str]
    questions: dict[str, str]
    is_job: bool


def build(
    request: Request,
    cluster: Cluster,
    service: ServiceSpec,
    names: Mapping[str, str],
    notes: list[Note],
) -> Pod:
    """Return the pod of one service."""
    name = names[service.name]
    ports = kubernetes_names.ports(service)
    is_job = _is_job(service, ports)
    place = _Place(request.fleet.root, cluster.folder)
    variables = for_pod(request, service, notes)
    settings = {key: place.moved(value) for key, value in variables.plain.items()}
    folder = place.inside(service.cwd)
    if folder is None:
        notes.append(Note(service.name, "cwd", "is not below root; the image's own is used"))
    command = _command(request, service, place, notes)
    _tell_peers(request, service, (*command, *settings.values()), names, notes)
    # A Job's container ends when it is done; nobody asks it anything, nor is led to it.
    probes = kubernetes_probes.Probes({}, {})
    if not is_job:
        probes = kubernetes_probes.build(request, service, ports, notes)
    else:
        _tell_of_job(service, ports, notes)

    volumes, mounts = _volumes(request, cluster, place, folder, settings)
    if probes.files:
        volumes.append({"name": "probes", "configMap": {"name": f"{name}-probes"}})
        mounts.append({"name": "probes", "mountPath": kubernetes_probes.FOLDER, "readOnly": True})
    memory = {} if service.limits.memory is None else {"memory": str(service.limits.memory)}
    if service.limits.memory is None:
        text = "none is set: a container that takes too much takes it from its neighbours"
        notes.append(Note(service.name, "limits.memory", text))
    sources: list[Tree] = []
    if settings:
        sources.append({"configMapRef": {"name": f"{name}-env"}})
    if variables.secret:
        sources.append({"secretRef": {"name": f"{name}-env"}})
    container: dict[str, Tree] = {
        "name": name,
        "image": cluster.image(service.name),
        "imagePullPolicy": "IfNotPresent",
        # Doubled, `$` begins no variable.
        "command": [word.replace("$", "$$") for word in command],
    }
    if folder is not None:
        container["workingDir"] = folder
    if sources:
        container["envFrom"] = sources
    if ports:
        container["ports"] = [{"name": key, "containerPort": port} for key, port in ports]
    container |= probes.fields
    if ports and not is_job:
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": LEAVE}}}
    container["resources"] = {
        "requests": {"cpu": cluster.cpu, **memory},
        **({"limits": dict(memory)} if memory else {}),
    }
    container["securityContext"] = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    container["volumeMounts"] = mounts
    leave = LEAVE if ports and not is_job else 0
    spec: dict[str, Tree] = {
        **_job_policy(service, is_job=is_job),
        # A service called `tts` would give every pod TTS_PORT=tcp://…, and ours read TTS_PORT.
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        # So the service is not pid 1, which ignores a SIGTERM that it has no handler for and has
        # to reap what others leave.
        "shareProcessNamespace": True,
        "terminationGracePeriodSeconds": max(1, math.ceil(service.stop.timeout) + leave),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": volumes,
    }
    return Pod(
        spec=spec,
        ports=ports,
        settings=settings,
        secrets=dict(variables.secret),
        questions=probes.files,
        is_job=is_job,
    )


def _is_job(service: ServiceSpec, ports: tuple[tuple[str, int], ...]) -> bool:
    """Tell whether its end may be its success; a Deployment starts again whatever has ended."""
    return service.restart.policy == "never" or (
        service.restart.policy == "on-failure" and not ports
    )


def _tell_of_job(
    service: ServiceSpec, ports: tuple[tuple[str, int], ...], notes: list[Note]
) -> None:
    if any(service.probe(kind) is not None for kind in ProbeKind):
        text = "a Job is asked nothing: its end is its result"
        notes.append(Note(service.name, "probes", text))
    if ports:
        notes.append(Note(service.name, "ports", "no Service leads to a Job"))


def _job_policy(service: ServiceSpec, *, is_job: bool) -> dict[str, Tree]:
    if not is_job:
        return {}
    return {"restartPolicy": "Never" if service.restart.policy == "never" else "OnFailure"}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a path of this machine is in the container."""

    root: str
    folder: str

    def inside(self, path: str) -> str | None:
        """Return the path there, or None if it is not below root."""
        relative = os.path.relpath(path, self.root)
        if relative == os.pardir or relative.startswith(os.pardir + os.sep):
            return None
        return os.path.normpath(os.path.join(self.folder, relative))

    def moved(self, text: str) -> str:
        """Return a text in which a path below root is one there; anything else is unchanged."""
        if text == self.root or text.startswith(self.root.rstrip("/") + "/"):
            return self.inside(text) or text
        return text


def _command(request: Request, service: ServiceSpec, place: _Place, notes: list[Note]) -> list[str]:
    words = [place.moved(word) for word in shown_command(request, service, notes)]
    if service.sockets:
        # Nobody hands over sockets here, so a small program opens them and becomes the service.
        opened = dict.fromkeys(
            f"{socket.name}={port}" for socket in service.sockets for _, port in socket.addresses
        )
        return ["python", "-m", "supervisor.export.listen", *opened, "--", *words]
    return _reachable(service, words, notes) if service.ports else words


def _reachable(service: ServiceSpec, words: list[str], notes: list[Note]) -> list[str]:
    """Return a command that listens for the pod's neighbours too, where it says where it does."""
    made: list[str] = []
    changed = False
    for word in words:
        option, equals, value = word.partition("=")
        if equals and _LISTENING.fullmatch(option):
            word = f"{option}={_LOCAL.sub('0.0.0.0', value, count=1)}"  # noqa: S104
        elif made and _LISTENING.fullmatch(made[-1]):
            word = _LOCAL.sub("0.0.0.0", word, count=1)  # noqa: S104
        changed = changed or word != words[len(made)]
        made.append(word)
    if changed:
        text = "listens on 0.0.0.0 instead of on loopback, where nobody else could reach it"
    else:
        text = "must not be opened on loopback alone, where nobody else could reach it"
    notes.append(Note(service.name, "ports", text))
    return made


def _tell_peers(
    request: Request,
    service: ServiceSpec,
    texts: tuple[str, ...],
    names: Mapping[str, str],
    notes: list[Note],
) -> None:
    """Tell of other services that are spoken to by this machine's own address."""
    owners = {
        port: other.name
        for other in request.services
        if other.name != service.name
        for port in other.all_ports()
    }
    for text in texts:
        for match in _PEER.finditer(text):
            owner = owners.get(int(match[1]))
            if owner is not None:
                there = f"{names[owner]}:{match[1]}"
                notes.append(Note(service.name, match[0], f"is the pod itself; {owner} is {there}"))


def _volumes(
    request: Request,
    cluster: Cluster,
    place: _Place,
    folder: str | None,
    settings: Mapping[str, str],
) -> tuple[list[Tree], list[Tree]]:
    """Return what can be written to, and the models."""
    volumes: list[Tree] = []
    mounts: list[Tree] = []
    taken: dict[str, None] = {}

    def scratch(name: str, path: str) -> None:
        name = kubernetes_names.unused(name, taken)
        taken[name] = None
        volumes.append({"name": name, "emptyDir": {"sizeLimit": _SCRATCH}})
        mounts.append({"name": name, "mountPath": path})

    scratch("tmp", _TEMPORARY)
    caches = {
        os.path.normpath(os.path.join(folder or cluster.folder, value)): None
        for key, value in settings.items()
        if value and "\0" not in value and _CACHE.search(key) and "/" in value
    }
    for path in caches:
        if ":" not in path and path != _TEMPORARY and not path.startswith(_TEMPORARY + "/"):
            scratch("cache", path)
    if cluster.models is not None and request.fleet.models:
        source: dict[str, Tree] = (
            {"hostPath": {"path": cluster.models, "type": "Directory"}}
            if cluster.models.startswith("/")
            else {"persistentVolumeClaim": {"claimName": cluster.models, "readOnly": True}}
        )
        volumes.append({"name": "models", **source})
        parents = {os.path.dirname(model.directory): None for model in request.fleet.models}
        for parent in parents:
            path = place.inside(parent) or parent
            mounts.append({"name": "models", "mountPath": path, "readOnly": True})
    return volumes, mounts
