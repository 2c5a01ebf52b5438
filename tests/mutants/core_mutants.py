"""The run that shows whether the tests of the core notice small wrongs in it.

`python -m tests.mutants.core_mutants [EVERY]` collects the quick tests of the core once and forks
for each mutant (for every fourth, if EVERY is 4). The fork gives the functions of one module the
code of the mutated text and runs the tests until one fails. A mutant that survives is named with
exit code 1. No file is changed.
"""

import importlib
import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final

import pytest
from _pytest.runner import runtestprotocol

from tests.mutants.wrongs import WRONGS

TESTS: Final = Path(__file__).parents[1] / "core"
QUICK: Final = (
    "test_step_table.py",
    "test_unit_histories.py",
    "test_unit_reload.py",
    "test_health.py",
    "test_transactions.py",
    "test_silence.py",
    "test_restart_policy.py",
    "test_fleet_order.py",
    "test_fleet_rolling.py",
    "test_fleet_reload.py",
    "test_remedy.py",
    "test_remedy_units.py",
)
FIRST: Final[Mapping[str, tuple[str, ...]]] = {
    "orders": ("test_step_table.py", "test_unit_reload.py"),
    "health": ("test_health.py", "test_transactions.py"),
    "judgement": ("test_health.py", "test_silence.py"),
    "patience": ("test_silence.py",),
    "ailments": ("test_transactions.py",),
    "events": ("test_silence.py",),
    "restart": ("test_restart_policy.py",),
    "work": ("test_fleet_order.py", "test_fleet_rolling.py"),
    "turn": ("test_fleet_reload.py",),
    "overlap": ("test_fleet_rolling.py", "test_remedy_units.py"),
    "fleet": ("test_fleet_reload.py", "test_fleet_order.py"),
    "remedy": ("test_remedy.py",),
    "healing": ("test_remedy_units.py",),
}
"""Those of them that know a module best: most mutants need no others to be noticed."""
SECONDS: Final = 20
"""Of processor time: a mutant that makes the tests use more counts as noticed, for it loops."""

Tests = Mapping[str, Sequence[pytest.Item]]
"""What was collected, by file."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One text of a module of `supervisor.core`, which occurs once, and what replaces it."""

    module: str
    right: str
    wrong: str

    def __str__(self) -> str:
        return f"{self.module}: {self.right!r} -> {self.wrong!r}"


MUTANTS: Final = tuple(Mutant(module, *pair) for module, pairs in WRONGS.items() for pair in pairs)


class UnusableError(Exception):
    """The mutant's text does not occur exactly once, or nothing comes of it."""


def source(mutant: Mutant) -> str:
    """Return the mutated source; raise `UnusableError`."""
    spec = importlib.util.find_spec(f"supervisor.core.{mutant.module}")
    assert spec is not None
    assert spec.origin is not None
    text = Path(spec.origin).read_text("utf-8")
    if text.count(mutant.right) != 1:
        raise UnusableError(f"{mutant}: found {text.count(mutant.right)} times, wanted once")
    return text.replace(mutant.right, mutant.wrong)


def exchange(mutant: Mutant) -> Callable[[], None]:
    """Return what gives a module's functions and constants what they are in the mutated text.

    In place: other modules, and the tests, have the functions already under names of their own.
    A constant changes for the module itself only. Raises `UnusableError` if nothing would change.
    """
    true = importlib.import_module(f"supervisor.core.{mutant.module}")
    false = ModuleType(true.__name__)
    try:
        exec(compile(source(mutant), f"<{mutant.module}>", "exec"), false.__dict__)  # noqa: S102
    except SyntaxError as error:
        raise UnusableError(f"{mutant}: {error}") from None
    functions = dict(_functions(true, vars(true)))
    codes = [
        (functions[name], function.__code__)
        for name, function in _functions(false, vars(false))
        if functions[name].__code__ != function.__code__
    ]
    constants = {
        name: value
        for name, value in vars(false).items()
        if isinstance(value, str | int | float | tuple | dict)
        and not name.startswith("__")
        and value != getattr(true, name)
    }
    if not codes and not constants:
        raise UnusableError(f"{mutant}: no function and no constant differs")

    def apply() -> None:
        for function, code in codes:
            function.__code__ = code
        vars(true).update(constants)

    return apply


def _functions(
    module: ModuleType, names: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, FunctionType]]:
    """Yield every function of a module with its name, and every method of its classes."""
    for name, value in names.items():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if isinstance(value, FunctionType):
            yield prefix + name, value
        elif isinstance(value, type):
            yield from _functions(module, vars(value), f"{prefix}{name}.")


def passes(tests: Tests, mutant: Mutant | None) -> bool:
    """Tell whether the tests pass on this mutant (None: on the true source)."""
    apply = None if mutant is None else exchange(mutant)
    pid = os.fork()
    if pid == 0:
        code = 3
        try:
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            first = FIRST.get(mutant.module, ()) if mutant is not None else ()
            if apply is not None:
                apply()
            rest = (name for name in QUICK if name not in first)
            items = (item for name in (*first, *rest) for item in tests[name])
            code = int(any(_fails(item) for item in items))
        finally:
            os._exit(code)
    _, ended = os.waitpid(pid, 0)
    if os.WIFSIGNALED(ended) and os.WTERMSIG(ended) == signal.SIGPROF:
        return False
    if ended not in {0, 1 << 8}:
        raise UnusableError(f"{mutant}: ended with wait status {ended}, so no test has judged it")
    return ended == 0


def _fails(item: pytest.Item) -> bool:
    return any(report.failed for report in runtestprotocol(item, log=False))


class Trial:
    """A plugin of pytest that tries mutants on what was collected, instead of running it once."""

    def __init__(self, mutants: Sequence[Mutant]) -> None:
        self._mutants = mutants
        self.complaints: list[str] = ["the tests could not be collected"]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests on each mutant."""
        tests: dict[str, list[pytest.Item]] = {}
        for item in session.items:
            tests.setdefault(item.path.name, []).append(item)
        if not session.testsfailed:
            self.complaints = list(self._tried(tests))
        return True

    def _tried(self, tests: Tests) -> Iterator[str]:
        if not passes(tests, None):
            yield "the tests fail on the true source: no mutant can be judged"
            return
        for mutant in self._mutants:
            try:
                if passes(tests, mutant):
                    yield f"survived: {mutant}"
            except UnusableError as error:
                yield f"unusable: {error}"


def complaints(mutants: Sequence[Mutant]) -> list[str]:
    """Return what is wrong: mutants that no test notices, and those that cannot be used."""
    os.environ["ATLAS_HYPOTHESIS"] = "mutants"
    trial = Trial(mutants)
    options = ["-qq", "--no-header", "--no-summary", "-p", "no:cacheprovider"]
    pytest.main([*options, *(str(TESTS / name) for name in QUICK)], plugins=[trial])
    return trial.complaints


if __name__ == "__main__":
    tried = MUTANTS[:: int(sys.argv[1]) if sys.argv[1:] else 1]
    found = complaints(tried)
    for line in found:
        print(line)
    print(f"{len(tried)} mutants, {len(found)} complaints")
    sys.exit(1 if found else 0)
