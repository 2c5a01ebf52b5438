"""Whose last words are quoted: those of the run that failed, not of the next one."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from supervisor.cli.excerpt import Excerpt, last_words
from supervisor.logs.marks import mark_line
from supervisor.logs.times import TimeIndex

NOON = 1_785_000_000.0


def begins(run: int) -> bytes:
    return mark_line(f"run {run} begins", NOON)


def ended(run: int) -> bytes:
    return mark_line(f"run {run} was killed by signal 9 (SIGKILL)", NOON)


def said(*texts: str) -> bytes:
    return "".join(f"{text}\n" for text in texts).encode()


def write(folder: Path, *parts: bytes) -> str:
    path = folder / "tts.log"
    path.write_bytes(b"".join(parts))
    return str(path)


STORY = (begins(1), said("a", "b", "c"), ended(1), begins(2), said("d"), ended(2), begins(3))


@pytest.mark.parametrize(
    ("parts", "run", "excerpt"),
    [
        (STORY, 1, Excerpt(("b", "c"), 1)),
        (STORY, 2, Excerpt(("d",), 2)),
        ((*STORY, ended(3)), 3, Excerpt((), 3)),
        # Perhaps its words are still on their way into the log.
        (STORY, 3, Excerpt(("c", "d"), None)),
        (STORY, None, Excerpt(("c", "d"), None)),
        ((*STORY, said("e", "f", "g")), 2, Excerpt(("d",), 2)),
        # What a child of it prints after its end is its word too.
        ((begins(1), ended(1), said("late"), begins(2), said("d")), 1, Excerpt(("late",), 1)),
        # The log begins in the middle of the run: rotated, or made before marks were.
        ((said("a", "b"), begins(2), said("c")), 1, Excerpt(("a", "b"), 1)),
        ((said("a", "b"), begins(3), said("c")), 1, Excerpt(("b", "c"), None)),
        ((said("a", "b"),), 7, Excerpt(("a", "b"), None)),
        ((), 1, Excerpt((), None)),
        # A service that writes what looks like a mark, and is none.
        ((begins(1), said("run 2 begins"), begins(2)), 1, Excerpt(("run 2 begins",), 1)),
    ],
)
def test_whose_words_they_are(
    tmp_path: Path, parts: Iterable[bytes], run: int | None, excerpt: Excerpt
) -> None:
    assert last_words(write(tmp_path, *parts), run, NOON, 2) == excerpt


def test_they_are_found_behind_all_that_its_successor_has_printed(tmp_path: Path) -> None:
    before = begins(3) + said(*(f"early {n}" for n in range(1000)))
    late = said("nearly", "the last word") + ended(3)
    after = begins(4) + said(*(f"later {n}" for n in range(5000)))
    log = write(tmp_path, before, late, after)
    index = TimeIndex(log)
    for offset, at in ((0, -500.0), (len(before), -1.0), (len(before + late), 1.0)):
        index.note(offset, NOON + at)
    index.close()
    assert last_words(log, 3, NOON, 2) == Excerpt(("nearly", "the last word"), 3)
    # Silent for longer than we look back: then what is there is quoted as nobody's.
    assert last_words(log, 2, NOON, 2) == Excerpt(("later 4998", "later 4999"), None)


def test_a_log_that_is_not_there_has_no_words(tmp_path: Path) -> None:
    assert last_words(str(tmp_path / "tts.log"), 1, NOON, 5) == Excerpt((), None)
