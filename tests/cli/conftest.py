"""Shared by the tests of the command line."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.cli.__main__ import main
from tests.cli.fleets import Ctl

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


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A folder with the YAML of the test's module, which is where commands are run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ATLAS_CONFIG", raising=False)
    # The path of tmp_path may be too long for a socket; then it is made here.
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "services.yaml").write_text(request.module.YAML)
    return tmp_path


@pytest.fixture
def ctl(root: Path, capsys: pytest.CaptureFixture[str]) -> Ctl:
    """Run a command in this process."""

    def run(*argv: str) -> tuple[int, str, str]:
        code = main(argv)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
