"""Every class of error, with the words that a person reads. UPDATE_GOLDEN=1 writes them anew."""

import os
from pathlib import Path

import pytest
import yaml

from supervisor.config import ConfigError
from supervisor.config.compile import compile_file

CASES = sorted((Path(__file__).parent / "golden" / "errors").glob("*.yaml"))
ENVIRON = {"SET": "some text", "EMPTY": "", "TEN": "10"}


def test_there_are_cases() -> None:
    assert len(CASES) > 30


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_error_messages(case: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        compile_file(str(case), ENVIRON)
    said = str(caught.value).replace(f"{case.parent}/", "") + "\n"
    golden = case.with_suffix(".txt")
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(said, encoding="utf-8")
    assert said == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_messages_are_free_of_jargon(case: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        compile_file(str(case), ENVIRON)
    for problem in caught.value.problems:
        for word in ("pydantic", "Input should", "Value error", "NoneType", "Scalar", "[key]"):
            assert word not in str(problem)
        assert problem.hint, problem


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_without_libyaml_the_words_are_the_same(
    case: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yaml, "__with_libyaml__", False)
    with pytest.raises(ConfigError) as caught:
        compile_file(str(case), ENVIRON)
    said = str(caught.value).replace(f"{case.parent}/", "") + "\n"
    assert said == case.with_suffix(".txt").read_text(encoding="utf-8")
