"""The contract of the service, asked of a really running server with its real engine."""

from __future__ import annotations

import io
import json
import re
import signal
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
import requests
import soundfile

from services.tts.speech_request import MAX_WAIT, RequestError, read, wait_of
from tests.tts.doubles import PATIENCE
from tests.tts.processes import ServerProcess, health, say

if TYPE_CHECKING:
    from collections.abc import Iterator

VOICES = ["tetiana", "mykyta", "lada", "dmytro", "oleksa"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    process = ServerProcess("--port", "0")
    try:
        yield process.wait_until_ready()
        # Whatever the tests sent, none of it may have been a fault of the server.
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        assert "Traceback" not in process.output
        assert "привіт" not in process.output.partition("ready:")[2], "text of a client was logged"
    finally:
        process.close()


def read_wav(content: bytes) -> tuple[np.ndarray, int]:
    assert content[:4] == b"RIFF"
    assert content[8:12] == b"WAVE"
    assert struct.unpack_from("<I", content, 4)[0] == len(content) - 8
    assert struct.unpack_from("<I", content, 40)[0] == len(content) - 44
    info = soundfile.info(io.BytesIO(content))
    assert (info.samplerate, info.channels, info.subtype) == (22050, 1, "PCM_16")
    samples, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    return samples, rate


def test_health(url: str) -> None:
    body = health(url)
    assert body["status"] == "ok"
    assert body["tts_ready"] is True
    assert body["device"] == "cpu"
    assert abs(float(str(body["timestamp"])) - time.time()) < 60
    assert body["engine"] == "espeak"
    assert body["notice"] is None
    assert isinstance(body["links"], list)
    (link,) = body["links"]
    assert (link["name"], link["device"], link["state"]) == ("espeak", "cpu", "ready")
    assert body["hung"] is False
    assert {"queued", "busy", "last_success", "last_error", "uptime", "pid", "cache"} <= body.keys()


def test_voices(url: str) -> None:
    body = requests.get(f"{url}/voices", timeout=PATIENCE).json()
    assert body["voices"] == VOICES
    assert body["default"] == "dmytro"
    assert isinstance(body["timestamp"], float)


@pytest.mark.parametrize("path", ["/tts", "/speak"])
def test_audio(url: str, path: str) -> None:
    answer = requests.post(
        f"{url}{path}",
        json={"text": "привіт", "voice": "mykyta", "return_audio": True},
        timeout=PATIENCE,
    )
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "audio/wav"
    assert re.fullmatch(
        r"attachment; filename=tts_\d{10,}\.wav", answer.headers["Content-Disposition"]
    )
    samples, rate = read_wav(answer.content)
    assert samples.size / rate > 0.3
    assert float(np.abs(samples).max()) == pytest.approx(0.95, abs=0.001)


def test_json(url: str) -> None:
    answer = say(url, "Привіт, світе!", voice="lada", fx="robot", return_audio=False)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    assert body["status"] == "success"
    assert body["accented_text"].replace("+", "").startswith("привіт")
    assert body["synthesis_time"] >= 0
    assert body["audio_duration"] > 0.5
    assert (body["sample_rate"], body["voice"], body["fx"]) == (22050, "lada", "robot")
    assert isinstance(body["timestamp"], float)


@pytest.mark.parametrize(("return_audio", "stream"), [(True, False), (False, False), (True, True)])
def test_a_reply_tells_who_spoke(url: str, return_audio: bool, stream: bool) -> None:
    answer = say(url, "привіт", return_audio=return_audio, stream=stream)
    assert answer.headers["X-TTS-Engine"] == "espeak"
    assert "X-TTS-Notice" not in answer.headers


def test_a_streamed_reply_is_the_same_speech(url: str) -> None:
    text = "Сонце світить над великим містом. Люди йдуть додому. Вечір."
    whole = say(url, text, return_audio=True)
    streamed = say(url, text, return_audio=True, stream=True)
    assert streamed.headers["Transfer-Encoding"] == "chunked"
    assert streamed.headers["Content-Type"] == "audio/wav"
    assert struct.unpack_from("<I", streamed.content, 4) == (0xFFFF_FFFF,)
    assert struct.unpack_from("<I", streamed.content, 40) == (0xFFFF_FFFF,)
    assert len(streamed.content) == pytest.approx(len(whole.content), rel=0.03)
    samples, rate = soundfile.read(io.BytesIO(streamed.content), dtype="float32")
    assert rate == 22050
    assert float(np.abs(samples).max()) == pytest.approx(0.95, abs=0.001)


def test_a_stream_of_json_is_json(url: str) -> None:
    assert say(url, "так", stream=True).json()["status"] == "success"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0),
        ("wait=5", 5),
        ("respond-async, wait=10", 10),
        ("Wait = 7 ; x=y, other", 7),
        ('wait="8"', 8),
        ("wait=5000", MAX_WAIT),
        ("wait=" + "9" * 5000, MAX_WAIT),
        ("wait", 0),
        ("wait=-1", 0),
        ("wait=1.5", 0),
        ("wait=²", 0),
        ("await=9", 0),
        ("", 0),
    ],
)
def test_how_long_a_request_may_wait(header: str | None, seconds: float) -> None:
    assert wait_of(header) == seconds


def test_json_tells_the_duration_that_the_audio_has(url: str) -> None:
    told = say(url, "Один два три.", return_audio=False).json()["audio_duration"]
    samples, rate = read_wav(say(url, "Один два три.", return_audio=True).content)
    # Two readings of one text by eSpeak NG differ by up to 33 samples, which are 1.5 ms.
    assert told == pytest.approx(samples.size / rate, abs=0.01)


def test_keys_that_old_clients_send_are_ignored(url: str) -> None:
    answer = say(
        url,
        "привіт",
        returnAudio=True,
        responseType="blob",
        mode="real",
        priority=5,
        isActivationResponse=True,
        pitch=1.2,
        emotion={"a": [None]},
    )
    assert answer.status_code == 200
    assert answer.json()["voice"] == "dmytro"


def test_null_means_as_usual(url: str) -> None:
    answer = say(url, "привіт", voice=None, fx=None, speed=None, return_audio=None)
    assert answer.status_code == 200
    assert (answer.json()["voice"], answer.json()["fx"]) == ("dmytro", "none")


@pytest.mark.parametrize(
    ("accept", "return_audio", "is_audio"),
    [
        ("audio/*", None, True),
        ("audio/wav", None, True),
        ("audio/wav, application/json;q=0.5", None, True),
        ("audio/wav;q=0.5, application/json", None, False),
        ("application/json", None, False),
        ("*/*", None, False),
        (None, None, False),
        ("audio/*;q=0", None, False),
        ("audio/mpeg", None, False),
        ("audio/*", False, False),
        ("application/json", True, True),
    ],
)
def test_the_type_of_the_reply(
    url: str, accept: str | None, return_audio: bool | None, is_audio: bool
) -> None:
    body: dict[str, object] = {"text": "так"}
    if return_audio is not None:
        body["return_audio"] = return_audio
    answer = requests.post(f"{url}/tts", json=body, headers={"Accept": accept}, timeout=PATIENCE)
    assert answer.status_code == 200
    assert (answer.headers["Content-Type"] == "audio/wav") is is_audio
    assert (answer.content[:4] == b"RIFF") is is_audio


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", None]
)
def test_json_is_read_whatever_the_content_type_says(url: str, content_type: str | None) -> None:
    answer = requests.post(
        f"{url}/tts",
        data=json.dumps({"text": "так"}).encode(),
        headers={"Content-Type": content_type},
        timeout=PATIENCE,
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"", 400, "^JSON body required$"),
        (b"text", 400, "^JSON body required$"),
        (b"[]", 400, "^JSON body required$"),
        (b'"text"', 400, "^JSON body required$"),
        (b"null", 400, "^JSON body required$"),
        (b"\xff\xfe\xfd", 400, "^JSON body required$"),
        (b"[" * 100_000, 400, "^JSON body required$"),
        (b"{}", 400, "^Text is required$"),
        (b'{"text": null}', 400, "^Text is required$"),
        (b'{"text": ""}', 400, "^Text is required$"),
        (b'{"text": " \\n"}', 400, "^Text is required$"),
        (b'{"text": 5}', 400, "must be a string, not a number"),
        (b'{"text": ["a"]}', 400, "must be a string, not a list"),
        ('{"text": "!!! ... 😀"}'.encode(), 400, "nothing that can be spoken"),
        ('{"text": "так", "voice": "bob"}'.encode(), 400, "tetiana, mykyta, lada, dmytro, oleksa"),
        ('{"text": "так", "voice": 1}'.encode(), 400, "Unknown voice 1"),
        ('{"text": "так", "fx": "echo"}'.encode(), 400, "none, robot"),
        ('{"text": "так", "speed": 0.2}'.encode(), 400, "0.25 to 4"),
        ('{"text": "так", "speed": 4.1}'.encode(), 400, "0.25 to 4"),
        ('{"text": "так", "speed": NaN}'.encode(), 400, "0.25 to 4"),
        ('{"text": "так", "speed": Infinity}'.encode(), 400, "0.25 to 4"),
        (('{"text": "так", "speed": 1' + "0" * 400 + "}").encode(), 400, "0.25 to 4"),
        ('{"text": "так", "speed": "fast"}'.encode(), 400, "must be a number"),
        ('{"text": "так", "speed": true}'.encode(), 400, "must be a number"),
        ('{"text": "так", "return_audio": "yes"}'.encode(), 400, "must be true or false"),
        ('{"text": "так", "stream": 1}'.encode(), 400, "stream must be true or false"),
        (json.dumps({"text": "а" * 100_001}).encode(), 413, "the limit is 100000"),
        (json.dumps({"text": "а" * 25_001, "speed": 0.25}).encode(), 413, "the limit is 25000"),
        (b" " * (1024 * 1024 + 1), 413, "the limit is 1048576 bytes"),
        (b" " * (9 * 1024 * 1024), 413, "Too Large"),
    ],
)
def test_what_the_client_can_mend(url: str, body: bytes, status: int, error: str) -> None:
    answer = requests.post(
        f"{url}/tts", data=body, headers={"Expect": "100-continue"}, timeout=PATIENCE
    )
    assert answer.status_code == status
    assert re.search(error, answer.json()["error"])


def test_a_text_over_the_limit_is_refused_before_the_pipeline_reads_it() -> None:
    with pytest.raises(RequestError, match="the limit is 100000") as refusal:
        read(json.dumps({"text": "а" * 100_001}).encode())
    assert refusal.value.status == 413


def test_an_unknown_voice_is_answered_with_the_voices(url: str) -> None:
    assert say(url, "так", voice="bob").json()["voices"] == VOICES


def test_half_a_surrogate_pair_is_no_fault(url: str) -> None:
    answer = requests.post(
        f"{url}/tts", data=b'{"text": "\\ud83d \xd1\x82\xd0\xb0\xd0\xba"}', timeout=PATIENCE
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/", 404, "^Endpoint not found$"),
        ("GET", "/nope", 404, "^Endpoint not found$"),
        ("POST", "/tts/", 404, "^Endpoint not found$"),
        ("GET", "/tts", 405, "Method Not Allowed"),
        ("DELETE", "/speak", 405, "Method Not Allowed"),
        ("POST", "/health", 405, "Method Not Allowed"),
    ],
)
def test_errors_have_one_form(url: str, method: str, path: str, status: int, error: str) -> None:
    answer = requests.request(method, f"{url}{path}", timeout=PATIENCE)
    assert answer.status_code == status
    assert re.search(error, answer.json()["error"])


def test_broken_http_is_answered_in_the_same_form(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(b"POST /tts HTTP/1.1\r\nContent-Length: -5\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert "error" in json.loads(body)


@pytest.mark.parametrize(
    "origin",
    ["http://localhost:5173", "http://127.0.0.1:8080", "http://[::1]:3000", "https://localhost"],
)
def test_pages_of_this_machine_pass_the_preflight(url: str, origin: str) -> None:
    answer = requests.options(
        f"{url}/tts",
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
            "Access-Control-Request-Private-Network": "true",
        },
        timeout=PATIENCE,
    )
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert "Origin" in answer.headers["Vary"]
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    for header in ("Content-Type", "Accept", "Authorization", "Cache-Control", "Prefer"):
        assert header in answer.headers["Access-Control-Allow-Headers"]
    assert int(answer.headers["Access-Control-Max-Age"]) > 0
    assert answer.headers["Access-Control-Allow-Private-Network"] == "true"


@pytest.mark.parametrize("path", ["/health", "/nope"])
def test_replies_and_errors_can_be_read_by_pages_of_this_machine(url: str, path: str) -> None:
    answer = requests.get(
        f"{url}{path}", headers={"Origin": "http://localhost:5173"}, timeout=PATIENCE
    )
    assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:5173"
    for header in ("Content-Disposition", "Retry-After", "X-TTS-Engine", "X-TTS-Notice"):
        assert header in answer.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Private-Network" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://localhost.evil.example",
        "null",
        "http://[",
        "file://localhost",
    ],
)
def test_other_pages_get_no_cors_headers(url: str, origin: str) -> None:
    for method in ("GET", "OPTIONS"):
        answer = requests.request(
            method,
            f"{url}/health",
            headers={"Origin": origin, "Access-Control-Request-Method": "GET"},
            timeout=PATIENCE,
        )
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:3001", "127.0.0.1.evil.example", ""]
)
def test_a_rebound_name_is_refused(url: str, host: str) -> None:
    answer = requests.get(f"{url}/health", headers={"Host": host}, timeout=PATIENCE)
    assert answer.status_code == 403
    assert "loopback" in answer.json()["error"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:3001", "127.0.0.1:9", "[::1]:3001"])
def test_names_of_this_machine_are_served(url: str, host: str) -> None:
    answer = requests.get(f"{url}/health", headers={"Host": host}, timeout=PATIENCE)
    assert answer.status_code == 200


def test_it_listens_on_ipv6_loopback_too(url: str) -> None:
    try:
        socket.socket(socket.AF_INET6).close()
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    port = url.rpartition(":")[2]
    assert health(f"http://[::1]:{port}")["tts_ready"] is True


def test_a_long_text_is_spoken_whole(url: str) -> None:
    sentence = "Сонце світить над великим містом, і люди йдуть додому. "
    once = say(url, sentence, return_audio=False).json()["audio_duration"]
    answer = say(url, sentence * 60, return_audio=True)
    samples, rate = read_wav(answer.content)
    assert samples.size / rate > 60 * once * 0.95


@pytest.mark.parametrize("speed", [0.25, 0.5, 2.0, 4.0])
def test_speed_divides_the_duration(url: str, speed: float) -> None:
    text = "Сьогодні дуже гарна погода. Ми йдемо гуляти до парку над річкою."
    usual = say(url, text).json()["audio_duration"]
    changed = say(url, text, speed=speed).json()["audio_duration"]
    assert usual / changed == pytest.approx(speed, rel=0.1)


def test_requests_at_once_never_cross(url: str) -> None:
    texts = [("коротко", "dmytro"), ("це речення помітно довше за перше", "lada")] * 4
    alone = {pair: say(url, pair[0], voice=pair[1], return_audio=True).content for pair in texts}
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda pair: say(url, pair[0], voice=pair[1], return_audio=True), texts)
        )
    # eSpeak NG keeps a phase between sentences, so that no two readings are the same to the sample;
    # the two texts differ in length by far more than that.
    for pair, answer in zip(texts, answers, strict=True):
        assert len(answer.content) == pytest.approx(len(alone[pair]), rel=0.03)
