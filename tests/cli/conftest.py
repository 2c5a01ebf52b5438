"""Shared by the tests of the command line."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"

Golden = Callable[[str, list[str]], None]


@pytest.fixture
def golden() -> Golden:
    """Compare lines with a file; ATLAS_UPDATE_GOLDEN=1 writes it anew."""

    def check(name: str, lines: list[str]) -> None:
        text = "\n".join(lines) + "\n"
        path = GOLDEN / name
        if os.environ.get("ATLAS_UPDATE_GOLDEN") == "1":
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.read_text(encoding="utf-8") == text, f"differs from {path.name}"

    return check


@pytest.fixture
def kyiv_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make local time the same on every machine; a POSIX rule, so no zone files are needed."""
    monkeypatch.setenv("TZ", "EET-2EEST,M3.5.0/3,M10.5.0/4")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
