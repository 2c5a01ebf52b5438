import os
from collections.abc import Iterator

import psutil
import pytest


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Every test leaves as many descriptors as it found, and no child process."""
    me = psutil.Process()
    before = me.num_fds()
    yield
    assert me.num_fds() == before, os.listdir("/proc/self/fd" if os.path.isdir("/proc") else "/")
    assert me.children(recursive=True) == []
