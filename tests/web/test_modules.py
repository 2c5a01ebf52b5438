"""The page's modules without a browser: `tests/web/js/*.test.js`, run by Node."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.browser.chromium import no_browser

TESTS = sorted((Path(__file__).parent / "js").glob("*.test.js"))
TIMEOUT = 120.0


def node() -> str:
    """The Node that Playwright brings along, or else the machine's own."""
    found = importlib.util.find_spec("playwright")
    if found is not None and found.origin is not None:
        bundled = Path(found.origin).parent / "driver" / "node"
        if bundled.is_file():
            return str(bundled)
    return shutil.which("node") or no_browser("no Node here: install playwright, or node")


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name)
def test_modules(file: Path) -> None:
    done = subprocess.run(
        [node(), "--test-reporter=tap", str(file)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    passed = re.search(r"(?m)^# pass (\d+)$", done.stdout)
    assert passed is not None
    assert int(passed.group(1)) > 5
