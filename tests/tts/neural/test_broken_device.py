"""The incident again: a GPU that raises its text. Now there is speech, and the reason is told."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.tts.processes import health, say

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.tts.processes import ServerProcess

MODULE = "tests.tts.neural.children.broken_device"


LOADING = 120.0
"""Seconds in which espnet is imported on a machine that has other work."""


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline, pause = time.monotonic() + LOADING, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"in {LOADING:g} s it did not happen that {what}"
        pause.wait(0.05)


def words(url: str, key: str) -> str:
    return str(health(url)[key])


def is_speech(url: str) -> bool:
    answer = say(url, "Привіт, як справи?", return_audio=True)
    return answer.status_code == 200 and answer.content[:4] == b"RIFF" and len(answer.content) > 9e3


@pytest.mark.parametrize("device", ["auto", "mps"])
def test_a_gpu_that_fails_at_every_call(
    launch: Callable[..., ServerProcess], tiny: Path, device: str
) -> None:
    server = launch(
        *("--port", "0", "--device", device, "--model-dir", str(tiny)),
        engine="auto",
        module=(MODULE,),
    )
    url = server.wait_until_ready()
    assert is_speech(url)
    eventually(lambda: words(url, "engine") == "ukrainian", "the neural voice speaks")
    assert words(url, "device") == "cpu"
    for key in ("device_reason", "notice"):
        assert "aten::_weight_norm_interface" in words(url, key)
        assert "PYTORCH_ENABLE_MPS_FALLBACK=1" in words(url, key)
    assert is_speech(url)


def test_a_gpu_that_fails_in_the_middle_of_service(
    launch: Callable[..., ServerProcess], tiny: Path
) -> None:
    # The trial sentence twice and the warm-up word; the next is the first request's.
    server = launch(
        *("--port", "0", "--device", "mps", "--model-dir", str(tiny)),
        engine="auto",
        module=(MODULE, "--works", "3"),
    )
    url = server.wait_until_ready()
    eventually(lambda: words(url, "device") == "mps", "the GPU speaks")
    assert is_speech(url)
    eventually(lambda: words(url, "device") == "cpu", "the CPU has taken over")
    assert "PYTORCH_ENABLE_MPS_FALLBACK=1" in words(url, "notice")
    assert is_speech(url)
