"""The exported file really run by podman: minutes, root, a network; only with ATLAS_PODMAN=1."""

import faulthandler
import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("podman_run.sh")
MINUTES = 20


@pytest.mark.skipif(os.environ.get("ATLAS_PODMAN") != "1", reason="ATLAS_PODMAN is not 1")
def test_podman_plays_what_is_exported() -> None:
    assert shutil.which("podman"), "install what podman_run.sh names"
    # It may take longer than any other test may.
    faulthandler.cancel_dump_traceback_later()
    done = subprocess.run([SCRIPT], check=False, timeout=60 * MINUTES)
    assert done.returncode == 0
