"""Voices of random weights, and stand-ins for the model on devices that this machine lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.voices import random_model

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a small voice; read it, and change copies only."""
    directory = tmp_path_factory.mktemp("tiny-voice")
    random_model.write(directory, "tiny")
    return directory
