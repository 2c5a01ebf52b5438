"""What `doctor` has found out: how a service's own doctor says it, and how people read it. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Final, Literal, get_args

from supervisor.cli import wording
from supervisor.cli.terminal import Paint, printable
from supervisor.probes.expectations import line_of

Level = Literal["ok", "note", "wrong"]

OURS: Final = "atlasctl"
"""The heading of what is of no single service. No service can be called so: dots are missing in
names, not this word, but findings of a service of that name would only stand under one heading."""
_INDENT: Final = " " * 9
_WIDTH: Final = 100
_NAMED: Final = 8
"""Things that are wrong and named in the summary; more are only counted."""
_LONGEST: Final = 2000
"""Characters of a text or a hint; more is cut."""
_COLORS: Final[Mapping[Level, str]] = {"ok": "green", "note": "yellow", "wrong": "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    """The service that it is about, or OURS."""
    check: str
    """What was looked at, in a word."""
    level: Level
    """ok; note: works, though not as it could; wrong: something has to be done."""
    text: str
    hint: str | None = None
    """What to do."""
    details: object = None
    """Whatever a program may want to know besides: JSON data."""


def parse_finding(service: str, line: bytes) -> Finding | None:
    """Return what a line of a service's doctor says; None if it is no finding.

    Keys that are not known are passed over, and so is what cannot be shown of a text.
    """
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    check, level, text, hint = (_line(told.get(k)) for k in ("check", "level", "text", "hint"))
    found = next((known for known in get_args(Level) if known == level), None)
    if not check or not text or found is None:
        return None
    return Finding(service, check, found, text, hint or None, told.get("details"))


def _line(value: object) -> str:
    if not isinstance(value, str):
        return ""
    line = line_of(value[: 2 * _LONGEST])
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def render(findings: Sequence[Finding], paint: Paint, *, details: bool = False) -> list[str]:
    """Return the list: a heading for each subject, a line for each finding, and what to do.

    With `details` also what each finding rests on.
    """
    lines = []
    for subject in dict.fromkeys(finding.subject for finding in findings):
        lines.append(paint(printable(subject), "bold"))
        for finding in findings:
            if finding.subject == subject:
                level = paint(f"{finding.level:5}", _COLORS[finding.level])
                lines.append(f"  {level}  {printable(finding.check)}: {printable(finding.text)}")
                if finding.hint:
                    lines.append(f"{_INDENT}→ {printable(finding.hint)}")
                if details:
                    lines += [paint(line, "dim") for line in _details(finding.details)]
    return [*lines, "", summary(findings)]


def _details(details: object) -> Iterator[str]:
    named = details.items() if isinstance(details, dict) else [("details", details)]
    for name, value in named:
        if value not in (None, {}, [], ""):
            text = printable(f"{name}: {_words(value)}")
            yield from wrap(text, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT + "  ")


def _words(value: object) -> str:
    match value:
        case str():
            return value
        case list():
            return ", ".join(map(_words, value))
        case dict():
            return ", ".join(f"{name} {_words(item)}" for name, item in value.items())
        case _:
            return json.dumps(value)


def summary(findings: Sequence[Finding]) -> str:
    """Return what is wrong, by name, and how much is to note: a long list hides both."""
    wrong = [finding for finding in findings if finding.level == "wrong"]
    notes = sum(finding.level == "note" for finding in findings)
    noted = f"; {wording.count(notes, 'thing')} to note" if notes else ""
    if not wrong:
        return f"Nothing is wrong{noted}."
    names = list(dict.fromkeys(map(_name, wrong)))
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    named = wording.listing([*names[:_NAMED], *more])
    return f"{wording.count(len(wrong), 'thing is', 'things are')} wrong: {named}{noted}."


def _name(finding: Finding) -> str:
    whose = "" if finding.subject == OURS else f"{finding.subject} "
    return printable(f"{whose}{finding.check}")


def is_well(findings: Sequence[Finding]) -> bool:
    """Tell whether nothing is wrong."""
    return all(finding.level != "wrong" for finding in findings)
