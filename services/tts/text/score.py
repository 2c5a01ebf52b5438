"""Scores the text pipeline against cases: `python -m services.tts.text.score [FILE]`.

A case is a line "category TAB input TAB expected", where `|` parts the accepted variants and `\\n`
in an input is a line end. Two texts are equal if they are so after case folding, with runs of white
space squeezed to one space and the final `.`, `!`, `?` or `…` taken off: nobody hears those. A
stress mark counts in the words where the case has one; the dictionary marks all others.
The exit status is 0 if every category reaches 90 %, 1 if not, 2 if the file cannot be used.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.tts.text import spoken

CASES: Final = Path(__file__).parents[3] / "tests" / "tts" / "text" / "text_cases.tsv"
"""The cases of this repository; a service installed without its tests has to be given a file."""

PASS_MARK: Final = 0.9
"""The smallest share of cases that each category has to get right."""

_HEADER: Final = ("category", "input", "expected")
_LARGEST_FILE: Final = 4 * 1024 * 1024


class CasesError(Exception):
    """The file of cases cannot be read or is no such file; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Case:
    """One text, and the readings any of which is right."""

    line: int
    category: str
    written: str
    accepted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that came out as none of its accepted readings."""

    case: Case
    said: str


@dataclass(frozen=True, slots=True)
class Score:
    """How one category came out."""

    category: str
    total: int
    failures: tuple[Failure, ...]

    @property
    def share(self) -> float:
        """The part of the cases that are right, 0 to 1."""
        return 1 - len(self.failures) / self.total

    @property
    def passed(self) -> bool:
        """Whether the share reaches `PASS_MARK`."""
        return self.share >= PASS_MARK


def read_cases(path: Path) -> tuple[Case, ...]:
    """Returns the cases of a file.

    Raises CasesError if it cannot be read, is over 4 MiB, holds no case or a line of another form.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise CasesError(f"{path}: over {_LARGEST_FILE} bytes: split the file")
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CasesError(f"{path}: {error}: give a UTF-8 file of cases") from error
    cases = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or (number == 1 and tuple(line.split("\t")) == _HEADER):
            continue
        fields = line.split("\t")
        if len(fields) != len(_HEADER) or not all(fields):
            raise CasesError(
                f"{path}:{number}: want three fields between tabs: {', '.join(_HEADER)}"
            )
        category, written, expected = fields
        cases.append(
            Case(number, category, written.replace("\\n", "\n"), tuple(expected.split("|")))
        )
    if not cases:
        raise CasesError(f"{path}: has no cases")
    return tuple(cases)


def scored(cases: Iterable[Case]) -> tuple[Score, ...]:
    """Speaks every case; returns a score for each category, in the order they first come in."""
    totals: dict[str, int] = {}
    failures: dict[str, list[Failure]] = {}
    for case in cases:
        totals[case.category] = totals.get(case.category, 0) + 1
        failed = failures.setdefault(case.category, [])
        said = spoken(case.written).text
        if not any(agree(said, accepted) for accepted in case.accepted):
            failed.append(Failure(case, said))
    return tuple(
        Score(category, total, tuple(failures[category])) for category, total in totals.items()
    )


def agree(said: str, accepted: str) -> bool:
    """Returns whether two texts are equal (see the top of this file)."""
    ours, theirs = squeezed(said).split(" "), squeezed(accepted).split(" ")
    return len(ours) == len(theirs) and all(
        our == their or ("+" not in their and our.replace("+", "") == their)
        for our, their in zip(ours, theirs, strict=True)
    )


def squeezed(text: str) -> str:
    """Returns the form in which two texts are compared (see the top of this file)."""
    return " ".join(text.casefold().split()).rstrip(".!?… ")


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the score of each category and every failure; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m services.tts.text.score",
        description="Says each case and tells what share of each category comes out right.",
    )
    parser.add_argument("file", nargs="?", type=Path, default=CASES, help="cases, tab-separated")
    path: Path = parser.parse_args(arguments).file
    try:
        scores = scored(read_cases(path))
    except CasesError as error:
        print(f"score: {error}", file=sys.stderr)
        return 2
    for score in scores:
        right = score.total - len(score.failures)
        mark = "" if score.passed else f"  below {PASS_MARK:.0%}"
        print(f"{score.category:<10} {right:>4}/{score.total:<4} {score.share:>6.1%}{mark}")
        for failure in score.failures:
            print(f"  line {failure.case.line}: {failure.case.written!r}")
            print(f"    said {failure.said!r}, not {' or '.join(map(repr, failure.case.accepted))}")
    return 0 if all(score.passed for score in scores) else 1


if __name__ == "__main__":
    sys.exit(main())
