"""Shared by the tests of models: a server of files, and nothing left behind."""

import os
import socket
import threading
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.models.file_server import FileServer


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Every test leaves no thread, no child and no descriptor."""
    me = psutil.Process()
    before = me.num_fds()
    yield
    assert [t.name for t in threading.enumerate() if t is not threading.main_thread()] == []
    assert me.children(recursive=True) == []
    assert me.num_fds() == before


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

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find
