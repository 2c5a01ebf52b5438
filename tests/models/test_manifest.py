"""Which word counts: the YAML's, what was recorded, or nobody's."""

import pytest

from supervisor.core.models import ModelFile, ModelSpec
from supervisor.models.lockfile import Recorded
from supervisor.models.manifest import wanted_files

URL = "https://h/v1"
A, B = "a" * 64, "b" * 64
HERE = Recorded(f"{URL}/f", 10, A)
ELSEWHERE = Recorded("https://h/v0/f", 10, A)


@pytest.mark.parametrize(
    ("size", "sha256", "entry", "forget", "expected"),
    [
        # size, sha256, source, moved, recorded
        (None, None, None, False, (None, None, "", False, False)),
        (None, None, HERE, False, (10, A, "models.lock", False, True)),
        (None, None, HERE, True, (None, None, "", False, False)),
        (None, None, ELSEWHERE, False, (None, None, "", True, False)),
        (10, None, None, False, (10, None, "s.yaml", False, False)),
        (10, None, HERE, False, (10, A, "s.yaml", False, True)),
        (11, None, HERE, False, (11, None, "s.yaml", False, False)),
        (None, A, HERE, False, (None, A, "s.yaml", False, True)),
        (None, B, HERE, False, (None, B, "s.yaml", False, False)),
        (11, A, HERE, False, (11, A, "s.yaml", False, False)),
        (None, B, ELSEWHERE, False, (None, B, "s.yaml", False, False)),
        (None, B, HERE, True, (None, B, "s.yaml", False, False)),
    ],
)
def test_what_counts(
    size: int | None,
    sha256: str | None,
    entry: Recorded | None,
    forget: bool,
    expected: tuple[object, ...],
) -> None:
    spec = ModelSpec("m", URL, (ModelFile("f", size, sha256),), "/models/m")
    lock = {"m": {"f": entry}} if entry else {}
    (found,) = wanted_files(spec, lock, "s.yaml", "models.lock", forget=forget)
    assert (found.size, found.sha256, found.source, found.moved, found.recorded) == expected
    assert (found.url, found.path) == (f"{URL}/f", "/models/m/f")
