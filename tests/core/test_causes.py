"""What an entry of the journal is, and what a decision rests on."""

import pytest

from supervisor.core.causes import KINDS, Causes, Kind, kind_of
from supervisor.core.effects import Topic

Line = tuple[str, str, int | None]

START = [("asked", "start asked: by a client", None), ("started", "run 1 started, pid 7", 1)]
CRASH: list[Line] = [
    ("exited", "exited with code 1", 1),
    ("restarting", "exited with code 1; restart 1 in 0.2 s", 1),
]
HANG: list[Line] = [
    ("probe-failed", "liveness probe: no answer", 1),
    ("stopping", "failed its liveness probe 3 times in a row: no answer", 1),
    ("dumped", "saved what it was doing", 1),
    ("killed", "did not end within 5 s", 1),
    ("exited", "was killed by signal 9 (SIGKILL)", 1),
    ("restarting", "failed its liveness probe 3 times in a row: no answer; restart 1 in 0.2 s", 1),
]


def link(*lines: Line, unit: str = "tts") -> list[tuple[int, ...]]:
    causes = Causes()
    return [causes.note(n, unit, *line)[1] for n, line in enumerate(lines)]


def test_every_topic_has_a_kind() -> None:
    assert set(KINDS) == set(Topic)


@pytest.mark.parametrize(
    ("topic", "text", "kind"),
    [
        ("asked", "start asked: the daemon starts", Kind.ASKED),
        ("stopping", "stop asked: by a client", Kind.ASKED),
        ("stopping", "liveness probe failed twice", Kind.DECIDED),
        ("stopped", "stop asked: by a client", Kind.ASKED),
        ("stopped", "no process of it is left and its ports are free", Kind.SEEN),
        ("exited", "exited with code 1", Kind.SEEN),
        ("of a newer release", "", Kind.SEEN),
    ],
)
def test_kinds(topic: str, text: str, kind: Kind) -> None:
    assert kind_of(topic, text) is kind


@pytest.mark.parametrize(
    ("lines", "because"),
    [
        (CRASH, (0,)),
        (HANG[:2], (0,)),
        (HANG[:4], (1,)),
        (HANG, (1, 4)),
        ([*HANG[:5], ("gave-up", f"failed 5 times; the last time it {HANG[1][1]}", 1)], (1, 4)),
        ([("spawn-failed", "no such file", 1), ("restarting", "could not be started", 1)], (0,)),
        # Another run, another probe, or no probe at all.
        ([("exited", "exited with code 1", 1), ("restarting", "exited with code 1", 2)], ()),
        ([HANG[0], ("stopping", "readiness probe failed twice", 1)], ()),
        ([HANG[0], ("stopping", "uses 500 MiB of memory, and may use 400 MiB", 1)], ()),
        # The latest of its kind, not a glitch of an hour ago.
        ([HANG[0], HANG[0], HANG[1]], (1,)),
        # A wish rests on nothing that we know of.
        ([HANG[0], ("stopping", "stop asked: by a client", 1)], ()),
        ([HANG[0], ("remedy", "failed its liveness probe: set A=1", 1)], (0,)),
        ([*CRASH, ("remedy", "exited with code 1: set A=1", 1)], (0,)),
        ([("remedy", "the log says X: set A=1", 1), ("stopping", "remedy 1", 1)], (0,)),
        ([("remedy", "set A=1", 1), HANG[0], ("stopping", "too much memory", 1)], ()),
        ([("ready", "readiness probe: 200 OK", 2), ("rolled", "run 2 takes over", 2)], (0,)),
        ([("rolled", "run 2 takes over", 2), ("stopping", "run 2 has taken over", 1)], (0,)),
        ([("stopped", "nothing is left", 3), ("removed", "forgotten", None)], (0,)),
    ],
)
def test_what_the_last_one_rests_on(lines: list[Line], because: tuple[int, ...]) -> None:
    assert link(*lines)[-1] == because


def test_another_service_is_no_cause() -> None:
    causes = Causes()
    causes.note(1, "stt", *CRASH[0])
    assert causes.note(2, "tts", *CRASH[1]) == (Kind.DECIDED, ())


def test_an_adoption_rests_on_the_new_supervisor() -> None:
    causes = Causes()
    causes.note(1, "", "daemon-started", "daemon started", None)
    assert causes.note(2, "tts", "adopted", "run 1 adopted", 1) == (Kind.DECIDED, (1,))
    causes.note(3, "", "upgraded", "upgraded", None)
    assert causes.note(4, "tts", "adopted", "run 1 adopted", 1) == (Kind.DECIDED, (3,))


def test_what_is_removed_is_forgotten() -> None:
    causes = Causes()
    for n in range(1000):
        causes.note(n, f"service {n}", "exited", "exited with code 1", 1)
        causes.note(n, f"service {n}", "removed", "", None)
    assert causes._latest == {}
