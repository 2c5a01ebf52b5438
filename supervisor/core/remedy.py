"""Which remedy a failure calls for, and what remedies have changed of a service: pure.

A rule sets variables and arguments for every later run, not for one: the failure would only come
back. So a unit keeps the names of the rules that are *in force*, and `amended` is the spec with
what they set. Names and not values, so that no secret is written down, and a rule that was edited
holds no more by itself (`kept`).

Every use of a rule is counted against its limit, and a rule that would change nothing is not
applied at all: what it sets has not helped the run that failed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from zlib import crc32

from supervisor.core import remedy_words as words
from supervisor.core.effects import Topic
from supervisor.core.events import ExitCode, ExitSignal
from supervisor.core.pattern import Pattern
from supervisor.core.remedy_words import Ended, Failing, Printed, Seen
from supervisor.core.spec import ExitTrigger, OutputTrigger, ProbeTrigger, Remedy, ServiceSpec


@dataclass(frozen=True, slots=True)
class Use:
    """How a rule was used."""

    rule: str
    times: tuple[float, ...] = ()
    """When, within its limit's time; oldest first."""
    told: str = ""
    """Why it was passed over last, if that was told since it was last used."""


@dataclass(frozen=True, slots=True)
class Chart:
    """What remedies have done to one service."""

    in_force: tuple[str, ...] = ()
    """Rules whose variables and arguments the next run gets; where two differ, the later wins."""
    of_run: tuple[str, ...] = ()
    """Those of them that the latest run was started with."""
    uses: tuple[Use, ...] = ()

    def use(self, rule: str) -> Use:
        """Return how a rule was used."""
        return next((use for use in self.uses if use.rule == rule), Use(rule))

    def _put(self, use: Use) -> "Chart":
        others = tuple(each for each in self.uses if each.rule != use.rule)
        return replace(self, uses=(*others, use))


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be done about what was seen."""

    chart: Chart
    rule: Remedy | None = None
    notes: tuple[tuple[Topic, str], ...] = ()


# What is in force ----------------------------------------------------------------------------


def amended(spec: ServiceSpec, names: Sequence[str]) -> ServiceSpec:
    """Return the spec with what these rules of it set; itself if they change nothing."""
    if not names:
        return spec  # as mostly; this is asked for every probe
    rules = {rule.name: rule for rule in spec.remedies}
    env, command = dict(spec.env), spec.command
    for name in names:
        if name in rules:
            env.update(rules[name].set_env)
            command = with_arguments(command, rules[name].set_args)
    if env == spec.env and command == spec.command:
        return spec
    return replace(spec, env=env, command=command)


def with_arguments(
    command: tuple[str, ...], arguments: Mapping[str, str | bool]
) -> tuple[str, ...]:
    """Return the command with its flags as they are given.

    A text replaces the value of `--flag value` and of `--flag=value`, wherever they stand, or both
    are appended; True appends a bare flag unless it is there. False takes `--flag` and
    `--flag=value` away.
    """
    changed = list(command)
    for flag, value in arguments.items():
        changed = _with_argument(changed, flag, value)
    return tuple(changed)


def _with_argument(command: list[str], flag: str, value: str | bool) -> list[str]:
    # The first word is the program, whatever it looks like.
    result, rest, found = command[:1], command[1:], False
    at = 0
    while at < len(rest):
        word = rest[at]
        at += 1
        if word != flag and not word.startswith(f"{flag}="):
            result.append(word)
            continue
        found = True
        if value is False:
            continue
        if value is True:
            result.append(word)
        elif word == flag:
            if at < len(rest) and is_value(rest[at]):
                at += 1
            result += [flag, value]
        else:
            result.append(f"{flag}={value}")
    if not found and value is not False:
        result += [flag] if value is True else [flag, value]
    return result


def is_value(word: str) -> bool:
    """Tell whether a word after a flag is its value, and not another flag: `-1` is a value."""
    return not word.startswith("-") or word[1:2].isdecimal() or word == "-"


def kept(chart: Chart, old: ServiceSpec, new: ServiceSpec) -> Chart:
    """Return the chart under another description of the service.

    What is in force was found out with the old command and environment: it goes if either has
    changed, or the rule itself. So do the uses of a rule that has changed.
    """
    same = {rule.name for rule in new.remedies if rule in old.remedies}
    uses = tuple(use for use in chart.uses if use.rule in same)
    if old.command != new.command or old.env != new.env:
        return Chart(uses=uses)
    in_force = tuple(name for name in chart.in_force if name in same)
    return Chart(in_force, tuple(name for name in chart.of_run if name in same), uses)


def mark(spec: ServiceSpec, chart: Chart) -> int:
    """Return a number that differs where what is in force would have to be forgotten. Never 0.

    It is written down with the names: a daemon that finds another configuration can tell.
    """
    named = {*chart.in_force, *chart.of_run}
    rules = [rule for rule in spec.remedies if rule.name in named]
    return crc32(repr((spec.command, sorted(spec.env.items()), rules)).encode()) or 1


def patterns_of(spec: ServiceSpec) -> tuple[str, ...]:
    """Return what is to be looked for in what the service prints, each once."""
    patterns = [rule.when.pattern for rule in spec.remedies if isinstance(rule.when, OutputTrigger)]
    return tuple(dict.fromkeys(patterns))


# What is called for --------------------------------------------------------------------------


def because(spec: ServiceSpec, seen: Seen) -> str:
    """Return what was seen in words that hold no secret of the service's."""
    return words.seen(seen, words.secrets_of(spec))


def choose(spec: ServiceSpec, chart: Chart, seen: Seen, now: float, *, busy: bool) -> Choice:
    """Return the first rule that what was seen calls for and that may be applied, if any.

    The rule counts as applied in the chart that is returned. `busy`: a command runs beside the
    service, so that another must wait for the next time.
    """
    notes: list[tuple[Topic, str]] = []
    said = because(spec, seen)
    for rule in spec.remedies:
        if not fits(rule, seen) or (busy and rule.run is not None and not rule.ends_the_run):
            continue
        use, title = chart.use(rule.name), words.title(rule.name)
        times = tuple(at for at in use.times if now - at < rule.limit.within)
        told, why = "", ""
        if _is_useless(spec, chart, rule):
            told, why = "useless", f"{words.settings(rule)} is in force already, and did not help"
        elif len(times) >= rule.limit.times:
            told, why = "limit", f"it was applied {words.limit(rule)} and did not help"
        if told:
            if told != use.told:
                text = f"{title} is not applied, though {said}: {why}"
                notes.append((Topic.REMEDY_SKIPPED, text))
                chart = chart._put(Use(rule.name, times, told))
            continue
        chart = chart._put(Use(rule.name, (*times, now)))
        deeds = words.deeds(rule)
        if rule.dry_run:
            text = f"{title} would be applied (dry_run), for {said}: {deeds}"
            notes.append((Topic.REMEDY_SKIPPED, text))
            continue
        count = f"{len(times) + 1} of at most {words.limit(rule)}"
        notes.append((Topic.REMEDY, f"{title}, for {said}: {deeds} ({count})"))
        if rule.set_env or rule.set_args:
            others = tuple(name for name in chart.in_force if name != rule.name)
            chart = replace(chart, in_force=(*others, rule.name))
        return Choice(chart, rule, tuple(notes))
    return Choice(chart, None, tuple(notes))


def fits(rule: Remedy, seen: Seen) -> bool:
    """Tell whether what was seen calls for this rule."""
    match rule.when, seen:
        case OutputTrigger(pattern=pattern), Printed():
            return pattern == seen.pattern
        case ExitTrigger(codes=codes), Ended(exit=ExitCode(code=code)):
            return code in codes
        case ExitTrigger(signals=signals), Ended(exit=ExitSignal(signal=number)):
            return number in signals
        case ProbeTrigger(probe=probe, failed=failed, says=says), Failing():
            # A run that goes on fails again and again: that is not a new reason each time.
            often = seen.times >= failed if rule.ends_the_run else seen.times % failed == 0
            if probe is not seen.kind or not often:
                return False
            return says is None or Pattern.parse(says).matches(seen.words.encode(errors="replace"))
        case _:
            return False


def _is_useless(spec: ServiceSpec, chart: Chart, rule: Remedy) -> bool:
    """Tell whether all that a rule does is to set what the run that failed had set already."""
    if not (rule.set_env or rule.set_args) or rule.steps():
        return False
    before = chart.of_run if rule.restart else chart.in_force
    others = tuple(name for name in before if name != rule.name)
    return amended(spec, before) == amended(spec, (*others, rule.name))
