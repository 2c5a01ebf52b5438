"""Which rule is chosen for what was seen, and what it makes of a service; no word is secret."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core import remedy_words
from supervisor.core.effects import Topic
from supervisor.core.events import ExitCode, ExitSignal, ExitUnknown
from supervisor.core.masking import MASK
from supervisor.core.remedy import (
    Chart,
    Choice,
    amended,
    choose,
    fits,
    kept,
    mark,
    patterns_of,
    with_arguments,
)
from supervisor.core.remedy_words import Ended, Failing, Printed, Seen
from supervisor.core.spec import (
    ExitTrigger,
    FileExists,
    OutputTrigger,
    PortFree,
    ProbeKind,
    ProbeTrigger,
    Remedy,
    RemedyCommand,
    RemedyLimit,
    ServiceSpec,
    Succeeds,
    Trigger,
    WaitFor,
)
from tests.core.specimens import service

MPS = "not currently implemented for the MPS device"
LINE = f"NotImplementedError: The operator 'aten::_weight_norm_interface' is {MPS}. If you want …"
FALLBACK = Remedy("mps", OutputTrigger(MPS), set_env={"FALLBACK": "1"}, restart=True)
SEEN = Printed(MPS, LINE)


def treated(*rules: Remedy, env: dict[str, str] | None = None) -> ServiceSpec:
    return replace(service(), env=env or {}, remedies=rules)


def chosen(spec: ServiceSpec, chart: Chart, seen: Seen = SEEN, now: float = 100.0) -> Choice:
    return choose(spec, chart, seen, now, busy=False)


def rule(**more: Any) -> Remedy:
    return replace(FALLBACK, **more)


# Arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "flag", "value", "expected"),
    [
        ("serve --device auto x", "--device", "cpu", "serve --device cpu x"),
        ("serve --device=auto x", "--device", "cpu", "serve --device=cpu x"),
        ("serve x", "--device", "cpu", "serve x --device cpu"),
        ("serve --device", "--device", "cpu", "serve --device cpu"),
        ("serve --device --fast", "--device", "cpu", "serve --device cpu --fast"),
        ("serve --bias -1 --fast", "--bias", "2", "serve --bias 2 --fast"),
        ("serve -d a -d b", "-d", "c", "serve -d c -d c"),
        ("serve --devices auto", "--device", "cpu", "serve --devices auto --device cpu"),
        ("serve", "--fast", True, "serve --fast"),
        ("serve --fast", "--fast", True, "serve --fast"),
        ("serve --fast x", "--fast", False, "serve x"),
        ("serve --fast=2 x", "--fast", False, "serve x"),
        ("serve x", "--fast", False, "serve x"),
        ("--fast x", "--fast", False, "--fast x"),
    ],
)
def test_an_argument_is_set(command: str, flag: str, value: str | bool, expected: str) -> None:
    assert with_arguments(tuple(command.split()), {flag: value}) == tuple(expected.split())


words = st.sampled_from(["a", "-1", "--x", "--x=1", "--y", "-x", "--x2"])
values = st.sampled_from(["cpu", "-1", True, False])


@given(st.lists(words, max_size=6), values)
def test_to_set_an_argument_twice_is_to_set_it_once(rest: list[str], value: str | bool) -> None:
    once = with_arguments(("serve", *rest), {"--x": value})
    assert once[0] == "serve"
    assert with_arguments(once, {"--x": value}) == once
    if value is False:
        assert not any(word == "--x" or word.startswith("--x=") for word in once)


def test_what_is_in_force_amends_the_spec_in_order() -> None:
    first = Remedy("first", SEEN_TRIGGER, set_env={"A": "1", "B": "1"}, set_args={"-d": "gpu"})
    then = Remedy("then", SEEN_TRIGGER, set_env={"B": "2"}, set_args={"-d": "cpu"})
    spec = treated(first, then, env={"B": "0", "C": "0"})
    both = amended(spec, ("first", "then"))
    assert (both.env, both.command) == ({"A": "1", "B": "2", "C": "0"}, ("serve", "-d", "cpu"))
    assert amended(spec, ("then", "first")).env["B"] == "1"
    assert amended(spec, ()) is spec
    assert amended(spec, ("no such rule",)) is spec
    assert amended(treated(first, env={"A": "1", "B": "1"}), ()) is not None


SEEN_TRIGGER = OutputTrigger(MPS)


# What fits -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trigger", "seen", "expected"),
    [
        (OutputTrigger("one"), Printed("one", "one two"), True),
        (OutputTrigger("one"), Printed("two", "one two"), False),
        (OutputTrigger("one"), Ended(ExitCode(1)), False),
        (ExitTrigger(codes=(78, 137)), Ended(ExitCode(137)), True),
        (ExitTrigger(codes=(9,)), Ended(ExitSignal(9)), False),
        (ExitTrigger(signals=(9,)), Ended(ExitSignal(9)), True),
        (ExitTrigger(signals=(9,)), Ended(ExitCode(9)), False),
        (ExitTrigger(codes=(0,), signals=(9,)), Ended(ExitUnknown()), False),
        (ProbeTrigger(ProbeKind.LIVENESS, 2), Failing(ProbeKind.LIVENESS, 1, "x"), False),
        (ProbeTrigger(ProbeKind.LIVENESS, 2), Failing(ProbeKind.LIVENESS, 2, "x"), True),
        (ProbeTrigger(ProbeKind.LIVENESS, 2), Failing(ProbeKind.LIVENESS, 3, "x"), True),
        (ProbeTrigger(ProbeKind.LIVENESS, 1), Failing(ProbeKind.READINESS, 3, "x"), False),
        (ProbeTrigger(ProbeKind.LIVENESS, 1, "*50*"), Failing(ProbeKind.LIVENESS, 1, "503"), True),
        (ProbeTrigger(ProbeKind.LIVENESS, 1, "40*"), Failing(ProbeKind.LIVENESS, 1, "503"), False),
    ],
)
def test_what_a_rule_fits(trigger: Trigger, seen: Seen, expected: bool) -> None:
    assert fits(rule(when=trigger), seen) is expected


def test_a_rule_that_lets_the_run_live_is_called_for_each_so_many_failures() -> None:
    idle = rule(when=ProbeTrigger(ProbeKind.READINESS, 3), restart=False)
    told = [n for n in range(1, 10) if fits(idle, Failing(ProbeKind.READINESS, n, "503"))]
    assert told == [3, 6, 9]


def test_patterns_are_looked_for_once_each() -> None:
    other = Remedy("other", ExitTrigger(codes=(1,)), restart=True)
    spec = treated(rule(name="a"), other, rule(name="b", when=OutputTrigger("x")), rule(name="c"))
    assert patterns_of(spec) == (MPS, "x")


# What is chosen ------------------------------------------------------------------------------


def test_the_first_rule_that_fits_is_applied_and_told_with_what_it_rests_on() -> None:
    spec = treated(rule(name="not this", when=OutputTrigger("else")), FALLBACK, rule(name="nor"))
    choice = chosen(spec, Chart())
    assert choice.rule is FALLBACK
    assert choice.chart.in_force == ("mps",)
    assert choice.chart.use("mps").times == (100.0,)
    ((topic, text),) = choice.notes
    assert topic is Topic.REMEDY
    assert text.startswith("remedy mps, for it printed \"NotImplementedError: The operator 'aten")
    assert text.endswith('…": set FALLBACK=1, restart it (1 of at most 3 times within 1 h)')


def test_a_rule_that_has_not_helped_is_not_applied_again_and_that_is_told_once() -> None:
    spec = treated(FALLBACK)
    healed = Chart(in_force=("mps",), of_run=("mps",))
    choice = chosen(spec, healed)
    assert choice.rule is None
    assert [topic for topic, _ in choice.notes] == [Topic.REMEDY_SKIPPED]
    assert "FALLBACK=1 is in force already, and did not help" in choice.notes[0][1]
    again = chosen(spec, choice.chart, now=200.0)
    assert (again.rule, again.notes) == (None, ())
    # The run that failed was started without it: then it may help.
    assert chosen(spec, Chart(in_force=("mps",))).rule is FALLBACK
    # It is set by the configuration itself.
    assert chosen(treated(FALLBACK, env={"FALLBACK": "1"}), Chart()).rule is None
    # It does something besides.
    cleaning = rule(run=RemedyCommand(("rm",)))
    assert chosen(treated(cleaning), healed).rule is cleaning


def test_a_limit_is_told_once_and_gone_when_its_time_is() -> None:
    spec = treated(rule(set_env={}, limit=RemedyLimit(2, 60.0)))
    chart, told = Chart(), []
    for now in (0.0, 10.0, 20.0, 30.0, 59.9, 60.0, 61.0, 71.0):
        choice = chosen(spec, chart, now=now)
        chart = choice.chart
        told.append((now, choice.rule is not None, len(choice.notes)))
    assert told == [
        (0.0, True, 1),
        (10.0, True, 1),
        (20.0, False, 1),
        (30.0, False, 0),
        (59.9, False, 0),
        (60.0, True, 1),
        (61.0, False, 1),
        (71.0, True, 1),
    ]


def test_a_dry_run_is_told_no_oftener_than_it_would_be_applied_and_lets_others_have_a_go() -> None:
    dry = rule(name="dry", dry_run=True)
    spec = treated(dry, FALLBACK)
    choice = chosen(spec, Chart())
    assert choice.rule is FALLBACK
    assert [topic for topic, _ in choice.notes] == [Topic.REMEDY_SKIPPED, Topic.REMEDY]
    assert choice.notes[0][1].endswith("set FALLBACK=1, restart it")
    assert choice.chart.in_force == ("mps",)
    chart, told = Chart(), 0
    for now in range(100):
        choice = chosen(treated(dry), chart, now=float(now))
        assert choice.rule is None
        chart, told = choice.chart, told + len(choice.notes)
    assert told == 3 + 1


def test_one_command_at_a_time_runs_beside_a_service() -> None:
    beside = rule(restart=False, set_env={}, run=RemedyCommand(("rm",)))
    assert choose(treated(beside), Chart(), SEEN, 0.0, busy=False).rule is beside
    assert choose(treated(beside), Chart(), SEEN, 0.0, busy=True) == Choice(Chart())
    setting = rule(restart=False)
    assert choose(treated(setting), Chart(), SEEN, 0.0, busy=True).rule is setting
    ending = replace(beside, restart=True)
    assert choose(treated(ending), Chart(), SEEN, 0.0, busy=True).rule is ending


# What another configuration leaves -----------------------------------------------------------


def test_what_is_in_force_goes_with_what_it_rests_on() -> None:
    other = Remedy("other", OutputTrigger("x"), set_args={"-d": "cpu"}, restart=True)
    old = treated(FALLBACK, other, env={"A": "1"})
    chart = chosen(old, Chart(in_force=("other",), of_run=("other",))).chart
    assert chart.in_force == ("other", "mps"), "the later one wins"
    assert kept(chart, old, replace(old, description="anew")) == chart
    assert kept(chart, old, treated(FALLBACK, other, rule(name="new"), env={"A": "1"})) == chart
    for new in (replace(old, env={"A": "2"}), replace(old, command=("serve", "more"))):
        assert kept(chart, old, new) == Chart(uses=chart.uses)
    fewer = kept(chart, old, treated(other, env={"A": "1"}))
    assert (fewer.in_force, fewer.of_run, fewer.uses) == (("other",), ("other",), ())
    edited = rule(set_env={"FALLBACK": "2"})
    assert kept(chart, old, treated(edited, other, env={"A": "1"})) == fewer


def test_the_mark_differs_where_what_is_in_force_would_go() -> None:
    spec = treated(FALLBACK, env={"A": "1"})
    chart = Chart(in_force=("mps",))
    assert mark(spec, chart) == mark(replace(spec, description="x"), chart)
    with_another = replace(spec, remedies=(*spec.remedies, rule(name="b")))
    assert mark(spec, chart) == mark(with_another, chart)
    others = [
        replace(spec, env={"A": "2"}),
        replace(spec, command=("x",)),
        treated(rule(set_env={"FALLBACK": "2"}), env={"A": "1"}),
        treated(env={"A": "1"}),
    ]
    assert len({mark(each, chart) for each in (spec, *others)}) == 5


# Words ---------------------------------------------------------------------------------------

SECRET = "sk-live-0123456789abcdef"


def test_no_word_holds_a_secret() -> None:
    hiding = rule(
        set_env={"API_TOKEN": SECRET},
        set_args={"--token": SECRET},
        run=RemedyCommand(("curl", "--token", SECRET)),
        wait_for=WaitFor(Succeeds(("curl", f"http://u:{SECRET}@x"))),
    )
    spec = treated(hiding)
    choice = chosen(spec, Chart(), Printed(MPS, f"cannot log in with {SECRET}: {MPS}"))
    said = [text for _, text in choice.notes]
    said += [remedy_words.rule(hiding), *map(remedy_words.doing, hiding.steps())]
    assert all(SECRET not in text for text in said)
    assert all(MASK in text for text in said)
    assert SECRET not in remedy_words.seen(
        Failing(ProbeKind.LIVENESS, 3, f"401 for {SECRET}"), remedy_words.secrets_of(spec)
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            rule(when=ExitTrigger((78,), (9,)), set_env={}, set_args={"-d": "cpu", "-q": False}),
            "if it exits with code 78 or is killed by SIGKILL: set -d cpu no -q, restart it,"
            " 3 times within 1 h at most",
        ),
        (
            rule(
                when=ProbeTrigger(ProbeKind.LIVENESS, 3, "50*"),
                set_env={},
                run=RemedyCommand(("rm", "x")),
                wait_for=WaitFor(PortFree(3001)),
                limit=RemedyLimit(1, 90.0),
            ),
            'if its liveness probe fails 3 times in a row and says "50*": run rm x, wait until port'
            " 3001 is free, restart it, once within 90 s at most",
        ),
        (
            Remedy("x", OutputTrigger("a"), give_up="it is misconfigured", dry_run=True),
            'if it prints "a": give up: it is misconfigured, 3 times within 1 h at most;'
            " only told, not done",
        ),
        (
            rule(when=OutputTrigger("a"), set_args={"-q": True}, restart=False),
            'if it prints "a": set FALLBACK=1 -q from its next start on, 3 times within 1 h at'
            " most",
        ),
        (
            rule(when=OutputTrigger("a"), set_env={}, wait_for=WaitFor(FileExists("/x"))),
            'if it prints "a": wait until /x exists, restart it, 3 times within 1 h at most',
        ),
    ],
)
def test_a_rule_in_words(given: Remedy, expected: str) -> None:
    assert remedy_words.rule(given) == expected
