"""The neural voice as a user has it: fetched, started by the supervisor, heard; and when it fails.

The model is a tiny one of random weights, whose sentences last 10 frames a character: so a reply's
length tells whose text it is of.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import openai
import psutil
import pytest
import requests
import soundfile
import yaml

from services.tts.delivery import PAUSE_SECONDS
from services.tts.text import spoken
from tests.e2e.conftest import CHECKOUT, DEADLINE, System, eventually, free_port
from tests.models.file_server import FileServer, Stall

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

LOADING: Final = 120
"""Seconds that the neural voice may take to load, on a busy machine."""

FILES: Final = ("model.pth", "config.yaml", "spk_xvector.ark", "feats_stats.npz")
RATE: Final = 22_050
CLIENTS: Final = 16
REQUESTS_EACH: Final = 3

_PAUSE: Final = threading.Event()
"""Never set: waiting for it gives the processor to others."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the tiny voice, made in a process of its own: torch is large."""
    directory = tmp_path_factory.mktemp("voice")
    subprocess.run(
        [sys.executable, "-m", "tests.voices.random_model", "tiny", str(directory)],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
        timeout=3 * DEADLINE,
    )
    return directory


@dataclass(slots=True)
class Speech:
    """The shipped configuration in a folder of its own, run from this checkout's code."""

    system: System
    document: dict[str, Any]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def models(self) -> Path:
        return self.system.root / "models" / "ukrainian-tts"

    @property
    def service(self) -> dict[str, Any]:
        service: dict[str, Any] = self.document["services"]["tts"]
        return service

    def write(self) -> None:
        self.system.config.write_text(yaml.safe_dump(self.document, allow_unicode=True))

    def up(self) -> None:
        self.write()
        self.system.ctl("up")

    def say(self, text: str, *, wait: int = 0) -> requests.Response:
        return requests.post(
            f"{self.url}/tts",
            json={"text": text, "return_audio": True},
            headers={"Connection": "close", **({"Prefer": f"wait={wait}"} if wait else {})},
            timeout=wait + DEADLINE,
        )

    def health(self) -> dict[str, Any]:
        body: dict[str, Any] = requests.get(
            f"{self.url}/health", headers={"Connection": "close"}, timeout=DEADLINE
        ).json()
        return body

    def lay_down(self, voice: Path, *, without: Sequence[str] = ()) -> None:
        """Puts the files where the service looks for them."""
        self.models.mkdir(parents=True)
        for name in FILES:
            if name not in without:
                os.link(voice / name, self.models / name)


@pytest.fixture
def speech(tmp_path: Path) -> Iterator[Speech]:
    # Older copies of a model are looked for around the root too, so it has no neighbours.
    root = tmp_path / "alone" / "root"
    root.mkdir(parents=True)
    system = System(root)
    document = yaml.safe_load((CHECKOUT / "config" / "services.yaml").read_text())
    document["root"] = "."
    del document["services"]["dashboard"]
    made = Speech(system, document, free_port())
    service = made.service
    service["command"][0] = sys.executable
    service["cwd"] = str(CHECKOUT)
    service["sockets"] = {"http": f"localhost:{made.port}"}
    service["env"] |= {"TTS_MODEL_DIR": str(made.models), "TTS_CACHE_DIR": str(root / "cache")}
    del service["venv"]
    if "doctor" in service:
        service["doctor"]["command"][0] = sys.executable
    yield made
    system.close()


@contextlib.contextmanager
def fetching(speech: Speech) -> Iterator[subprocess.Popen[str]]:
    """`atlasctl models fetch` as it runs."""
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    child = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "supervisor.cli",
            "-c",
            str(speech.system.config),
            "models",
            "fetch",
        ],
        cwd=speech.system.root,
        env={**kept, "HOME": str(speech.system.root), "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def length(reply: bytes) -> float:
    """Seconds of a WAV that is as the contract says."""
    info = soundfile.info(io.BytesIO(reply))
    assert (info.samplerate, info.channels, info.subtype) == (RATE, 1, "PCM_16")
    return float(info.frames / info.samplerate)


def test_a_model_is_fetched_in_two_goes_and_speaks_through_every_api(
    speech: Speech, tiny: Path
) -> None:
    with FileServer() as server:
        server.serve({name: (tiny / name).read_bytes() for name in FILES})
        server.tricks.append(Stall(after=300_000))
        speech.document["models"]["ukrainian-tts"]["url"] = f"{server.url}/v1"
        speech.write()
        with fetching(speech) as first:
            assert server.reached.wait(DEADLINE)
            part = speech.models / "model.pth.part"
            eventually("the first bytes are on the disk", lambda: part.stat().st_size == 300_000)
            first.send_signal(signal.SIGINT)
            told, _ = first.communicate(timeout=DEADLINE)
            assert first.returncode != 0, told
        with fetching(speech) as second:
            told, _ = second.communicate(timeout=DEADLINE)
            assert second.returncode == 0, told
        assert [request.range for request in server.asked("model.pth")] == [None, "bytes=300000-"]
    for name in FILES:
        assert (speech.models / name).read_bytes() == (tiny / name).read_bytes()
    speech.system.ctl("models", "verify")

    speech.up()
    reply = speech.say("привіт, як справи?", wait=LOADING)
    assert (reply.status_code, reply.headers["X-TTS-Engine"]) == (200, "ukrainian")
    assert "X-TTS-Notice" not in reply.headers
    assert length(reply.content) > 1.0

    wanted = {"model": "tts-1", "voice": "alloy", "response_format": "wav"}
    reply = requests.post(
        f"{speech.url}/v1/audio/speech",
        json={**wanted, "input": "доброго ранку"},
        headers={"Connection": "close"},
        timeout=DEADLINE,
    )
    assert (reply.status_code, reply.headers["X-TTS-Engine"]) == (200, "ukrainian")
    assert length(reply.content) > 1.0

    with openai.OpenAI(base_url=f"{speech.url}/v1", api_key="none", max_retries=0) as client:
        answer = client.audio.speech.with_raw_response.create(
            model="tts-1", voice="alloy", response_format="wav", input="на добраніч"
        )
        assert answer.headers["X-TTS-Engine"] == "ukrainian"
        assert length(answer.content) > 1.0

    body = speech.health()
    assert (body["engine"], body["notice"]) == ("ukrainian", None)


def test_a_missing_file_is_named_with_its_cure_and_espeak_speaks(
    speech: Speech, tiny: Path
) -> None:
    speech.lay_down(tiny, without=["spk_xvector.ark"])
    speech.up()
    reply = speech.say("привіт")
    assert (reply.status_code, reply.headers["X-TTS-Engine"]) == (200, "espeak")
    assert length(reply.content) > 0.3

    def notice() -> str | None:
        told = speech.health()["notice"]
        return told if told and "spk_xvector.ark" in told else None

    told = eventually("the missing file is named", notice, LOADING)
    assert "atlasctl models fetch" in told
    heard = speech.say("знову")
    assert "spk_xvector.ark" in heard.headers["X-TTS-Notice"]

    def why() -> str | None:
        said = " ".join(speech.system.ctl("why", "tts").stdout.split())
        return said if told[:40] in said else None

    assert "atlasctl models fetch" in eventually("the supervisor tells of it", why)
    status = speech.system.service("tts")
    assert status["state"] == "healthy"
    assert "spk_xvector.ark" in status["notice"]
    assert "spk_xvector.ark" in speech.system.ctl("status").stdout


@pytest.mark.parametrize(
    "works",
    [
        pytest.param(0, id="from-the-start"),
        pytest.param(4, id="in-mid-service"),  # two trials, the warm-up, one request
    ],
)
def test_a_device_that_fails_is_heard_through_and_the_supervisor_says_what_helps(
    speech: Speech, tiny: Path, works: int
) -> None:
    speech.lay_down(tiny)
    double = ["-m", "tests.tts.neural.children.broken_device", "--works", str(works)]
    speech.service["command"] = [sys.executable, *double, "--device", "mps"]
    speech.up()
    for number in range(6):
        reply = speech.say(f"речення {'ще ' * number}раз", wait=LOADING if number == 0 else 0)
        assert reply.status_code == 200, reply.text
        assert length(reply.content) > 0.5

    def settled() -> dict[str, Any] | None:
        body = speech.health()
        on_the_cpu = (body["engine"], body["device"]) == ("ukrainian", "cpu")
        return body if on_the_cpu and body["notice"] else None

    body = eventually("the neural voice speaks on the CPU, and says why", settled, LOADING)
    assert (body["status"], body["tts_ready"]) == ("ok", True)
    for told in (body["notice"], speech.say("і ще").headers["X-TTS-Notice"]):
        assert "aten::_weight_norm_interface" in told
        assert "PYTORCH_ENABLE_MPS_FALLBACK=1" in told
    eventually(
        "the supervisor shows the remedy",
        lambda: "PYTORCH_ENABLE_MPS_FALLBACK=1" in speech.system.ctl("why", "tts").stdout,
    )
    status = speech.system.service("tts")
    assert status["state"] in ("healthy", "busy")
    assert status["restarts"] == 0


def test_a_rolling_restart_is_not_heard(speech: Speech, tiny: Path) -> None:
    """While the next run loads the voice, the one before speaks; the robot never does."""
    speech.lay_down(tiny)
    speech.up()
    assert speech.say("привіт", wait=LOADING).headers["X-TTS-Engine"] == "ukrainian"
    before = speech.system.service("tts")["run"]
    over = threading.Event()
    heard: list[tuple[int, str | None]] = []

    def listen() -> None:
        while not over.is_set():
            reply = speech.say(f"речення {len(heard)}")
            heard.append((reply.status_code, reply.headers.get("X-TTS-Engine")))

    with ThreadPoolExecutor(2) as pool:
        clients = [pool.submit(listen) for _ in range(2)]
        try:
            speech.system.ctl("restart", "--rolling", "tts")
            after = len(heard)
            eventually("the new run has answered", lambda: len(heard) > after + 4)
        finally:
            over.set()
        for client in clients:
            client.result(DEADLINE)
    assert speech.system.service("tts")["run"] == before + 1
    assert set(heard) == {(200, "ukrainian")}


def test_sixteen_clients_at_once_hear_their_own_text_or_are_asked_to_wait(
    speech: Speech, tiny: Path
) -> None:
    speech.lay_down(tiny)
    speech.service["command"] += ["--queue", "4"]
    speech.up()
    assert speech.say("привіт", wait=LOADING).headers["X-TTS-Engine"] == "ukrainian"
    held = psutil.Process(speech.system.service("tts")["pid"]).memory_info().rss
    start = threading.Barrier(CLIENTS)

    def client(number: int) -> int:
        """Returns how often it was asked to come again."""
        refused = 0
        start.wait(DEADLINE)
        for turn in range(REQUESTS_EACH):
            # Of each client others, and longer than its neighbour's by more than the tolerance.
            text = f"{'слово ' * (number + 2)}{'хпт'[turn]}."
            while (reply := speech.say(text)).status_code == 503:
                refused += 1
                assert int(reply.headers["Retry-After"]) >= 1
                _PAUSE.wait(0.05)
            assert (reply.status_code, reply.headers["X-TTS-Engine"]) == (200, "ukrainian")
            assert length(reply.content) == pytest.approx(expected(text), rel=0.02), text
        return refused

    with ThreadPoolExecutor(CLIENTS) as pool:
        refused = sum(pool.map(client, range(CLIENTS)))
    assert refused > 0
    status = speech.system.service("tts")
    assert status["state"] in ("healthy", "busy")
    assert status["restarts"] == 0
    # Libraries keep what they made for each length of sentence, up to some bound: without one of
    # ours on oneDNN's, the first 48 requests took 750 MiB.
    grown = psutil.Process(status["pid"]).memory_info().rss - held
    assert grown < 600 * 2**20, f"{grown / 2**20:.0f} MiB more than before"


def expected(text: str) -> float:
    """Seconds that the tiny voice makes of a text: 10 frames for each token and each end."""
    sentences = spoken(text).sentences
    frames = sum(10 * (len(sentence) + 1) for sentence in sentences)
    return frames * 256 / RATE + PAUSE_SECONDS * (len(sentences) - 1)
