"""The pod of a service: one container, what it may do, and what it finds there. Pure."""

import math
import os.path
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from supervisor.core.spec import ProbeKind, ServiceSpec
from supervisor.export import kubernetes_names, kubernetes_probes, kubernetes_volumes
from supervisor.export.exported import Note, Request
from supervisor.export.kubernetes_place import Place, peers, reachable
from supervisor.export.secrets import secrets
from supervisor.export.variables import for_pod
from supervisor.export.yaml_text import Tree

USER: Final = 10001
"""As in services/tts/Containerfile: any number but 0 that no account of the node has."""
LEAVE: Final = 5
"""Seconds between "no new connections, please", which takes a while to get about, and SIGTERM."""

_LOW_PORTS: Final[list[Tree]] = [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]
_UNITS: Final = {"Gi": 2**30, "Mi": 2**20, "Ki": 2**10}


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

    def image(self, service: str, name: str) -> str:
        """Return the image of a service; `name` is what it is called in the cluster."""
        return self.images.get(service) or self.images.get("") or f"atlas-{name}:latest"


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
    place = Place(request.fleet.root, cluster.folder)
    others = peers(request, service, _reached(request, names), notes)

    def there(text: str) -> str:
        return others.named(place.moved(text))

    variables = for_pod(request, service, notes)
    settings = {key: there(value) for key, value in variables.plain.items()}
    hidden = {key: there(value) for key, value in variables.secret.items()}
    folder = place.inside(service.cwd)
    if folder is None:
        notes.append(Note(service.name, "cwd", "is not below root; the image's own is used"))
    shown = secrets(request, service, notes)
    words = [there(word) for word in shown.words("command", service.command)]
    command = _command(service, folder, words, notes)
    # A Job's container ends when it is done; nobody asks it anything, nor is led to it.
    probes = kubernetes_probes.Probes({}, {})
    if not is_job:
        probes = kubernetes_probes.build(service, ports, place, others, shown)
    else:
        _tell_of_job(service, ports, notes)

    volumes, mounts = kubernetes_volumes.build(request, cluster, service, place, settings, notes)
    if probes.files:
        volumes.append({"name": "probes", "configMap": {"name": f"{name}-probes"}})
        mounts.append({"name": "probes", "mountPath": kubernetes_probes.FOLDER, "readOnly": True})
    memory = {} if service.limits.memory is None else {"memory": quantity(service.limits.memory)}
    if service.limits.memory is None:
        text = "none is set: a container that takes too much takes it from its neighbours"
        notes.append(Note(service.name, "limits.memory", text))
    _tell_of_image(service, cluster, notes, needed=bool(service.sockets or probes.files))
    sources: list[Tree] = []
    if settings:
        sources.append({"configMapRef": {"name": f"{name}-env"}})
    if hidden:
        sources.append({"secretRef": {"name": f"{name}-env"}})
    container: dict[str, Tree] = {
        "name": name,
        "image": cluster.image(service.name, name),
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
            # Not every runtime lets one who is not root open them; every cluster allows this.
            **({"sysctls": _LOW_PORTS} if any(port < 1024 for _, port in ports) else {}),
        },
        "containers": [container],
        "volumes": volumes,
    }
    return Pod(
        spec=spec,
        ports=ports,
        settings=settings,
        secrets=hidden,
        questions=probes.files,
        is_job=is_job,
    )


def _is_job(service: ServiceSpec, ports: tuple[tuple[str, int], ...]) -> bool:
    """Tell whether its end may be its success; a Deployment starts again whatever has ended."""
    return service.restart.policy == "never" or (
        service.restart.policy == "on-failure" and not ports
    )


def _reached(request: Request, names: Mapping[str, str]) -> dict[str, str | None]:
    """Return by service the name at which a Service of the cluster leads to it, if one does."""
    return {
        each.name: None if _is_job(each, kubernetes_names.ports(each)) else names[each.name]
        for each in request.services
    }


def quantity(size: int) -> str:
    """Return bytes as Kubernetes writes them."""
    for unit, factor in _UNITS.items():
        if size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def _tell_of_image(
    service: ServiceSpec, cluster: Cluster, notes: list[Note], *, needed: bool
) -> None:
    if not cluster.images.get(service.name) and not cluster.images.get(""):
        text = (
            "atlas-NAME:latest, which is to be put where the nodes find it; --image names another"
        )
        notes.append(Note(service.name, "image", text))
    if needed:
        text = "must have `python` with this package, for sockets and for what probes ask"
        notes.append(Note(service.name, "image", text))


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


def _command(
    service: ServiceSpec, folder: str | None, words: list[str], notes: list[Note]
) -> list[str]:
    if "/" in words[0] and folder is not None:
        # From where the container starts, whatever the runtime makes of `./x`.
        words = [os.path.normpath(os.path.join(folder, words[0])), *words[1:]]
    if service.sockets:
        # Nobody hands over sockets here, so a small program opens them and becomes the service.
        opened = dict.fromkeys(
            f"{socket.name}={port}" for socket in service.sockets for _, port in socket.addresses
        )
        return ["python", "-m", "supervisor.export.listen", *opened, "--", *words]
    return reachable(service, words, notes) if service.ports else words
