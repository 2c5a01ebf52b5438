"""What of the journal is told, and to whom."""

import pytest

from supervisor.core.effects import Topic
from supervisor.core.notify import Desktop, Target, Transition
from supervisor.notify.happenings import Happening, hear, meaning

FAILED, CRASHED, RECOVERED = Transition.FAILED, Transition.CRASHED, Transition.RECOVERED
UNREADY, STARTED, STOPPED = Transition.UNREADY, Transition.STARTED, Transition.STOPPED


def of(topic: str, service: str = "tts") -> Happening:
    return Happening(1, 0.0, service, topic, "text", 1)


@pytest.mark.parametrize(
    ("topic", "told"),
    [
        (Topic.GAVE_UP, (FAILED,)),
        (Topic.LEFT_OVER, (FAILED,)),
        (Topic.RESTARTING, (CRASHED,)),
        (Topic.UNREADY, (UNREADY,)),
        (Topic.DUMPED, (Transition.HUNG,)),
        (Topic.REMEDY, (Transition.REMEDY,)),
        (Topic.NOTICE, (Transition.NOTICE,)),
        (Topic.READY, (RECOVERED,)),
        (Topic.ROLLED, (RECOVERED,)),
        (Topic.STARTED, (STARTED,)),
        (Topic.ADOPTED, (STARTED,)),
        (Topic.STOPPED, (STOPPED,)),
        (Topic.COMPLETED, (Transition.COMPLETED, RECOVERED)),
        (Topic.EXITED, ()),
        (Topic.PROBE_FAILED, ()),
        (Topic.TROUBLE, ()),
        ("of a later release", ()),
    ],
)
def test_topics_of_a_service(topic: str, told: tuple[Transition, ...]) -> None:
    assert meaning(of(topic), ()) == told


@pytest.mark.parametrize("topic", list(Topic))
def test_of_the_supervisor_only_its_own_life_is_told(topic: Topic) -> None:
    life = {"daemon-started", "upgraded", "reloaded", "daemon-stopped", "resumed"}
    told = (Transition.DAEMON,) if topic in life else ()
    assert meaning(of(topic, ""), ()) == told


def test_a_service_that_cannot_be_asked_has_recovered_when_it_runs() -> None:
    assert meaning(of(Topic.STARTED), ("tts",)) == (STARTED, RECOVERED)
    assert meaning(of(Topic.STARTED), ("stt",)) == (STARTED,)


def told(target: Target, *transitions: Transition, service: str = "tts") -> list[Transition]:
    """Return what of these the target is told."""
    troubled: frozenset[str] = frozenset()
    heard = []
    for transition in transitions:
        troubled, wanted = hear(target, troubled, transition, service)
        heard += [transition] if wanted else []
    return heard


def test_only_what_was_chosen_is_told() -> None:
    target = Target("t", Desktop(), (CRASHED,))
    assert told(target, CRASHED, RECOVERED, FAILED, STARTED) == [CRASHED]


def test_who_has_heard_of_no_trouble_hears_of_no_recovery() -> None:
    target = Target("t", Desktop())
    assert told(target, RECOVERED, CRASHED, UNREADY, RECOVERED) == []
    assert told(target, FAILED, RECOVERED, RECOVERED) == [FAILED, RECOVERED]


def test_who_wants_nothing_but_recoveries_hears_of_all() -> None:
    target = Target("t", Desktop(), (RECOVERED,))
    assert told(target, RECOVERED, CRASHED, RECOVERED, UNREADY, RECOVERED) == [RECOVERED] * 2


def test_what_somebody_has_stopped_does_not_recover() -> None:
    target = Target("t", Desktop(), (FAILED, STOPPED, RECOVERED))
    assert told(target, FAILED, STOPPED, RECOVERED) == [FAILED, STOPPED]


def test_only_the_services_that_were_chosen() -> None:
    target = Target("t", Desktop(), (FAILED, Transition.DAEMON), ("stt",))
    assert told(target, FAILED) == []
    assert told(target, FAILED, service="stt") == [FAILED]
    assert told(target, Transition.DAEMON, service="") == [Transition.DAEMON]


def test_one_service_does_not_recover_from_the_trouble_of_another() -> None:
    target = Target("t", Desktop())
    troubled, _ = hear(target, frozenset(), FAILED, "stt")
    assert hear(target, troubled, RECOVERED, "tts") == (frozenset({"stt"}), False)
