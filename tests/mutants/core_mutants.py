"""Small wrongs that the tests of the core must notice, and the run that shows whether they do.

`python -m tests.mutants.core_mutants [EVERY]` forks once for each mutant (for every fourth, if
EVERY is 4), replaces one line of a module while it is imported, and runs the quick tests of the
core on it. A mutant that survives is named
with exit code 1. No file is changed.
"""

import importlib.util
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Final

import hypothesis  # noqa: F401 - imported before the forks, so that it is read once
import pytest

TESTS: Final = Path(__file__).parents[1] / "core"
QUICK: Final = (
    "test_step_table.py",
    "test_unit_histories.py",
    "test_health.py",
    "test_transactions.py",
    "test_restart_policy.py",
    "test_fleet_order.py",
    "test_fleet_rolling.py",
    "test_fleet_reload.py",
    "test_remedy.py",
    "test_remedy_units.py",
)
FIRST: Final[Mapping[str, tuple[str, ...]]] = {
    "step": ("test_step_table.py",),
    "health": ("test_health.py", "test_transactions.py"),
    "patience": ("test_transactions.py",),
    "ailments": ("test_transactions.py",),
    "restart": ("test_restart_policy.py",),
    "turn": ("test_fleet_order.py", "test_fleet_rolling.py"),
    "fleet": ("test_fleet_order.py", "test_fleet_reload.py"),
    "remedy": ("test_remedy.py",),
    "healing": ("test_remedy_units.py",),
}
"""Those of them that know a module best: most mutants need no others to be noticed, and to collect
all takes longer than to run these."""
SECONDS: Final = 20
"""A mutant that makes the tests run for longer than this counts as noticed: it loops."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One text of a module of `supervisor.core`, which occurs once, and what replaces it."""

    module: str
    right: str
    wrong: str

    def __str__(self) -> str:
        return f"{self.module}: {self.right!r} -> {self.wrong!r}"


STEP: Final = (
    ("if event.run != unit.run() else", "if False else"),
    ("goal=Goal.UP, record=Record(), restarts=0", "goal=Goal.UP, restarts=0"),
    ("RunId(unit.last_run + 1)", "RunId(unit.last_run)"),
    ("killed=killed) if now >= kill_at", "killed=killed) if now > kill_at"),
    ("kill_at=now + KILL_AGAIN", "kill_at=kill_at"),
    ("0.0 if killed else min(", "min("),
    ("min(unit.spec.stop.timeout, max(0.0, kill_at - now))", "max(0.0, kill_at - now)"),
    (" + (DUMP_TIME if dump else 0.0)", ""),
    ("Signal(run, unit.spec.stop.signal, dump)", "Signal(run, unit.spec.stop.signal)"),
    ("failure=why, dump=hung", "failure=why"),
    ("failure=late.why, dump=late.hung", "failure=late.why"),
    ("Ask(run, kind, not _waits", "Ask(run, kind, _waits"),
    ("since=unit.since if unit.ready() else now", "since=now"),
    ("since=unit.since if unit.ready() else now", "since=unit.since"),
    ("asked = failure is None", "asked = True"),
    ("if not event.retry:", "if False:"),
    ("RunId(max(unit.last_run, event.run))", "event.run"),
    ("min(unit.spec.stop.timeout, ORPHAN_GRACE)", "ORPHAN_GRACE"),
    ("Waiting(now + delay) if delay > 0 else Blocked()", "Waiting(now + delay)"),
    ("restarts=unit.restarts + 1", "restarts=unit.restarts"),
    ("                unit = _proven(unit, phase.health, now)", "                pass"),
    ("            unit = _proven(unit, health, now)", "            pass"),
    ("case Waiting(until=until) if now >= until", "case Waiting(until=until) if now > until"),
    ("failed = Failed(left=phase.run)", "failed = Stopped()"),
    ("Blocked) or unit.reason == why", "Blocked)"),
    ("if health.started and not phase.health.started:", "if False:"),
    ("run = unit.run()\n    if event.run != (unit.last_run if run is None else run)", "if False"),
    ("health is not phase.health and tally is not None", "tally is not None"),
    ("chart = replace(unit.chart, of_run=unit.chart.in_force)", "chart = unit.chart"),
    (
        "chart = replace(unit.chart, in_force=(), uses=())",
        "chart = replace(unit.chart, in_force=())",
    ),
    ("until=until + lost)", "until=until)"),
)
HEALTH: Final = (
    ("not health.ready and streak >= probe", "not health.ready and streak > probe"),
    ("health.ready and -streak >= probe", "health.ready and -streak > probe"),
    ("if -streak >= probe.failures:\n        yield", "if -streak > probe.failures:\n        yield"),
    (
        "if -streak >= probe.failures:\n        yield",
        "if -streak == probe.failures:\n        yield",
    ),
    (
        "if -streak >= probe.failures:\n        return",
        "if -streak > probe.failures:\n        return",
    ),
    ("if streak < probe.successes", "if streak <= probe.successes"),
    ("now < health.started_by", "now <= health.started_by"),
    ("        max(due, now),", "        now,"),
    ("tally.streak + sign if tally.streak * sign > 0 else sign", "tally.streak + sign"),
    ("if result.ok is None or", "if"),
    ("if tally is None or not tally.asking:", "if tally is None:"),
    ("spread = 0.5 + 0.5 * fraction", "spread = 0.5 * fraction"),
    ("ready=False, healthy_since=None), (BecameUnready", "ready=False), (BecameUnready"),
    (
        "health = replace(health, ready=False, healthy_since=None)",
        "health = replace(health, ready=False)",
    ),
    ("(0.5 + 0.5 * fraction(", "(0.5 * fraction("),
    ("due = tally.due - probe.every + _until_next", "due = now + _until_next"),
    ("0.8 + 0.1 * fraction", "0.9 + 0.1 * fraction"),
    ("if result.busy and not result.ok else None", "if False else None"),
    ("if result.ok and result.busy is not None:", "if result.busy is not None:"),
    (" and not _transaction_fails(health):\n", ":\n"),
    ("health = _put(health, ProbeKind.TRANSACTION, replace(transaction, due=now))", "pass"),
    ("if health.ready or not _works(spec, health):", "if health.ready:"),
    ("return health, (_dead(ProbeKind.TRANSACTION, streak, result),)", "return health, ()"),
    ("(Fault.SILENT, Fault.UNREACHABLE)", "(Fault.SILENT,)"),
    ("tally.streak < 0", "tally.streak < -1"),
    ("tally.streak >= spec.readiness.successes", "tally.streak > 0"),
    ("since = now if begins else tally.excused_since", "since = now"),
    ("excused_since=since if result.busy else None", "excused_since=since"),
    ("and begins and", "and"),
    ("told_busy_at >= NOTICE_WINDOW", "told_busy_at > NOTICE_WINDOW"),
    ("health.spoken is None or _does_not_speak", "_does_not_speak"),
    ("return replace(health, told_busy_at=now), (Excused", "return health, (Excused"),
    ("if not tally.asking and tally.due <= now", "if tally.due <= now"),
    ("times.append(health.started_by)", "pass"),
    ("spread = min(spec.startup.every, FIRST_STARTUP_PROBE)", "spread = spec.startup.every"),
    ("result.notice if result.ok else tally.notice", "result.notice"),
    ("    if not result.ok:\n        return health, verdicts\n", ""),
    ("if notice == health.told_notice or", "if"),
    ("len(recent) >= NOTICES", "len(recent) > NOTICES"),
    ("if now - at < NOTICE_WINDOW", "if now - at <= NOTICE_WINDOW"),
    ("for _, tally in self.tallies if tally.notice", "for _, tally in self.tallies"),
)
PATIENCE: Final = (
    ("if tally is None or tally.streak < 0:", "if tally is None:"),
    ("return probe.idle and (", "return ("),
    ("(since is None or now - since < deadline)", "(since is None or now - since <= deadline)"),
    ("or result.ok or kind is ProbeKind.STARTUP:", "or result.ok:"),
    ("        return result.busy\n", "        return False\n"),
    ("return result.busy and kind is ProbeKind.TRANSACTION", "return result.busy"),
    ("return result.busy and kind is", "return kind is"),
    ("in_time = since is None or now - since < deadline", "in_time = True"),
    ("worked = result.busy or since is not None", "worked = result.busy"),
    ("result.fault is Fault.SILENT and", ""),
    ("if kind is not ProbeKind.TRANSACTION:", "if True:"),
    ("max(1, probe.failures - 1)", "1"),
    ("max(SOONEST, min(LATEST, between))", "min(LATEST, between)"),
    ("min(LATEST, between)", "between"),
)
AILMENTS: Final = (
    ('("broken", Fault.WRONG, (ProbeKind.TRANSACTION, ProbeKind.LIVENESS)),', ""),
    ('("unready", Fault.REFUSED, _ANY)', '("broken", Fault.REFUSED, _ANY)'),
    ("if tally.streak < 0]", "]"),
    ("if word != ailment(before)[0]:", "if True:"),
    ("return why or ", "return why and "),
    ("if now.working:", "if False:"),
    ("if now.busy() else detail", "if True else detail"),
)
RESTART: Final = (
    (">= spec.give_up.after", "> spec.give_up.after"),
    ("if now - at < give_up.within", "if now - at <= give_up.within"),
    ("2 * fraction(*of) - 1", "fraction(*of)"),
    (">= spec.proven_after", "> spec.proven_after"),
    ("record.in_a_row + 1", "record.in_a_row"),
    ("backoff.factor ** (attempt - 1)", "backoff.factor ** attempt"),
    ("min(backoff.max, backoff.first * growth)", "backoff.first * growth"),
    ('if spec.policy == "never":', "if False:"),
    ("return Record()", "return Record(0, record.recent)"),
)
TURN: Final = (
    ("starting >= self.fleet.start_limit", "starting > self.fleet.start_limit"),
    ("starting += 1", "pass"),
    ("at is not None and at <= now", "at is not None and at < now"),
    ("pending.extend(self.fleet.dependents.get(other, ()))", "pass"),
    ("if isinstance(unit.phase, Spawning):", "if False:"),
    ("if isinstance(self.held_back.get(name), Stop):", "if name in self.held_back:"),
    ("if why != self.units[name].reason:", "if True:"),
    ("if name not in asked and isinstance(", "if isinstance("),
    ("if name not in asked and isinstance(self.units[name].phase, Completed)", "if False"),
    ("Condition.READY and health.ready", "Condition.READY"),
    ("if name in self.held_back:\n            return unit", "if False:\n            return unit"),
    ("outgoing or isinstance(unit.phase, Stopping | Clearing)", "isinstance(unit.phase, Stopping)"),
    ("run is not None and run == other.unit.run():", "False:"),
    ("if other is not None and other.incoming and not isinstance(unit.phase, Running):", "if 0:"),
    ("            unit = replace(unit, goal=Goal.DOWN)\n", "            pass\n"),
    ("elif unit.ready():\n            self._swap", "elif True:\n            self._swap"),
    ("effect.topic is Topic.STOPPED", "False"),
    ("self.units[name] = replace(old, last_run=unit.last_run)", "pass"),
    ("self._starting() < self.fleet.start_limit", "True"),
    ("if not (unit.ready() and can_overlap(unit.spec)):", "if not can_overlap(unit.spec):"),
    ("if not (unit.ready() and can_overlap(unit.spec)):", "if not unit.ready():"),
    ("name not in self.overlaps and self._starting()", "self._starting()"),
    ("            unit = self._step(name, other.unit, Stop(event.why))\n", "            return\n"),
    ("fleet = shaped(fleet) if left else fleet", "pass"),
    ("            if name in self.leaving:\n                continue\n", ""),
    ("        record=old.record,\n", ""),
    ("replace(unit, chart=old.chart, heals=False)", "replace(unit, chart=old.chart)"),
    ("replace(old.chart, of_run=unit.chart.of_run)", "old.chart"),
    ("        beside=old.beside,\n", ""),
)  # fmt: skip

FLEET: Final = (
    ("if name not in fleet.leaving:", "if True:"),
    ("if name not in fleet.leaving and not isinstance(", "if not isinstance("),
    ("if name not in added and before[name] != one:", "if False:"),
    ("if name in added:\n            continue\n", "if name in added:\n            raise\n"),
    ("fleet.leaving or one.enabled > before[name].enabled:", "fleet.leaving:"),
    ("name in restarting and unit.goal", "unit.goal"),
    ("Failed | Waiting) and before[name] != one", "Failed) and before[name] != one"),
    ("            if rolling:", "            if False:"),
    ("Failed | Waiting) and before[name] != one", "Failed | Waiting)"),
    ("starting = {name for name in added if wanted[name].enabled}", "starting = set(added)"),
)  # fmt: skip

REMEDY: Final = (
    ("if now - at < rule.limit.within", "if now - at <= rule.limit.within"),
    (">= rule.limit.times", "> rule.limit.times"),
    ("if told != use.told:", "if True:"),
    ("        if _is_useless(spec, chart, rule):", "        if False:"),
    ("before = chart.of_run if rule.restart else chart.in_force", "before = chart.in_force"),
    ("or rule.steps():\n        return False", "or False:\n        return False"),
    ("            notes.append((Topic.REMEDY_SKIPPED, text))\n            continue\n", "pass\n"),
    ("in_force=(*others, rule.name))", "in_force=(rule.name, *others))"),
    ("if old.command != new.command or old.env != new.env:", "if old.env != new.env:"),
    ("if rule in old.remedies", "if True"),
    ("says is None or", "True or"),
    ("if rule.ends_the_run else seen.times % failed == 0", ""),
    ("return code in codes", "return True"),
    ("return number in signals", "return True"),
    ("if at < len(rest) and is_value(rest[at]):", "if at < len(rest):"),
    ("result, rest, found = command[:1], command[1:]", "result, rest, found = [], command"),
    ("busy and rule.run is not None and", "busy and"),
)  # fmt: skip
HEALING: Final = (
    ("if unit.goal is Goal.DOWN or not unit.heals:", "if unit.goal is Goal.DOWN:"),
    ("return failure is not None and rule is None", "return rule is None"),
    ("return not asked and rule is None", "return rule is None"),
    ("rule is None and ended.failure is None and", "rule is None and"),
    ("left=tuple(left), until=until)", "left=(), until=until)"),
    ("now + step.timeout + ANSWER_GRACE", "now + step.timeout"),
    ("if given_up or healing.notes:", "if True:"),
    ("unit = replace(unit, restarts=unit.restarts + 1)", "pass"),
    ("otherwise.until + now - phase.began", "otherwise.until"),
    ("event.number == phase.number:", "True:"),
    ("event.number == beside.number:", "False:"),
    ("if not event.ok:", "if False:"),
    ("        return unit, (*policy, *effects)", "        return unit, effects"),
)  # fmt: skip

MUTANTS: Final = tuple(
    Mutant(module, right, wrong)
    for module, pairs in (
        ("step", STEP),
        ("health", HEALTH),
        ("patience", PATIENCE),
        ("ailments", AILMENTS),
        ("restart", RESTART),
        ("turn", TURN),
        ("fleet", FLEET),
        ("remedy", REMEDY),
        ("healing", HEALING),
    )
    for right, wrong in pairs
)


class UnusableError(Exception):
    """The mutant's text does not occur exactly once, or its module does not even import."""


def source(mutant: Mutant) -> str:
    """Return the mutated source; raise `UnusableError`."""
    spec = importlib.util.find_spec(f"supervisor.core.{mutant.module}")
    assert spec is not None
    assert spec.origin is not None
    text = Path(spec.origin).read_text("utf-8")
    if text.count(mutant.right) != 1:
        raise UnusableError(f"{mutant}: found {text.count(mutant.right)} times, wanted once")
    return text.replace(mutant.right, mutant.wrong)


class MutantFinder(Loader):
    """Finds the mutated module before the true one is found; a loader of it as well."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._text = text

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return a spec for the mutated module only."""
        if name != self._name:
            return None
        true = PathFinder.find_spec(name, path, target)
        assert true is not None
        return importlib.util.spec_from_loader(name, self, origin=true.origin)

    def create_module(self, spec: ModuleSpec) -> None:
        """Let Python make the module."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the mutated source."""
        exec(compile(self._text, f"<mutant of {self._name}>", "exec"), module.__dict__)  # noqa: S102


def passes(mutant: Mutant | None) -> bool:
    """Tell whether the quick tests pass on this mutant (None: on the true source)."""
    text = None if mutant is None else source(mutant)
    pid = os.fork()
    if pid == 0:
        status = 3
        try:
            signal.alarm(SECONDS)
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            if mutant is not None and text is not None:
                name = f"supervisor.core.{mutant.module}"
                sys.meta_path.insert(0, MutantFinder(name, text))
            first = () if mutant is None else FIRST[mutant.module]
            rest = tuple(name for name in QUICK if name not in first)
            # Hypothesis is imported already, so that each fork need not read it again.
            known = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
            plain = ["-x", "-q", "-p", "no:cacheprovider", "--tb=no"]
            status = pytest.ExitCode.OK
            for names in (first, rest):
                if names and status == pytest.ExitCode.OK:
                    status = pytest.main([*plain, *known, *(str(TESTS / each) for each in names)])
        finally:
            os._exit(status)
    _, ended = os.waitpid(pid, 0)
    if os.WIFSIGNALED(ended):
        return os.WTERMSIG(ended) != signal.SIGALRM
    code = os.WEXITSTATUS(ended)
    if code not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
        raise UnusableError(f"{mutant}: pytest ended with code {code}, so no test has judged it")
    return code == pytest.ExitCode.OK


def survivors(mutants: Sequence[Mutant]) -> Iterator[str]:
    """Yield what is wrong: mutants that no test notices, and those that cannot be used."""
    if any(name.startswith("supervisor.core.") for name in sys.modules):
        raise RuntimeError("the core is imported already; run this as a program of its own")
    if not passes(None):
        yield "the tests fail on the true source: no mutant can be judged"
        return
    for mutant in mutants:
        try:
            if passes(mutant):
                yield f"survived: {mutant}"
        except UnusableError as error:
            yield f"unusable: {error}"


if __name__ == "__main__":
    tried = MUTANTS[:: int(sys.argv[1]) if sys.argv[1:] else 1]
    found = list(survivors(tried))
    for line in found:
        print(line)
    print(f"{len(tried)} mutants, {len(found)} complaints")
    sys.exit(1 if found else 0)
