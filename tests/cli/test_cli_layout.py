"""Text in lines of so many cells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.cli.layout import Item, list_items, wrap
from supervisor.cli.terminal import PLAIN, Paint, crop_middle, width


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [""]),
        ("one two", ["one two"]),
        ("one two three", ["one two", "three"]),
        ("one twothree", ["one", "twothree"]),
        ("abcdefghijk", ["abcdefgh", "ijk"]),
        ("abcdefgh ijk", ["abcdefgh", "ijk"]),
        ("abcdefghi", ["abcdefgh", "i"]),
        ("a b c d e f g h i j k l m n o", ["a b c d", "e f g h", "i j k l…"]),
        ("日本語日本語", ["日本語日", "本語"]),
        ("e\u0301" * 10, ["e\u0301" * 8, "e\u0301" * 2]),
    ],
)
def test_lines_break_between_words_where_they_can(text: str, lines: list[str]) -> None:
    assert wrap(text, 8, 3) == lines


@given(st.text(), st.integers(2, 20), st.integers(1, 5))
def test_no_line_is_wider_and_nothing_is_lost_that_fits(text: str, columns: int, most: int) -> None:
    text = " ".join(text.replace("\x1b", "").replace("…", "").split())
    lines = wrap(text, columns, most)
    assert len(lines) <= most
    assert max(map(width, lines)) <= columns
    if not lines[-1].endswith("…"):
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(
    ("text", "cropped"),
    [
        ("", ""),
        ("123456789012", "123456789012"),
        ("abc defghi kl mn", "abc… kl mn"),
        ("abcdefghijklmnop", "abc… jklmnop"),
        ("日本語日本語日本語", "日… 語日本語"),
    ],
)
def test_the_end_stays_where_the_middle_is_cut(text: str, cropped: str) -> None:
    assert crop_middle(text, 12) == cropped


@given(st.text(), st.integers(12, 80))
def test_what_is_cropped_in_the_middle_fits_and_keeps_its_end(text: str, cells: int) -> None:
    text = text.replace("\x1b", "")
    cropped = crop_middle(text, cells)
    assert width(cropped) <= cells
    if cropped != text:
        head, _, tail = cropped.partition("… ")
        assert text.startswith(head)
        assert text.endswith(tail)


LONG = "word " * 30


def listed(*items: Item, room: int) -> list[str]:
    return list_items(items, 20, room, "{} left out", PLAIN)


def test_lines_to_spare_go_to_the_weighty_and_then_to_the_latest() -> None:
    plain, weighty = Item("> ", LONG), Item("! ", LONG, weighty=True)
    assert [line[0] for line in listed(plain, weighty, plain, room=4)] == [">", "!", " ", ">"]
    assert [line[0] for line in listed(plain, weighty, plain, room=6)] == list(">!  > ")
    assert [line[0] for line in listed(plain, weighty, plain, room=99)] == list(">  !  >  ")
    assert all(line.endswith("…") for line in listed(plain, plain, room=2))


def test_the_middle_is_left_out_and_counted() -> None:
    items = [Item("> ", f"{n}") for n in range(10)]
    assert listed(*items, room=5) == ["> 0", "> 1", "6 left out", "> 8", "> 9"]
    assert listed(*items, room=10) == [f"> {n}" for n in range(10)]


def test_colours_are_within_lines() -> None:
    lines = list_items([Item("> ", LONG, ("red",))], 20, 3, "", Paint(on=True))
    assert all(line.count("\x1b[31m") == 1 and line.endswith("\x1b[0m") for line in lines)
    assert max(map(width, lines)) <= 20


def test_what_tells_most_stays_and_each_gap_is_shown() -> None:
    """The hang is why anybody asks; what was said before and after it is not."""
    plain = [Item("", f"plain {n}") for n in range(12)]
    plain[6] = Item("", "it is to stop", telling=True)
    plain[7] = Item("", "hung in f", weighty=True)
    assert list_items(plain, 40, 7, "{} left out", PLAIN) == [
        "plain 0",
        "plain 1",
        "7 left out",
        "it is to stop",
        "hung in f",
        "…",
        "plain 11",
    ]
    assert list_items(plain, 40, 4, "{} left out", PLAIN) == [
        "10 left out", "hung in f", "…", "plain 11",
    ]  # fmt: skip
