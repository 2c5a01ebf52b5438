"""Histories of one unit whose end is not plain from a single step."""

from dataclasses import replace

from supervisor.core.effects import Ask, Clear, Kill, Note, Signal, Spawn, Topic
from supervisor.core.ending import KILL_AGAIN, ORPHAN_GRACE
from supervisor.core.events import (
    Admitted,
    Adopted,
    Cleared,
    Event,
    Exceeded,
    ExitCode,
    Exited,
    ExitSignal,
    Held,
    Probed,
    Restart,
    Resumed,
    RunId,
    Spawned,
    SpawnFailed,
    Start,
    Stop,
    TimePassed,
)
from supervisor.core.spec import ProbeKind, StopSpec
from supervisor.core.step import step
from supervisor.core.unit import (
    Blocked,
    Clearing,
    Completed,
    Failed,
    Goal,
    Stopped,
    Stopping,
    Unit,
    Waiting,
)
from tests.core.probing import ONE, asked_at, running
from tests.core.specimens import (
    NO,
    PID,
    PROBER_ERROR,
    YES,
    deeds,
    probe,
    run_through,
    service,
    strict,
    topics,
)


def _crash(at: float, run: int) -> list[tuple[float, Event]]:
    ended = Exited(RunId(run), ExitSignal(11))
    return [(at, ended), (at, Cleared(RunId(run)))]


def _again(at: float, run: int) -> list[tuple[float, Event]]:
    return [(at, TimePassed()), (at, Admitted()), (at, Spawned(RunId(run), PID))]


def test_a_stop_goes_from_term_to_kill_and_kills_again() -> None:
    spec = replace(service(), stop=StopSpec(signal=2, timeout=3.0))
    unit, effects = step(running(spec), Stop("x"), 10.0)
    assert deeds(effects) == [Signal(ONE, 2)]
    assert unit.deadline() == 13.0
    assert step(unit, TimePassed(), 12.9) == (unit, ())
    unit, effects = step(unit, TimePassed(), 13.0)
    assert deeds(effects) == [Kill(ONE)]
    assert "within 3 s of signal 2 (SIGINT)" in str(effects[0])
    assert unit.deadline() == 13.0 + KILL_AGAIN
    unit, effects = step(unit, TimePassed(), 18.0)
    assert deeds(effects) == [Kill(ONE)]
    assert "waits inside the kernel" in str(effects[0])
    unit, effects = step(unit, Exited(ONE, ExitSignal(9)), 19.0)
    assert deeds(effects) == [Clear(ONE, 0.0)], "what SIGKILL was sent to gets no more grace"
    unit, _ = step(unit, Cleared(ONE), 19.0)
    assert unit.phase == Stopped()
    assert unit.reason == "stop asked: x"


def test_what_is_to_end_gets_its_time_in_full_after_a_sleep() -> None:
    unit, _ = step(running(service()), Stop("x"), 10.0)
    assert unit.deadline() == 20.0
    unit, effects = step(unit, Resumed(60.0), 75.0)
    assert effects == ()
    assert unit.deadline() == 80.0
    unit, effects = step(unit, TimePassed(), 80.0)
    assert deeds(effects) == [Kill(ONE)]


def test_orphans_get_what_is_left_of_the_time_to_stop() -> None:
    unit, _ = step(running(service()), Stop("x"), 10.0)
    _, effects = step(unit, Exited(ONE, ExitCode(0)), 14.0)
    assert deeds(effects) == [Clear(ONE, 6.0)]


def test_orphans_of_a_crash_get_a_short_grace() -> None:
    _, effects = step(running(service()), Exited(ONE, ExitCode(1)), 14.0)
    assert deeds(effects) == [Clear(ONE, ORPHAN_GRACE)]
    impatient = replace(service(), stop=StopSpec(timeout=0.25))
    _, effects = step(running(impatient), Exited(ONE, ExitCode(1)), 14.0)
    assert deeds(effects) == [Clear(ONE, 0.25)]


def test_start_while_stopping_starts_again_and_counts_no_failure() -> None:
    unit, effects = run_through(
        running(service()),
        (5.0, Stop("x")),
        (5.0, Start("y")),
        (6.0, Exited(ONE, ExitSignal(15))),
        (6.0, Cleared(ONE)),
        (6.0, Admitted()),
    )
    assert deeds(effects)[-1] == Spawn(RunId(2))
    assert unit.goal is Goal.UP
    assert (unit.restarts, unit.record.in_a_row) == (0, 0)


def test_two_restarts_are_one() -> None:
    unit, effects = run_through(
        running(service()),
        (5.0, Restart("x")),
        (5.0, Restart("y")),
        (6.0, Exited(ONE, ExitSignal(15))),
        (6.0, Restart("z")),
        (6.0, Cleared(ONE)),
    )
    assert deeds(effects) == [Signal(ONE, 15), Clear(ONE, 9.0)]
    assert unit.phase == Blocked()
    assert unit.reason == "restart asked: z"


def test_stop_overtakes_a_crash_that_is_being_cleared() -> None:
    unit, _ = run_through(
        running(service()),
        (5.0, Exited(ONE, ExitSignal(11))),
        (5.0, Stop("x")),
        (5.0, Cleared(ONE)),
    )
    assert (unit.phase, unit.goal) == (Stopped(), Goal.DOWN)


def test_a_restart_overtakes_a_crash_that_is_being_cleared() -> None:
    unit, _ = run_through(
        running(service(restart=strict(after=1))),
        (5.0, Exited(ONE, ExitSignal(11))),
        (5.0, Restart("x")),
        (5.0, Cleared(ONE)),
    )
    assert (unit.phase, unit.restarts) == (Blocked(), 0)


def test_an_operators_restart_forgives_the_failure_under_way() -> None:
    spec = service(liveness=probe(failures=1, every=1.0), restart=strict(after=1))
    unit, _ = run_through(
        running(spec),
        *asked_at(ProbeKind.LIVENESS, NO, 1.0),
        (1.5, Restart("x")),
        (2.0, Exited(ONE, ExitSignal(15))),
        (2.0, Cleared(ONE)),
    )
    assert unit.phase == Blocked(), "without the restart it would have given up"


def test_dead_by_liveness_is_a_failure_however_politely_it_exits() -> None:
    spec = service(liveness=probe(failures=1, every=1.0))
    spec = replace(spec, restart=replace(spec.restart, policy="on-failure"))
    unit, effects = run_through(
        running(spec),
        *asked_at(ProbeKind.LIVENESS, NO, 1.0),
        (2.0, Exited(ONE, ExitCode(0))),
        (2.0, Cleared(ONE)),
    )
    assert isinstance(unit.phase, Waiting)
    assert "liveness probe" in unit.reason
    assert topics(effects) == ["stopping", "exited", "restarting"]


def test_giving_up_and_the_way_back() -> None:
    history = [
        *_crash(1.0, 1),
        *_again(1.2, 2),
        *_crash(2.0, 2),
        *_again(2.4, 3),
        *_crash(3.0, 3),
    ]
    unit, effects = run_through(running(service(restart=strict(after=3))), *history)
    assert unit.phase == Failed()
    assert unit.settled()
    assert unit.restarts == 2
    assert topics(effects)[-1] == "gave-up"
    assert "failed 3 times within 2.0 s (limit 3 in 60 s)" in unit.reason
    assert "was killed by signal 11 (SIGSEGV)" in unit.reason
    unit, _ = step(unit, Start("x"), 50.0)
    unit, _ = run_through(unit, (50.0, Admitted()), (50.0, Spawned(RunId(4), PID)), *_crash(51, 4))
    assert isinstance(unit.phase, Waiting), "a start forgives"
    assert unit.restarts == 1
    assert unit.phase.until == 51.2


def test_spawn_failures_are_failures_unless_trying_again_cannot_help() -> None:
    unit, _ = run_through(
        Unit(service(restart=strict(after=2))),
        (0.0, Start("x")),
        (0.0, Admitted()),
        (0.0, SpawnFailed(ONE, "no memory")),
    )
    assert unit.phase == Waiting(0.2)
    unit, _ = run_through(
        unit, (0.2, TimePassed()), (0.2, Admitted()), (0.2, SpawnFailed(RunId(2), "no memory"))
    )
    assert unit.phase == Failed()
    assert "could not be started: no memory" in unit.reason


def test_no_delay_means_no_waiting() -> None:
    spec = service()
    backoff = replace(spec.restart.backoff, first=0.0)
    spec = replace(spec, restart=replace(spec.restart, backoff=backoff))
    unit, _ = run_through(running(spec), *_crash(1.0, 1))
    assert unit.phase == Blocked()


def test_a_one_shot_is_done_after_code_0() -> None:
    spec = service()
    spec = replace(spec, restart=replace(spec.restart, policy="never"))
    unit, effects = run_through(running(spec), (5.0, Exited(ONE, ExitCode(0))), (5.0, Cleared(ONE)))
    assert unit.phase == Completed()
    assert unit.settled()
    assert unit.state() == "completed"
    assert topics(effects)[-1] == "completed"


def test_the_first_exit_of_a_run_is_the_one_remembered() -> None:
    unit, _ = run_through(
        running(service()), (5.0, Exited(ONE, ExitCode(3))), (5.0, Exited(ONE, ExitSignal(9)))
    )
    assert unit.last_exit == ExitCode(3)


def test_a_proven_run_clears_the_record_when_it_crashes() -> None:
    unit = running(service(restart=strict(after=2)))
    unit, _ = run_through(unit, *_crash(1.0, 1), *_again(1.2, 2), *_crash(11.2, 2))
    assert unit.phase == Waiting(11.2 + 0.2), "ten seconds of health have cleared the first"
    assert unit.restarts == 2


def test_an_unproven_run_does_not() -> None:
    unit = running(service(restart=strict(after=2)))
    unit, _ = run_through(unit, *_crash(1.0, 1), *_again(1.2, 2), *_crash(11.19, 2))
    assert unit.phase == Failed()


def test_a_proven_run_that_hangs_has_still_been_proven() -> None:
    """What hangs fails readiness first, so it is no longer healthy when liveness ends it."""
    spec = service(
        readiness=probe(every=1.0, failures=1),
        liveness=probe(every=30.0, failures=1),
        restart=strict(after=2),
    )
    unit, _ = run_through(running(spec), *_crash(1.0, 1), *_again(1.2, 2))
    two = RunId(2)
    unit, _ = run_through(
        unit,
        (1.2, TimePassed()),
        (1.2, Probed(two, ProbeKind.READINESS, YES)),
        (86_400.0, TimePassed()),
        (86_400.0, Probed(two, ProbeKind.READINESS, NO)),
        (86_401.0, TimePassed()),
        (86_401.0, Probed(two, ProbeKind.LIVENESS, NO)),
        (86_402.0, Exited(two, ExitSignal(9))),
        (86_402.0, Cleared(two)),
    )
    assert unit.record.in_a_row == 1
    assert unit.phase == Waiting(86_402.2)


def test_so_has_one_that_only_liveness_asks() -> None:
    spec = service(liveness=probe(every=1.0, failures=1), restart=strict(after=2))
    unit, _ = run_through(running(spec), *_crash(1.0, 1), *_again(1.2, 2))
    unit, _ = run_through(
        unit,
        (86_400.0, TimePassed()),
        (86_400.0, Probed(RunId(2), ProbeKind.LIVENESS, NO)),
        (86_401.0, Exited(RunId(2), ExitSignal(9))),
        (86_401.0, Cleared(RunId(2))),
    )
    assert unit.phase == Waiting(86_401.2)


def test_reasons_on_the_way_to_ready() -> None:
    spec = service(startup=probe(every=1.0), readiness=probe(every=1.0))
    unit = running(spec)
    assert (unit.reason, unit.state()) == ("waiting for the startup probe", "loading")
    unit, _ = run_through(unit, *asked_at(ProbeKind.STARTUP, YES, 1.0))
    assert (unit.reason, unit.state()) == ("waiting for the readiness probe", "unready")
    unit, effects = run_through(unit, *asked_at(ProbeKind.READINESS, YES, 1.0))
    assert (unit.reason, unit.state()) == ("200 OK", "healthy")
    assert topics(effects) == ["ready"]
    assert unit.settled()
    unit, effects = run_through(unit, *asked_at(ProbeKind.READINESS, NO, 2.0, 3.0, 4.0))
    assert unit.reason == "readiness probe failed 3 times in a row: 503 Service Unavailable"
    assert topics(effects) == ["probe-failed", "unready"]
    assert not unit.settled()


def test_a_notice_is_noted_and_changes_nothing_else() -> None:
    spec = service(readiness=probe(every=1.0, failures=1))
    unit, _ = run_through(running(spec), *asked_at(ProbeKind.READINESS, YES, 1.0))
    words = "eSpeak speaks: model.pth is missing; fetch it"
    noticing = replace(YES, notice=words)
    after, effects = run_through(unit, *asked_at(ProbeKind.READINESS, noticing, 2.0, 3.0))
    assert effects == (
        Ask(ONE, ProbeKind.READINESS),
        Note(Topic.NOTICE, words, ONE),
        Ask(ONE, ProbeKind.READINESS),
    )
    assert after.notice() == words
    assert (after.state(), after.reason, after.since) == ("healthy", unit.reason, unit.since)
    assert after.settled()
    gone, effects = run_through(after, *asked_at(ProbeKind.READINESS, YES, 4.0))
    assert topics(effects) == ["notice"]
    assert gone.notice() is None
    failing, _ = run_through(after, *asked_at(ProbeKind.READINESS, NO, 4.0))
    assert failing.notice() is None, "what does not work has a reason, not a notice"
    ended, _ = step(after, Exited(ONE, ExitCode(1)), 5.0)
    assert ended.notice() is None


def test_the_next_run_and_the_next_daemon_tell_a_notice_anew() -> None:
    spec = service(readiness=probe(every=1.0))
    noticing = replace(YES, notice="without its GPU")
    unit, _ = run_through(running(spec), *asked_at(ProbeKind.READINESS, noticing, 1.0))
    two = RunId(2)
    unit, effects = run_through(
        unit,
        *_crash(2.0, 1),
        *_again(2.2, 2),
        (2.2, TimePassed()),
        (2.2, Probed(two, ProbeKind.READINESS, noticing)),
    )
    assert topics(effects)[-2:] == ["ready", "notice"]
    adopted, effects = run_through(
        Unit(spec),
        (9.0, Adopted(two, PID, 2.2)),
        (9.0, TimePassed()),
        (9.0, Probed(two, ProbeKind.READINESS, noticing)),
    )
    assert topics(effects) == ["adopted", "ready", "notice"]
    assert adopted.notice() == "without its GPU"


def test_a_unit_without_probes_is_ready_at_once() -> None:
    unit = running(service())
    assert unit.ready()
    assert unit.settled()
    assert unit.state() == "running"
    assert unit.deadline() is None


def test_a_startup_that_is_too_slow_ends_the_run_with_the_lastasked_at() -> None:
    spec = service(startup=probe(every=1.0, budget=5.0))
    unit, _ = run_through(running(spec), *asked_at(ProbeKind.STARTUP, NO, 1.0, 2.0))
    assert step(unit, TimePassed(), 4.99)[0].goal is Goal.UP
    unit, effects = step(unit, TimePassed(), 5.0)
    assert deeds(effects) == [Signal(ONE, 15)]
    assert unit.reason == "did not start within 5 s: 503 Service Unavailable"
    assert isinstance(unit.phase, Stopping)
    assert unit.phase.failure == unit.reason


def test_a_prober_that_never_works_does_not_outlast_the_budget() -> None:
    spec = service(startup=probe(every=1.0, budget=5.0))
    history = asked_at(ProbeKind.STARTUP, PROBER_ERROR, 1.0, 2.0, 3.0, 4.0)
    unit, effects = run_through(running(spec), *history, (5.0, TimePassed()))
    assert deeds(effects) == [*[Ask(ONE, ProbeKind.STARTUP)] * 4, Signal(ONE, 15)]
    assert unit.reason == "did not start within 5 s: no descriptor left"


def test_an_answer_after_the_exit_is_nothing() -> None:
    spec = service(readiness=probe(every=1.0))
    unit, _ = run_through(running(spec), (1.0, TimePassed()), (1.1, Exited(ONE, ExitCode(1))))
    assert isinstance(unit.phase, Clearing)
    assert step(unit, Probed(ONE, ProbeKind.READINESS, YES), 1.2) == (unit, ())


def test_left_over_is_said_and_the_goal_down_is_not_reached() -> None:
    unit, effects = run_through(
        running(service()),
        (1.0, Stop("x")),
        (2.0, Exited(ONE, ExitSignal(15))),
        (2.0, Cleared(ONE, ("pid 12 python (state D)", "port 3001"))),
    )
    assert (unit.phase, unit.goal) == (Failed(left=ONE), Goal.DOWN)
    assert unit.reason == "not wholly stopped: pid 12 python (state D); port 3001"
    assert Note in {type(e) for e in effects}
    assert topics(effects)[-1] == "left-over"
    unit, effects = step(unit, Stop("y"), 3.0)
    assert deeds(effects) == [Clear(ONE, 0.0)], "what could not be ended then may be endable now"
    unit, effects = step(unit, Cleared(ONE), 4.0)
    assert (unit.phase, unit.goal) == (Stopped(), Goal.DOWN)


def test_a_start_first_clears_what_the_last_stop_has_left() -> None:
    unit, _ = run_through(
        running(service()),
        (1.0, Stop("x")),
        (2.0, Exited(ONE, ExitSignal(15))),
        (2.0, Cleared(ONE, ("port 3001",))),
    )
    unit, effects = run_through(unit, (3.0, Start("y")), (3.0, Cleared(ONE)), (3.0, Admitted()))
    assert deeds(effects) == [Clear(ONE, 0.0), Spawn(RunId(2))]


def test_too_much_of_something_is_a_failure_of_the_run() -> None:
    unit, effects = run_through(
        running(service()),
        (5.0, Exceeded(ONE, "uses 5 GiB of memory, and may use 4")),
        (6.0, Exited(ONE, ExitCode(0))),
        (6.0, Cleared(ONE)),
    )
    assert isinstance(unit.phase, Waiting)
    assert "uses 5 GiB" in unit.reason
    assert topics(effects) == ["stopping", "exited", "restarting"]


def test_what_a_blocked_unit_waits_for_is_said_once() -> None:
    unit, effects = run_through(
        Unit(service()), (0.0, Start("x")), (0.0, Held("no room")), (1.0, Held("no room"))
    )
    assert topics(effects) == ["asked", "blocked"]
    assert unit.reason == "no room"
    assert unit.since == 0.0
