import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.config.quantities import (
    SpellingError,
    format_duration,
    parse_duration,
    parse_endpoint,
    parse_signal,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("2s", 2.0),
        ("1.5s", 1.5),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("1h0m1s1ms", 3601.001),
        ("0s", 0.0),
        ("0", 0.0),
        ("0.5h", 1800.0),
        ("90m", 5400.0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds, abs=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "00",
        "0.0",
        "-1s",
        "1 s",
        "s",
        "1d",
        "1s1m",
        "1s1s",
        "1e3s",
        "nans",
        "infs",
        "٣s",
        "1.s",
        ".5s",
        "1ss",
    ],
)
def test_misspelled_durations(text: str) -> None:
    with pytest.raises(SpellingError) as caught:
        parse_duration(text)
    assert caught.value.hint


@given(st.integers(0, 10**8).map(lambda ms: ms / 1000))
def test_a_duration_as_it_is_shown_is_read_back(seconds: float) -> None:
    shown = format_duration(seconds)
    assert parse_duration(shown) == pytest.approx(seconds, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0B", 0),
        ("10B", 10),
        ("512KiB", 524288),
        ("10MiB", 10485760),
        ("1GB", 10**9),
        ("1kB", 1000),
        ("1KB", 1000),
        ("1.5KiB", 1536),
        ("2TiB", 2 * 1024**4),
        ("999999999999999B", 999999999999999),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "10", "1.5", "10M", "10k", "10 MiB", "-1B", "1e3B", "MiB", "1mib", "1PB"]
)
def test_misspelled_sizes(text: str) -> None:
    with pytest.raises(SpellingError) as caught:
        parse_size(text)
    assert caught.value.hint


@pytest.mark.parametrize("text", ["TERM", "SIGTERM", "term", "sigterm"])
def test_signals(text: str) -> None:
    assert parse_signal(text) == signal.SIGTERM


@pytest.mark.parametrize("text", ["15", "", "TREM", "SIG_DFL", "SIGSIGTERM"])
def test_misspelled_signals(text: str) -> None:
    with pytest.raises(SpellingError):
        parse_signal(text)


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("localhost:1", (("127.0.0.1", 1), ("::1", 1))),
        ("127.0.0.1:65535", (("127.0.0.1", 65535),)),
        ("[::1]:80", (("::1", 80),)),
        ("[0:0::1]:80", (("::1", 80),)),
        ("192.168.0.7:80", (("192.168.0.7", 80),)),
    ],
)
def test_endpoints(text: str, addresses: tuple[tuple[str, int], ...]) -> None:
    assert parse_endpoint(text) == addresses


@pytest.mark.parametrize(
    "text",
    [
        "",
        "80",
        ":80",
        "*:80",
        "::1:80",
        "a.b:80",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.1:80",
        "[::1:80",
    ],
)
def test_misspelled_endpoints(text: str) -> None:
    with pytest.raises(SpellingError):
        parse_endpoint(text)
