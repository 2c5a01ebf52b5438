"""Shared by the tests of notifications."""

import threading
from collections.abc import Iterator

import pytest

from tests.notify.hook_server import HookServer


@pytest.fixture
def hooks() -> Iterator[HookServer]:
    """A webhook's other end; at the end no thread of it is left."""
    before = set(threading.enumerate())
    with HookServer() as server:
        yield server
    left = [t for t in threading.enumerate() if t not in before and not t.daemon]
    assert left == []
