"""What is judged, in which words, and that no reply whatever breaks the judge."""

import contextlib
import json
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from supervisor.core.spec import Expectations, JsonScalar, Wav
from supervisor.probes.expectations import judge, notice_in, wants_body
from supervisor.probes.wav import WavError, seconds_of

FORMAT = struct.pack("<HHIIHH", 1, 1, 1000, 2000, 2, 16)
"""PCM, mono, 1000 Hz, 16 bit: 2000 bytes a second."""


def chunk(kind: bytes, content: bytes, size: int | None = None) -> bytes:
    length = len(content) if size is None else size
    return kind + length.to_bytes(4, "little") + content + b"\0" * (len(content) & 1)


def wave(*chunks: bytes) -> bytes:
    content = b"WAVE" + b"".join(chunks)
    return b"RIFF" + len(content).to_bytes(4, "little") + content


def extensible(sub_format: int, length: int = 40) -> bytes:
    begin = struct.pack("<HHIIHH", 0xFFFE, 2, 1000, 8000, 8, 32)
    rest = struct.pack("<HHIH", 22, 32, 3, sub_format)
    return (begin + rest + bytes.fromhex("000000001000800000aa00389b71"))[:length]


AUDIO = b"\1\2" * 500
GOOD = wave(chunk(b"fmt ", FORMAT), chunk(b"data", AUDIO))


@pytest.mark.parametrize(
    ("expect", "status", "headers", "body", "latency", "detail"),
    [
        pytest.param(Expectations(), 200, {}, b"", 0.0123, "200 OK in 12 ms", id="plain"),
        pytest.param(Expectations(), 299, {}, b"", 0.0, "299 in 0 ms", id="no phrase"),
        pytest.param(
            Expectations(status=((200, 204), (404, 404))),
            404,
            {},
            b"x",
            0.0,
            "404 Not Found in 0 ms",
            id="second range",
        ),
        pytest.param(
            Expectations(content_type="audio/wav"),
            200,
            {"content-type": "Audio/WAV ; a=b"},
            b"",
            0.0,
            "200 OK in 0 ms",
            id="media type with parameter",
        ),
        pytest.param(
            Expectations(min_bytes=2, max_bytes=2),
            200,
            {},
            b"ab",
            0.0,
            "200 OK in 0 ms",
            id="exact size",
        ),
        pytest.param(
            Expectations(json=(("a.0.b", 1), ("a.1", None), ("c", "ї"))),
            200,
            {},
            '{"a": [{"b": 1.0}, null], "c": "ї"}'.encode(),
            0.0,
            "200 OK in 0 ms",
            id="JSON",
        ),
        pytest.param(Expectations(wav=Wav(0.5)), 200, {}, GOOD, 0.0, "200 OK in 0 ms", id="WAV"),
        pytest.param(
            Expectations(latency=0.5), 200, {}, b"", 0.5, "200 OK in 500 ms", id="just in time"
        ),
    ],
)
def test_expectation_that_holds(
    expect: Expectations,
    status: int,
    headers: dict[str, str],
    body: bytes,
    latency: float,
    detail: str,
) -> None:
    result = judge(expect, status, headers, body, latency)
    assert (result.ok, result.detail, result.latency) == (True, detail, latency)


def of_json(*wanted: tuple[str, JsonScalar]) -> Expectations:
    return Expectations(json=wanted)


@pytest.mark.parametrize(
    ("expect", "headers", "body", "detail"),
    [
        pytest.param(
            Expectations(status=((500, 599),)), {}, b"hello", "200 OK: hello", id="status"
        ),
        pytest.param(
            Expectations(content_type="audio/wav"),
            {"content-type": "application/json"},
            b'{"error": "no voice"}',
            "application/json where audio/wav was expected: no voice",
            id="type",
        ),
        pytest.param(
            Expectations(content_type="audio/wav"),
            {"content-type": "\x9b31m"},
            b"",
            "31m where audio/wav was expected",
            id="type with an escape",
        ),
        pytest.param(
            Expectations(content_type="audio/wav"), {}, b"",
            "no content type where audio/wav was expected", id="no type",
        ),
        pytest.param(
            Expectations(min_bytes=1), {}, b"",
            "an empty body; at least 1 were expected", id="empty",
        ),
        pytest.param(
            Expectations(min_bytes=9), {}, b"ab", "a body of 2 bytes; at least 9 were expected",
            id="short",
        ),
        pytest.param(
            Expectations(max_bytes=1), {}, b"ab",
            "a body of over 1 bytes, the most that was expected", id="long",
        ),
        pytest.param(
            Expectations(body_prefix=b"RIFF"), {}, b"\x1b{}",
            "the body begins with b'\\x1b{}', not with b'RIFF'", id="prefix",
        ),
        pytest.param(of_json(("a", 1)), {}, b"", "the body is not JSON: it is empty", id="no JSON"),
        pytest.param(
            of_json(("a", 1)), {}, b"<html>", "the body is not JSON: <html>", id="HTML"
        ),
        pytest.param(
            of_json(("a.b", "x")), {}, b'{"a": []}', 'JSON has no a.b; "x" was expected', id="path"
        ),
        pytest.param(
            of_json(("a.1", 0)), {}, b'{"a": [0]}', "JSON has no a.1; 0 was expected", id="index"
        ),
        pytest.param(
            of_json(("a", True)), {}, b'{"a": 1}', "JSON a is 1; true was expected",
            id="1 is not true",
        ),
        pytest.param(
            of_json(("a", 0)), {}, b'{"a": false}', "JSON a is false; 0 was expected",
            id="false is not 0",
        ),
        pytest.param(
            of_json(("a", 10**12)), {}, b'{"a": 1000000000001}',
            "JSON a is 1000000000001; 1000000000000 was expected", id="near numbers differ",
        ),
        pytest.param(
            of_json(("a", 1)), {}, b'{"a": 1' + b"0" * 400 + b"}",
            "JSON a is 1" + "0" * 118 + "…; 1 was expected", id="number beyond floats",
        ),
        pytest.param(
            of_json(("a", "x")), {}, b'{"a": "\\ud800\\u001b"}',
            'JSON a is " \\u001b"; "x" was expected', id="surrogate",
        ),
        pytest.param(
            Expectations(wav=Wav()), {}, b"", "no playable WAV: the body is empty", id="no audio"
        ),
        pytest.param(
            Expectations(wav=Wav()), {}, b'{"error":1}',
            "no playable WAV: not RIFF/WAVE: it begins with '{\"error\":1}'", id="JSON for audio",
        ),
        pytest.param(
            Expectations(wav=Wav(0.6)), {}, GOOD,
            "0.50 s of audio; at least 0.6 s were expected", id="short audio",
        ),
        pytest.param(
            Expectations(latency=1.0), {}, b"", "answered after 1.50 s; 1 s were allowed", id="late"
        ),
    ],
)  # fmt: skip
def test_difference_is_named(
    expect: Expectations, headers: dict[str, str], body: bytes, detail: str
) -> None:
    result = judge(expect, 200, headers, body, 1.5)
    assert (result.ok, result.detail) == (False, detail)


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        pytest.param(GOOD, 0.5, id="PCM 16"),
        pytest.param(
            wave(
                chunk(b"fmt ", struct.pack("<HHIIHH", 3, 2, 1000, 8000, 8, 32)),
                chunk(b"data", b"abcdefgh" * 100),
            ),
            0.1,
            id="float",
        ),
        pytest.param(
            wave(chunk(b"fmt ", extensible(1)), chunk(b"data", b"abcdefgh" * 100)),
            0.1,
            id="extensible PCM",
        ),
        pytest.param(
            wave(chunk(b"fmt ", extensible(3)), chunk(b"data", b"abcdefgh" * 100)),
            0.1,
            id="extensible float",
        ),
        pytest.param(
            wave(chunk(b"fmt ", FORMAT), chunk(b"LIST", b"odd"), chunk(b"data", AUDIO)),
            0.5,
            id="odd chunk between",
        ),
        pytest.param(
            wave(chunk(b"LIST", b"abcd"), chunk(b"fmt ", FORMAT + b"\0\0"), chunk(b"data", AUDIO)),
            0.5,
            id="LIST first, fmt of 18 bytes",
        ),
        pytest.param(
            wave(chunk(b"fmt ", FORMAT), chunk(b"data", AUDIO, 0xFFFFFFFF)),
            0.5,
            id="ffmpeg's stream",
        ),
        pytest.param(
            wave(chunk(b"fmt ", FORMAT), chunk(b"data", AUDIO, 0x7FFFF000)),
            0.5,
            id="eSpeak's stream",
        ),
        pytest.param(
            wave(chunk(b"fmt ", FORMAT), chunk(b"data", AUDIO), chunk(b"LIST", b"abcd")),
            0.5,
            id="LIST last",
        ),
    ],
)
def test_seconds_of_audio(body: bytes, seconds: float) -> None:
    assert seconds_of(body) == seconds


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param(b"", "the body is empty", id="empty"),
        pytest.param(b'{"a": 1}', "begins with '{\"a\": 1}'", id="JSON"),
        pytest.param(b"RIFF", "not RIFF/WAVE", id="four bytes"),
        pytest.param(b"RIFX" + GOOD[4:], "not RIFF/WAVE", id="big-endian"),
        pytest.param(GOOD[:12], "a RIFF header and no audio data", id="header alone"),
        pytest.param(GOOD[:36], "a RIFF header and no audio data", id="no data chunk"),
        pytest.param(GOOD[:44], "a RIFF header and no audio data", id="data announced"),
        pytest.param(
            wave(chunk(b"fmt ", FORMAT), chunk(b"data", b"")),
            "a RIFF header and no audio data",
            id="no data",
        ),
        pytest.param(GOOD[:-1], "cut off: 999 of 1000 bytes of audio", id="cut off"),
        pytest.param(wave(chunk(b"data", AUDIO)), "data chunk before the format", id="no format"),
        pytest.param(
            wave(chunk(b"fmt ", b"\1\0")), "format chunk that is too short", id="short fmt"
        ),
        pytest.param(
            wave(chunk(b"fmt ", extensible(1, 30))),
            "extensible format chunk",
            id="short extensible",
        ),
        pytest.param(wave(chunk(b"fmt ", extensible(85))), "audio format 85", id="MP3 inside"),
        pytest.param(
            wave(chunk(b"fmt ", struct.pack("<HHIIHH", 6, 1, 8000, 8000, 1, 8))),
            "audio format 6",
            id="A-law",
        ),
        pytest.param(
            wave(chunk(b"fmt ", struct.pack("<HHIIHH", 1, 0, 8000, 8000, 0, 8))),
            "an impossible format: 0 channels",
            id="no channels",
        ),
        pytest.param(
            wave(chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 8000, 8000, 1, 16))),
            "an impossible format",
            id="block that does not fit",
        ),
        pytest.param(
            wave(*[chunk(b"junk", b"")] * 1500, chunk(b"fmt ", FORMAT), chunk(b"data", AUDIO)),
            "a RIFF header and no audio data",
            id="chunks without end",
        ),
    ],
)
def test_what_is_no_audio(body: bytes, words: str) -> None:
    with pytest.raises(WavError) as caught:
        seconds_of(body)
    assert words in str(caught.value)


def test_beginning_of_a_long_file_is_not_called_cut_off() -> None:
    assert seconds_of(GOOD[:-500], whole=False) == 0.25


@pytest.mark.parametrize(
    "expect",
    [
        of_json(("a", 1)),
        Expectations(body_prefix=b"a"),
        Expectations(min_bytes=1),
        Expectations(max_bytes=0),
        Expectations(wav=Wav()),
    ],
)
def test_body_is_read_for_what_is_about_it(expect: Expectations) -> None:
    assert wants_body(expect)
    assert not wants_body(Expectations(content_type="a/b", latency=1.0))


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
documents = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)
bodies = (
    st.binary()
    | documents.map(lambda value: json.dumps(value).encode())
    | st.tuples(st.integers(0, len(GOOD)), st.binary(max_size=8)).map(
        lambda cut: GOOD[: cut[0]] + cut[1] + GOOD[cut[0] + len(cut[1]) :]
    )
)
expectations = st.builds(
    Expectations,
    status=st.lists(st.tuples(st.integers(100, 999), st.integers(100, 999))).map(tuple),
    content_type=st.none() | st.just("audio/wav"),
    json=st.lists(st.tuples(st.text("ab.01٣", max_size=5), scalars), max_size=2).map(tuple),
    body_prefix=st.none() | st.binary(min_size=1, max_size=4),
    min_bytes=st.none() | st.integers(0, 2000),
    max_bytes=st.none() | st.integers(0, 2000),
    latency=st.none() | st.floats(0.001, 10),
    wav=st.none() | st.builds(Wav, st.floats(0, 10)),
)
lenient = Expectations(status=((100, 999),), json=(("0", 1),))


@given(
    expect=expectations,
    status=st.integers(200, 999),
    media_type=st.text(),
    body=bodies,
    latency=st.floats(0, 100),
    whole=st.booleans(),
)
@example(lenient, 200, "", b"[" * 100_000, 0.0, True)
@example(lenient, 200, "", b"[1" + b"0" * 400 + b"]", 0.0, True)
@example(lenient, 200, "", b"[1" + b"0" * 5000 + b"]", 0.0, True)
@example(lenient, 200, "", b"[" * 900 + b"]" * 900, 0.0, True)
@example(of_json(("٣" * 5000, 1)), 200, "", b"[1]", 0.0, True)
@example(of_json(("3" * 5000, 1)), 200, "", b"[1]", 0.0, True)
@example(of_json(("a", 1)), 200, "", b'{"a": "\\ud800"}', 0.0, True)
def test_judge_is_total(
    expect: Expectations, status: int, media_type: str, body: bytes, latency: float, whole: bool
) -> None:
    result = judge(expect, status, {"content-type": media_type}, body, latency, whole=whole)
    assert result.ok in (True, False)
    # The daemon sends it as UTF-8, a terminal prints it: no surrogate, no escape, no page of it.
    result.detail.encode()
    if result.ok:
        assert result.detail.isprintable()
    assert result.latency == latency


@given(body=bodies, whole=st.booleans())
def test_seconds_are_finite_or_a_wav_error(body: bytes, whole: bool) -> None:
    with contextlib.suppress(WavError):
        assert 0 < seconds_of(body, whole=whole) < 1e9


@pytest.mark.parametrize(
    ("body", "notice"),
    [
        pytest.param('{"a": {"b": ["x", "it limps; rest it"]}}', "it limps; rest it", id="text"),
        pytest.param('{"a": {"b": ["x", "тест: при́клад"]}}', "тест: при́клад", id="Ukrainian"),
        pytest.param('{"a": {"b": ["x", " two\\nlines\\u001b[2J "]}}', "two lines [2J", id="lines"),
        pytest.param('{"a": {"b": ["x", "half \\ud83d of one"]}}', "half of one", id="surrogate"),
        pytest.param('{"a": {"b": ["x", ""]}}', None, id="empty"),
        pytest.param('{"a": {"b": ["x", " \\n "]}}', None, id="blank"),
        pytest.param('{"a": {"b": ["x", null]}}', None, id="null"),
        pytest.param('{"a": {"b": ["x", false]}}', None, id="false"),
        pytest.param('{"a": {"b": ["x", {"c": "d"}]}}', None, id="mapping"),
        pytest.param('{"a": {"b": ["x"]}}', None, id="absent"),
        pytest.param("fine", None, id="no JSON"),
        pytest.param("", None, id="nothing"),
        pytest.param("[" * 100_000, None, id="nesting"),
    ],
)
def test_notice_is_text_at_a_path_and_nothing_else(body: str, notice: str | None) -> None:
    assert notice_in(body.encode(), "a.b.1") == notice


def test_notice_is_short_however_long_it_is() -> None:
    for length in (500, 501, 100_000):
        found = notice_in(json.dumps({"a": "й" * length}).encode(), "a")
        assert found is not None
        assert len(found) == 500
        assert found.endswith("…") == (length > 500)


@given(st.binary(max_size=200), st.text(max_size=20))
def test_no_body_breaks_the_search_for_a_notice(body: bytes, path: str) -> None:
    notice_in(body, path)
