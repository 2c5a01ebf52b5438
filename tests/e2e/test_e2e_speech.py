"""The product: the shipped configuration on a port of its own, and a voice that survives."""

import io
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import soundfile
import yaml

from tests.e2e.conftest import CHECKOUT, DEADLINE, System, free_port


@pytest.fixture
def speech(tmp_path: Path) -> Iterator[tuple[System, int]]:
    """The tts service as config/services.yaml has it, run from this checkout's code."""
    system = System(tmp_path)
    port = free_port()
    document = yaml.safe_load((CHECKOUT / "config" / "services.yaml").read_text())
    service = document["services"]["tts"]
    service["command"][0] = sys.executable
    service["cwd"] = str(CHECKOUT)
    service["env"]["TTS_CACHE_DIR"] = str(tmp_path / "cache")
    service["sockets"] = {"http": f"localhost:{port}"}
    del service["venv"]
    system.write({"tts": service})
    yield system, port
    system.close()
    shutil.rmtree(tmp_path / "logs", ignore_errors=True)


def speak(port: int, text: str) -> requests.Response:
    return requests.post(
        f"http://127.0.0.1:{port}/tts",
        json={"text": text, "voice": "mykyta", "return_audio": True},
        timeout=DEADLINE,
    )


def test_up_leaves_a_voice_that_survives_a_kill(speech: tuple[System, int]) -> None:
    system, port = speech
    system.ctl("up")
    assert system.service("tts")["state"] == "healthy"
    events = system.ctl("events", "--json", "tts").stdout
    assert '"topic": "ready"' in events or '"topic":"ready"' in events

    reply = speak(port, "привіт")
    assert reply.status_code == 200
    info = soundfile.info(io.BytesIO(reply.content))
    samples, _ = soundfile.read(io.BytesIO(reply.content))
    assert (info.samplerate, info.channels, info.subtype) == (22050, 1, "PCM_16")
    assert len(samples) / info.samplerate > 0.3
    assert 0.94 <= float(abs(samples).max()) <= 0.96

    said = system.ctl("say", "-o", str(system.root / "said.wav"), "--voice", "mykyta", "привіт")
    assert "said.wav: " in said.stdout
    assert soundfile.info(system.root / "said.wav").duration > 0.3

    pid = system.service("tts")["pid"]
    os.kill(pid, signal.SIGKILL)
    asked = time.monotonic()
    # The held socket: the connection waits in the backlog for the next run.
    assert speak(port, "знову тут").status_code == 200
    assert time.monotonic() - asked < DEADLINE
    again = system.service("tts")
    assert again["pid"] != pid
    assert again["restarts"] == 1
    assert "SIGKILL" in system.ctl("why", "tts").stdout


def test_a_restart_refuses_nobody(speech: tuple[System, int]) -> None:
    system, port = speech
    system.ctl("up")
    assert requests.get(f"http://[::1]:{port}/health", timeout=DEADLINE).json()["tts_ready"] is True
    for _ in range(3):
        system.client().post("/v1/restart", {"services": ["tts"]})
        assert speak(port, "перезапуск").status_code in (200, 503)
    system.ctl("start", "tts")
