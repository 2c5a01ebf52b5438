"""Shared by the tests of models: a server of files, and nothing left behind."""

import os
import threading
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.e2e import conftest as e2e
from tests.models.file_server import FileServer


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Every test leaves no thread, no child and no descriptor."""
    me = psutil.Process()
    threads, children = set(threading.enumerate()), set(me.children(recursive=True))
    descriptors = me.num_fds()
    yield
    assert [t.name for t in threading.enumerate() if t not in threads] == []
    assert [c for c in me.children(recursive=True) if c not in children] == []
    # Fewer than before: something of an earlier test was collected meanwhile.
    assert me.num_fds() <= descriptors


@pytest.fixture(autouse=True)
def plain_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither proxies nor certificates of whoever runs the tests."""
    for name in list(os.environ):
        upper = name.upper()
        if upper.endswith(("_PROXY", "_CA_BUNDLE")) or upper.startswith("SSL_CERT"):
            monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        yield running


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Return a port on which nothing listens."""

    return e2e.free_port
