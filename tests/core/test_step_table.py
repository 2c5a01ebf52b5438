"""Every phase × event cell of `step` against `step_table.py` (s6's transition table, as a test)."""

from dataclasses import replace
from typing import get_args

import pytest

from supervisor.core.effects import Abandon, Apply, Effect, Note, Topic
from supervisor.core.events import (
    Admitted,
    Adopted,
    Applied,
    Cleared,
    Event,
    Exceeded,
    Exited,
    ExitSignal,
    Forget,
    Held,
    Matched,
    Probed,
    Respec,
    Restart,
    Resumed,
    Spawned,
    SpawnFailed,
    Start,
    Stop,
    TimePassed,
)
from supervisor.core.health import Health, Tally
from supervisor.core.remedy import Chart
from supervisor.core.spec import OutputTrigger, ProbeKind, Remedy, RemedyCommand
from supervisor.core.step import step
from supervisor.core.unit import (
    Beside,
    Blocked,
    Clearing,
    Completed,
    Failed,
    Goal,
    Healing,
    Phase,
    Running,
    Spawning,
    Stopped,
    Stopping,
    Unit,
    Waiting,
)
from tests.core.specimens import (
    BUSY,
    NO,
    OLDER,
    PID,
    PUT_OFF,
    RUN,
    SILENCE,
    forgiving,
    probe,
    service,
)
from tests.core.step_table import TABLE

NOW = 100.0
CRASH = ExitSignal(9)
STEP = 3
MENDING = Remedy("mending", OutputTrigger("mend"), run=RemedyCommand(("rm",)), restart=True)
SPEC = replace(
    service(
        readiness=probe(failures=1),
        liveness=probe(failures=1),
        transaction=probe(failures=2, idle=True),
        restart=forgiving(),
    ),
    remedies=(
        Remedy("new", OutputTrigger("new"), set_env={"A": "1"}, restart=True),
        Remedy("old", OutputTrigger("old"), set_env={"B": "1"}, restart=True),
        MENDING,
    ),
)
HEALING = Healing(
    MENDING,
    "needed it",
    number=STEP,
    left=(),
    until=NOW,
    otherwise=Waiting(NOW),
    because="needed it",
    began=50.0,
    notes=(Note(Topic.RESTARTING, "needed it; restart 1 in 0.2 s"),),
)


def _health(*, asking: bool) -> Health:
    kinds = (ProbeKind.READINESS, ProbeKind.LIVENESS, ProbeKind.TRANSACTION)
    tallies = tuple((kind, Tally(NOW, asking=asking, streak=1)) for kind in kinds)
    return Health(started=True, ready=True, tallies=tallies, healthy_since=60.0)


def _unit(goal: Goal, phase: Phase) -> Unit:
    chart = Chart(in_force=("old",), of_run=("old",))
    return Unit(
        SPEC, goal, phase, reason="because", since=50.0, last_run=RUN, chart=chart, steps=STEP
    )


UP, DOWN = Goal.UP, Goal.DOWN
SITUATIONS: dict[str, Unit] = {
    "stopped": _unit(DOWN, Stopped()),
    "blocked": _unit(UP, Blocked()),
    "spawning": _unit(UP, Spawning(RUN)),
    "spawning, stop asked": _unit(DOWN, Spawning(RUN)),
    "running": _unit(UP, Running(RUN, PID, 50.0, _health(asking=False))),
    "running, probes in flight": _unit(UP, Running(RUN, PID, 50.0, _health(asking=True))),
    "running, remedy beside": replace(
        _unit(UP, Running(RUN, PID, 50.0, _health(asking=False))), beside=Beside(STEP, "new")
    ),
    "stopping": _unit(DOWN, Stopping(RUN, PID, 50.0, NOW)),
    "stopping to restart": _unit(UP, Stopping(RUN, PID, 50.0, NOW)),
    "stopping as dead": _unit(UP, Stopping(RUN, PID, 50.0, NOW, failure="hangs")),
    "killed": _unit(DOWN, Stopping(RUN, PID, 50.0, NOW, killed=True)),
    "clearing": _unit(DOWN, Clearing(RUN, CRASH, asked=True)),
    "clearing to restart": _unit(UP, Clearing(RUN, CRASH, asked=True)),
    "clearing a crash": _unit(UP, Clearing(RUN, CRASH, asked=False)),
    "clearing the dead": _unit(UP, Clearing(RUN, CRASH, asked=False, failure="hangs")),
    "clearing to mend": _unit(
        UP, Clearing(RUN, CRASH, asked=False, failure="needed it", remedy=MENDING)
    ),
    "waiting": _unit(UP, Waiting(NOW)),
    "healing": _unit(UP, HEALING),
    "failed": _unit(UP, Failed()),
    "failed to stop": _unit(DOWN, Failed(left=RUN)),
    "completed": _unit(UP, Completed()),
}

HAPPENINGS: dict[str, Event] = {
    "start": Start("x"),
    "stop": Stop("x"),
    "restart": Restart("x"),
    "admitted": Admitted(),
    "held": Held("no room"),
    "spawned": Spawned(RUN, PID),
    "spawn failed": SpawnFailed(RUN, "no memory"),
    "cannot spawn": SpawnFailed(RUN, "no such command", retry=False),
    "adopted": Adopted(RUN, PID, 50.0),
    "exited": Exited(RUN, CRASH),
    "cleared": Cleared(RUN),
    "left over": Cleared(RUN, ("pid 4712",)),
    "not ready": Probed(RUN, ProbeKind.READINESS, NO),
    "not alive": Probed(RUN, ProbeKind.LIVENESS, NO),
    "hung": Probed(RUN, ProbeKind.LIVENESS, SILENCE),
    "busy": Probed(RUN, ProbeKind.LIVENESS, BUSY),
    "not working": Probed(RUN, ProbeKind.TRANSACTION, NO),
    "put off": Probed(RUN, ProbeKind.TRANSACTION, PUT_OFF),
    "time": TimePassed(),
    "respec": Respec(replace(SPEC, description="described anew")),
    "exceeded": Exceeded(RUN, "uses too much"),
    "resumed": Resumed(60.0),
    "forget": Forget("x"),
    "matched": Matched(RUN, "new", "a new line"),
    "applied": Applied(STEP, True, "done"),
    "in vain": Applied(STEP, False, "exited with code 1"),
}

OF_AN_OLDER_RUN: tuple[Event, ...] = (
    Spawned(OLDER, PID),
    SpawnFailed(OLDER, "no memory"),
    Exited(OLDER, CRASH),
    Cleared(OLDER, ("pid 4712",)),
    Probed(OLDER, ProbeKind.LIVENESS, NO),
    Exceeded(OLDER, "uses too much"),
    Matched(OLDER, "new", "a new line"),
)


def _words(unit: Unit, effects: tuple[Effect, ...]) -> str:
    did = [e.topic.value if isinstance(e, Note) else type(e).__name__ for e in effects]
    return " ".join((type(unit.phase).__name__, unit.goal.name, *did))


def _row(situation: str) -> dict[str, str]:
    lines = (line.strip() for line in TABLE[situation].strip().splitlines())
    return {line[:13].strip(): line[13:].strip() for line in lines}


def test_no_cell_is_missing() -> None:
    assert {type(unit.phase) for unit in SITUATIONS.values()} == set(get_args(Phase))
    assert {type(event) for event in HAPPENINGS.values()} == set(get_args(Event))
    assert list(TABLE) == list(SITUATIONS)
    for situation in TABLE:
        assert list(_row(situation)) == list(HAPPENINGS), situation


def test_every_event_of_a_run_has_a_stale_form() -> None:
    of_a_run = {kind for kind in get_args(Event) if "run" in kind.__dataclass_fields__}
    # Adopted brings a run with it; it is not about one that the unit knows.
    assert {type(event) for event in OF_AN_OLDER_RUN} == of_a_run - {Adopted}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_each_happening_has_its_consequence(situation: str) -> None:
    before, came = SITUATIONS[situation], {}
    for happening, event in HAPPENINGS.items():
        after, effects = step(before, event, NOW)
        same = (after, effects) == (before, ())
        came[happening] = "=" if same else _words(after, effects)
        assert after.reason, happening
        runs = {e.run for e in effects if not isinstance(e, Note | Apply | Abandon)}
        assert runs <= {after.run()}, f"{happening}: what is to be done is about the run there is"
    assert came == _row(situation)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_an_older_run_has_no_say(situation: str) -> None:
    before = SITUATIONS[situation]
    for event in OF_AN_OLDER_RUN:
        assert step(before, event, NOW) == (before, ()), event
