"""Voices of random weights, and stand-ins for the model on devices that this machine lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from tests.voices import random_model

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session", autouse=True)
def _driver() -> None:
    """Calls CUDA once: its driver opens files then, and keeps them for as long as a process lives.

    A test that came first would be said to have left them.
    """
    if torch.cuda.is_available():
        torch.zeros(1, device="cuda")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a small voice; read it, and change copies only."""
    directory = tmp_path_factory.mktemp("tiny-voice")
    random_model.write(directory, "tiny")
    return directory
