import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from supervisor.cli import wording
from supervisor.cli.terminal import (
    PLAIN,
    Paint,
    columns,
    crop,
    pad,
    paint_for,
    printable,
    width,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (-3.0, "0 s"),
        (0.04, "40 ms"),
        (0.0996, "0.1 s"),
        (0.94, "0.9 s"),
        (0.9996, "1 s"),
        (1.5, "1.5 s"),
        (3.0, "3 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (125.0, "2 min 5 s"),
        (120.0, "2 min"),
        (3599.7, "1 h"),
        (3785.0, "1 h 3 min"),
        (86400.0 * 3 + 3600 * 4, "3 d 4 h"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds: float, text: str) -> None:
    assert wording.duration(seconds) == text


@given(st.floats(min_value=0, max_value=1e9))
@example(59.9999)
@example(3599.9999)
def test_no_duration_has_a_unit_that_is_full(seconds: float) -> None:
    parts = re.fullmatch(
        r"(?:([\d.]+) (d|h|min|s|ms))(?: (\d+) (h|min|s))?", wording.duration(seconds)
    )
    assert parts is not None
    limits = {"h": 24, "min": 60, "s": 60, "ms": 1000, "d": float("inf")}
    assert float(parts[1]) < limits[parts[2]]
    assert parts[3] is None or 0 < int(parts[3]) < limits[parts[4]]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1024 * 1023 + 900, "1.0 MiB"),
        (222_298_112, "212 MiB"),
        (4 * 1024**3, "4.0 GiB"),
        (3 * 1024**5, "3072 TiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert wording.size(count) == text


def test_listings_and_counts() -> None:
    assert wording.listing([]) == ""
    assert wording.listing(["a"]) == "a"
    assert wording.listing(["a", "b", "c"]) == "a, b and c"
    assert [wording.count(n, "service") for n in (0, 1, 2)] == [
        "0 services",
        "1 service",
        "2 services",
    ]
    assert [wording.times(n) for n in (1, 2, 3)] == ["once", "twice", "3 times"]


@pytest.mark.usefixtures("kyiv_time")
def test_the_date_is_shown_only_when_it_is_another_day() -> None:
    now = 1_785_000_000.0
    assert wording.clock(now - 60, now) == "20:19:00"
    assert wording.clock(now - 86400, now) == "2026-07-24 20:20:00"


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("tts", 3),
        ("озвучення", 9),
        ("и\u0306", 1),  # й in two characters
        ("音声", 4),
        ("🎙", 1),  # narrow in UAX #11
        ("🔊", 2),
        ("\x1b[32mhealthy\x1b[0m", 7),
    ],
)
def test_width_counts_cells(text: str, cells: int) -> None:
    assert width(text) == cells


def test_columns_align_whatever_the_script() -> None:
    lines = columns([("назва", "1"), ("音声", "22"), ("tts", "333")], frozenset({1}))
    assert [width(line) for line in lines] == [10, 10, 10]
    assert lines == ["назва    1", "音声    22", "tts    333"]


@given(st.text(alphabet="aй音🔊\u0301 ", max_size=40), st.integers(1, 30))
def test_crop_fits_and_keeps_what_fits(text: str, cells: int) -> None:
    cropped = crop(text, cells)
    assert width(cropped) <= cells
    assert cropped == text or (cropped.endswith("…") and text.startswith(cropped[:-1]))


def test_crop_ends_the_colour_that_it_cuts() -> None:
    assert crop("\x1b[31mfailed\x1b[0m", 4) == "\x1b[31mfai…\x1b[0m"


@given(st.text())
def test_printable_text_moves_no_cursor(text: str) -> None:
    shown = printable(text)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202e]", shown)
    if not re.search(r"[^\w ]", text):
        assert shown == text


def test_printable_shows_escapes_and_keeps_ukrainian() -> None:
    assert printable("\x1b]0;owned\x07й є\tґ") == r"\x1b]0;owned\x07й є ґ"


def test_pad_never_cuts() -> None:
    assert pad("音声", 3) == "音声"
    assert pad("音", 4, right=True) == "  音"


class _Stream:
    def __init__(self, *, terminal: bool) -> None:
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.mark.parametrize(
    ("terminal", "choice", "environ", "on"),
    [
        (True, "auto", {}, True),
        (False, "auto", {}, False),
        (True, "auto", {"NO_COLOR": "1"}, False),
        (True, "auto", {"NO_COLOR": ""}, True),
        (True, "auto", {"TERM": "dumb"}, False),
        (False, "always", {"NO_COLOR": "1"}, True),
        (True, "never", {}, False),
    ],
)
def test_colour_only_where_it_is_wanted(
    terminal: bool, choice: str, environ: dict[str, str], on: bool
) -> None:
    assert paint_for(_Stream(terminal=terminal), choice, environ) == Paint(on=on)  # type: ignore[arg-type]


def test_paint() -> None:
    assert Paint(on=True)("x", "bold", "red") == "\x1b[1;31mx\x1b[0m"
    assert PLAIN("x", "red") == "x"
