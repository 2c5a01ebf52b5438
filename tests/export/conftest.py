"""Shared by the tests of the exports."""

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from supervisor.export.exported import Exported

FOLDER = Path(__file__).parent / "golden"

Golden = Callable[[Exported], None]


@pytest.fixture
def golden() -> Golden:
    """Compare files with those in `golden`; ATLAS_UPDATE_GOLDEN=1 writes them anew."""

    def check(exported: Exported) -> None:
        for file in exported.files:
            path = FOLDER / file.name
            if os.environ.get("ATLAS_UPDATE_GOLDEN") == "1":
                path.parent.mkdir(exist_ok=True)
                path.write_text(file.text, encoding="utf-8")
            assert path.read_text(encoding="utf-8") == file.text, f"differs from {path.name}"

    return check


@pytest.fixture(scope="session")
def schemas_read_once() -> Iterator[None]:
    """Each validation would read 2 MB of JSON anew."""
    utils = pytest.importorskip("kubernetes_validate").utils
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "schema_contents", cache(utils.schema_contents))
        yield
