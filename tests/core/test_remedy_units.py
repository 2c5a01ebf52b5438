"""What becomes of a unit when a remedy is applied."""

from dataclasses import replace

import pytest

from supervisor.core.effects import Abandon, Apply, Clear, Note, Signal, Spawn, Topic
from supervisor.core.events import (
    Admitted,
    Adopted,
    Applied,
    Cleared,
    Event,
    Exit,
    ExitCode,
    Exited,
    ExitSignal,
    Forget,
    Matched,
    Probed,
    Respec,
    Restart,
    Resumed,
    RunId,
    Spawned,
    Start,
    Stop,
    TimePassed,
)
from supervisor.core.healing import ANSWER_GRACE
from supervisor.core.spec import (
    Condition,
    ExitTrigger,
    OutputTrigger,
    PortFree,
    ProbeKind,
    ProbeTrigger,
    Remedy,
    RemedyCommand,
    RemedyLimit,
    RestartSpec,
    ServiceSpec,
    WaitFor,
)
from supervisor.core.step import step
from supervisor.core.unit import (
    Blocked,
    Clearing,
    Completed,
    Failed,
    Goal,
    Healing,
    Running,
    Stopping,
    Unit,
    Waiting,
)
from tests.core.simulation import World
from tests.core.specimens import (
    NO,
    PID,
    STEADY,
    YES,
    deeds,
    fleet_spec,
    probe,
    run_through,
    service,
    strict,
    topics,
)

ONE, TWO = RunId(1), RunId(2)
TERMINATED = ExitSignal(15)
FALLBACK = Remedy("mps", OutputTrigger("MPS"), set_env={"FALLBACK": "1"}, restart=True)
CLEAN = RemedyCommand(("rm", "-r", "cache"), timeout=10.0)
PORT = WaitFor(PortFree(3001), timeout=30.0)
SLOW = Remedy("slow", OutputTrigger("MPS"), run=CLEAN, wait_for=PORT, restart=True)
LINE = Matched(ONE, "MPS", "no operator on MPS")


def running(*rules: Remedy, spec: ServiceSpec | None = None) -> Unit:
    spec = replace(spec or service(), remedies=rules)
    begin: list[Event] = [Start("x"), Admitted(), Spawned(ONE, PID)]
    unit, _ = run_through(Unit(spec), *((0.0, event) for event in begin))
    assert isinstance(unit.phase, Running)
    return unit


def ended(at: float, ending: Exit = TERMINATED, run: RunId = ONE) -> list[tuple[float, Event]]:
    return [(at, Exited(run, ending)), (at, Cleared(run))]


def test_a_line_ends_the_run_and_the_next_has_what_helps() -> None:
    unit, effects = run_through(running(FALLBACK), (5.0, LINE), *ended(6.0), (6.0, Admitted()))
    assert deeds(effects) == [Signal(ONE, 15), Clear(ONE, 9.0), Spawn(TWO)]
    assert topics(effects) == ["remedy", "stopping", "exited", "restarting"]
    assert unit.chart.in_force == unit.chart.of_run == ("mps",)
    assert (unit.restarts, unit.record.in_a_row) == (1, 1), "it counts as a failure of the run"
    told = [effect.text for effect in effects if isinstance(effect, Note)]
    assert told[1] == "to apply remedy mps"
    assert told[3] == "needed remedy mps; restart 1 at once"


def test_what_did_not_help_is_left_to_restart_policy() -> None:
    unit, _ = run_through(
        running(FALLBACK), (5.0, LINE), *ended(6.0), (6.0, Admitted()), (6.0, Spawned(TWO, PID))
    )
    after, effects = run_through(unit, (7.0, replace(LINE, run=TWO)), (8.0, replace(LINE, run=TWO)))
    assert topics(effects) == ["remedy-skipped"]
    assert after.phase == unit.phase
    after, effects = run_through(after, *ended(9.0, ExitCode(1), TWO))
    assert after.phase == Waiting(9.0 + 0.4)


@pytest.mark.parametrize(
    ("policy", "ending", "state"),
    [
        (RestartSpec(backoff=STEADY), ExitCode(1), Waiting(6.2)),
        (strict(after=1), ExitCode(1), Failed()),
        (RestartSpec("never"), ExitCode(1), Failed()),
        (RestartSpec("on-failure"), ExitCode(0), Completed()),
    ],
)
def test_a_line_that_is_read_when_the_run_is_gone_still_helps(
    policy: RestartSpec, ending: Exit, state: object
) -> None:
    unit = running(FALLBACK, spec=service(restart=policy))
    unit, _ = run_through(unit, *ended(6.0, ending))
    assert unit.phase == state
    restarts = unit.restarts
    unit, effects = run_through(unit, (6.1, LINE), (6.1, Admitted()))
    assert deeds(effects) == [Spawn(TWO)]
    told_before = isinstance(state, Waiting)
    assert topics(effects) == (["remedy"] if told_before else ["remedy", "restarting"])
    assert unit.restarts == restarts + (not told_before)
    # Of a run before the last it is too late.
    assert step(unit, LINE, 6.2) == (unit, ())


def test_a_line_read_while_the_run_is_cleared_decides_what_follows() -> None:
    unit, _ = run_through(running(FALLBACK), (6.0, Exited(ONE, ExitCode(1))))
    unit, effects = run_through(unit, (6.0, LINE), (6.0, LINE), (6.0, Cleared(ONE)))
    assert topics(effects) == ["remedy", "restarting"]
    assert unit.phase == Blocked()
    assert unit.reason == "needed remedy mps; restart 1 at once"


def test_a_way_to_end_calls_for_a_rule_unless_it_is_our_own_doing() -> None:
    oom = Remedy("oom", ExitTrigger(signals=(9,)), set_args={"--device": "cpu"}, restart=True)
    unit, effects = run_through(running(oom), *ended(5.0, ExitSignal(9)))
    assert unit.phase == Blocked()
    assert unit.reason == (
        "was killed by signal 9 (SIGKILL), which remedy oom is for; restart 1 at once"
    )
    assert topics(effects) == ["exited", "remedy", "restarting"]
    hung = running(oom, spec=service(liveness=probe(failures=1, every=1.0)))
    unit, effects = run_through(
        hung,
        (1.0, TimePassed()),
        (1.0, Probed(ONE, ProbeKind.LIVENESS, NO)),
        (11.0, TimePassed()),
        *ended(11.0, ExitSignal(9)),
    )
    assert "remedy" not in topics(effects)
    assert isinstance(unit.phase, Waiting)
    unit, effects = run_through(running(oom), (1.0, Restart("x")), *ended(2.0, ExitSignal(9)))
    assert "remedy" not in topics(effects)


def test_a_rule_that_does_not_restart_leaves_that_to_restart_policy() -> None:
    rule = Remedy("cpu", ExitTrigger(codes=(1,)), set_env={"D": "cpu"}, run=CLEAN)
    unit, effects = run_through(running(rule), *ended(5.0, ExitCode(1)))
    assert topics(effects) == ["exited", "remedy", "restarting"]
    assert deeds(effects)[-1] == Apply(ONE, 1, CLEAN)
    assert unit.phase == Waiting(5.2)
    unit, _ = run_through(unit, (5.2, TimePassed()), (5.2, Admitted()))
    assert unit.chart.of_run == ("cpu",)


def test_a_probe_that_keeps_failing_calls_for_a_rule() -> None:
    rule = Remedy("cpu", ProbeTrigger(ProbeKind.READINESS, 2, "503*"), restart=True)
    unit = running(rule, spec=service(readiness=probe(every=1.0, failures=5)))
    asked = [
        event
        for at in (1.0, 2.0)
        for event in ((at, TimePassed()), (at, Probed(ONE, ProbeKind.READINESS, NO)))
    ]
    unit, effects = run_through(unit, *asked)
    assert isinstance(unit.phase, Stopping)
    (text,) = [e.text for e in effects if isinstance(e, Note) and e.topic is Topic.REMEDY]
    assert "its readiness probe failed 2 times in a row: 503 Service Unavailable" in text
    # An answer that was not asked for is no failure.
    rule = Remedy("cpu", ProbeTrigger(ProbeKind.READINESS), set_env={"D": "cpu"})
    unit = running(rule, spec=service(readiness=probe(every=1.0, failures=5)))
    unit, effects = run_through(unit, *asked[:2], *[asked[1]] * 5)
    assert topics(effects) == ["remedy"]


def test_what_liveness_ends_is_mended_by_the_rule_for_it() -> None:
    rule = Remedy("cpu", ProbeTrigger(ProbeKind.LIVENESS, 2), set_env={"D": "cpu"}, restart=True)
    unit = running(rule, spec=service(liveness=probe(every=1.0, failures=2)))
    failing = [
        event
        for at in (1.0, 2.0)
        for event in ((at, TimePassed()), (at, Probed(ONE, ProbeKind.LIVENESS, NO)))
    ]
    unit, effects = run_through(unit, *failing, *ended(3.0))
    assert topics(effects) == ["probe-failed", "stopping", "remedy", "exited", "restarting"]
    assert unit.phase == Blocked()
    assert unit.reason.startswith("failed its liveness probe 2 times in a row")


# Steps ---------------------------------------------------------------------------------------


def healing(at: float = 6.0) -> Unit:
    unit, effects = run_through(running(SLOW), (5.0, LINE), *ended(at))
    assert deeds(effects)[-1] == Apply(ONE, 1, CLEAN)
    assert unit.deadline() == at + CLEAN.timeout + ANSWER_GRACE
    assert (unit.state(), unit.reason) == ("healing", "remedy slow: run rm -r cache")
    return unit


def test_steps_are_taken_one_after_the_other_and_then_it_starts() -> None:
    _, effects = run_through(
        healing(),
        (7.0, Applied(1, True, "rm exited with code 0")),
        (8.0, Applied(1, True, "said twice")),
        (9.0, Applied(2, True, "port 3001 is free after 2.0 s")),
        (9.0, Admitted()),
    )
    assert deeds(effects) == [Apply(ONE, 2, PORT), Spawn(TWO)]
    assert [e.text for e in effects if isinstance(e, Note)] == [
        "remedy slow: rm exited with code 0",
        "remedy slow: port 3001 is free after 2.0 s",
        "needed remedy slow; restart 1 at once",
    ]


def test_a_step_that_fails_leaves_it_to_restart_policy_with_its_whole_delay() -> None:
    unit, effects = run_through(healing(6.0), (9.0, Applied(1, False, "rm exited with code 1")))
    assert unit.phase == Waiting(9.0 + 0.2)
    assert topics(effects) == ["remedy-skipped", "restarting"]
    assert unit.reason == "needed remedy slow; restart 1 in 0.2 s (failure 1 in a row)"


def test_a_step_without_an_answer_is_given_up() -> None:
    unit = healing(6.0)
    assert unit.deadline() == 26.0
    after, effects = step(unit, TimePassed(), 26.0)
    assert isinstance(after.phase, Waiting)
    assert deeds(effects) == [Abandon(1)]
    slept, _ = step(unit, Resumed(60.0), 70.0)
    assert slept.deadline() == 86.0, "it has slept as well"


@pytest.mark.parametrize(
    ("word", "goal", "phase"),
    [
        (Stop("x"), Goal.DOWN, "Stopped"),
        (Restart("x"), Goal.UP, "Blocked"),
        (Start("x"), Goal.UP, "Blocked"),
    ],
)
def test_an_operators_word_goes_before_a_remedy(word: Event, goal: Goal, phase: str) -> None:
    unit, effects = step(healing(), word, 7.0)
    assert (unit.goal, type(unit.phase).__name__) == (goal, phase)
    assert deeds(effects) == [Abandon(1)]
    assert step(unit, Applied(1, True, "late"), 8.0) == (unit, ())


def test_a_stop_and_a_restart_take_a_remedy_back_that_waits_for_the_end_of_the_run() -> None:
    for word in (Stop("x"), Restart("x")):
        for first in ([], [(5.5, Exited(ONE, ExitSignal(15)))]):
            history: list[tuple[float, Event]] = [(5.0, LINE), *first, (5.6, word)]
            unit, _ = run_through(running(SLOW), *history)
            assert isinstance(unit.phase, Stopping | Clearing)
            assert unit.phase.remedy is None
            unit, _ = run_through(unit, *ended(6.0))
            assert not isinstance(unit.phase, Healing)


def test_a_command_beside_the_service_lets_it_run() -> None:
    rule = Remedy("beside", OutputTrigger("MPS"), run=CLEAN, set_env={"A": "1"})
    unit, effects = run_through(running(rule), (5.0, LINE), (5.5, LINE))
    assert deeds(effects) == [Apply(ONE, 1, CLEAN)]
    assert isinstance(unit.phase, Running)
    assert (unit.chart.in_force, unit.chart.of_run) == (("beside",), ())
    done, effects = step(unit, Applied(1, False, "rm exited with code 1"), 6.0)
    assert topics(effects) == ["remedy-skipped"]
    assert step(done, LINE, 7.0)[1][-1] == Apply(ONE, 2, CLEAN)
    _, effects = step(unit, Stop("x"), 6.0)
    assert deeds(effects) == [Abandon(1), Signal(ONE, 15)]


# Giving up -----------------------------------------------------------------------------------


def test_a_rule_may_give_up_at_once_and_say_why() -> None:
    rule = Remedy("config", ExitTrigger(codes=(78,)), give_up="see config.toml")
    unit, effects = run_through(running(rule), *ended(5.0, ExitCode(78)))
    assert unit.phase == Failed()
    assert unit.reason == "see config.toml (remedy config)"
    assert topics(effects) == ["exited", "remedy", "gave-up"]
    assert unit.restarts == 0, "it was not restarted"
    told = Remedy("config", OutputTrigger("MPS"), give_up="see config.toml")
    unit, effects = run_through(running(told), (5.0, LINE), *ended(6.0))
    assert unit.phase == Failed()
    assert topics(effects) == ["remedy", "stopping", "exited", "gave-up"]


# What holds, and for how long ------------------------------------------------------------------


def test_an_operators_start_forgives_failures_and_no_limit() -> None:
    rule = Remedy("mps", OutputTrigger("MPS"), restart=True, limit=RemedyLimit(1, 3600.0))
    unit, _ = run_through(running(rule), (5.0, LINE), *ended(6.0), (7.0, Stop("x")))
    unit, effects = run_through(
        unit,
        (8.0, Start("x")),
        (8.0, Admitted()),
        (8.0, Spawned(TWO, PID)),
        (9.0, replace(LINE, run=TWO)),
    )
    assert topics(effects)[-1] == "remedy-skipped"
    assert unit.chart.use("mps").times == (5.0,)
    unit, effects = run_through(unit, (10.0, Forget("x")), (11.0, replace(LINE, run=TWO)))
    assert topics(effects) == ["remedy", "remedy", "stopping"]


def test_forgetting_holds_from_the_next_start_on() -> None:
    unit, _ = run_through(
        running(FALLBACK), (5.0, LINE), *ended(6.0), (6.0, Admitted()), (6.0, Spawned(TWO, PID))
    )
    unit, effects = step(unit, Forget("as somebody asked"), 7.0)
    assert topics(effects) == ["remedy"]
    assert (unit.chart.in_force, unit.chart.of_run) == ((), ("mps",))
    assert step(unit, Forget("x"), 8.0) == (unit, ())
    unit, _ = run_through(unit, *ended(9.0, run=TWO), (10.0, TimePassed()), (10.0, Admitted()))
    assert unit.chart.of_run == ()


def test_another_configuration_is_told_what_it_ends() -> None:
    unit, _ = run_through(running(FALLBACK), (5.0, LINE))
    same, effects = step(unit, Respec(replace(unit.spec, description="x")), 6.0)
    assert (same.chart, effects) == (unit.chart, ())
    other, effects = step(unit, Respec(replace(unit.spec, env={"A": "1"})), 6.0)
    assert other.chart.in_force == ()
    assert topics(effects) == ["remedy"]
    assert isinstance(other.phase, Stopping)
    assert other.phase.remedy == FALLBACK, "what has begun goes on"


def test_an_adopted_run_is_treated_by_what_it_was_started_with() -> None:
    unit = replace(running(FALLBACK), phase=Blocked())
    unit, _ = step(unit, Adopted(ONE, PID, -100.0), 0.0)
    assert step(unit, LINE, 1.0)[0].chart.in_force == ("mps",)
    healed = replace(unit, chart=replace(unit.chart, in_force=("mps",), of_run=("mps",)))
    _, effects = step(healed, LINE, 1.0)
    assert topics(effects) == ["remedy-skipped"]


def test_no_remedy_begins_when_a_stop_is_held_back() -> None:
    """It would be abandoned in the same turn, in the midst of what it does."""
    db = replace(service("db"), remedies=(replace(SLOW, when=ExitTrigger(codes=(1,))),))
    world = World(fleet_spec(db, service("web", needs=(("db", Condition.READY),))))
    world.start("web")
    assert world.comes_up()
    world.stop("db", "web")
    world.exits("db", ExitCode(1))
    world.cleared("db")
    assert world.done(Apply) == []
    assert world.phase("db") == "Stopped"


def test_nor_does_one_that_ended_the_run_before_the_stop() -> None:
    db = replace(service("db"), remedies=(SLOW,))
    world = World(fleet_spec(db, service("web", needs=(("db", Condition.READY),))))
    world.start("web")
    assert world.comes_up()
    world.matches("db", "MPS", ONE)
    world.stop("db", "web")
    world.exits("db", TERMINATED)
    world.cleared("db")
    assert world.done(Apply) == []
    assert world.phase("db") == "Stopped"


# Rolling restarts ------------------------------------------------------------------------------


def _rolling(*rules: Remedy) -> World:
    spec = replace(service(readiness=probe(every=1.0)), remedies=rules)
    world = World(fleet_spec(spec))
    world.start("tts")
    assert world.comes_up()
    world.roll("tts")
    world.spawned("tts", world.places["tts"].second)
    return world


def test_a_run_that_is_to_take_over_is_not_treated_until_it_has() -> None:
    world = _rolling(FALLBACK)
    world.matches("tts", "MPS", TWO)
    assert not [note for _, note in world.notes if note.topic is Topic.REMEDY]
    while world.unit("tts").run() != TWO:
        if not world.places["tts"].probes:
            world.waits_for_deadline()
        world.answers("tts", YES)
    world.matches("tts", "MPS", TWO)
    assert world.unit("tts").chart.in_force == ("mps",)
    assert isinstance(world.unit("tts").phase, Stopping)


def test_the_new_run_is_judged_by_what_it_was_started_with() -> None:
    spec = replace(service(readiness=probe(every=1.0)), remedies=(FALLBACK,))
    world = World(fleet_spec(spec))
    world.start("tts")
    assert world.comes_up()
    world.matches("tts", "MPS", ONE)
    assert world.runs_fairly(lambda: world.unit("tts").ready() and world.unit("tts").run() == TWO)
    assert world.unit("tts").chart.of_run == ("mps",)
    world.forgets("tts")
    world.roll("tts")
    assert world.runs_fairly(lambda: world.unit("tts").run() == RunId(3))
    assert world.unit("tts").chart.of_run == ()


def test_a_command_beside_goes_on_when_the_runs_change_places() -> None:
    world = _rolling(Remedy("beside", OutputTrigger("MPS"), run=CLEAN))
    world.matches("tts", "MPS", ONE)
    assert world.places["tts"].steps == [1]
    while world.unit("tts").run() != TWO:
        if not world.places["tts"].probes:
            world.waits_for_deadline()
        world.answers("tts", YES)
    assert world.places["tts"].steps == [1]
    world.applied("tts", ok=True)
    assert world.unit("tts").beside is None


def test_a_remedy_for_the_old_run_lets_the_new_one_take_over() -> None:
    world = _rolling(FALLBACK)
    world.matches("tts", "MPS", ONE)
    unit = world.unit("tts")
    assert unit.run() == TWO
    assert (unit.chart.in_force, unit.chart.of_run) == (("mps",), ())
    world.matches("tts", "MPS", TWO)
    assert isinstance(world.unit("tts").phase, Stopping), "it was started without"
