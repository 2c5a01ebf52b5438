"""Every phase × event cell of `step`, written out by hand (s6's transition table, as a test).

A cell says what the unit becomes and what is to be done: `Blocked UP asked` is the phase, the
goal and the effects in order, notes by their topic in small letters, other effects by their
class. `=` says that nothing at all changes.
"""

from dataclasses import dataclass, replace
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

# One line per happening, in the order of HAPPENINGS.
TABLE: dict[str, str] = {
    "stopped": """
        start        Blocked UP asked
        stop         =
        restart      Blocked UP asked
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      Running UP adopted
        exited       =
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         =
        respec       Stopped DOWN
        exceeded     =
        resumed      =
        forget       Stopped DOWN remedy
        matched      =
        applied      =
        in vain      =
    """,
    "blocked": """
        start        =
        stop         Stopped DOWN stopped
        restart      Blocked UP asked
        admitted     Spawning UP Spawn
        held         Blocked UP blocked
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      Running UP adopted
        exited       =
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         =
        respec       Blocked UP
        exceeded     =
        resumed      =
        forget       Blocked UP remedy
        matched      Blocked UP remedy
        applied      =
        in vain      =
    """,
    "spawning": """
        start        =
        stop         Spawning DOWN asked
        restart      Spawning UP asked
        admitted     =
        held         =
        spawned      Running UP started
        spawn failed Waiting UP spawn-failed restarting
        cannot spawn Failed UP spawn-failed gave-up
        adopted      =
        exited       Clearing UP exited Clear
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         =
        respec       Spawning UP
        exceeded     =
        resumed      =
        forget       Spawning UP remedy
        matched      =
        applied      =
        in vain      =
    """,
    "spawning, stop asked": """
        start        Spawning UP asked
        stop         =
        restart      Spawning UP asked
        admitted     =
        held         =
        spawned      Stopping DOWN started stopping Signal
        spawn failed Stopped DOWN spawn-failed
        cannot spawn Stopped DOWN spawn-failed
        adopted      =
        exited       Clearing DOWN exited Clear
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         =
        respec       Spawning DOWN
        exceeded     =
        resumed      =
        forget       Spawning DOWN remedy
        matched      =
        applied      =
        in vain      =
    """,
    "running": """
        start        =
        stop         Stopping DOWN stopping Signal
        restart      Stopping UP stopping Signal
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      =
        exited       Clearing UP exited Clear
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         Running UP Ask Ask Ask
        respec       Running UP
        exceeded     Stopping UP stopping Signal
        resumed      Running UP
        forget       Running UP remedy
        matched      Stopping UP remedy stopping Signal
        applied      =
        in vain      =
    """,
    "running, probes in flight": """
        start        =
        stop         Stopping DOWN stopping Signal
        restart      Stopping UP stopping Signal
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      =
        exited       Clearing UP exited Clear
        cleared      =
        left over    =
        not ready    Running UP unready
        not alive    Stopping UP stopping Signal
        hung         Stopping UP stopping Signal
        busy         Running UP busy
        not working  Running UP unready
        put off      Running UP
        time         =
        respec       Running UP
        exceeded     Stopping UP stopping Signal
        resumed      Running UP
        forget       Running UP remedy
        matched      Stopping UP remedy stopping Signal
        applied      =
        in vain      =
    """,
    "running, remedy beside": """
        start        =
        stop         Stopping DOWN Abandon stopping Signal
        restart      Stopping UP Abandon stopping Signal
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      =
        exited       Clearing UP exited Clear
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         Running UP Ask Ask Ask
        respec       Running UP
        exceeded     Stopping UP stopping Signal
        resumed      Running UP
        forget       Running UP remedy
        matched      Stopping UP remedy stopping Signal
        applied      Running UP remedy
        in vain      Running UP remedy-skipped
    """,
    "stopping": """
        start        Stopping UP asked
        stop         =
        restart      Stopping UP asked
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      =
        exited       Clearing DOWN exited Clear
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         Stopping DOWN killed Kill
        respec       Stopping DOWN
        exceeded     =
        resumed      Stopping DOWN
        forget       Stopping DOWN remedy
        matched      =
        applied      =
        in vain      =
    """,
    "stopping to restart": """
        start        =
        stop         Stopping DOWN asked
        restart      Stopping UP asked
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      =
        exited       Clearing UP exited Clear
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         Stopping UP killed Kill
        respec       Stopping UP
        exceeded     =
        resumed      Stopping UP
        forget       Stopping UP remedy
        matched      =
        applied      =
        in vain      =
    """,
    "stopping as dead": """
        start        =
        stop         Stopping DOWN asked
        restart      Stopping UP asked
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      =
        exited       Clearing UP exited Clear
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         Stopping UP killed Kill
        respec       Stopping UP
        exceeded     =
        resumed      Stopping UP
        forget       Stopping UP remedy
        matched      Stopping UP remedy
        applied      =
        in vain      =
    """,
    "killed": """
        start        Stopping UP asked
        stop         =
        restart      Stopping UP asked
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      =
        exited       Clearing DOWN exited Clear
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         Stopping DOWN killed Kill
        respec       Stopping DOWN
        exceeded     =
        resumed      Stopping DOWN
        forget       Stopping DOWN remedy
        matched      =
        applied      =
        in vain      =
    """,
    "clearing": """
        start        Clearing UP asked
        stop         =
        restart      Clearing UP asked
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      =
        exited       =
        cleared      Stopped DOWN stopped
        left over    Failed DOWN left-over
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         =
        respec       Clearing DOWN
        exceeded     =
        resumed      =
        forget       Clearing DOWN remedy
        matched      =
        applied      =
        in vain      =
    """,
    "clearing to restart": """
        start        =
        stop         Clearing DOWN asked
        restart      Clearing UP asked
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      =
        exited       =
        cleared      Blocked UP
        left over    Blocked UP left-over
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         =
        respec       Clearing UP
        exceeded     =
        resumed      =
        forget       Clearing UP remedy
        matched      =
        applied      =
        in vain      =
    """,
    "clearing a crash": """
        start        =
        stop         Clearing DOWN asked
        restart      Clearing UP asked
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      =
        exited       =
        cleared      Waiting UP restarting
        left over    Waiting UP left-over restarting
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         =
        respec       Clearing UP
        exceeded     =
        resumed      =
        forget       Clearing UP remedy
        matched      Clearing UP remedy
        applied      =
        in vain      =
    """,
    "clearing the dead": """
        start        =
        stop         Clearing DOWN asked
        restart      Clearing UP asked
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      =
        exited       =
        cleared      Waiting UP restarting
        left over    Waiting UP left-over restarting
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         =
        respec       Clearing UP
        exceeded     =
        resumed      =
        forget       Clearing UP remedy
        matched      Clearing UP remedy
        applied      =
        in vain      =
    """,
    "clearing to mend": """
        start        =
        stop         Clearing DOWN asked
        restart      Clearing UP asked
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      =
        exited       =
        cleared      Healing UP Apply
        left over    Healing UP left-over Apply
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         =
        respec       Clearing UP
        exceeded     =
        resumed      =
        forget       Clearing UP remedy
        matched      =
        applied      =
        in vain      =
    """,
    "waiting": """
        start        Blocked UP asked
        stop         Stopped DOWN stopped
        restart      Blocked UP asked
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      Running UP adopted
        exited       =
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         Blocked UP
        respec       Waiting UP
        exceeded     =
        resumed      =
        forget       Waiting UP remedy
        matched      Blocked UP remedy
        applied      =
        in vain      =
    """,
    "healing": """
        start        Blocked UP Abandon asked
        stop         Stopped DOWN Abandon stopped
        restart      Blocked UP Abandon asked
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      Running UP Abandon adopted
        exited       =
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         Waiting UP Abandon remedy-skipped restarting
        respec       Healing UP
        exceeded     =
        resumed      Healing UP
        forget       Healing UP remedy
        matched      =
        applied      Blocked UP remedy restarting
        in vain      Waiting UP remedy-skipped restarting
    """,
    "failed": """
        start        Blocked UP asked
        stop         Stopped DOWN stopped
        restart      Blocked UP asked
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      Running UP adopted
        exited       =
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         =
        respec       Failed UP
        exceeded     =
        resumed      =
        forget       Failed UP remedy
        matched      Blocked UP remedy restarting
        applied      =
        in vain      =
    """,
    "failed to stop": """
        start        Clearing UP asked Clear
        stop         Clearing DOWN asked Clear
        restart      Clearing UP asked Clear
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      Running UP adopted
        exited       =
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         =
        respec       Failed DOWN
        exceeded     =
        resumed      =
        forget       Failed DOWN remedy
        matched      =
        applied      =
        in vain      =
    """,
    "completed": """
        start        Blocked UP asked
        stop         Stopped DOWN stopped
        restart      Blocked UP asked
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      Running UP adopted
        exited       =
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         =
        respec       Completed UP
        exceeded     =
        resumed      =
        forget       Completed UP remedy
        matched      Blocked UP remedy restarting
        applied      =
        in vain      =
    """,
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One line of the table."""

    situation: str
    happening: str
    expected: str

    def __str__(self) -> str:
        return f"{self.situation}-{self.happening}".replace(" ", "_")


def _cells() -> list[Cell]:
    return [
        Cell(situation, line[:13].strip(), line[13:].strip())
        for situation, text in TABLE.items()
        for line in (raw.strip() for raw in text.strip().splitlines())
    ]


def _words(unit: Unit, effects: tuple[Effect, ...]) -> str:
    did = [e.topic.value if isinstance(e, Note) else type(e).__name__ for e in effects]
    return " ".join((type(unit.phase).__name__, unit.goal.name, *did))


def test_no_cell_is_missing() -> None:
    assert {type(unit.phase) for unit in SITUATIONS.values()} == set(get_args(Phase))
    assert {type(event) for event in HAPPENINGS.values()} == set(get_args(Event))
    assert [(cell.situation, cell.happening) for cell in _cells()] == [
        (situation, happening) for situation in SITUATIONS for happening in HAPPENINGS
    ]


def test_every_event_of_a_run_has_a_stale_form() -> None:
    of_a_run = {kind for kind in get_args(Event) if "run" in kind.__dataclass_fields__}
    # Adopted brings a run with it; it is not about one that the unit knows.
    assert {type(event) for event in OF_AN_OLDER_RUN} == of_a_run - {Adopted}


@pytest.mark.parametrize("cell", _cells(), ids=str)
def test_cell(cell: Cell) -> None:
    before = SITUATIONS[cell.situation]
    after, effects = step(before, HAPPENINGS[cell.happening], NOW)
    if cell.expected == "=":
        assert (after, effects) == (before, ())
        return
    assert _words(after, effects) == cell.expected
    assert after.reason
    runs = {effect.run for effect in effects if not isinstance(effect, Note | Apply | Abandon)}
    assert runs <= {after.run()}, "what is to be done is about the run that there is now"


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("event", OF_AN_OLDER_RUN, ids=lambda e: type(e).__name__)
def test_an_older_run_has_no_say(situation: str, event: Event) -> None:
    before = SITUATIONS[situation]
    assert step(before, event, NOW) == (before, ())
