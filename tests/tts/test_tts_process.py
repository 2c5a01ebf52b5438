"""The process around the server: settings, sockets, addresses, exit codes."""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
from typing import TYPE_CHECKING

import psutil
import pytest
import requests

from services.tts import sockets
from services.tts.__main__ import Settings, settings
from tests.e2e.conftest import free_port
from tests.tts.doubles import PATIENCE
from tests.tts.processes import health, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.tts.processes import ServerProcess


def test_defaults() -> None:
    assert settings([], {}) == Settings(
        host="127.0.0.1",
        port=3001,
        device="auto",
        engine="auto",
        queue=8,
        sentence_limit=60.0,
        drain_timeout=8.0,
        model_dir="models/ukrainian-tts",
        exact=False,
        cache_dir=None,
        cache_bytes=256 * 1024 * 1024,
        doctor=False,
    )


def test_the_command_line_wins_over_the_environment() -> None:
    environ = {"TTS_PORT": "4000", "TTS_DEVICE": "mps", "REAL_TTS_MODE": "true"}
    from_env = settings([], environ)
    assert (from_env.port, from_env.device) == (4000, "mps")
    from_argv = settings(["--port", "5000", "--device", "cpu"], environ)
    assert (from_argv.port, from_argv.device) == (5000, "cpu")


def test_where_the_voice_and_the_phrases_are() -> None:
    environ = {"TTS_MODEL_DIR": "/m", "TTS_CACHE_DIR": "/c", "TTS_EXACT": "1"}
    from_env = settings([], environ)
    assert (from_env.model_dir, from_env.cache_dir, from_env.exact) == ("/m", "/c", True)
    argv = ["--model-dir", "m", "--cache-dir", "c", "--cache-size", "2"]
    from_argv = settings(argv, environ)
    assert (from_argv.model_dir, from_argv.cache_dir) == ("m", "c")
    assert from_argv.cache_bytes == 2 * 1024 * 1024
    assert settings(["--exact"], {"TTS_EXACT": "0"}).exact
    assert not settings([], {"TTS_EXACT": "0"}).exact


def test_gpu_is_the_old_name_of_cuda() -> None:
    assert settings(["--device", "gpu"], {}).device == "cuda"
    assert settings([], {"TTS_DEVICE": "GPU"}).device == "cuda"


def test_an_empty_variable_is_none_at_all() -> None:
    assert settings([], {"TTS_PORT": "", "TTS_DEVICE": " "}) == settings([], {})


@pytest.mark.parametrize(
    ("argv", "environ", "words"),
    [
        (["--port", "x"], {}, "--port is 'x': a whole number from 0 to 65535"),
        (["--port", "65536"], {}, "--port"),
        (["--port", "-1"], {}, "--port"),
        (["--port", "9" * 5000], {}, "--port"),
        (["--port", "١٢"], {}, "--port"),
        ([], {"TTS_PORT": "80a"}, "TTS_PORT is '80a'"),
        (["--device", "tpu"], {}, "--device is 'tpu': choose one of auto, cpu, mps, cuda, gpu"),
        ([], {"TTS_DEVICE": "tpu"}, "TTS_DEVICE is 'tpu'"),
        (["--engine", "x"], {}, "--engine"),
        (["--cache-size", "0"], {}, "--cache-size is '0': a whole number from 1 to"),
        ([], {"TTS_EXACT": "maybe"}, "TTS_EXACT is 'maybe': 0 or 1"),
        (["--queue", "0"], {}, "--queue"),
        (["--queue", "65"], {}, "--queue"),
        (["--drain-timeout", "nan"], {}, "--drain-timeout"),
        (["--drain-timeout", "-1"], {}, "--drain-timeout"),
        (["--sentence-limit", "inf"], {}, "--sentence-limit"),
        (["--nope"], {}, "--nope"),
        (["--po", "1"], {}, "--po"),
    ],
)
def test_a_bad_setting_ends_with_2_and_says_what_would_be_right(
    argv: list[str], environ: dict[str, str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ending:
        settings(argv, environ)
    assert ending.value.code == 2
    assert words in capsys.readouterr().err


def test_a_taken_port_ends_with_1_and_names_the_address(
    launch: Callable[..., ServerProcess],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        process = launch("--port", str(port))
        assert process.wait() == 1
    lines = process.output.strip().splitlines()
    assert len(lines) == 1
    assert f"127.0.0.1:{port} is already in use" in lines[0]
    assert "--port" in lines[0]


@pytest.mark.parametrize(
    ("host", "words"),
    [("203.0.113.7", "no address of this machine"), ("no such host", "no such address")],
)
def test_an_impossible_host_is_explained(host: str, words: str) -> None:
    with pytest.raises(sockets.SocketError, match=words):
        sockets.bind(host, 0)


def test_a_port_that_is_taken_on_ipv6_only_is_a_taken_port() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    port = free_port()  # of 127.0.0.1 too
    with socket.create_server(("::1", port), family=socket.AF_INET6):
        with pytest.raises(sockets.SocketError, match=rf"\[::1\]:{port} is already in use"):
            sockets.bind("localhost", port)
        # What was bound before the refusal is free again.
        socket.create_server(("127.0.0.1", port)).close()


@pytest.fixture
def listening() -> Iterator[list[socket.socket]]:
    made = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    yield made
    for sock in made:
        sock.close()


@pytest.mark.parametrize("count", [1, 2])
def test_handed_over_sockets_win_over_host_and_port(
    launch: Callable[..., ServerProcess], listening: list[socket.socket], count: int
) -> None:
    process = launch("--port", "1", "--host", "203.0.113.7", hand_over=listening[:count])
    process.wait_until_ready()
    assert "handed over" in process.output
    for sock in listening[:count]:
        url = sockets.url(sock)
        assert say(url, "так").status_code == 200
        assert health(url)["pid"] == process.pid
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
    # Not shut down: whoever gave the socket can still be connected to.
    for sock in listening[:count]:
        with socket.create_connection(sock.getsockname(), timeout=5):
            sock.accept()[0].close()


def test_sockets_for_another_process_are_left_alone() -> None:
    environ = {"LISTEN_PID": str(os.getpid() + 1), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"}
    assert sockets.take_handed_over(environ) == sockets.HandedOver()
    assert environ == {}


def test_a_further_socket_of_the_same_name_leads_to_this_process_alone(
    launch: Callable[..., ServerProcess], listening: list[socket.socket], tmp_path: Path
) -> None:
    names = {"LISTEN_FDNAMES": "http:http"}
    process = launch(
        "--model-dir", str(tmp_path), engine="auto", hand_over=listening, environ=names
    )
    process.wait_for_line("another server speaks there until the voice of this one is loaded")
    # The neural voice is not there, so eSpeak NG is all that is to come, at both doors.
    for sock in listening:
        assert say(sockets.url(sock), "так").status_code == 200
        assert health(sockets.url(sock))["pid"] == process.pid


@pytest.mark.parametrize("count", ["0", "-1", "x", "17", "9" * 30, ""])
def test_a_senseless_count_is_explained(count: str) -> None:
    with pytest.raises(sockets.SocketError, match="LISTEN_FDS"):
        sockets.take_handed_over({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count})


def test_what_does_not_listen_is_refused(launch: Callable[..., ServerProcess]) -> None:
    with socket.socket() as quiet:
        process = launch(hand_over=[quiet])
        assert process.wait() == 1
    assert "does not listen" in process.output
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        process = launch(hand_over=[datagrams])
        assert process.wait() == 1
    assert "not a TCP socket" in process.output


def test_connections_wait_while_the_process_starts(
    launch: Callable[..., ServerProcess], listening: list[socket.socket]
) -> None:
    launch(hand_over=listening[:1])
    # Sent before the interpreter has started: neither refused nor answered with 503.
    assert say(sockets.url(listening[0]), "так", return_audio=True).content[:4] == b"RIFF"


def test_after_kill_9_a_new_process_takes_the_same_port(
    launch: Callable[..., ServerProcess],
) -> None:
    first = launch("--port", "0")
    url = first.wait_until_ready()
    assert say(url, "так").status_code == 200
    first.signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    second = launch("--port", url.rpartition(":")[2])
    assert second.wait_until_ready() == url
    assert say(url, "так").status_code == 200


def test_a_stop_during_the_start_is_a_stop(launch: Callable[..., ServerProcess]) -> None:
    process = launch("--port", "0")
    process.wait_for_line("listening on")
    process.signal(signal.SIGTERM)
    assert process.wait() == 0


def test_a_missing_engine_is_told_by_health_and_503(
    launch: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    (tmp_path / "espeakng_loader.py").write_text("raise ImportError('not installed')\n")
    inherited = os.environ.get("PYTHONPATH")
    path = str(tmp_path) if inherited is None else f"{tmp_path}{os.pathsep}{inherited}"
    process = launch("--port", "0", "--device", "gpu", environ={"PYTHONPATH": path})
    url = process.wait_for_line(r"listening on (http://[^\s,]+)").group(1)
    process.wait_for_line("eSpeak NG is not installed")
    state = health(url)
    assert (state["status"], state["tts_ready"], state["device"]) == ("error", False, "cpu")
    assert "pip install espeakng-loader" in str(state["reason"])
    assert "cuda was asked for" in str(state["device_reason"])
    answer = say(url, "так")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert answer.json()["error"] == "TTS not initialized"


def test_without_its_files_the_neural_voice_is_stood_in_for_and_everybody_is_told(
    launch: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    process = launch("--port", "0", "--model-dir", str(tmp_path), engine="auto")
    url = process.wait_until_ready()
    process.wait_for_line("there is no neural voice in")
    state = health(url)
    assert (state["status"], state["tts_ready"], state["engine"]) == ("ok", True, "espeak")
    assert "make neural" in str(state["notice"])
    assert str(state["notice"]).endswith("until then eSpeak NG speaks")
    assert "failed" not in str(state["notice"]), "a voice that was never fetched is no fault"
    links = state["links"]
    assert isinstance(links, list)
    assert [(link["name"], link["state"]) for link in links][-1] == ("espeak", "ready")
    # What has failed is not waited for.
    answer = requests.post(
        f"{url}/tts",
        json={"text": "так", "return_audio": True},
        headers={"Prefer": "wait=100", "Connection": "close"},
        timeout=PATIENCE,
    )
    assert answer.content[:4] == b"RIFF"
    assert answer.headers["X-TTS-Engine"] == "espeak"
    assert answer.headers["X-TTS-Notice"] == state["notice"]


def test_the_neural_voice_alone_is_silent_without_its_files(
    launch: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    process = launch("--port", "0", "--model-dir", str(tmp_path), engine="ukrainian")
    url = process.wait_for_line(r"listening on (http://[^\s,]+)").group(1)
    process.wait_for_line("there is no neural voice in")
    state = health(url)
    assert (state["status"], state["tts_ready"], state["notice"]) == ("error", False, None)
    assert "make neural" in str(state["reason"])
    assert say(url, "так").status_code == 503


def test_the_doctor_reports_and_serves_nothing(launch: Callable[..., ServerProcess]) -> None:
    process = launch("--doctor")
    assert process.wait() == 0
    assert "listening" not in process.output
    assert '"check": "espeak"' in process.output


@pytest.mark.parametrize("given", [None, "0"])
def test_what_an_apple_gpu_lacks_is_left_to_the_cpu_unless_the_user_says_otherwise(
    launch: Callable[..., ServerProcess], tmp_path: Path, given: str | None
) -> None:
    name = "PYTORCH_ENABLE_MPS_FALLBACK"
    (tmp_path / "espeakng_loader.py").write_text(
        f"import os\nraise ImportError(os.environ['{name}'])\n"
    )
    inherited = os.environ.get("PYTHONPATH")
    path = str(tmp_path) if inherited is None else f"{tmp_path}{os.pathsep}{inherited}"
    environ = {"PYTHONPATH": path, **({} if given is None else {name: given})}
    process = launch("--doctor", environ=environ)
    assert process.wait() == 0
    assert f'"{name}": "{given or 1}"' in process.output


def test_a_large_reply_makes_no_temporary_file(
    launch: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    process = launch("--port", "0", environ={"TMPDIR": str(tmp_path)})
    url = process.wait_until_ready()
    text = "Сонце світить над великим містом, і люди йдуть додому. " * 60
    answer = say(url, text + " " * 600_000, return_audio=True)
    assert answer.status_code in (200, 413)
    answer = say(url, text, return_audio=True)
    assert len(answer.content) > 4_000_000
    assert list(tmp_path.iterdir()) == []
    if sys.platform == "linux":
        # An unlinked temporary file would still be an open descriptor.
        opened = [file.path for file in psutil.Process(process.pid).open_files()]
        assert not [path for path in opened if path.startswith(tempfile.gettempdir())]
