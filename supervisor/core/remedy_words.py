"""Remedies in words: what was seen, what is done about it. No word holds a secret. Pure."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import assert_never

from supervisor.core import masking
from supervisor.core.events import Exit
from supervisor.core.exits import SIGNAL_NAMES, describe_exit
from supervisor.core.spec import (
    ExitTrigger,
    FileExists,
    OutputTrigger,
    PortFree,
    ProbeKind,
    ProbeTrigger,
    Remedy,
    RemedyCommand,
    RemedyStep,
    ServiceSpec,
    Succeeds,
    WaitFor,
)

_LONGEST = 120
"""Characters of a line or of a probe's words that are quoted."""


@dataclass(frozen=True, slots=True)
class Printed:
    """A run printed a line that fits a pattern."""

    pattern: str
    line: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A run ended so, and nobody had asked it to."""

    exit: Exit


@dataclass(frozen=True, slots=True)
class Failing:
    """A probe of the run failed so many times in a row; `words` are those of the last time."""

    kind: ProbeKind
    times: int
    words: str


Seen = Printed | Ended | Failing


def secrets_of(spec: ServiceSpec) -> frozenset[str]:
    """Return the secrets that a spec and its remedies hold."""
    known = masking.secrets_of(spec.env)
    for rule in spec.remedies:
        known |= masking.secrets_of(rule.set_env)
    return known


def seen(what: Seen, known: Collection[str] = ()) -> str:
    """Return what was seen, as a sentence about the service."""
    match what:
        case Printed(line=line):
            return f'it printed "{_quoted(line, known)}"'
        case Ended(exit=ending):
            return f"it {describe_exit(ending)}"
        case Failing(kind=kind, times=times, words=last):
            often = "once" if times == 1 else f"{times} times in a row"
            return f"its {kind} probe failed {often}: {_quoted(last, known)}"
        case _:
            assert_never(what)


def title(name: str) -> str:
    """Return what a rule is called in a sentence."""
    return name if name.startswith("remedy") else f"remedy {name}"


def trigger(rule: Remedy) -> str:
    """Return what a rule looks for."""
    match rule.when:
        case OutputTrigger(pattern=pattern):
            return f'it prints "{pattern}"'
        case ExitTrigger(codes=codes, signals=signals):
            names = [SIGNAL_NAMES.get(number, f"signal {number}") for number in signals]
            ways = [f"exits with code {code}" for code in codes]
            return "it " + " or ".join([*ways, *(f"is killed by {name}" for name in names)])
        case ProbeTrigger(probe=probe, failed=failed, says=says):
            often = "fails" if failed == 1 else f"fails {failed} times in a row"
            last = "" if says is None else f' and says "{says}"'
            return f"its {probe} probe {often}{last}"
        case _:
            assert_never(rule.when)


def deeds(rule: Remedy) -> str:
    """Return what a rule does, in order."""
    if rule.give_up is not None:
        return f"give up: {rule.give_up}"
    done = [f"set {settings(rule)}"] if rule.set_env or rule.set_args else []
    done += [doing(each) for each in rule.steps()]
    if rule.restart:
        done.append("restart it")
    elif rule.set_env or rule.set_args:
        done[0] += " from its next start on"
    return ", ".join(done)


def rule(rule: Remedy) -> str:
    """Return a whole rule on one line."""
    only = "; only told, not done" if rule.dry_run else ""
    return f"if {trigger(rule)}: {deeds(rule)}, {limit(rule)} at most{only}"


def settings(rule: Remedy) -> str:
    """Return the variables and arguments that a rule sets, secrets masked."""
    told = []
    for name, value in rule.set_env.items():
        _, shown = masking.masked_pair(name, None, value)
        told.append(f"{name}={shown}")
    for flag, argument in rule.set_args.items():
        match argument:
            case True:
                told.append(flag)
            case False:
                told.append(f"no {flag}")
            case str():
                told.append(command((flag, argument)))
    return " ".join(told)


def doing(step: RemedyStep) -> str:
    """Return a step as something to do."""
    match step:
        case RemedyCommand(command=argv):
            return f"run {command(argv)}"
        case WaitFor(condition=PortFree(port=port)):
            return f"wait until port {port} is free"
        case WaitFor(condition=FileExists(path=path)):
            return f"wait until {path} exists"
        case WaitFor(condition=Succeeds(command=argv)):
            return f"wait until {command(argv)} succeeds"
        case _:
            raise AssertionError(f"no step: {step}")


def command(argv: tuple[str, ...]) -> str:
    """Return a command on one line, secrets masked."""
    return " ".join(text.masked() for text in masking.split_arguments(argv))


def limit(rule: Remedy) -> str:
    """Return `3 times within 1 h`."""
    times = "once" if rule.limit.times == 1 else f"{rule.limit.times} times"
    return f"{times} within {_span(rule.limit.within)}"


def _span(seconds: float) -> str:
    for unit, scale in (("h", 3600), ("min", 60)):
        if seconds >= scale and seconds % scale == 0:
            return f"{seconds / scale:g} {unit}"
    return f"{seconds:g} s"


def _quoted(text: str, known: Collection[str]) -> str:
    shown = masking.split(text.strip(), known).masked()
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"
