"""Exported for Kubernetes, as documents, and held against its published schemas."""

from typing import Any

import pytest
import yaml

from supervisor.core.spec import (
    HttpCheck,
    ServiceSpec,
)
from supervisor.export.kubernetes import render
from supervisor.export.kubernetes_pod import Cluster
from tests.export.specimens import (
    request,
)

kubernetes_validate = pytest.importorskip("kubernetes_validate")

RELEASES = ("1.34", "1.37")
"""The first in which all fields that are used are stable, and the newest that is known here."""
CLUSTER = Cluster(images={"": "example/atlas:1"}, namespace="voices", models="models")

Document = dict[str, Any]


def documents(*services: ServiceSpec, cluster: Cluster = CLUSTER, **more: object) -> list[Document]:
    (file,) = render(request(*services, **more), cluster).files
    return list(yaml.safe_load_all(file.text))


def one(found: list[Document], kind: str) -> Document:
    (document,) = [each for each in found if each["kind"] == kind]
    return document


def pod_of(*services: ServiceSpec, **more: Any) -> Document:
    found = documents(*services, **more)
    owner = next(each for each in found if each["kind"] in ("Deployment", "Job"))
    pod: Document = owner["spec"]["template"]["spec"]
    return pod


def container_of(*services: ServiceSpec, **more: Any) -> Document:
    (container,) = pod_of(*services, **more)["containers"]
    return dict(container)


def notes_of(*services: ServiceSpec, cluster: Cluster = CLUSTER) -> list[str]:
    return [note.line() for note in render(request(*services), cluster).notes]


def validate(found: list[Document], *releases: str) -> None:
    for document in found:
        for release in releases or RELEASES:
            kubernetes_validate.validate(document, release, strict=True)


def http(**more: Any) -> HttpCheck:
    return HttpCheck("127.0.0.1", 3001, "/health", **more)
