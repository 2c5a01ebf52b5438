"""What the rules of a service would have done of late: by its log and the journal, not by acting.

Without a supervisor as well: a rule that was only just written is tried on the failure for which
it was written.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from supervisor import journal
from supervisor.cli.log_files import last_lines
from supervisor.core import remedy_words as words
from supervisor.core.effects import Topic
from supervisor.core.events import Exit, ExitCode, ExitSignal
from supervisor.core.exits import describe_exit
from supervisor.core.pattern import Pattern
from supervisor.core.remedy import fits
from supervisor.core.remedy_words import Ended, Failing, Printed, Seen
from supervisor.core.spec import (
    ExitTrigger,
    FleetSpec,
    OutputTrigger,
    ProbeKind,
    ProbeTrigger,
    Remedy,
    ServiceSpec,
)
from supervisor.journal import Entry

LINES = 1000
"""Of a log, at most."""

_KINDS = "|".join(kind.value for kind in ProbeKind)
_FAILED = re.compile(
    rf"(?:failed its )?({_KINDS}) probe(?: failed)?(?: (?:once|([0-9]+) times in a row))?: (.*)",
    re.DOTALL,
)
# What services print in colours is looked at without them, as the log sink does.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """One rule, and what would have called for it."""

    service: str
    rule: str
    when: str
    do: str
    count: int
    """How often it was called for."""
    seen: str
    """What called for it last; empty if nothing did."""
    at: float | None
    """When that was, in Unix seconds, where the journal knows it."""
    dry_run: bool


def rehearsal(spec: ServiceSpec, fleet: FleetSpec, state_dir: str) -> list[Rehearsed]:
    """Return each rule of a service with what would have called for it."""
    if not spec.remedies:
        return []
    lines = last_lines(f"{fleet.logs_dir}/{spec.name}.log", LINES)
    entries = [entry for entry in journal.read(state_dir) if entry.unit == spec.name]
    return [_rehearsed(spec, rule, lines, entries) for rule in spec.remedies]


def _rehearsed(
    spec: ServiceSpec, rule: Remedy, lines: Iterable[str], entries: Iterable[Entry]
) -> Rehearsed:
    found: list[tuple[Seen, float | None]] = []
    if isinstance(rule.when, OutputTrigger):
        pattern = Pattern.parse(rule.when.pattern)
        plain = (_ESCAPES.sub("", line) for line in lines)
        found += [
            (Printed(pattern.text, line), None)
            for line in plain
            if pattern.matches(line.encode(errors="replace"))
        ]
    else:
        found += [
            (seen, entry.at) for entry in entries for seen in _seen(entry, rule) if fits(rule, seen)
        ]
    last, at = found[-1] if found else (None, None)
    return Rehearsed(
        service=spec.name,
        rule=rule.name,
        when=words.trigger(rule),
        do=words.deeds(rule),
        count=len(found),
        seen="" if last is None else words.seen(last, words.secrets_of(spec)),
        at=at,
        dry_run=rule.dry_run,
    )


def _seen(entry: Entry, rule: Remedy) -> Iterator[Seen]:
    """Yield what a rule would have been asked about when this entry was written."""
    match rule.when:
        case ExitTrigger(codes=codes, signals=signals) if entry.topic == Topic.EXITED:
            ways: list[Exit] = [ExitCode(code) for code in codes]
            ways += [ExitSignal(number) for number in signals]
            for way in ways:
                if entry.text.removesuffix(" and dumped core") == describe_exit(way):
                    yield Ended(way)
        case ProbeTrigger():
            told = _FAILED.fullmatch(entry.text)
            if told is not None and entry.topic != Topic.READY:
                yield Failing(ProbeKind(told[1]), int(told[2] or 1), told[3])
        case _:
            return
