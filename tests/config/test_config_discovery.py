from pathlib import Path

import pytest

from supervisor.config import ConfigError, discovery, find_config

REPOSITORY = Path(__file__).parents[2]


def _file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_the_variable_comes_first(tmp_path: Path) -> None:
    _file(tmp_path / "services.yaml")
    other = _file(tmp_path / "else" / "mine.yaml")
    assert find_config(tmp_path, {"ATLAS_CONFIG": str(other)}) == other
    assert find_config(tmp_path, {"ATLAS_CONFIG": "else/mine.yaml"}) == other


def test_a_variable_that_names_nothing_is_an_error(tmp_path: Path) -> None:
    _file(tmp_path / "services.yaml")
    with pytest.raises(ConfigError, match="ATLAS_CONFIG names this file, which does not exist"):
        find_config(tmp_path, {"ATLAS_CONFIG": str(tmp_path)})


def test_upwards_and_the_nearest_wins(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    top = _file(tmp_path / "services.yaml")
    assert find_config(deep, {}) == top
    near = _file(tmp_path / "a" / "services.yaml")
    assert find_config(deep, {}) == near
    nearer = _file(tmp_path / "a" / "config" / "services.yaml")
    assert find_config(deep, {}) == nearer


def test_the_checkout_comes_last(tmp_path: Path) -> None:
    assert find_config(tmp_path, {}) == REPOSITORY / "config" / "services.yaml"


def test_every_place_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "_checkout", lambda: str(tmp_path / "installed"))
    with pytest.raises(ConfigError) as caught:
        find_config(tmp_path / "x", {})
    said = str(caught.value)
    for place in ("x/config/services.yaml", "x/services.yaml", "installed/services.yaml"):
        assert str(tmp_path / place) in said
    assert "set ATLAS_CONFIG" in said
