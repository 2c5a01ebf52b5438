"""A YAML stream for Kubernetes: what runs each service, leads to it, and scales it. Pure."""

import hashlib
import json
import math
from typing import Final

from supervisor.core.spec import Condition, ServiceSpec
from supervisor.export import kubernetes_names, kubernetes_pod, yaml_text
from supervisor.export.exported import Exported, ExportedFile, Note, Request
from supervisor.export.kubernetes_pod import Cluster, Pod
from supervisor.export.losses import fleet_losses, service_losses
from supervisor.export.yaml_text import Tree

FILE: Final = "kubernetes.yaml"
CHECKSUM: Final = "atlasctl/config"
"""Annotation of a pod that changes with its variables, so that a change of them rolls it."""

_BUSY: Final = 70
"""Per cent of the cores asked for, on average over the copies, above which there is another."""
_MARGIN: Final = 60
"""Seconds that a start may take beyond its own budget: to be placed and to fetch its image."""

_CARRIED: Final = frozenset(
    {
        "cwd",
        "depends_on",
        "env",
        "inherit_env",
        "limits.memory",
        "liveness",
        "ports",
        "readiness",
        "restart.policy",
        "sockets",
        "startup",
        "transaction",
        "stop.timeout",
    }
)
"""What the files have, or tell of themselves."""
_WHY: Final = {
    "env_files": "what it says now is in the Secret; a later change of it is not",
    "doctor": "stays with atlasctl",
    "limits.nice": "a container has none; --cpu is how much of the processor it is sure of",
    "limits.open_files": "is what the node gives its containers",
    "limits.processes": "is what the node gives its pods (podPidsLimit of the kubelet)",
    "logs": "the output is the container's log, which the node rotates",
    "remedies": "stay with atlasctl: nobody else knows what helps",
    "restart.backoff": "Kubernetes has its own: 10 s, doubled up to 5 min",
    "restart.give_up": "Kubernetes goes on trying (CrashLoopBackOff)",
    "restart.proven_after": "Kubernetes forgets earlier failures after 10 min",
    "stop.signal": "is STOPSIGNAL of the image, which is TERM mostly",
    "umask": "is what the image's program sets, 022 mostly",
    "user": "in the pod it is a number, that of the image",
    "venv": "the image's own Python runs it",
}


_OF_A_JOB: Final = {
    "restart.give_up": "a Job counts all its failures, not those of some time",
}
_LARGE: Final = 200_000
"""Bytes of a document. `kubectl apply` keeps a copy in an annotation, which has 256 KiB at most."""


def render(request: Request, cluster: Cluster) -> Exported:
    """Return one file with everything. Raises ExportError."""
    there = f"volume {cluster.models} is to have what their folders have here"
    away = "their files are in no pod; --models mounts a volume that has them"
    notes = list(fleet_losses(request.fleet, {"models": there if cluster.models else away}))
    names = kubernetes_names.names([service.name for service in request.services])
    documents: list[Tree] = []
    for service in request.services:
        documents += _workload(request, cluster, service, names, notes)
    texts = [yaml_text.dump([document]) for document in documents]
    large = any(len(text.encode()) > _LARGE for text in texts)
    apply = "apply --server-side" if large else "apply"
    lines = request.heading(notes, f"To use it: kubectl {apply} -f {FILE}")
    heading = "".join(f"# {line}\n" for line in lines)
    return Exported((ExportedFile(FILE, heading + "".join(texts)),), tuple(notes))


def _workload(
    request: Request,
    cluster: Cluster,
    service: ServiceSpec,
    names: dict[str, str],
    notes: list[Note],
) -> list[Tree]:
    """Return what one service becomes."""
    name = names[service.name]
    own: list[Note] = []
    pod = kubernetes_pod.build(request, cluster, service, names, own)
    notes += service_losses(service, _CARRIED, {**_WHY, **(_OF_A_JOB if pod.is_job else {})})
    notes += _dependencies(request, service)
    notes += own
    if name != service.name:
        notes.append(Note(service.name, "name", f"is called {name} there"))
    documents: list[Tree] = []
    told = _meta(cluster, name)
    variables = f"{name}-env"
    if pod.settings:
        documents.append(_data("ConfigMap", cluster, variables, name, pod.settings))
    if pod.secrets:
        documents.append(_data("Secret", cluster, variables, name, pod.secrets))
    if pod.questions:
        documents.append(_data("ConfigMap", cluster, f"{name}-probes", name, pod.questions))
    if pod.is_job:
        text = "cannot be changed: `kubectl delete job NAME`, before it is applied with a change"
        notes.append(Note(service.name, "Job", text))
        return [*documents, _job(service, told, pod)]
    if service.restart.policy != "always":
        text = "a Deployment starts it again, also after an end with code 0"
        notes.append(Note(service.name, "restart.policy", text))
    scales = _scales(service, cluster, notes)
    documents.append(_deployment(service, cluster, told, pod, scales=scales))
    if pod.ports:
        documents.append(_service(told, pod))
    if scales and cluster.most > cluster.least:
        documents.append(_autoscaler(cluster, told))
    if scales:
        documents.append(_budget(told))
    return documents


def _scales(service: ServiceSpec, cluster: Cluster, notes: list[Note]) -> bool:
    """Tell whether there may be several copies.

    Whoever lets the supervisor hold its sockets is made to run beside itself: that is how a
    rolling restart goes. Of any other service nothing says that two do not write the same file.
    """
    if not service.sockets:
        text = (
            "one copy, which ends before the next begins, also in a rollout: without `sockets` "
            "nothing says that two can run at once"
        )
        notes.append(Note(service.name, "replicas", text))
    elif cluster.least == 1:
        text = "one copy may be all there is: while its node is emptied nobody answers (--replicas)"
        notes.append(Note(service.name, "replicas", text))
    return bool(service.sockets)


def _dependencies(request: Request, service: ServiceSpec) -> list[Note]:
    notes = []
    exported = {each.name for each in request.services}
    for dependency in service.depends_on:
        if dependency.on not in exported:
            text = "is not among what was exported"
        elif dependency.condition is Condition.COMPLETED:
            text = "is not waited for; the service must fail while that is missing, and is retried"
        else:
            text = "is not waited for; until its readiness probe succeeds, requests to it fail"
        notes.append(Note(service.name, f"depends_on {dependency.on}", text))
    return notes


def _meta(cluster: Cluster, name: str, owner: str | None = None) -> dict[str, Tree]:
    labels = {**_selector(owner or name), "app.kubernetes.io/managed-by": "atlasctl"}
    where = {"namespace": cluster.namespace} if cluster.namespace else {}
    return {"name": name, **where, "labels": labels}


def _selector(name: str) -> dict[str, Tree]:
    return {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "atlas"}


def _data(kind: str, cluster: Cluster, name: str, owner: str, items: dict[str, str]) -> Tree:
    key = "stringData" if kind == "Secret" else "data"
    meta = _meta(cluster, name, owner)
    return {"apiVersion": "v1", "kind": kind, "metadata": meta, key: dict(items)}


def _template(name: str, pod: Pod) -> dict[str, Tree]:
    told = json.dumps([pod.settings, pod.secrets, pod.questions], sort_keys=True)
    checksum = hashlib.sha256(told.encode("utf-8", "backslashreplace")).hexdigest()[:16]
    meta: dict[str, Tree] = {"labels": _selector(name), "annotations": {CHECKSUM: checksum}}
    return {"metadata": meta, "spec": pod.spec}


def _deployment(
    service: ServiceSpec, cluster: Cluster, told: dict[str, Tree], pod: Pod, *, scales: bool
) -> Tree:
    name = str(told["name"])
    strategy: Tree = {"type": "Recreate"}
    if scales:
        # As a rolling restart: the new one is there before the old one goes.
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    # With an autoscaler the number is its own: written here, it would be reset by each `apply`.
    copies: dict[str, Tree] = (
        {}
        if scales and cluster.most > cluster.least
        else {"replicas": cluster.least if scales else 1}
    )
    budget = 0.0 if service.startup is None else service.startup.budget or 0.0
    slow = {"progressDeadlineSeconds": math.ceil(budget) + _MARGIN} if budget > 500 else {}
    spec: dict[str, Tree] = {
        **copies,
        **slow,
        "strategy": strategy,
        "selector": {"matchLabels": _selector(name)},
        "template": _template(name, pod),
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": told, "spec": spec}


def _job(service: ServiceSpec, told: dict[str, Tree], pod: Pod) -> Tree:
    give_up = service.restart.give_up
    tries = 0
    if service.restart.policy != "never":
        # None: never give up. The field has 32 bits.
        tries = 2**31 - 1 if give_up is None else give_up.after
    spec: dict[str, Tree] = {"backoffLimit": tries, "template": _template(str(told["name"]), pod)}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": told, "spec": spec}


def _service(told: dict[str, Tree], pod: Pod) -> Tree:
    ports: list[Tree] = [
        {"name": name, "port": port, "targetPort": name} for name, port in pod.ports
    ]
    spec: dict[str, Tree] = {"selector": _selector(str(told["name"])), "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": told, "spec": spec}


def _autoscaler(cluster: Cluster, told: dict[str, Tree]) -> Tree:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": told["name"]}
    busy: Tree = {
        "type": "Resource",
        "resource": {
            "name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": _BUSY},
        },
    }
    spec: dict[str, Tree] = {
        "scaleTargetRef": target,
        "minReplicas": cluster.least,
        "maxReplicas": cluster.most,
        "metrics": [busy],
    }
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": told,
        "spec": spec,
    }


def _budget(told: dict[str, Tree]) -> Tree:
    spec: dict[str, Tree] = {
        # Not minAvailable: with one copy that would forbid for ever to empty its node.
        "maxUnavailable": 1,
        # One that does not work is no reason to keep its node.
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": _selector(str(told["name"]))},
    }
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": told,
        "spec": spec,
    }
