"""What `remedies` prints. Pure."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from supervisor.cli import wording
from supervisor.cli.rehearsal import LINES, Rehearsed
from supervisor.cli.terminal import Paint, printable
from supervisor.control.messages import RemedyStatus, TreatedService

NONE = "no remedies are configured; what they are: docs/remedies.md"


def treated_lines(services: Sequence[TreatedService], paint: Paint) -> list[str]:
    """Return the rules of services, and what came of each."""
    lines: list[str] = []
    for service in services:
        if lines:
            lines.append("")
        lines.append(printable(service["service"]))
        for rule in service["rules"]:
            lines.append(f"  {printable(rule['name'])}: {paint(_came_of(rule), _color(rule))}")
            lines.append(f"    if {printable(rule['when'])}")
            lines.append(f"    {printable(rule['do'])}")
        if not service["rules"]:
            lines.append("  no remedies")
        if service["pending"]:
            what = "what its latest run was started with is not what is in force now"
            lines.append(f"  {what}: atlasctl restart {service['service']}")
    return lines or [NONE]


def _came_of(rule: RemedyStatus) -> str:
    if rule["dry_run"]:
        did = "would have been applied"
        never = "only told, not done (dry_run)"
    else:
        did, never = "applied", f"not applied; at most {rule['limit']}"
    if not rule["uses"] and rule["in_force"]:
        told = f"applied earlier; at most {rule['limit']}"
    elif not rule["uses"]:
        told = never
    else:
        ago = "" if rule["age"] is None else f", {wording.age(rule['age'])} ago"
        told = f"{did} {wording.times(rule['uses'])}{ago}; at most {rule['limit']}"
    if rule["used_up"]:
        told += ", so not again for now"
    return f"in force; {told}" if rule["in_force"] else told


def _color(rule: RemedyStatus) -> str:
    if rule["used_up"]:
        return "yellow"
    return "green" if rule["in_force"] else "dim"


def rehearsed_lines(rules: Sequence[Rehearsed], paint: Paint) -> list[str]:
    """Return what each rule would have done."""
    lines: list[str] = []
    for service, its in groupby(rules, key=lambda each: each.service):
        if lines:
            lines.append("")
        lines.append(printable(service))
        for rule in its:
            name = printable(rule.rule)
            if rule.count:
                often = wording.times(rule.count)
                lines.append(f"  {name}: {paint(f'would have been called for {often}', 'green')}")
                lines.append(f"    the last time {printable(rule.seen)}")
                lines.append(f"    then: {printable(rule.do)}")
            else:
                lines.append(f"  {name}: {paint('nothing has called for it', 'dim')}")
                lines.append(f"    if {printable(rule.when)}")
    if not lines:
        return [NONE]
    return [*lines, "", f"By the last {LINES} lines of each log and the journal. Nothing was done."]


def forgotten(in_force: Mapping[str, Sequence[str]]) -> list[str]:
    """Return what was forgotten of each service."""
    lines = []
    for service, rules in in_force.items():
        if rules:
            what = f"{', '.join(rules)} no longer in force from its next start on"
            lines.append(f"{printable(service)}: {what}: atlasctl restart {service}")
        else:
            lines.append(f"{printable(service)}: nothing was in force; limits begin anew")
    return lines
