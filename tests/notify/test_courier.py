"""The courier as a process, on a journal and without a daemon: it tells what there is, and ends.

What needs a daemon is in tests/e2e/test_e2e_notify.py.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from supervisor.control.socket import NAME as SOCKET
from supervisor.core.effects import Topic
from supervisor.core.notify import Channel, Hook, MetricsFile, Target, Transition, Webhook
from supervisor.journal import Journal
from supervisor.notify.errand import ERRAND, MEMORY, PACKAGE, Errand, Memory, recall, send_out
from supervisor.notify.metrics_file import DOWN
from tests.notify.hook_server import Answer, Hang, HookServer

DEADLINE = 60.0
ALL = tuple(Transition)


@dataclass
class Post:
    """A state folder, its journal, and couriers for it."""

    state: Path
    clock: Callable[[], float] = time.time
    couriers: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def happens(self, *topics: str, service: str = "tts") -> None:
        """Write what happens into the journal."""
        journal = Journal(str(self.state), self.clock)
        for topic in topics:
            journal.append(service, topic, f"{topic} of {service}", 1 if service else None)
        journal.close()

    def start(self, *targets: Target, **errand: object) -> "subprocess.Popen[bytes]":
        """Start a courier for these."""
        send_out(str(self.state), Errand(tuple(targets), **errand))  # type: ignore[arg-type]
        courier = subprocess.Popen(
            [sys.executable, "-P", "-m", "supervisor.notify.courier", str(self.state)],
            cwd=self.state,
            env={**os.environ, "PYTHONPATH": PACKAGE},
            stderr=subprocess.PIPE,
        )
        self.couriers.append(courier)
        return courier

    def run(self, *targets: Target, **errand: object) -> None:
        """Let a courier do its errand to its end."""
        courier = self.start(*targets, **errand)
        _, said = courier.communicate(timeout=DEADLINE)
        assert (courier.returncode, said) == (0, b"")

    def memory(self) -> Memory:
        """Return what the last one has written down."""
        found = recall(str(self.state))
        assert found is not None
        return found


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    """A post with an empty journal; at the end none of its couriers is left."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    made = Post(state)
    yield made
    for courier in made.couriers:
        with courier:
            if courier.poll() is None:
                courier.kill()


def to(hooks: HookServer, *when: Transition, name: str = "phone", path: str = "/hook") -> Target:
    return Target(name, Webhook(hooks.url + path), when or ALL)


def test_what_is_told_and_that_it_is_told_once(post: Post, hooks: HookServer) -> None:
    post.happens(Topic.STARTED, Topic.RESTARTING, Topic.GAVE_UP, Topic.STARTED, Topic.READY)
    target = to(hooks, Transition.FAILED, Transition.RECOVERED)
    post.run(target)
    assert hooks.summaries() == ["tts failed: gave-up of tts", "tts works again: ready of tts"]
    post.run(target)
    assert len(hooks.got) == 2
    post.happens(Topic.GAVE_UP)
    post.run(target)
    assert hooks.summaries()[2:] == ["tts failed: gave-up of tts"]
    known = post.memory().targets["phone"]
    assert (known.delivered, known.given_up, known.letters) == (3, 0, ())
    assert known.troubled == ("tts",)
    assert known.last_ok
    assert not (post.state / ERRAND).exists()
    assert (post.state / MEMORY).stat().st_mode & 0o777 == 0o600


def test_the_first_courier_begins_where_it_is_told(post: Post, hooks: HookServer) -> None:
    post.happens(Topic.GAVE_UP, service="old")
    post.happens(Topic.GAVE_UP, service="new")
    post.run(to(hooks), begin=1)
    assert hooks.summaries() == ["new failed: gave-up of new"]


def test_a_new_target_is_not_told_of_the_past(post: Post, hooks: HookServer) -> None:
    post.happens(Topic.GAVE_UP)
    post.run(to(hooks))
    post.happens(Topic.GAVE_UP, service="stt")
    post.run(to(hooks), to(hooks, name="second", path="/second"))
    assert hooks.summaries("/second") == ["stt failed: gave-up of stt"]


def test_a_journal_that_was_taken_away(post: Post, hooks: HookServer) -> None:
    post.happens(*[Topic.PROBE_FAILED] * 5)
    post.run(to(hooks))
    (post.state / "journal.ndjson").unlink()
    post.happens(Topic.GAVE_UP)
    post.run(to(hooks))
    assert len(hooks.got) == 1


@pytest.mark.parametrize(
    "answers",
    [
        [Answer(500), Answer(200)],
        [Answer(429, {"Retry-After": "1"}), Answer(200)],
        [Answer(503), Answer(200)],
    ],
    ids=["500", "429", "503"],
)
def test_it_tries_again(post: Post, hooks: HookServer, answers: list[Answer]) -> None:
    hooks.answers = list(answers)
    post.happens(Topic.GAVE_UP)
    post.run(to(hooks))
    keys = {got.headers["Idempotency-Key"] for got in hooks.got}
    assert (len(hooks.got), len(keys)) == (2, 1)
    assert post.memory().targets["phone"].delivered == 1


def test_a_refusal_is_final(post: Post, hooks: HookServer) -> None:
    hooks.answers = [Answer(404)]
    post.happens(Topic.GAVE_UP)
    post.run(to(hooks))
    known = post.memory().targets["phone"]
    assert (len(hooks.got), known.given_up, known.letters, known.last_ok) == (1, 1, (), False)
    assert known.last_words == "127.0.0.1 answered 404 Not Found"


def test_who_hangs_delays_nobody_else(post: Post, hooks: HookServer) -> None:
    """Nor does a command that never ends; both are left to the next courier."""
    with HookServer() as slow:
        slow.answers = [Hang()]
        post.happens(Topic.GAVE_UP)
        post.run(
            to(slow, name="slow"),
            Target("stuck", Hook(("sh", "-c", "echo $$ >pid; exec sleep 1000"), 600.0), ALL),
            to(hooks, name="quick"),
        )
        assert len(slow.got) == 1
    assert len(hooks.got) == 1
    left = {name: known.letters for name, known in post.memory().targets.items()}
    assert left["quick"] == ()
    assert [letter.service for letter in (*left["slow"], *left["stuck"])] == ["tts", "tts"]
    # It is in a group of its own; a daemon would end it with what else nobody claims.
    os.kill(int((post.state / "pid").read_text()), signal.SIGKILL)


def test_killed_in_the_middle_nothing_is_lost_and_only_what_was_on_its_way_doubled(
    post: Post, hooks: HookServer
) -> None:
    hooks.answers = [Answer(), Hang()]
    post.happens(Topic.GAVE_UP)
    post.happens(Topic.GAVE_UP, service="stt")
    post.happens(Topic.GAVE_UP, service="llm")
    courier = post.start(to(hooks))
    hooks.wait("two requests", lambda got: len(got) == 2)
    courier.kill()
    courier.communicate(timeout=DEADLINE)
    post.run(to(hooks))
    told = [got.json["service"] for got in hooks.got]
    assert told == ["tts", "stt", "stt", "llm"]
    assert hooks.got[1].headers["Idempotency-Key"] == hooks.got[2].headers["Idempotency-Key"]


def test_a_storm_is_folded(post: Post, hooks: HookServer) -> None:
    for number in range(33):
        post.happens(Topic.GAVE_UP, service=f"s{number}")
    post.run(to(hooks))
    counts = [got.json["count"] for got in hooks.got]
    assert len(counts) <= 10
    assert sum(counts) == 33
    assert hooks.got[-1].json["event"] == "summary"


def test_what_nobody_could_be_told_in_time_is_told_in_one(post: Post, hooks: HookServer) -> None:
    post.clock = lambda: time.time() - 3600
    post.happens(Topic.GAVE_UP)
    post.happens(Topic.GAVE_UP, service="stt")
    post.clock = time.time
    post.happens(Topic.GAVE_UP, service="llm")
    post.run(to(hooks))
    assert [got.json["event"] for got in hooks.got] == ["summary", "failed"]
    assert hooks.got[0].json["count"] == 2
    assert "tts failed, stt failed" in hooks.got[0].json["summary"]


def test_a_service_without_probes_recovers_when_it_runs_and_not_when_it_only_starts(
    post: Post, hooks: HookServer
) -> None:
    target = to(hooks, Transition.CRASHED, Transition.RECOVERED)
    post.happens(Topic.RESTARTING, Topic.STARTED, Topic.RESTARTING, Topic.STARTED)
    post.run(target, unproven=("tts",))
    # The second crash is told with the first, unless that was already under way.
    *crashes, last = hooks.got
    assert {got.json["event"] for got in crashes} == {"crashed"}
    assert sum(got.json["count"] for got in crashes) == 2
    assert (last.json["event"], last.json["count"]) == ("recovered", 1)


def test_the_next_courier_takes_over_from_one_that_waits(post: Post, hooks: HookServer) -> None:
    """A daemon that does not answer keeps its courier waiting."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(str(post.state / SOCKET))
        listening.listen()
        post.happens(Topic.GAVE_UP)
        first = post.start(to(hooks))
        hooks.wait("the first has told it", lambda got: len(got) == 1)
        second = post.start(to(hooks))
        _, said = first.communicate(timeout=DEADLINE)
        assert (first.returncode, said) == (0, b"")
        listening.close()
        (post.state / SOCKET).unlink()
        second.send_signal(signal.SIGTERM)
        second.communicate(timeout=DEADLINE)
    assert len(hooks.got) == 1


def test_asked_to_end_it_ends_and_leaves_the_rest(post: Post, hooks: HookServer) -> None:
    hooks.answers = [Hang()]
    post.happens(Topic.GAVE_UP)
    courier = post.start(to(hooks))
    hooks.wait("it is on its way", lambda got: len(got) == 1)
    courier.send_signal(signal.SIGTERM)
    courier.communicate(timeout=DEADLINE)
    assert courier.returncode == 0
    assert [one.service for one in post.memory().targets["phone"].letters] == ["tts"]


def test_without_a_daemon_the_file_says_that_it_is_down(post: Post, tmp_path: Path) -> None:
    file = tmp_path / "atlas.prom"
    post.run(metrics=MetricsFile(str(file)))
    assert file.read_text() == DOWN
    assert file.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir() if path.name != "state"] == ["atlas.prom"]


def test_an_errand_of_another_release_is_refused(post: Post) -> None:
    (post.state / ERRAND).write_text('{"$": "Errand", "colour": "red"}')
    (post.state / ERRAND).chmod(0o600)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "supervisor.notify.courier", str(post.state)],
        env={**os.environ, "PYTHONPATH": PACKAGE},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 1
    assert "courier: Errand has other fields" in done.stderr


def test_no_secret_is_in_what_it_remembers(post: Post, hooks: HookServer) -> None:
    hooks.answers = [Answer(404)]
    post.happens(Topic.GAVE_UP)
    channel: Channel = Webhook(f"{hooks.url}/hunter2", {"Authorization": "Bearer abcdefgh"})
    post.run(Target("phone", channel, ALL))
    remembered = (post.state / MEMORY).read_text()
    assert "hunter2" not in remembered
    assert "abcdefgh" not in remembered
