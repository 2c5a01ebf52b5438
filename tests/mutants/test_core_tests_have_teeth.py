"""The tests of the core notice small wrongs in it.

Here every fourth of those in the list; `make mutants` tries all, in about a minute.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.core_mutants import MUTANTS, Mutant, UnusableError, source

ROOT = Path(__file__).parents[2]
EVERY = 4
BOUND = 900.0
"""Seconds; it takes a quarter of a minute alone."""
HARMLESS = Mutant("ending", "killed=True)", "killed=not False)")
NOTHING = Mutant("ending", "KILL_AGAIN = 5.0", "KILL_AGAIN = 2.0 + 3.0")


def test_every_fourth_mutant_is_noticed_and_one_that_does_no_harm_is_not() -> None:
    code = (
        "from tests.mutants.core_mutants import MUTANTS, Mutant, complaints\n"
        f"print(*complaints([*MUTANTS[::{EVERY}], {HARMLESS!r}, {NOTHING!r}]), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert done.stdout.split("\n")[-3:] == [
        f"survived: {HARMLESS}",
        f"unusable: {NOTHING}: no function and no constant differs",
        "",
    ], done.stdout
    assert done.stdout.count("survived") == done.stdout.count("unusable") == 1, done.stdout


def test_a_mutant_whose_text_is_gone_is_refused() -> None:
    with pytest.raises(UnusableError, match="found 0 times"):
        source(Mutant("step", "no such text", ""))


def test_mutants_differ_from_the_truth_and_from_each_other() -> None:
    assert len({source(mutant) for mutant in MUTANTS}) == len(MUTANTS)
