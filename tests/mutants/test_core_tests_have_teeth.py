"""The tests of the core notice small wrongs in it.

Here every twelfth of those in the list, since all take minutes (`make mutants`).
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.core_mutants import MUTANTS, Mutant, UnusableError, source

ROOT = Path(__file__).parents[2]
EVERY = 12
BOUND = 900.0
"""Seconds; it takes half a minute alone."""


def test_every_twelfth_mutant_is_noticed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutants.core_mutants", str(EVERY)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert f"{len(MUTANTS[::EVERY])} mutants, 0 complaints" in done.stdout


def test_a_mutant_that_does_no_harm_survives() -> None:
    code = (
        "from tests.mutants.core_mutants import Mutant, passes; import sys;"
        "sys.exit(not passes(Mutant('step', 'KILL_AGAIN = 5.0', 'KILL_AGAIN = 2.0 + 3.0')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=BOUND, check=False)
    assert done.returncode == 0


def test_a_mutant_whose_text_is_gone_is_refused() -> None:
    with pytest.raises(UnusableError, match="found 0 times"):
        source(Mutant("step", "no such text", ""))


def test_mutants_differ_from_the_truth_and_from_each_other() -> None:
    assert len({source(mutant) for mutant in MUTANTS}) == len(MUTANTS)
