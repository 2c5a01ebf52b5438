"""Random fleets, drawn with few choices: what has a handful of values is made once."""

from dataclasses import replace
from itertools import product
from typing import Any

from hypothesis import strategies as st

from supervisor.core.spec import (
    Backoff,
    Condition,
    ExitTrigger,
    FleetSpec,
    GiveUp,
    OutputTrigger,
    PortFree,
    ProbeKind,
    ProbeSpec,
    ProbeTrigger,
    Remedy,
    RemedyCommand,
    RemedyLimit,
    RestartSpec,
    RestartWhen,
    ServiceSpec,
    StopSpec,
    Trigger,
    WaitFor,
)
from tests.core.specimens import fleet_spec, probe, service

PROBES = tuple(
    probe(every=every, failures=failures, successes=successes)
    for every, failures, successes in product((0.5, 2.0, 10.0), (1, 2, 3), (1, 2))
)
TRANSACTIONS = tuple(
    replace(one, successes=1, idle=idle) for one, idle in product(PROBES, (False, True))
)
STARTUPS = tuple(replace(one, budget=budget) for one, budget in product(PROBES, (None, 3.0, 60.0)))


def perhaps(probes: tuple[ProbeSpec, ...]) -> st.SearchStrategy[ProbeSpec | None]:
    """Draw one of the probes, or, every other time, none."""
    return st.sampled_from((*(None for _ in probes), *probes))


startups, probes, transactions = perhaps(STARTUPS), perhaps(PROBES), perhaps(TRANSACTIONS)
WHENS: tuple[RestartWhen, ...] = ("always", "on-failure", "never")
BACKOFFS = (Backoff(), Backoff(1.0, 1.0, 1.0, 0.5), Backoff(0.0, 2.0, 5.0, 0.1))
NEVER_PROVEN = 1e9
"""The world counts restarts; that proven health forgives has its own tests."""
policies = st.sampled_from(
    [
        RestartSpec(when, backoff, give_up, proven_after=NEVER_PROVEN)
        for when, backoff, give_up in product(WHENS, BACKOFFS, (GiveUp(2, 10.0), GiveUp(5, 60.0)))
    ]
)
stops_and_patience = st.sampled_from(
    [(StopSpec(timeout=t), busy) for t, busy in product((0.0, 1.0, 10.0), (0.0, 3.0, 600.0))]
)

TRIGGERS: tuple[Trigger, ...] = (
    OutputTrigger("one"),
    OutputTrigger("two"),
    ExitTrigger(codes=(1,)),
    ExitTrigger(codes=(0,), signals=(11,)),
    ProbeTrigger(ProbeKind.READINESS, 2),
    ProbeTrigger(ProbeKind.LIVENESS, 1, "*503*"),
    ProbeTrigger(ProbeKind.STARTUP, 1),
)
# They last at least as long as any window of restart policy.
LIMITS = tuple(RemedyLimit(*one) for one in product((1, 2, 3), (60.0, 3600.0)))
DEEDS: tuple[dict[str, Any], ...] = tuple(
    {
        "restart": restart,
        "set_env": env,
        "set_args": args,
        "run": run,
        "wait_for": wait,
        "dry_run": dry,
    }
    for restart, env, args, run, wait, dry in product(
        (True, True, False),
        ({}, {"A": "1"}, {"A": "2"}),
        ({}, {"--device": "cpu"}),
        (None, RemedyCommand(("rm",), 5.0)),
        (None, WaitFor(PortFree(3001), 5.0)),
        (False, False, False, True),
    )
)
GIVING_UP: tuple[dict[str, Any], ...] = ({"give_up": "nothing helps"},) * (len(DEEDS) // 9)
whens = st.sampled_from(tuple(product(TRIGGERS, LIMITS)))
deeds = st.sampled_from((*DEEDS, *GIVING_UP))


@st.composite
def remedies(draw: st.DrawFn, *, least: int) -> tuple[Remedy, ...]:
    """Draw some rules."""
    rules = []
    for number in range(draw(st.integers(least, 3))):
        trigger, limit = draw(whens)
        rules.append(Remedy(f"r{number}", trigger, limit=limit, **draw(deeds)))
    return tuple(rules)


CONDITIONS = (None, *Condition, None, None)
"""Of one service that another may need: as a digit, six of them."""


@st.composite
def fleets_of(draw: st.DrawFn, *, most: int, rules: bool = False) -> FleetSpec:
    """Draw up to `most` services, each needing some of those before it, in shuffled order."""
    services: list[ServiceSpec] = []
    for number in range(draw(st.integers(1, most))):
        digits = draw(st.integers(0, len(CONDITIONS) ** number - 1))
        needs = []
        for other in range(number):
            digits, digit = divmod(digits, len(CONDITIONS))
            if (condition := CONDITIONS[digit]) is not None:
                needs.append((f"s{other}", condition))
        one = service(
            f"s{number}",
            startup=draw(startups),
            readiness=draw(probes),
            liveness=draw(probes),
            transaction=draw(transactions),
            restart=draw(policies),
            needs=tuple(needs),
        )
        stop, patience = draw(stops_and_patience)
        some = draw(remedies(least=int(rules)))
        services.append(replace(one, stop=stop, busy_deadline=patience, remedies=some))
    return fleet_spec(*draw(st.permutations(services)), start_limit=draw(st.integers(1, 3)))
