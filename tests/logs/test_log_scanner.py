"""Looking for patterns in output that comes in pieces: nothing missed, nothing counted twice."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.pattern import Pattern
from supervisor.logs.scanner import LONGEST_LINE, Scanner


class Notes:
    """A scanner, and what it found: how many lines, and the first of each time."""

    def __init__(self, *texts: str, tail: bytes = b"") -> None:
        self.counts: dict[str, int] = defaultdict(int)
        self.lines: list[bytes] = []
        self.runs: list[int | None] = []
        self.scanner = Scanner(self._found)
        self.scanner.look_for(tuple(Pattern.parse(text) for text in texts), tail)

    def _found(self, pattern: Pattern, run: int | None, line: bytes, count: int) -> None:
        self.counts[pattern.text] += count
        self.lines.append(line)
        self.runs.append(run)

    def feed(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.scanner.feed(piece)


def test_a_line_that_comes_in_pieces_is_one() -> None:
    notes = Notes("out of memory")
    notes.feed(b"CUDA out", b" of mem", b"", b"ory", b".\nout of", b" disk\n")
    assert notes.lines == [b"CUDA out of memory."]


def test_a_line_is_looked_at_when_it_is_whole() -> None:
    notes = Notes("a*b")
    notes.feed(b"a")
    notes.feed(b"b")
    assert notes.lines == []
    notes.scanner.end_line()
    assert notes.lines == [b"ab"]
    notes.feed(b"a\nb\n")
    assert notes.lines == [b"ab"]


def test_what_stands_after_a_progress_bar_is_a_line() -> None:
    notes = Notes("Error")
    bar = b"".join(b"\r%3d%%|####    | 1/2" % number for number in range(2000))
    notes.feed(bar, b"\rRuntimeError: x\r\n")
    assert notes.lines == [b"RuntimeError: x"]


@pytest.mark.parametrize(
    "coloured",
    [
        b"\x1b[1;31mout of\x1b[0m memory",
        b"out \x1b[38;5;196mof mem\x1b[Kory\x1b[m",
        b"\x1b]0;title\x07out of memory",
        b"\x1b]8;;http://x\x1b\\out of memory\x1b]8;;\x1b\\",
        b"\x1b(Bout of\x1b7 memory\x1b=",
        b"\x1b[?25lout of memory\x1b[?25h",
    ],
)
def test_colours_and_the_like_are_no_part_of_the_line(coloured: bytes) -> None:
    notes = Notes("out of memory")
    for cut in range(len(coloured)):
        notes.feed(coloured[:cut], coloured[cut:] + b"\n")
    assert set(notes.lines) == {b"out of memory"}
    assert notes.counts["out of memory"] == len(coloured)


def test_an_escape_that_does_not_end_hides_nothing_but_itself() -> None:
    notes = Notes("error")
    notes.feed(b"\x1b]0;never ends\nerror 1\n\x1b[\nerror 2\n\x1b", b"\nerror 3\n")
    assert notes.counts["error"] == 3


def test_of_a_long_line_the_beginning_is_looked_at_once() -> None:
    at_the_end = b"x" * (LONGEST_LINE - 5) + b"error"
    beyond = b"x" * (LONGEST_LINE - 4) + b"error"
    for size in (1, 999, 8192, 1 << 20):
        for line, count in ((at_the_end, 1), (beyond, 0)):
            notes = Notes("error")
            whole = line + b"error" * 5000 + b"\nerror here\n"
            notes.feed(*(whole[at : at + size] for at in range(0, len(whole), size)))
            assert notes.counts["error"] == count + 1
            assert notes.lines[-1] in (b"error here", line[:LONGEST_LINE])


def test_bytes_that_are_no_text_do_no_harm() -> None:
    notes = Notes("ґ")
    notes.feed(bytes(range(256)) * 50 + b"\n", b"\xd2", b"\x91\n", b"\xd2\n\x91\n")
    assert notes.lines == [b"\xd2\x91"]


def test_the_line_before_the_beginning_is_known_from_its_tail() -> None:
    notes = Notes("out of memory", tail=b"old out of memory\nCUDA out of")
    notes.feed(b" memory\n")
    assert notes.lines == [b"CUDA out of memory"]


def test_of_a_line_that_was_too_long_before_nothing_more_is_looked_at() -> None:
    notes = Notes("error", tail=b"x" * 3 * LONGEST_LINE)
    notes.feed(b"error\nerror 2\n")
    assert notes.lines == [b"error 2"]


def test_a_half_line_is_looked_at_for_what_is_looked_for_at_its_end() -> None:
    notes = Notes("one")
    notes.feed(b"one and ")
    notes.scanner.look_for((Pattern.parse("two"),), b"of no use")
    notes.feed(b"two\n")
    assert notes.lines == [b"one and two"]
    assert list(notes.counts) == ["two"]


def test_a_run_is_that_of_the_time_when_the_line_ended() -> None:
    notes = Notes("x")
    notes.scanner.run = 3
    notes.feed(b"x\nx")
    notes.scanner.end_line()
    notes.scanner.run = 4
    notes.feed(b"x\n")
    assert notes.runs == [3, 3, 4]


TEXTS = ("ab", "a*b", "b*a*", "\\*a")
plain = st.text("ab* \n\r", max_size=40)
escapes = st.sampled_from(["", "\x1b[31m", "\x1b]0;ab\x07", "\x1bM"])


@given(st.lists(st.tuples(plain, escapes), max_size=8), st.lists(st.integers(0, 400), max_size=8))
def test_pieces_and_colours_make_no_difference(
    parts: list[tuple[str, str]], cuts: list[int]
) -> None:
    whole = "".join(text + escape for text, escape in parts).encode()
    lines = "".join(text for text, _ in parts).replace("\r", "\n").encode().split(b"\n")
    notes = Notes(*TEXTS)
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    notes.feed(*(whole[start:end] for start, end in pairwise(places)))
    notes.scanner.end_line()
    for text in TEXTS:
        matching = [line for line in lines if Pattern.parse(text).matches(line)]
        assert notes.counts[text] == len(matching)
    assert all(line in lines for line in notes.lines)
